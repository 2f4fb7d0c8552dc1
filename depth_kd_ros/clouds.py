"""PointCloud2 to points and back, for rclpy's and rosbags' message classes alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from depth_kd_ros.messages import buffer, MessageError
import numpy as np

POINT_TYPES = dict(enumerate(('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'f4', 'f8'), 1))  # PointField
FLOAT32 = 7
COLUMNS = ('x', 'y', 'z', 'ring')
TIMES = ('time', 't', 'timestamp', 'offset_time')  # each point's own time, as drivers call it


@dataclass(frozen=True)
class Points:
    """
    Usable points: `xyz` (N, 3) float32 m; `ring`, `row` (N,) int32 where the cloud has them.

    `kept` (N,) are their places among all points of the message.
    """

    xyz: np.ndarray
    ring: np.ndarray | None = None
    row: np.ndarray | None = None
    kept: np.ndarray | None = None


def points(cloud: Any) -> Points:
    """
    Read a PointCloud2 of any layout; points that are NaN, infinite or all zero are dropped.

    Raises MessageError: no x, y or z, an unknown type, data shorter than the layout says.
    """
    columns = _columns(cloud)
    height, width = cloud.height, cloud.width
    xyz = np.empty((height, width, 3), np.float32)
    with np.errstate(over='ignore'):  # float64 too large for float32 is infinite, and dropped
        for axis, name in enumerate('xyz'):
            xyz[:, :, axis] = columns[name]
        xyz = xyz.reshape(-1, 3)  # (H * W, 3)
        squared = np.einsum('ij,ij->i', xyz, xyz)
    keep = np.flatnonzero((squared > 0) & (squared < np.inf))  # (N,)
    ring = columns['ring'].reshape(-1)[keep].astype(np.int32) if 'ring' in columns else None
    row = (keep // width).astype(np.int32) if height > 1 else None
    return Points(xyz[keep] if len(keep) < len(xyz) else xyz, ring, row, keep)


def times_s(cloud: Any) -> np.ndarray | None:
    """
    Read when each of all points (H * W,) was measured, s from an unknown zero.

    None where the cloud has no such field. Whole numbers are taken for nanoseconds. Raises
    MessageError as `points`.
    """
    name = next((field.name for field in cloud.fields if field.name in TIMES), None)
    if name is None:
        return None
    values = _columns(cloud, (name,))[name].reshape(-1)
    return values * 1e-9 if values.dtype.kind in 'iu' else values.astype(np.float64)


def _columns(cloud: Any, names: tuple[str, ...] = COLUMNS) -> dict[str, np.ndarray]:
    """View those of some columns that there are as (H, W) arrays of the cloud's own types."""
    fields = {field.name: field for field in cloud.fields}
    missing = [name for name in 'xyz' if name not in fields]
    if missing:
        raise MessageError(
            f'cloud has no field {", ".join(missing)}; fields: {", ".join(fields) or "none"}'
        )
    height, width, step = cloud.height, cloud.width, cloud.point_step
    row_step = cloud.row_step if height > 1 else step * width  # one row: drivers leave it 0
    if row_step < step * width:
        raise MessageError(
            f'cloud row_step {row_step} is shorter than {width} points of {step} bytes'
        )
    if height * width and len(cloud.data) < row_step * (height - 1) + step * width:
        raise MessageError(
            f'cloud data has {len(cloud.data)} bytes, not row_step {row_step} x height {height}'
        )
    order, columns = '>' if cloud.is_bigendian else '<', {}
    for name in filter(fields.__contains__, names):
        code, offset = fields[name].datatype, fields[name].offset
        if code not in POINT_TYPES:
            raise MessageError(f'cloud field {name!r} has unknown datatype {code}')
        dtype = np.dtype(order + POINT_TYPES[code])
        if offset + dtype.itemsize > step:
            raise MessageError(
                f'cloud field {name!r} at offset {offset} lies outside a point of {step} bytes'
            )
        columns[name] = (
            np.ndarray((height, width), dtype, memoryview(cloud.data), offset, (row_step, step))
            if height * width
            else np.empty((height, width), dtype)
        )
    return columns


def xyzrgb_cloud(
    xyz: np.ndarray, rgb: np.ndarray, header: Any, PointCloud2: type, PointField: type
) -> Any:
    """
    Build a PointCloud2 from points (N, 3) m and colours (N, 3) uint8, packed as PCL does.

    Points that are not finite are left out.
    """
    finite = np.isfinite(xyz).all(1)
    if not finite.all():
        xyz, rgb = xyz[finite], rgb[finite]
    names = ('x', 'y', 'z', 'rgb')
    packed = np.zeros(len(xyz), [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('rgb', '<u4')])
    packed['x'], packed['y'], packed['z'] = xyz.T
    colour = rgb.astype(np.uint32)
    packed['rgb'] = colour[:, 0] << 16 | colour[:, 1] << 8 | colour[:, 2]
    fields = [
        PointField(name=name, offset=4 * i, datatype=FLOAT32, count=1)
        for i, name in enumerate(names)
    ]
    return PointCloud2(
        header=header, height=1, width=len(xyz), fields=fields, is_bigendian=False, point_step=16,
        row_step=16 * len(xyz), data=buffer(packed, PointCloud2), is_dense=True,
    )  # fmt: skip
