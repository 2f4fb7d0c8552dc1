"""PointCloud2 of any layout against bytes packed by hand, real clouds and sensor_msgs_py."""

import struct

from depth_kd_ros.clouds import points, times_s, xyzrgb_cloud
from depth_kd_ros.messages import MessageError
import numpy as np
import pcd
import pytest
import ros_types

I8, U8, I16, U16, I32, U32, F32, F64 = range(1, 9)
LETTERS = dict(zip(range(1, 9), 'bBhHiIfd', strict=True))
XYZ = [(1.0, 2.0, 3.0), (-4.5, 0.0, 0.25), (0.0, 0.0, -7.0), (100.0, -50.0, 1.5)]


@pytest.fixture(params=ros_types.KINDS)
def ros(request):
    return ros_types.load(request.param)


def packed(fields, rows, step, order='<', filler=0xCD, row_padding=0):
    """Pack rows of points {name: value} at the fields' offsets; all other bytes are rubbish."""
    out = bytearray()
    for row in rows:
        for point in row:
            record = bytearray([filler]) * step
            for name, offset, kind in fields:
                struct.pack_into(order + LETTERS[kind], record, offset, point[name])
            out += record
        out += bytearray([filler]) * row_padding
    return bytes(out)


def cloud_of(ros, fields, rows, step, order='<', row_padding=0, **numbers):
    data = packed(fields, rows, step, order, row_padding=row_padding)
    numbers = {'row_step': step * len(rows[0]) + row_padding, **numbers}
    size = (len(rows), len(rows[0]))
    return ros_types.cloud(ros, fields, data, size, step, is_bigendian=order == '>', **numbers)


def named(xyz, rings=None):
    rings = rings or range(len(xyz))
    names = ('x', 'y', 'z', 'ring')
    points = zip(xyz, rings, strict=True)
    return [dict(zip(names, (*p, ring), strict=True)) for p, ring in points]


LAYOUTS = {
    'tight': ([('x', 0, F32), ('y', 4, F32), ('z', 8, F32)], 12),
    'pcl': ([('x', 0, F32), ('y', 4, F32), ('z', 8, F32), ('ring', 20, U16)], 32),
    'odd order': ([('z', 1, F32), ('ring', 5, U8), ('x', 13, F32), ('y', 6, F32)], 17),
    'far apart': ([('ring', 0, U16), ('y', 11, F32), ('x', 30, F32), ('z', 21, F32)], 41),
    'doubles': ([('x', 0, F64), ('y', 8, F64), ('z', 16, F64), ('ring', 24, I32)], 28),
    'mixed': ([('x', 0, F64), ('y', 8, F32), ('z', 12, F64), ('ring', 20, U32)], 24),
    'float ring': ([('x', 0, F32), ('y', 4, F32), ('z', 8, F32), ('ring', 12, F32)], 16),
}


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('name', LAYOUTS)
def test_layouts_packed_by_hand(ros, name, order):
    fields, step = LAYOUTS[name]
    found = points(cloud_of(ros, fields, [named(XYZ)], step, order))
    assert found.xyz.dtype == np.float32 and found.xyz.dtype.isnative and found.row is None
    assert found.xyz.flags.writeable and found.xyz.flags.c_contiguous
    np.testing.assert_array_equal(found.xyz, np.float32(XYZ))
    if len(fields) == 4:
        assert found.ring.dtype == np.int32 and found.ring.tolist() == [0, 1, 2, 3]
    else:
        assert found.ring is None


@pytest.mark.parametrize('kind', range(1, 9))
def test_every_type_of_ring_and_of_coordinates(ros, kind):
    fields = [(name, 8 * i, kind) for i, name in enumerate(('x', 'y', 'z', 'ring'))]
    whole = kind < F32
    rows = [dict(zip(('x', 'y', 'z', 'ring'), (int(c) if whole else c for c in p), strict=True))
            for p in ((1, 2, 3, 63), (4, 5, 6, 0))]  # fmt: skip
    found = points(cloud_of(ros, fields, [rows], 32))
    np.testing.assert_array_equal(found.xyz, [[1, 2, 3], [4, 5, 6]])
    assert found.ring.tolist() == [63, 0]


@pytest.mark.parametrize('row_padding', [0, 5])
@pytest.mark.parametrize('order', ['<', '>'])
def test_organised_clouds_know_their_rows(ros, row_padding, order):
    fields, step = LAYOUTS['odd order']
    rows = [named(XYZ[:2], [5, 6]), named(XYZ[2:], [7, 8]), named(XYZ[1:3], [9, 10])]
    found = points(cloud_of(ros, fields, rows, step, order, row_padding))
    np.testing.assert_array_equal(found.xyz, np.float32([*XYZ, *XYZ[1:3]]))
    assert found.ring.tolist() == [5, 6, 7, 8, 9, 10]
    assert found.row.tolist() == [0, 0, 1, 1, 2, 2] and found.row.dtype == np.int32


