"""Lens models against OpenCV, folding polynomials, and one real frame with a distorting lens."""

import json

import cv2
from depth_kd_ros import pictures
from depth_kd_ros.geometry import Camera
from depth_kd_ros.lens import distort, max_radius, undistort
from depth_kd_ros.projection import pixels, rays, sparse_depth
import numpy as np
import pcd
import pytest
import torch

K = np.array([[700.0, 0, 410], [0, 650, 290], [0, 0, 1]])
LENSES = {
    'plumb_bob': (-0.28, 0.09, 0.001, -0.0007, -0.012),
    'plumb_bob of 4': (-0.1, 0.02, 0.002, 0.001),
    'pincushion': (0.2, 0.1, -0.001, 0.002, 0.05),
    'rational_polynomial': (0.8, -0.3, 0.0004, -0.0003, -0.02, 1.1, -0.1, -0.06),
    'equidistant': (-0.02, 0.004, -0.003, 0.0005),
    'equidistant out': (0.1, 0.01, 0.001, 0.0001),
}


def camera(name, size=(600, 800)):
    model = {'plumb_bob of 4': 'plumb_bob', 'pincushion': 'plumb_bob'}.get(name, name.split()[0])
    return Camera(K, *size, LENSES[name], model)


def by_opencv(points, camera):
    """Project camera-frame points (N, 3) with OpenCV: uv (N, 2)."""
    project = cv2.fisheye.projectPoints if camera.model == 'equidistant' else cv2.projectPoints
    zero = np.zeros(3)
    uv, _ = project(points.reshape(-1, 1, 3), zero, zero, np.array(camera.K), np.array(camera.D))
    return uv.reshape(-1, 2)


def uv_of(points, camera):
    u, v, seen = pixels(*torch.from_numpy(points).unbind(1), camera)
    return torch.stack([u, v], -1).numpy(), seen.numpy()


@pytest.mark.parametrize('name', LENSES)
def test_pixels_equal_opencv(name):
    rng = np.random.default_rng(0)
    z = rng.uniform(0.5, 60, (3000, 1))
    points = np.hstack([rng.uniform(-0.65, 0.65, (3000, 2)) * z, z])
    points[:2] = [[0, 0, 7], [1e-9, 0, 7]]  # on the axis
    uv, seen = uv_of(points, camera(name))
    assert seen.all() and np.abs(uv - by_opencv(points, camera(name))).max() < 1e-6


@pytest.mark.parametrize('model', ['plumb_bob', 'rational_polynomial'])
def test_one_point_by_hand(model):
    """At a = .5, b = -.2: r2 = .29, k1 -.1, k2 .2 -> radial .98782; p1 .01, p2 .02; ab = -.1."""
    a, b = torch.tensor([0.5]).double(), torch.tensor([-0.2]).double()
    radial = 1 - 0.1 * 0.29 + 0.2 * 0.29**2
    bent = distort(a, b, Camera(K, 600, 800, (-0.1, 0.2, 0.01, 0.02), model))
    assert bent[0].item() == pytest.approx(0.5 * radial - 0.002 + 0.02 * (0.29 + 0.5))
    assert bent[1].item() == pytest.approx(-0.2 * radial + 0.01 * (0.29 + 0.08) - 0.004)


@pytest.mark.parametrize(
    ('model', 'D', 'radius'),
    [
        ('plumb_bob', (-0.3, 0, 0, 0), (1 / 0.9) ** 0.5),  # 1 - .9 r2 = 0
        ('plumb_bob', (-0.3, 0, 0.02, 0.02), (1 / 0.9) ** 0.5),  # the radial part counts
        ('plumb_bob', (-0.3, 0.001, 0, 0, 1e-6), 1.0573),  # grows again far outside
        ('equidistant', (-0.3, 0, 0, 0), np.tan((1 / 0.9) ** 0.5)),  # in the angle
        ('plumb_bob', (0.3, 0, 0, 0), np.inf),
        ('equidistant', (0.01, 0, 0, 0), np.inf),
    ],
)
def test_range_of_a_lens_by_hand(model, D, radius):
    assert max_radius(Camera(K, 600, 800, D, model)) == pytest.approx(radius, rel=1e-3)
    assert max_radius(Camera(K, 600, 800)) == np.inf


@pytest.mark.parametrize(
    ('model', 'D', 'beyond'),
    [
        ('plumb_bob', (-0.3, 0, 0, 0), 1.6),  # bends to .371, in the image
        ('rational_polynomial', (0, 0, 0, 0, 0, -0.2, 0, 0), 12.0),  # past the pole at 2.24
        ('equidistant', (-0.3, 0, 0, 0), 20.0),
    ],
)
def test_points_beyond_the_range_do_not_fold_back_into_the_image(model, D, beyond):
    lens = Camera(K, 600, 800, D, model)
    point = np.array([[beyond * 2, 0, 2]])
    assert (0 <= by_opencv(point, lens)[0]).all()  # OpenCV folds it
    assert (by_opencv(point, lens)[0] < (800, 600)).all()
    assert not uv_of(point, lens)[1].any()
    ahead = np.array([[0.2, 0, 2]])
    found = sparse_depth(torch.tensor(np.vstack([point, ahead])), np.eye(4), lens)
    assert (found.depth > 0).sum() == 1 and (found.index >= 0).sum() == 1
    assert uv_of(ahead, lens)[1].all()


