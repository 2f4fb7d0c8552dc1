"""PointCloud2 to points and back, for rclpy's and rosbags' message classes alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from depth_kd_ros.messages import buffer, MessageError
import numpy as np

POINT_TYPES = {
    1: 'i1',
    2: 'u1',
    3: 'i2',
    4: 'u2',
    5: 'i4',
    6: 'u4',
    7: 'f4',
    8: 'f8',
}  # sensor_msgs/PointField


@dataclass(frozen=True)
class Points:
    """Usable points: `xyz` (N, 3) float32 m; `ring`, `row` (N,) int32 where the cloud has them."""

    xyz: np.ndarray
    ring: np.ndarray | None = None
    row: np.ndarray | None = None


def points(cloud: Any) -> Points:
    """Read a PointCloud2 of any layout; points that are NaN, infinite or all zero are dropped."""
    fields = {field.name: field for field in cloud.fields}
    missing = [name for name in 'xyz' if name not in fields]
    if missing:
        raise MessageError(
            f'cloud has no field {", ".join(missing)}; fields: {", ".join(fields) or "none"}'
        )
    height, width, step, row_step = cloud.height, cloud.width, cloud.point_step, cloud.row_step
    if height * width == 0:
        return Points(np.zeros((0, 3), np.float32))
    if row_step < step * width:
        raise MessageError(
            f'cloud row_step {row_step} is shorter than {width} points of {step} bytes'
        )
    if len(cloud.data) < row_step * (height - 1) + step * width:
        raise MessageError(
            f'cloud data has {len(cloud.data)} bytes, not row_step {row_step} x height {height}'
        )
    order = '>' if cloud.is_bigendian else '<'
    for name in ('x', 'y', 'z', 'ring'):
        if name in fields and fields[name].datatype not in POINT_TYPES:
            raise MessageError(
                f'cloud field {name!r} has unknown datatype {fields[name].datatype}'
            )
    layout = {
        n: (order + POINT_TYPES[fields[n].datatype], fields[n].offset)
        for n in ('x', 'y', 'z', 'ring')
        if n in fields
    }
    for name, (kind, offset) in layout.items():
        if offset + np.dtype(kind).itemsize > step:
            raise MessageError(
                f'cloud field {name!r} at offset {offset} lies outside a point of {step} bytes'
            )

    def column(name: str) -> np.ndarray:
        kind, offset = layout[name]
        return np.ndarray(
            (height, width), np.dtype(kind), memoryview(cloud.data), offset, (row_step, step)
        )

    xyz = np.empty((height, width, 3), np.float32)
    for axis, name in enumerate('xyz'):
        xyz[:, :, axis] = column(name)
    xyz = xyz.reshape(-1, 3)
    r2 = np.einsum('ij,ij->i', xyz, xyz)
    keep = np.flatnonzero((r2 > 0) & (r2 < np.inf))
    ring = column('ring').reshape(-1)[keep] if 'ring' in layout else None
    return Points(
        xyz[keep] if len(keep) < len(xyz) else xyz,
        None if ring is None else ring.astype(np.int32),
        (keep // width).astype(np.int32) if height > 1 else None,
    )


def xyzrgb_cloud(
    xyz: np.ndarray, rgb: np.ndarray, header: Any, PointCloud2: type, PointField: type
) -> Any:
    """Build a PointCloud2 from points (N, 3) m and colours (N, 3) uint8, packed as PCL does."""
    packed = np.zeros(
        len(xyz), np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('rgb', '<u4')])
    )
    packed['x'], packed['y'], packed['z'] = xyz.T
    colour = rgb.astype(np.uint32)
    packed['rgb'] = colour[:, 0] << 16 | colour[:, 1] << 8 | colour[:, 2]
    fields = [
        PointField(name=n, offset=4 * i, datatype=7, count=1)
        for i, n in enumerate(('x', 'y', 'z', 'rgb'))
    ]
    return PointCloud2(
        header=header, height=1, width=len(xyz), fields=fields, is_bigendian=False, point_step=16,
        row_step=16 * len(xyz), data=buffer(packed, PointCloud2), is_dense=True,
    )  # fmt: skip
