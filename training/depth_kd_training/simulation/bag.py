"""A simulated drive as a rosbag2 recording: the topics and frames of a real robot's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from depth_kd_ros.bag_writer import BagWriter
from depth_kd_training.data.base import Frame
from depth_kd_training.simulation.lidar import Scan
from depth_kd_training.simulation.rig import Rig
import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

IMAGE, INFO, STATIC = '/camera/image_rect_color', '/camera/camera_info', '/tf_static'
POINTS, DEPTH = '/lidar/points', '/camera/depth/image_rect'
BASE_FRAME, CAMERA_FRAME, LIDAR_FRAME = 'base_link', 'camera_optical', 'lidar'
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
IMAGE_DELAY_NS, POINTS_DELAY_NS = 30_000_000, 60_000_000  # from the stamp to the reception
FIELDS = {'x': '<f4', 'y': '<f4', 'z': '<f4', 'intensity': '<f4', 'ring': '<u2', 'time': '<f4'}
OFFSETS, CODES = (0, 4, 8, 16, 20, 24), {'<f4': 7, '<u2': 4}  # PCL's layout; PointField codes
POINT_BYTES = 32
NEVER = QosTime(2147483647, 4294967295)
LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, NEVER, NEVER,
    QosLiveliness.AUTOMATIC, NEVER, False,
)  # fmt: skip


class Instant(NamedTuple):
    """Hold what the sensors give at one time, as arrays, which processes hand over cheaply."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    K: np.ndarray  # (3, 3) px
    points: np.ndarray | None  # (N,) with FIELDS
    depth: np.ndarray | None  # (H, W) float32 m of an RGB-D camera, 0 = none

    @classmethod
    def of(cls, frame: Frame, scan: Scan | None) -> Instant:
        """
        Take a simulated frame; rings are numbered from the lowest beam up, as drivers do.

        The points' order is that of their times.
        """
        K = np.asarray(frame.K, np.float64)
        if scan is None:
            return cls(frame.image, K, None, frame.sparse_depth)
        layout = {
            'names': list(FIELDS), 'formats': list(FIELDS.values()), 'offsets': list(OFFSETS),
            'itemsize': POINT_BYTES,
        }  # fmt: skip
        order = np.argsort(scan.time_s.numpy(), kind='stable')
        rows: Any = np.zeros(len(order), np.dtype(layout))  # type: ignore[call-overload]
        rows['x'], rows['y'], rows['z'] = scan.points.numpy()[order].T
        rows['intensity'] = 255 * scan.intensity.numpy()[order]
        rows['ring'] = (frame.beams or 1) - 1 - scan.ring.numpy()[order]
        rows['time'] = scan.time_s.numpy()[order]
        return cls(frame.image, K, rows, None)


def write(
    path: Path, rig: Rig, sensor: str, instants: Iterable[Instant], storage: str = 'mcap'
) -> int:
    """
    Write instants, 0.1 s apart, and the rig's transforms; give their number.

    Raises BagError, OSError.
    """
    count = 0
    with BagWriter(path, storage) as bag:
        t = bag.types.types
        topics = {STATIC: 'tf2_msgs/msg/TFMessage', INFO: 'sensor_msgs/msg/CameraInfo'}
        topics[IMAGE] = 'sensor_msgs/msg/Image'
        if sensor == 'rgbd':
            topics[DEPTH] = 'sensor_msgs/msg/Image'
        elif sensor != 'none':
            topics[POINTS] = 'sensor_msgs/msg/PointCloud2'
        for topic, kind in topics.items():
            bag.declare(topic, kind, [LATCHED] if topic == STATIC else [])
        bag.add(STATIC, _transforms(t, rig, POINTS in topics), START_NS)
        for count, instant in enumerate(instants, 1):
            stamp_ns = START_NS + count * PERIOD_NS
            camera, seen_ns = _header(t, CAMERA_FRAME, stamp_ns), stamp_ns + IMAGE_DELAY_NS
            bgr = np.ascontiguousarray(instant.image[..., ::-1])
            bag.add(IMAGE, _image(t, camera, bgr, 'bgr8'), seen_ns)
            bag.add(INFO, _camera_info(t, camera, instant), seen_ns)
            if instant.depth is not None:
                depth = np.where(instant.depth > 0, instant.depth, np.float32(np.nan))
                bag.add(DEPTH, _image(t, camera, depth, '32FC1'), seen_ns)
            if instant.points is not None:
                cloud = _cloud(t, _header(t, LIDAR_FRAME, stamp_ns), instant.points)
                bag.add(POINTS, cloud, stamp_ns + POINTS_DELAY_NS)
    return count