def test_last_row_may_lack_its_padding(ros):
    fields, step = LAYOUTS['tight']
    data = packed(fields, [named(XYZ[:2])], step, row_padding=8) + packed(
        fields, [named(XYZ[2:])], step
    )
    cloud = ros_types.cloud(ros, fields, data, (2, 2), step, row_step=32)
    np.testing.assert_array_equal(points(cloud).xyz, np.float32(XYZ))


@pytest.mark.parametrize('is_dense', [True, False])
def test_unusable_points_go_whatever_is_dense_says(ros, is_dense):
    nan, inf = float('nan'), float('inf')
    xyz = [
        (nan, 0, 0), (1, 2, 3), (1, nan, 3), (1, 2, nan), (0, 0, 0), (-0.0, 0, 0), (inf, 0, 0),
        (0, -inf, 1), (0, 0, 4),
    ]  # fmt: skip
    fields, step = LAYOUTS['pcl']
    found = points(cloud_of(ros, fields, [named(xyz)], step, is_dense=is_dense))
    np.testing.assert_array_equal(found.xyz, [[1, 2, 3], [0, 0, 4]])
    assert found.ring.tolist() == [1, 8] and found.row is None
    organised = points(cloud_of(ros, fields, [named(xyz), named(xyz)], step, is_dense=is_dense))
    assert organised.row.tolist() == [0, 0, 1, 1] and organised.ring.tolist() == [1, 8, 1, 8]


def test_doubles_too_large_for_float32_go_without_a_warning(ros, recwarn):
    fields, step = LAYOUTS['doubles']
    found = points(cloud_of(ros, fields, [named([(1e300, 0, 0), (3e38, 3e38, 0), *XYZ])], step))
    np.testing.assert_array_equal(found.xyz, np.float32(XYZ))
    assert not recwarn.list


def test_times_of_points_in_every_unit(ros):
    fields, _ = LAYOUTS['tight']
    rows = [named([(1, 2, 3), (0, 0, 0), (4, 5, 6)])]
    assert times_s(cloud_of(ros, fields, rows, 12)) is None
    for name, kind, values in (
        ('time', F32, (-0.05, 0.0, 0.05)),
        ('t', U32, (50_000_000, 100_000_000, 150_000_000)),
        ('timestamp', F64, (1.7e9, 1.7e9 + 0.05, 1.7e9 + 0.1)),
    ):
        for point, value in zip(rows[0], values, strict=True):
            point[name] = value
        cloud = cloud_of(ros, [*fields, (name, 12, kind)], rows, 20)
        found = times_s(cloud)
        assert np.allclose(np.diff(found), 0.05, atol=1e-6)
        assert points(cloud).kept.tolist() == [0, 2]
    assert found[0] == pytest.approx(1.7e9)


@pytest.mark.parametrize('size', [(1, 0), (0, 0), (0, 5), (64, 0)])
def test_empty_clouds(ros, size):
    for name, ring in (('tight', False), ('pcl', True)):
        fields, step = LAYOUTS[name]
        found = points(ros_types.cloud(ros, fields, b'', size, step))
        assert found.xyz.shape == (0, 3) and found.xyz.dtype == np.float32
        assert (found.ring is not None) == ring and (not ring or found.ring.shape == (0,))


def test_all_points_unusable(ros):
    fields, step = LAYOUTS['pcl']
    found = points(cloud_of(ros, fields, [named([(0, 0, 0)] * 3)] * 2, step))
    assert len(found.xyz) == len(found.ring) == len(found.row) == 0


@pytest.mark.parametrize('row_step', [0, 1, 48, 10**6])
def test_row_step_of_a_single_row_is_not_needed(ros, row_step):
    """Drivers leave it 0, or count points; nothing depends on it."""
    fields, step = LAYOUTS['tight']
    cloud = cloud_of(ros, fields, [named(XYZ)], step, row_step=row_step)
    np.testing.assert_array_equal(points(cloud).xyz, np.float32(XYZ))


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'fields': []}, 'cloud has no field x, y, z; fields: none'),
        ({'fields': [('x', 0, F32), ('z', 4, F32)]}, 'cloud has no field y; fields: x, z'),
        ({'row_step': 23}, 'cloud row_step 23 is shorter than 2 points of 12 bytes'),
        ({'data': bytes(47)}, 'cloud data has 47 bytes, not row_step 24 x height 2'),
        ({'data': b''}, 'cloud data has 0 bytes'),
        ({'size': (2, 2**20), 'row_step': 12 * 2**20}, 'cloud data has 48 bytes'),
        ({'fields': [('x', 0, F32), ('y', 4, F32), ('z', 8, 9)]}, "'z' has unknown datatype 9"),
        ({'fields': [('x', 0, 0), ('y', 4, F32), ('z', 8, F32)]}, "'x' has unknown datatype 0"),
        (
            {'fields': [('x', 0, F32), ('y', 4, F32), ('z', 9, F32)]},
            "'z' at offset 9 lies outside",
        ),
        (
            {'fields': [('x', 0, F32), ('y', 4, F32), ('z', 8, F64)]},
            "'z' at offset 8 lies outside",
        ),
        ({'point_step': 0, 'row_step': 0}, 'lies outside a point of 0 bytes'),
        (
            {'fields': [*LAYOUTS['tight'][0], ('ring', 12, U8)]},
            "'ring' at offset 12 lies outside a point of 12 bytes",
        ),
    ],
)
def test_clouds_that_lie_are_refused(ros, change, text):
    fields = LAYOUTS['tight'][0]
    given = {'fields': fields, 'data': bytes(48), 'size': (2, 2), 'point_step': 12, **change}
    with pytest.raises(MessageError, match=text):
        points(ros_types.cloud(ros, **given))