@pytest.mark.parametrize('name', LENSES)
def test_undistort_inverts_distort(name):
    a, b = torch.tensor(np.random.default_rng(1).uniform(-0.65, 0.65, (2, 5000)))
    back = undistort(*distort(a, b, camera(name)), camera(name))
    assert torch.stack([back[0] - a, back[1] - b]).abs().max() < 1e-7


def test_undistort_reaches_the_rim_of_a_fisheye():
    lens = Camera(K, 600, 800, (0.01, 0, 0, 0), 'equidistant')
    a = torch.tan(torch.deg2rad(torch.tensor([10.0, 60, 80, 85, 88]).double()))
    back, _ = undistort(*distort(a, torch.zeros_like(a), lens), lens)
    np.testing.assert_allclose(back, a, rtol=1e-6)


def test_where_no_ray_ends_there_is_none():
    """The image of k1 = -.3 ends at .703 from the centre: 1.054 * (1 - .3333)."""
    lens = Camera(K, 600, 800, (-0.3, 0, 0, 0), 'plumb_bob')
    a, b = undistort(torch.tensor([0.70, 0.705, 2.0]).double(), torch.zeros(3).double(), lens)
    assert a.isnan().tolist() == b.isnan().tolist() == [False, True, True]
    wide = rays(Camera(np.diag([100, 100, 1.0]), 4, 80, lens.D, 'plumb_bob'))
    assert not wide[0, :70].isnan().any() and wide[0, 71:].isnan().all()


@pytest.mark.parametrize('name', LENSES)
def test_rays_lead_back_to_their_pixels(name):
    lens = camera(name).resized(75, 100)
    xy = rays(lens)
    points = np.dstack([xy, np.ones(lens.size)]).reshape(-1, 3).astype(np.float64)
    v, u = np.indices(lens.size)
    uv = by_opencv(points, lens)
    assert np.abs(uv - np.stack([u, v], -1).reshape(-1, 2)).max() < 1e-3


@pytest.fixture(scope='module')
def road(shared_data):
    """Give the road frame: image, points, T_cam_lidar, its camera."""
    folder = shared_data / 'pjlab_distorted'

    def numbers(name):
        (content,) = json.loads((folder / f'{name}.json').read_text()).values()
        return content['param']

    lens = numbers('center_camera-intrinsic')
    T = numbers('top_center_lidar-to-center_camera-extrinsic')['sensor_calib']['data']
    image = cv2.cvtColor(cv2.imread(str(folder / 'calib.png')), cv2.COLOR_BGR2RGB)
    camera = Camera(
        lens['cam_K']['data'], 1200, 1920, lens['cam_dist']['data'][0], 'plumb_bob'
    )  # fmt: skip
    return image, pcd.read(folder / 'calib.pcd'), np.array(T), camera


def xyz_of(cloud):
    return np.stack([cloud['x'], cloud['y'], cloud['z']], -1)


def test_real_points_project_as_with_opencv(road):
    _, cloud, T, camera = road
    p = xyz_of(cloud).astype(np.float64) @ T[:3, :3].T + T[:3, 3]
    p = p[(p[:, 2] > 0.5) & (np.abs(p[:, :2]) < 0.6 * p[:, 2:]).all(1)]
    uv, seen = uv_of(p, camera)
    assert seen.all() and len(p) > 10000
    assert np.abs(uv - by_opencv(p, camera)).max() < 1e-6


def upright_edges(cloud):
    """Find the points (M, 3) where a ring jumps back by 2 m: outlines of poles and boxes."""
    xyz = xyz_of(cloud)
    order = np.lexsort([np.arctan2(xyz[:, 1], xyz[:, 0]), cloud['ring']])
    xyz, ring = xyz[order], cloud['ring'][order]
    reach = np.hypot(xyz[:, 0], xyz[:, 1])
    jump, same = np.diff(reach), np.diff(ring) == 0
    edge = np.zeros(len(xyz), bool)
    edge[:-1] |= same & (jump > 2)
    edge[1:] |= same & (jump < -2)
    return xyz[edge & (reach < 40)]


def misalignment_px(image, points, T, camera):
    """Measure how far outlines lie from image edges, on average over the outer image."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    upright = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)) > 30
    distance = cv2.distanceTransform((~upright).astype(np.uint8), cv2.DIST_L2, 5)
    index = sparse_depth(torch.from_numpy(points), T, camera).index.numpy()
    row, column = np.nonzero(index >= 0)
    outer = np.abs(column - camera.K[0, 2]) > 600  # the lens bends the border only
    assert outer.sum() > 60
    return np.minimum(distance[row[outer], column[outer]], 30).mean()


def test_edges_of_cloud_and_image_coincide_with_the_lens_only(road, tmp_path):
    image, cloud, T, camera = road
    ignored = Camera(camera.K, *camera.size)
    points = upright_edges(cloud)
    scores = {}
    for name, lens in (('with', camera), ('without', ignored)):
        scores[name] = misalignment_px(image, points, T, lens)
        sparse = sparse_depth(torch.from_numpy(xyz_of(cloud)), T, lens).depth.numpy()
        pictures.write(tmp_path / f'{name}.png', pictures.overlay(image, sparse, 2, 80, 2))
    assert scores['with'] < 0.6 * scores['without']  # measured: 1.1 px and 2.6 px
    pair = [cv2.imread(str(tmp_path / f'{name}.png')).astype(int) for name in scores]
    assert pair[0].shape == (1200, 1920, 3) and (pair[0] != pair[1]).any(2).mean() > 0.02
