"""Projection against hand-worked pixels, the reference and real frames; every flip is noticed."""

import importlib.util
from types import ModuleType

from depth_kd_ros import geometry, lens, projection
from depth_kd_ros.bags import Bag
from depth_kd_ros.geometry import Camera, transform
from depth_kd_ros.projection import rays, sparse_depth
import kitti
import numpy as np
import pytest
import torch

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]
CAMERA = Camera([[100, 0, 20], [0, 50, 10], [0, 0, 1]], 30, 40)
# LiDAR x ahead, y left, z up -> camera z, -x, -y; then moved.
QUATERNION, XYZ = (0.5, -0.5, 0.5, 0.5), (0.1, -0.2, -0.3)


def hand_points():
    """Points of the LiDAR with pixel (row, column) and depth by hand: u = 100 x/z + 20."""
    return [
        ((5.3, 0.6, 0.7), (1, 10), 5.0),  # camera (-.5, -.9, 5)
        ((10.3, -1.26, -0.32), (11, 34), 10.0),  # camera (1.36, .12, 10): 33.6, 10.6
        ((2.3, 0.5, -0.88), (27, 0), 2.0),  # camera (-.4, .68, 2): left border
        ((4.3, -0.66, 0.6), (0, 39), 4.0),  # camera (.76, -.8, 4): corner
    ]


def project(points, T, camera, device='cpu', **options):
    given = torch.tensor(np.asarray(points, np.float32).reshape(-1, 3), device=device)
    found = sparse_depth(given, T, camera, **options)
    assert found.depth.dtype == torch.float32 and found.index.dtype == torch.int64
    assert found.depth.shape == found.index.shape == camera.size
    return found.depth.cpu().numpy(), found.index.cpu().numpy()


def assert_hand_worked(device='cpu'):
    """Compare transform, projection, resizing and cropping with numbers worked out by hand."""
    T = geometry.transform(XYZ, QUATERNION)
    expected = np.zeros((30, 40))
    for _, pixel, z in hand_points():
        expected[pixel] = z
    depth, index = project([p for p, _, _ in hand_points()], T, CAMERA, device)
    np.testing.assert_allclose(depth, expected, rtol=1e-6)
    for number, (_, pixel, _) in enumerate(hand_points()):
        assert index[pixel] == number
    assert (index >= 0).sum() == len(hand_points())
    back = geometry.invert(T) @ [-0.5, -0.9, 5, 1]
    np.testing.assert_allclose(back, [5.3, 0.6, 0.7, 1], atol=1e-12)
    half, window = CAMERA.resized(15, 20), CAMERA.cropped(1, 5, 20, 20)
    np.testing.assert_array_equal(half.K, [[50, 0, 9.75], [0, 25, 4.75], [0, 0, 1]])
    np.testing.assert_array_equal(window.K, [[100, 0, 15], [0, 50, 9], [0, 0, 1]])
    depth, _ = project([hand_points()[0][0]], T, window, device)
    assert depth[0, 5] == 5
    near, far = (5.3, 0.6, 0.7), (10.3, 1.1, 1.6)  # one ray
    assert project([far, near], T, CAMERA, device)[1][1, 10] == 1


def assert_equals_kitti(data, frames):
    """Compare the bag's clouds with the frames' depth images: at most 2 pixels may differ."""
    camera, T = kitti.calibration(data)
    for index in frames:
        depth, _ = project(kitti.clouds(data)[index], T, camera)
        png = kitti.depth(data, 'sparse_64beam', index)
        assert (png > 0).sum() > 15000
        assert len(kitti.differing(depth, png)) <= 2


@pytest.mark.parametrize('device', DEVICES)
def test_pixels_by_hand(device):
    assert_hand_worked(device)


def test_every_cloud_of_the_bag_projects_to_the_depth_image_of_its_frame(shared_data):
    assert len(kitti.clouds(shared_data)) == 20
    assert_equals_kitti(shared_data, range(20))