def test_fields_that_are_not_read_may_be_anything(ros):
    fields = [*LAYOUTS['tight'][0], ('odd', 999, 77), ('rgb', 12, F32)]
    data = packed(LAYOUTS['tight'][0], [named(XYZ)], 16)
    np.testing.assert_array_equal(
        points(ros_types.cloud(ros, fields, data, (1, 4), 16)).xyz, np.float32(XYZ)
    )


def test_a_real_ouster_cloud(ros, shared_data):
    """64x2048, 48-byte points, dense by its own word although two thirds are zeros."""
    ouster = ros_types.ouster_cloud(ros, shared_data)
    assert ouster.is_dense and (ouster.height, ouster.width, ouster.point_step) == (64, 2048, 48)
    found = points(ouster)
    records = np.frombuffer(bytes(ouster.data), '<u1').reshape(-1, 48)
    xyz = records[:, :12].copy().view('<f4')
    hit = xyz.any(1)
    assert 0.6 < 1 - hit.mean() < 0.7 and np.isfinite(xyz).all()
    np.testing.assert_array_equal(found.xyz, xyz[hit])
    np.testing.assert_array_equal(found.ring, records[hit, 26])
    np.testing.assert_array_equal(found.row, np.flatnonzero(hit) // 2048)
    assert set(found.ring) == set(range(64)) and (found.ring != found.row).any()
    ranges = records[hit, 32:36].copy().view('<u4').ravel() / 1000
    assert np.abs(np.linalg.norm(found.xyz, axis=1) - ranges).max() < 0.05


def test_a_real_cloud_with_nan_rows(ros, shared_data):
    rows = pcd.read(shared_data / 'nan_cloud' / 'pointcloud.pcd')
    fields = [(name, 4 * i, F32) for i, name in enumerate(rows.dtype.names)]
    found = points(ros_types.cloud(ros, fields, rows.tobytes(), (1, len(rows)), 20))
    assert len(rows) == 32032 and len(found.xyz) == 30143
    finite = np.isfinite(rows['x'])
    np.testing.assert_array_equal(found.xyz[:, 0], rows['x'][finite])
    assert found.ring is None and np.isfinite(found.xyz).all()


def test_sensor_msgs_py_reads_the_same():
    oracle = pytest.importorskip(
        'sensor_msgs_py.point_cloud2', reason='the ROS package sensor_msgs_py is absent'
    )
    ros = ros_types.load('rclpy')
    for name, (fields, step) in LAYOUTS.items():
        if name == 'mixed':  # one type for all fields is its own limit
            continue
        cloud = cloud_of(ros, fields, [named(XYZ), named(XYZ)], step)
        expected = oracle.read_points(cloud, ['x', 'y', 'z'], skip_nans=True)
        found = points(cloud)
        for axis, letter in enumerate('xyz'):
            np.testing.assert_array_equal(found.xyz[:, axis], expected[letter].ravel())


def test_coloured_cloud_by_hand(ros):
    rgb = np.array([[255, 128, 1], [0, 0, 0], [1, 2, 3], [9, 9, 9]], np.uint8)
    xyz = np.array(XYZ)
    xyz[1, 2] = np.nan  # no ray there
    header = ros_types.header(ros, 'camera', 7)
    cloud = xyzrgb_cloud(xyz, rgb, header, ros.PointCloud2, ros.PointField)
    assert cloud.header.frame_id == 'camera' and (cloud.height, cloud.width) == (1, 3)
    assert (cloud.point_step, cloud.row_step, cloud.is_dense) == (16, 48, True)
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ('x', 0, F32, 1), ('y', 4, F32, 1), ('z', 8, F32, 1), ('rgb', 12, F32, 1)
    ]  # fmt: skip
    first = struct.unpack('<3f4B', bytes(cloud.data[:16]))
    assert first == (1, 2, 3, 1, 128, 255, 0)  # blue, green, red, as PCL packs 0x00RRGGBB
    np.testing.assert_array_equal(points(cloud).xyz, np.float32(XYZ)[[0, 2, 3]])


def test_coloured_cloud_of_no_points(ros):
    for xyz in (np.zeros((0, 3)), np.full((2, 3), np.nan)):
        rgb = np.zeros((len(xyz), 3), np.uint8)
        cloud = xyzrgb_cloud(xyz, rgb, ros_types.header(ros), ros.PointCloud2, ros.PointField)
        assert (cloud.width, cloud.row_step, len(cloud.data)) == (0, 0, 0)
        assert points(cloud).xyz.shape == (0, 3)
