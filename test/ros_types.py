"""Message classes of rclpy and of rosbags side by side, and messages built of either for tests."""

from __future__ import annotations

from array import array
from functools import partial
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

KINDS = ('rosbags', 'rclpy')
SENSOR = (
    'Image',
    'CompressedImage',
    'CameraInfo',
    'RegionOfInterest',
    'PointCloud2',
    'PointField',
)


def load(kind: str) -> SimpleNamespace:
    """Give the message classes; rclpy's check every field as Humble always does. May skip."""
    if kind == 'rosbags':
        from rosbags.typesys import get_typestore, Stores

        types = get_typestore(Stores.ROS2_JAZZY).types
        found = {name: types[f'sensor_msgs/msg/{name}'] for name in SENSOR}
        found |= {
            'Header': types['std_msgs/msg/Header'],
            'Time': types['builtin_interfaces/msg/Time'],
        }
    else:
        msg = pytest.importorskip(
            'sensor_msgs.msg', reason='the ROS package sensor_msgs is absent'
        )
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        found = {name: _strict(getattr(msg, name)) for name in SENSOR}
        found |= {'Header': Header, 'Time': Time}
    return SimpleNamespace(kind=kind, **found)


def _strict(message_class: type) -> Any:
    """Let rclpy's setters check what they are given, where the distribution leaves that open."""
    optional = '_check_fields' in message_class.__slots__
    return partial(message_class, check_fields=True) if optional else message_class


def header(types: SimpleNamespace, frame_id: str = 'camera', stamp_ns: int = 0) -> Any:
    """Build a header."""
    stamp = types.Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types.Header(stamp=stamp, frame_id=frame_id)


def octets(types: SimpleNamespace, data: bytes) -> Any:
    """Give bytes as the class's own data type."""
    if types.kind == 'rclpy':
        return array('B', data)
    import numpy as np

    return np.frombuffer(data, np.uint8)


def image(
    types: SimpleNamespace, encoding: str, data: bytes, size: tuple[int, int], **fields: Any
) -> Any:
    """Build an Image of (height, width); its step follows from the data unless given."""
    numbers = {'step': len(data) // max(size[0], 1), 'is_bigendian': 0, **fields}
    return types.Image(
        header=header(types), height=size[0], width=size[1], encoding=encoding,
        data=octets(types, data), **numbers,
    )  # fmt: skip


def compressed(types: SimpleNamespace, form: str, data: bytes) -> Any:
    """Build a CompressedImage."""
    return types.CompressedImage(header=header(types), format=form, data=octets(types, data))


def camera_info(types: SimpleNamespace, size: tuple[int, int] = (375, 1242), **fields: Any) -> Any:
    """Build a CameraInfo: k, d, r, p as lists, roi as (top, left, height, width)."""
    import numpy as np

    top, left, height, width = fields.pop('roi', (0, 0, 0, 0))
    roi = types.RegionOfInterest(
        x_offset=left, y_offset=top, height=height, width=width, do_rectify=False
    )
    d = [float(number) for number in fields.pop('d', ())]
    matrices = {
        name: np.array(fields.pop(name, [0.0] * length), float).ravel()
        for name, length in (('k', 9), ('r', 9), ('p', 12))
    }
    numbers = {'distortion_model': 'plumb_bob', 'binning_x': 0, 'binning_y': 0, **fields}
    return types.CameraInfo(
        header=header(types), height=size[0], width=size[1], roi=roi,
        d=np.array(d) if types.kind == 'rosbags' else array('d', d), **matrices, **numbers,
    )  # fmt: skip


def cloud(
    types: SimpleNamespace, fields: list[tuple[str, int, int]], data: bytes, size: tuple[int, int],
    point_step: int, **numbers: Any,
) -> Any:  # fmt: skip
    """Build a PointCloud2 of fields (name, offset, datatype) and (height, width) points."""
    described = [types.PointField(name=n, offset=o, datatype=t, count=1) for n, o, t in fields]
    numbers = {
        'row_step': size[1] * point_step, 'is_bigendian': False, 'is_dense': True, **numbers
    }  # fmt: skip
    return types.PointCloud2(
        header=header(types, 'lidar'), height=size[0], width=size[1], fields=described,
        point_step=point_step, data=octets(types, data), **numbers,
    )  # fmt: skip


def ouster_cloud(types: SimpleNamespace, data: Path) -> Any:
    """Build the PointCloud2 of the real Ouster OS1-64 scan from its bytes and description."""
    folder = data / 'ouster_cloud'
    about = json.loads((folder / 'points_0.json').read_text())
    return cloud(
        types,
        [(name, offset, kind) for name, offset, kind, _ in about['fields']],
        (folder / 'points_0.bin').read_bytes(),
        (about['height'], about['width']),
        about['point_step'],
        row_step=about['row_step'],
        is_dense=about['is_dense'],
    )