def test_transform_of_the_bag_moves_only_points_on_a_pixel_border(shared_data):
    """The bag's quaternion is rounded at 1e-8: 2 points of 20 frames cross a border by it."""
    with Bag(shared_data / 'kitti_0926_bag') as bag:
        T = bag.extrinsics('camera_optical', 'velodyne')
    camera, _ = kitti.calibration(shared_data)
    for index, xyz in enumerate(kitti.clouds(shared_data)):
        depth, _ = project(xyz, T, camera)
        differing = kitti.differing(depth, kitti.depth(shared_data, 'sparse_64beam', index))
        assert len(differing) <= 4
        p = xyz.astype(np.float64) @ T[:3, :3].T + T[:3, 3]
        uv = (p @ camera.K.T)[:, :2] / p[:, 2:]
        border = np.abs(uv - np.floor(uv) - 0.5) < 1e-4  # (N, 2): u, v within 1e-4 px of one
        at = uv[border.any(1) & (p[:, 2] > 0.5)]
        for row, column in differing:
            assert (np.abs(at - (column, row)) < 0.5 + 1e-4).all(1).any()


@pytest.fixture(scope='module')
def reference(shared_data) -> ModuleType:
    path = shared_data.parent / 'tools' / 'reference_projection.py'
    if not path.is_file():
        pytest.skip(f'no {path.name} beside the real data')
    spec = importlib.util.spec_from_file_location('reference_projection', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def single(matrix):
    """Round to float32 as the reference does with K and T."""
    return np.asarray(matrix).astype(np.float32).astype(np.float64)


def test_equals_the_reference_on_real_clouds(shared_data, reference):
    camera, T = kitti.calibration(shared_data)
    camera, T = Camera(single(camera.K), *camera.size), single(T)
    for xyz in kitti.clouds(shared_data):
        expected = reference.project(xyz.astype(np.float64), camera.K, T, *camera.size)
        np.testing.assert_array_equal(project(xyz, T, camera)[0], expected)


@pytest.mark.parametrize('seed', range(6))
def test_equals_the_reference_on_random_clouds(reference, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60000, 3)).astype(np.float32) * rng.uniform(2, 20)
    quaternion = rng.normal(size=4)
    T = single(transform(rng.normal(size=3), quaternion / np.linalg.norm(quaternion)))
    fx, fy, cx, cy = rng.uniform((20, 20, -20, -20), (90, 90, 120, 120))
    camera = Camera(single([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), 70, 90)
    depth, index = project(points, T, camera)
    expected = reference.project(points.astype(np.float64), camera.K, T, 70, 90)
    np.testing.assert_array_equal(depth, expected)
    assert ((index >= 0) == (depth > 0)).all() and (depth > 0).sum() > 500
    z = (points[index[depth > 0]].astype(np.float64) @ T[:3, :3].T + T[:3, 3])[:, 2]
    np.testing.assert_array_equal(z.astype(np.float32), depth[depth > 0])


@pytest.mark.parametrize('device', DEVICES)
def test_nearest_wins_and_of_equals_the_first_in_the_cloud(device):
    T, far, near = np.eye(4), (0.4, 0.2, 8), (0.2, 0.1, 4)
    for order in ([far, near, near, far], [near, far, near], [far, far, near, near]):
        depth, index = project(order, T, CAMERA, device)
        assert (depth > 0).sum() == 1 and depth[11, 25] == 4
        assert index[11, 25] == order.index(near)


@pytest.mark.parametrize('device', DEVICES)
def test_order_of_the_cloud_changes_nothing(device):
    rng = np.random.default_rng(3)
    points = rng.uniform((-3, -3, 0.2), (3, 3, 9), (20000, 3)).astype(np.float32)
    shuffled = rng.permutation(len(points))
    depth, index = project(points, np.eye(4), CAMERA, device)
    again, moved = project(points[shuffled], np.eye(4), CAMERA, device)
    np.testing.assert_array_equal(depth, again)
    np.testing.assert_array_equal(np.where(moved < 0, -1, shuffled[moved]), index)


@pytest.mark.parametrize('camera', [CAMERA, Camera(CAMERA.K, 30, 40, [-0.1] * 5, 'plumb_bob')])
def test_unusable_points_are_dropped(camera):
    nan, inf = np.nan, np.inf
    dropped = [
        (0, 0, 0), (0, 0, -4), (0, 0, 0.5), (0, 0, 0.1), (nan, 0, 4), (0, nan, 4), (0, 0, nan),
        (inf, 0, 4), (0, -inf, 4), (0, 0, inf), (0, 0, -inf), (inf, inf, inf), (9, 0, 1),
        (0, -9, 1), (-9, 0, 1), (0, 9, 1), (3e38, 3e38, 3e38),
    ]  # fmt: skip
    depth, index = project(dropped, np.eye(4), camera)
    assert not depth.any() and (index == -1).all()
    depth, index = project([*dropped, (0, 0, 0.51)], np.eye(4), camera)
    assert index[10, 20] == len(dropped) and (depth > 0).sum() == 1
    assert project([(0, 0, 3)], np.eye(4), camera, min_depth_m=3)[0].sum() == 0


def test_pixel_borders_belong_to_the_image_as_rounding_says():
    """U = 100 x + 20 at z = 1: the image spans -0.5 to 39.5, v to 29.5."""
    inside = [(-0.2049, 0.0, 1), (0.1949, 0.0, 1), (0, -0.2099, 1), (0, 0.3899, 1)]
    outside = [(-0.2051, 0.0, 1), (0.1951, 0.0, 1), (0, -0.2101, 1), (0, 0.3901, 1)]
    for point, pixel in zip(inside, [(10, 0), (10, 39), (0, 20), (29, 20)], strict=True):
        depth, _ = project([point], np.eye(4), CAMERA)
        assert depth[pixel] == 1 and (depth > 0).sum() == 1
    assert not project(outside, np.eye(4), CAMERA)[0].any()


def test_a_point_between_two_pixels_goes_to_the_even_one():
    """As NumPy rounds: u = 128 x + 20 is 20.5 and 21.5."""
    camera = Camera([[128, 0, 20], [0, 128, 10], [0, 0, 1]], 30, 40)
    for half, pixel in ((0.5, 20), (1.5, 22)):
        assert project([(half / 128, 0, 1)], np.eye(4), camera)[0][10, pixel] == 1


def test_empty_and_float64_clouds():
    depth, index = project(np.zeros((0, 3)), np.eye(4), CAMERA)
    assert not depth.any() and (index == -1).all()
    doubles = sparse_depth(torch.tensor([[0.2, 0.1, 4.0]]).double(), np.eye(4), CAMERA)
    assert doubles.depth[11, 25] == 4


@pytest.mark.parametrize('offset', [-1000.0, 1000.0])
def test_images_far_from_the_principal_point(offset):
    """A crop may lie wholly beside the optical axis."""
    camera = Camera([[100, 0, 20 + offset], [0, 50, 10], [0, 0, 1]], 30, 40)
    depth, _ = project([(-2 * offset / 100, 0, 2)], np.eye(4), camera)
    assert depth[10, 20] == 2


def test_skew_moves_u_with_y():
    camera = Camera([[100, 20, 20], [0, 50, 10], [0, 0, 1]], 30, 40)
    depth, _ = project([(0.2, 0.4, 2)], np.eye(4), camera)  # a = .1, b = .2
    assert depth[20, 34] == 2 and rays(camera)[20, 34].tolist() == pytest.approx([0.1, 0.2])


def test_rays_of_a_pinhole_by_hand():
    found = rays(CAMERA)
    assert found.shape == (30, 40, 2) and found.dtype == torch.float32
    assert found[10, 20].tolist() == [0, 0]
    assert found[0, 39].tolist() == pytest.approx([0.19, -0.2])


def moved(change):
    """Project with another transform (4, 4)."""
    return lambda points, T, right=projection.points_cam: right(points, change(T))


def flipped(*signs):
    """Flip axes of the camera frame."""
    return moved(lambda T: np.diag([*signs, 1]) @ T)


def shifted(change):
    """Change u and v after the projection."""

    def wrong(x, y, z, camera, right=projection.pixels):
        u, v, seen = right(x, y, z, camera)
        return (*change(u, v, camera), seen)

    return wrong


def transposed(T):
    return np.block([[T[:3, :3].T, T[:3, 3:]], [T[3:]]])


def resized_without_half_pixel(camera, height, width):
    scale = np.diag([width / camera.width, height / camera.height, 1])
    return Camera(scale @ camera.K, height, width)


P, G, C = projection, geometry, geometry.Camera
MUTATIONS = {
    'x flipped': (P, 'points_cam', flipped(-1, 1, 1)),
    'y flipped': (P, 'points_cam', flipped(1, -1, 1)),
    'z flipped': (P, 'points_cam', flipped(1, 1, -1)),
    'rotation transposed': (P, 'points_cam', moved(transposed)),
    'transform inverted': (P, 'points_cam', moved(geometry.invert)),
    'translation flipped': (P, 'points_cam', moved(lambda T: T * [1, 1, 1, -1])),
    'translation omitted': (P, 'points_cam', moved(lambda T: T * [1, 1, 1, 0])),
    'v upside down': (P, 'pixels', shifted(lambda u, v, c: (u, c.height - 1 - v))),
    'u mirrored': (P, 'pixels', shifted(lambda u, v, c: (c.width - 1 - u, v))),
    'u and v swapped': (P, 'pixels', shifted(lambda u, v, c: (v, u))),
    'half a pixel off': (P, 'pixels', shifted(lambda u, v, c: (u + 0.5, v + 0.5))),
    'truncated': (P, 'pixels', shifted(lambda u, v, c: (u.floor(), v.floor()))),
}
NEAREST, RESIZED, CROPPED, ROTATION = P._nearest, C.resized, C.cropped, G.rotation
MORE_MUTATIONS = {
    'no half pixel in resize': (C, 'resized', resized_without_half_pixel),
    'sizes swapped in resize': (C, 'resized', lambda c, h, w: RESIZED(c, w, h)),
    'crop to the wrong side': (C, 'cropped', lambda c, t, f, h, w: CROPPED(c, -t, -f, h, w)),
    'crop swapped': (C, 'cropped', lambda c, t, f, h, w: CROPPED(c, f, t, h, w)),
    'quaternion w first': (G, 'rotation', lambda q: ROTATION(np.roll(q, -1))),
    'quaternion conjugated': (G, 'rotation', lambda q: ROTATION(np.array(q) * [-1, -1, -1, 1])),
    'inverse without rotation': (G, 'invert', lambda T: transposed(T * [1, 1, 1, -1])),
    'no inverse': (G, 'invert', lambda T: T),
    'first point wins': (P, '_nearest', lambda p, z, i, size: NEAREST(p, z + 99 * i, i, size)),
}


@pytest.mark.parametrize('name', [*MUTATIONS, *MORE_MUTATIONS])
def test_hand_worked_numbers_notice(name, monkeypatch):
    assert_hand_worked()
    monkeypatch.setattr(*{**MUTATIONS, **MORE_MUTATIONS}[name])
    with pytest.raises(AssertionError):
        assert_hand_worked()


@pytest.mark.parametrize('name', MUTATIONS)
def test_real_frames_notice(name, shared_data, monkeypatch):
    monkeypatch.setattr(*MUTATIONS[name])
    with pytest.raises(AssertionError):
        assert_equals_kitti(shared_data, [0])


def points_cam_in_float32(points, T):
    T = torch.from_numpy(T).float()
    return (points @ T[:3, :3].T + T[:3, 3]).unbind(1)


def test_float32_would_not_do(shared_data, monkeypatch):
    """The reason for float64: in float32 some points of 20 frames change their pixel."""
    camera, T = kitti.calibration(shared_data)
    exact = [project(xyz, T, camera)[1] for xyz in kitti.clouds(shared_data)]
    monkeypatch.setattr(P, 'points_cam', points_cam_in_float32)
    changed = [
        (project(xyz, T, camera)[1] != index).sum()
        for xyz, index in zip(kitti.clouds(shared_data), exact, strict=True)
    ]
    assert 0 < sum(changed) < 400


def test_lens_is_applied_with_the_distortion_the_camera_has():
    """plumb_bob k1 = 0.5 at a = 0.2, b = 0: r2 = .04, a' = .2 * 1.02."""
    camera = Camera(CAMERA.K, 30, 60, [0.5, 0, 0, 0, 0], 'plumb_bob')
    u, v, seen = projection.pixels(*torch.tensor([[0.4], [0], [2]]).double(), camera)
    assert u.item() == pytest.approx(20 + 20.4) and v.item() == 10 and seen.item()
    assert lens.max_radius(camera) == float('inf')
