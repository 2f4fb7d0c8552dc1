"""
The camera-LiDAR transform of a static rig, from a YAML file or from a bag's /tf_static.

A file holds either what TF says, the transform of frame `child` in frame `parent`
(`p_parent = T_parent_child @ p_child`, as in URDF, static_transform_publisher and tf2_echo):

    parent: camera_optical             # frame ids
    child: velodyne
    xyz: [0.05, -0.08, -0.27]          # m
    quaternion: [x, y, z, w]           # norm 1

or the matrix itself, `p_cam = T_cam_lidar @ p_lidar`, row by row:

    T_cam_lidar: [[...4], [...4], [...4], [0, 0, 0, 1]]

Either direction may be written in the first form: the camera is the frame whose id ends in
`_optical` or `_optical_frame` (REP 103), or the one that `camera_frame: ID` names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TYPE_CHECKING

from depth_kd_ros import geometry
import numpy as np
import yaml

if TYPE_CHECKING:
    from depth_kd_ros.bags import Bag

FORMS = (
    {'parent', 'child', 'xyz', 'quaternion'},  # all of one set, and any of its optional keys
    {'T_cam_lidar'},
)
OPTIONAL = ({'camera_frame'}, {'parent', 'child'})
OPTICAL = ('_optical', '_optical_frame')


class Extrinsics(NamedTuple):
    """T_cam_lidar (4, 4), m; `parent` is the camera's frame id, `child` the LiDAR's."""

    T_cam_lidar: np.ndarray
    parent: str
    child: str

    def check_frames(self, camera_frame: str, lidar_frame: str, source: object) -> None:
        """Raise ValueError where `source` gives other frames than the messages have."""
        for name, mine, theirs in (
            ('camera', self.parent, camera_frame),
            ('LiDAR', self.child, lidar_frame),
        ):
            if mine and mine.lstrip('/') != theirs.lstrip('/'):
                raise ValueError(
                    f'{source}: extrinsics of the {name} frame {mine!r}, but the messages are of '
                    f'{theirs!r}: take the file of this rig, or correct its frame ids'
                )

    def __str__(self) -> str:
        x, y, z = (f'{v:.4f}' for v in self.T_cam_lidar[:3, 3])
        frames = f'{self.parent or "camera"} <- {self.child or "lidar"}'
        R = ' '.join(f'{v:.5f}' for v in self.T_cam_lidar[:3, :3].ravel())
        return f'{frames}: xyz {x} {y} {z} m, rotation {R}'


def from_file(path: str | Path) -> Extrinsics:
    """
    Read T_cam_lidar (4, 4) and the frame ids of camera and LiDAR ('' where not given) from YAML.

    Raises ValueError naming file, key and value: unreadable YAML, missing or unknown keys, numbers
    that are not finite, a quaternion not of norm 1, a matrix that is not rigid, frames that do not
    tell which one is the camera.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'{path}: extrinsics file cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: not valid YAML: {" ".join(str(error).split())}') from error
    form = _form(path, content)
    parent, child = (_frame(path, content, key) for key in ('parent', 'child'))
    if parent and parent == child:
        raise ValueError(f'{path}: parent and child are both {parent!r}: two frames expected')
    if form == 1:
        matrix = _numbers(path, content, 'T_cam_lidar', ((4, 4), (16,)))
        T_cam_lidar = geometry.check_rigid(matrix, f'{path}: T_cam_lidar')
        if _is_optical(child) and not _is_optical(parent):
            raise ValueError(
                f'{path}: T_cam_lidar maps LiDAR to camera, so parent is the camera, but child '
                f'{child!r} is an optical frame: swap parent and child, or invert the matrix'
            )
        return Extrinsics(T_cam_lidar, parent, child)
    xyz = _numbers(path, content, 'xyz', ((3,),))
    quaternion = _numbers(path, content, 'quaternion', ((4,),))
    try:
        T_parent_child = geometry.transform(xyz, quaternion)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    if _camera_frame(path, content, parent, child) == parent:
        return Extrinsics(T_parent_child, parent, child)
    return Extrinsics(geometry.invert(T_parent_child), child, parent)


def from_bag(bag: Bag, image: str, points: str) -> Extrinsics:
    """
    Chain the /tf_static of an open bag between the frames of two topics to T_cam_lidar (4, 4).

    Raises BagError where /tf_static is missing or does not connect the frames.
    """
    camera_frame, lidar_frame = bag.frame_id(image), bag.frame_id(points)
    return Extrinsics(bag.extrinsics(camera_frame, lidar_frame), camera_frame, lidar_frame)


def _form(path: Path, content: Any) -> int:
    if not isinstance(content, dict):
        raise ValueError(f'{path}: keys expected ({_describe_forms()}), got {content!r}')
    form = 1 if 'T_cam_lidar' in content else 0
    missing, unknown = FORMS[form] - set(content), set(content) - FORMS[form] - OPTIONAL[form]
    if missing:
        raise ValueError(f'{path}: missing {_list(missing)}; needed: {_describe_forms()}')
    if unknown:
        raise ValueError(f'{path}: unknown key {_list(unknown)}; known: {_describe_forms()}')
    return form


def _describe_forms() -> str:
    return 'parent, child, xyz, quaternion [, camera_frame], or T_cam_lidar [, parent, child]'


def _list(names: set[Any]) -> str:
    return ', '.join(sorted(map(str, names)))


def _frame(path: Path, content: dict[str, Any], key: str) -> str:
    value = content.get(key, '')
    if not isinstance(value, str) or (key in content and not value):
        raise ValueError(f'{path}: {key}: {value!r}: a frame id expected')
    return value


def _numbers(
    path: Path, content: dict[str, Any], key: str, shapes: tuple[tuple[int, ...], ...]
) -> np.ndarray:
    value = content[key]
    sizes = ' or '.join('x'.join(map(str, shape)) for shape in shapes)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape not in shapes or not np.isfinite(array).all():
        raise ValueError(f'{path}: {key}: {value!r}: {sizes} finite numbers expected')
    return array


def _is_optical(frame: str) -> bool:
    return frame.endswith(OPTICAL)


def _camera_frame(path: Path, content: dict[str, Any], parent: str, child: str) -> str:
    if 'camera_frame' in content:
        camera_frame = content['camera_frame']
        if camera_frame not in (parent, child):
            raise ValueError(
                f'{path}: camera_frame: {camera_frame!r}: must be parent {parent!r} or '
                f'child {child!r}'
            )
        return str(camera_frame)
    optical = [frame for frame in (parent, child) if _is_optical(frame)]
    if len(optical) != 1:
        raise ValueError(
            f'{path}: parent {parent!r}, child {child!r}: which one is the camera? Add '
            f'camera_frame: ID, the frame id in the header of the images'
        )
    return optical[0]
