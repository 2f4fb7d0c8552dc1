"""A simulated drive as a rosbag2 recording: the topics and frames of a real robot's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

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

IMAGE, INFO, POINTS, STATIC = (
    '/camera/image_rect_color', '/camera/camera_info', '/lidar/points', '/tf_static',
)  # fmt: skip
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


def write(
    path: Path, rig: Rig, beams: int, shots: Iterable[tuple[Frame, Scan | None]],
    storage: str = 'mcap',
) -> int:  # fmt: skip
    """
    Write frames, 0.1 s apart, and the rig's transforms; give the number of frames.

    Rings are numbered from the lowest beam up, as drivers do. Raises BagError, OSError.
    """
    count = 0
    with BagWriter(path, storage) as bag:
        t = bag.types.types
        for topic, kind, qos in (
            (STATIC, 'tf2_msgs/msg/TFMessage', [LATCHED]),
            (INFO, 'sensor_msgs/msg/CameraInfo', []),
            (IMAGE, 'sensor_msgs/msg/Image', []),
            (POINTS, 'sensor_msgs/msg/PointCloud2', []),
        ):
            bag.declare(topic, kind, qos)
        bag.add(STATIC, _transforms(t, rig), START_NS)
        for count, (frame, scan) in enumerate(shots, 1):
            stamp_ns = START_NS + count * PERIOD_NS
            camera = _header(t, CAMERA_FRAME, stamp_ns)
            height, width = frame.image.shape[:2]
            pixels = np.ascontiguousarray(frame.image[..., ::-1]).ravel()
            image = t['sensor_msgs/msg/Image'](camera, height, width, 'bgr8', 0, 3 * width, pixels)
            bag.add(IMAGE, image, stamp_ns + IMAGE_DELAY_NS)
            bag.add(INFO, _camera_info(t, camera, frame), stamp_ns + IMAGE_DELAY_NS)
            if scan is not None:
                cloud = _cloud(t, _header(t, LIDAR_FRAME, stamp_ns), scan, beams)
                bag.add(POINTS, cloud, stamp_ns + POINTS_DELAY_NS)
    return count


def _header(t: dict[str, Any], frame_id: str, stamp_ns: int) -> Any:
    """Make a message's header."""
    time = t['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    return t['std_msgs/msg/Header'](time, frame_id)


def _transforms(t: dict[str, Any], rig: Rig) -> Any:
    """Make the rig's static transforms."""
    stamped = []
    for child, T in ((CAMERA_FRAME, rig.T_base_cam), (LIDAR_FRAME, rig.T_base_lidar)):
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


def _camera_info(t: dict[str, Any], header: Any, frame: Frame) -> Any:
    """Make the CameraInfo of a rectified camera: no distortion, P = [K | 0]."""
    K = np.asarray(frame.K, np.float64)
    region = t['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    P = np.hstack([K, np.zeros((3, 1))])
    return t['sensor_msgs/msg/CameraInfo'](
        header, *frame.image.shape[:2], 'plumb_bob', np.zeros(5), K.ravel(), np.eye(3).ravel(),
        P.ravel(), 0, 0, region,
    )  # fmt: skip


def _cloud(t: dict[str, Any], header: Any, scan: Scan, beams: int) -> Any:
    """Make the PointCloud2 of a scan, in the order of its times."""
    order = np.argsort(scan.time_s.numpy(), kind='stable')
    layout = {
        'names': list(FIELDS), 'formats': list(FIELDS.values()), 'offsets': list(OFFSETS),
        'itemsize': POINT_BYTES,
    }  # fmt: skip
    rows: Any = np.zeros(len(order), np.dtype(layout))  # type: ignore[call-overload]
    rows['x'], rows['y'], rows['z'] = scan.points.numpy()[order].T
    rows['intensity'] = 255 * scan.intensity.numpy()[order]
    rows['ring'], rows['time'] = beams - 1 - scan.ring.numpy()[order], scan.time_s.numpy()[order]
    field = t['sensor_msgs/msg/PointField']
    fields = [
        field(name, offset, CODES[kind], 1)
        for (name, kind), offset in zip(FIELDS.items(), OFFSETS, strict=True)
    ]
    data, size = rows.view(np.uint8).ravel(), POINT_BYTES * len(rows)
    return t['sensor_msgs/msg/PointCloud2'](
        header, 1, len(rows), fields, False, POINT_BYTES, size, data, True
    )