def _image(t: dict[str, Any], header: Any, pixels: np.ndarray, encoding: str) -> Any:
    """Make an Image message of pixels (H, W) or (H, W, 3)."""
    height, width = pixels.shape[:2]
    data = pixels.view(np.uint8).ravel()
    return t['sensor_msgs/msg/Image'](
        header, height, width, encoding, 0, data.size // height, data
    )


def _header(t: dict[str, Any], frame_id: str, stamp_ns: int) -> Any:
    """Make a message's header."""
    time = t['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    return t['std_msgs/msg/Header'](time, frame_id)


def _transforms(t: dict[str, Any], rig: Rig, lidar: bool) -> Any:
    """Make the rig's static transforms, that of the LiDAR where there is one."""
    stamped = []
    mounted = {CAMERA_FRAME: rig.T_base_cam} | ({LIDAR_FRAME: rig.T_base_lidar} if lidar else {})
    for child, T in mounted.items():
        x, y, z, w = quaternion(T[:3, :3])
        place = t['geometry_msgs/msg/Transform'](
            t['geometry_msgs/msg/Vector3'](*T[:3, 3].tolist()),
            t['geometry_msgs/msg/Quaternion'](x, y, z, w),
        )
        header = _header(t, BASE_FRAME, START_NS)
        stamped.append(t['geometry_msgs/msg/TransformStamped'](header, child, place))
    return t['tf2_msgs/msg/TFMessage'](stamped)


def quaternion(R: np.ndarray) -> tuple[float, ...]:
    """Give x, y, z, w of a rotation (3, 3): the eigenvector of Bar-Itzhack's matrix (2000)."""
    N = np.zeros((4, 4))
    N[:3, :3] = R + R.T - np.trace(R) * np.eye(3)
    N[:3, 3] = N[3, :3] = (R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])
    N[3, 3] = np.trace(R)
    vector = np.linalg.eigh(N)[1][:, -1]
    return tuple((vector * np.copysign(1, vector[3])).tolist())


def _camera_info(t: dict[str, Any], header: Any, instant: Instant) -> Any:
    """Make the CameraInfo of a rectified camera: no distortion, P = [K | 0]."""
    K = instant.K
    region = t['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    P = np.hstack([K, np.zeros((3, 1))])
    return t['sensor_msgs/msg/CameraInfo'](
        header, *instant.image.shape[:2], 'plumb_bob', np.zeros(5), K.ravel(), np.eye(3).ravel(),
        P.ravel(), 0, 0, region,
    )  # fmt: skip


def _cloud(t: dict[str, Any], header: Any, rows: np.ndarray) -> Any:
    """Make the PointCloud2 of points (N,) with FIELDS."""
    field = t['sensor_msgs/msg/PointField']
    fields = [
        field(name, offset, CODES[kind], 1)
        for (name, kind), offset in zip(FIELDS.items(), OFFSETS, strict=True)
    ]
    data, size = rows.view(np.uint8).ravel(), POINT_BYTES * len(rows)
    return t['sensor_msgs/msg/PointCloud2'](
        header, 1, len(rows), fields, False, POINT_BYTES, size, data, True
    )
