"""Cameras and transforms against numbers worked out by hand."""

from depth_kd_ros.geometry import (
    Camera,
    check_rigid,
    invert,
    rotation,
    transform,
    unproject,
)  # fmt: skip
import numpy as np
import pytest

H = 0.5**0.5  # quaternions of 90 degree turns
K = np.array([[400.0, 0, 320], [0, 300, 240], [0, 0, 1]])
# A rotation with entries known by hand: x -> y -> z -> x (120 degrees about 1, 1, 1).
CYCLE = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


def project(points, K):
    """Pinhole projection written out: an oracle for unproject."""
    x, y, z = np.moveaxis(points, -1, 0)
    u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
    return u, K[1, 1] * y / z + K[1, 2]


@pytest.mark.parametrize(
    ('quaternion', 'x', 'y', 'z'),
    [
        ((0, 0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((H, 0, 0, H), (1, 0, 0), (0, 0, 1), (0, -1, 0)),  # +90 deg about x: y -> z -> -y
        ((0, H, 0, H), (0, 0, -1), (0, 1, 0), (1, 0, 0)),  # about y: z -> x -> -z
        ((0, 0, H, H), (0, 1, 0), (-1, 0, 0), (0, 0, 1)),  # about z: x -> y -> -x
        ((0, 0, -H, H), (0, -1, 0), (1, 0, 0), (0, 0, 1)),
        ((1, 0, 0, 0), (1, 0, 0), (0, -1, 0), (0, 0, -1)),  # half turn
        ((0.5, 0.5, 0.5, 0.5), (0, 1, 0), (0, 0, 1), (1, 0, 0)),
        ((-0.5, -0.5, -0.5, -0.5), (0, 1, 0), (0, 0, 1), (1, 0, 0)),  # the same turn
        ((-0.5, 0.5, -0.5, 0.5), (0, -1, 0), (0, 0, -1), (1, 0, 0)),  # optical frame in REP 103
    ],
)
def test_quaternion_turns_the_axes_as_worked_out_by_hand(quaternion, x, y, z):
    np.testing.assert_allclose(rotation(quaternion), np.array([x, y, z]).T, atol=1e-12)


def test_optical_frame_sees_what_lies_ahead_left_and_above():
    """REP 103: a body's x (ahead) is the camera's z, its y (left) is -x, its z (up) is -y."""
    T_body_optical = transform([0, 0, 0], [-0.5, 0.5, -0.5, 0.5])
    T_optical_body = invert(T_body_optical)
    np.testing.assert_allclose(T_optical_body @ [7, 0, 0, 1], [0, 0, 7, 1], atol=1e-12)
    np.testing.assert_allclose(T_optical_body @ [0, 2, 0, 1], [-2, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(T_optical_body @ [0, 0, 3, 1], [0, -3, 0, 1], atol=1e-12)


def test_rotation_of_any_quaternion_agrees_with_scipy():
    from scipy.spatial.transform import Rotation

    for q in np.random.default_rng(0).normal(size=(50, 4)):
        q = q / np.linalg.norm(q)
        np.testing.assert_allclose(rotation(q), Rotation.from_quat(q).as_matrix(), atol=1e-12)


def test_quaternion_is_normalised_before_use():
    quarter = rotation([0, 0, 1.0005 * H, 1.0005 * H])
    np.testing.assert_allclose(quarter, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)


@pytest.mark.parametrize(
    'quaternion', [(0, 0, 0, 0), (0, 0, 0, 1.01), (0, 0, 1), (0, 0, 0, np.nan), np.eye(2) / 2**0.5]
)
def test_what_is_no_unit_quaternion_is_refused(quaternion):
    with pytest.raises(ValueError, match=r'\(x, y, z, w\) of norm 1 expected, norm is'):
        rotation(quaternion)


def test_transform_moves_points_of_the_child_to_the_parent():
    T = transform([1, 2, 3], [0, 0, H, H])  # turned left by 90 degrees, then moved
    np.testing.assert_allclose(T @ [10, 0, 0, 1], [1, 12, 3, 1], atol=1e-12)
    np.testing.assert_allclose(T @ [0, 10, 0, 1], [-9, 2, 3, 1], atol=1e-12)


@pytest.mark.parametrize('xyz', [[1.0], [1, 2], [[1, 2, 3]], 1.0])
def test_translation_of_another_size_is_refused(xyz):
    with pytest.raises(ValueError, match=r'translation .*: \(x, y, z\) in metres expected'):
        transform(xyz, [0, 0, 0, 1])


def test_transform_names_a_number_that_is_not_finite():
    with pytest.raises(ValueError, match=r'transform xyz=\[0\.0, nan, 0\.0\]: 4x4 finite numbers'):
        transform([0, np.nan, 0], [0, 0, 0, 1])


def test_invert_by_hand_and_both_ways():
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = CYCLE, [1, 2, 3]
    # inverse: rotation transposed, translation -R^T t = -(2, 3, 1)
    expected = [[0, 1, 0, -2], [0, 0, 1, -3], [1, 0, 0, -1], [0, 0, 0, 1]]
    np.testing.assert_array_equal(invert(T), expected)
    np.testing.assert_array_equal(invert(invert(T)), T)
    np.testing.assert_allclose(invert(T), np.linalg.inv(T), atol=1e-12)


@pytest.mark.parametrize('form', [lambda T: T, lambda T: T.tolist(), lambda T: T.ravel().tolist()])
def test_check_rigid_takes_rows_or_sixteen_numbers(form):
    T = transform([1, 2, 3], [0.5, 0.5, 0.5, 0.5])
    checked = check_rigid(form(T), 'T')
    np.testing.assert_array_equal(checked, T)
    assert checked.dtype == np.float64 and checked is not T


@pytest.mark.parametrize(
    ('T', 'message'),
    [
        (np.eye(3), r'finite numbers expected, got \[\[1'),
        (np.arange(16).reshape(2, 8), '4x4 finite numbers expected'),
        ([[1, 0], [0]], '4x4 finite numbers expected'),
        ('abc', "4x4 finite numbers expected, got 'abc'"),
        (np.full((4, 4), np.nan), '4x4 finite numbers expected'),
        (np.diag([1, 1, -1, 1]), r'not a rotation \(det -1\)'),
        (np.diag([2, 2, 2, 1]), r'not a rotation \(det 8\)'),
        (np.diag([2, 0.5, 1, 1]), r'not a rotation \(det 1\)'),
        (np.zeros((4, 4)), r'not a rotation \(det 0\)'),
        (np.diag([1, 1, 1, 2]), 'last row must be 0 0 0 1'),
        (np.eye(4) + np.eye(4)[[3, 0, 1, 2]] * [[0], [0], [0], [1]], 'last row must be 0 0 0 1'),
    ],
)
def test_what_is_not_rigid_is_refused_by_name(T, message):
    with pytest.raises(ValueError, match=f'lidar.yaml: .*{message}'):
        check_rigid(T, 'lidar.yaml')


def test_camera_keeps_its_own_read_only_numbers():
    matrix = K.copy()
    camera = Camera(matrix, np.int64(480), np.int64(640))
    matrix[:] = 0
    np.testing.assert_array_equal(camera.K, K)
    assert camera.size == (480, 640) and type(camera.height) is int and camera.model == ''
    with pytest.raises(ValueError, match='read-only'):
        camera.K[0, 0] = 1


def test_resizing_4x4_to_2x2_by_hand():
    """A pixel (2, 3) of 4x4 spans 1.5..2.5, 2.5..3.5: halved it lies in pixel (1, 1) at 0.75."""
    camera = Camera([[8, 0.4, 2], [0, 6, 3], [0, 0, 1]], 4, 4)
    half = camera.resized(2, 2)
    np.testing.assert_array_equal(half.K, [[4, 0.2, 0.75], [0, 3, 1.25], [0, 0, 1]])
    assert half.size == (2, 2)
    np.testing.assert_array_equal(half.resized(4, 4).K, camera.K)


def test_resizing_keeps_the_image_corners():
    """The outer border -0.5 and W - 0.5 belongs to the same rays at every size."""
    camera = Camera(K, 480, 640)
    other = camera.resized(100, 1000)
    for at, size in ((0, (640, 1000)), (1, (480, 100))):
        for border in (lambda n: -0.5, lambda n: n - 0.5):
            a, b = (
                (border(n) - c.K[at, 2]) / c.K[at, at]
                for n, c in zip(size, (camera, other), strict=True)
            )
            assert a == pytest.approx(b, abs=1e-12)


def test_cropping_by_hand():
    window = Camera(K, 480, 640, [0.1, 0, 0, 0, 0], 'plumb_bob').cropped(100, 30, 200, 500)
    np.testing.assert_array_equal(window.K, [[400, 0, 290], [0, 300, 140], [0, 0, 1]])
    assert window.size == (200, 500) and window.D[0] == 0.1 and window.model == 'plumb_bob'


@pytest.mark.parametrize(
    ('model', 'D', 'expected'),
    [
        ('plumb_bob', [0.1, 0.2, 0.3, 0.4], (0.1, 0.2, 0.3, 0.4, 0)),
        ('rational_polynomial', [1] * 8 + [0] * 6, (1,) * 8),
        ('rational_polynomial', [1] * 5, (1, 1, 1, 1, 1, 0, 0, 0)),
        ('equidistant', [0.1, 0, 0, 0], (0.1, 0, 0, 0)),
        ('equidistant', [0.1, 0, 0, 0, 0], (0.1, 0, 0, 0)),
        ('plumb_bob', [0] * 5, ()),
        ('no such model', [], ()),
        ('no such model', [0, 0], ()),
    ],
)
def test_distortion_becomes_its_models_full_set(model, D, expected):
    camera = Camera(K, 480, 640, D, model)
    assert camera.D == expected and camera.model == (model if expected else '')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((np.zeros((3, 3)), 4, 4), 'focal lengths must be positive. Is it calibrated'),
        ((-K, 4, 4), 'focal lengths must be positive'),
        ((np.eye(4), 4, 4), 'focal lengths must be positive'),
        ((K * np.nan, 4, 4), 'focal lengths must be positive'),
        ((K * 2, 4, 4), r'must be \[fx s cx\], \[0 fy cy\], \[0 0 1\] row by row'),
        ((K + np.array([[0] * 3, [1, 0, 0], [0] * 3]), 4, 4), 'row by row'),
        ((K.T, 4, 4), 'row by row'),
        ((K, 0, 4), 'camera size 0x4: must be at least 1x1'),
        ((K, 4, -1), 'camera size 4x-1'),
        ((K, 4, 4, [0.1] * 5, 'fisheye'), "'fisheye' is unknown; known: plumb_bob, rational"),
        ((K, 4, 4, [0.1] * 5), "distortion_model '' is unknown"),
        ((K, 4, 4, [0.1] * 3, 'plumb_bob'), 'plumb_bob needs at least 4 finite'),
        ((K, 4, 4, [0.1, np.nan, 0, 0], 'equidistant'), 'equidistant needs at least 4 finite'),
        ((K, 4, 4, [0.1] * 8, 'plumb_bob'), 'plumb_bob takes 5'),
        ((K, 4, 4, [0.1] * 5, 'equidistant'), 'equidistant takes 4'),
        ((K, 4, 4, [0.1] * 12, 'rational_polynomial'), 'rational_polynomial takes 8'),
    ],
)
def test_what_is_no_camera_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Camera(*arguments)


def test_unproject_by_hand():
    points = unproject(np.array([[2.0, 0.0], [0.0, 4.0]], np.float32), np.diag([2.0, 4, 1]))
    np.testing.assert_array_equal(points[1, 1], [4 * 1 / 2, 4 * 1 / 4, 4])
    np.testing.assert_array_equal(points[0, 0], [0, 0, 2])
    np.testing.assert_array_equal(points[0, 1], [0, 0, 0])
    assert points.dtype == np.float32 and points.shape == (2, 2, 3)


def test_projecting_what_was_unprojected_returns_each_pixel():
    skewed = K.copy()
    skewed[0, 1] = 5
    depth = np.random.default_rng(1).uniform(0.5, 80, (480, 640)).astype(np.float32)
    points = unproject(depth, skewed)
    u, v = project(points.astype(np.float64), skewed)
    rows, columns = np.indices(depth.shape)
    assert np.abs(u - columns).max() < 1e-3 and np.abs(v - rows).max() < 1e-3
    np.testing.assert_array_equal(points[..., 2], depth)
