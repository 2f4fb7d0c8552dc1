"""Rectified images against OpenCV, and against points projected through the lens."""

import cv2
from depth_kd_ros.geometry import Camera, rotation
from depth_kd_ros.lens import undistort
from depth_kd_ros.projection import pixels, sparse_depth
from depth_kd_ros.rectification import rectifier
import numpy as np
import pytest
import torch

K = np.array([[300.0, 0, 205], [0, 310, 148], [0, 0, 1]])
LENSES = {
    'plumb_bob': (-0.28, 0.09, 0.001, -0.0007, -0.012),
    'rational_polynomial': (0.8, -0.3, 0.0004, -0.0003, -0.02, 1.1, -0.1, -0.06),
    'equidistant': (-0.02, 0.004, -0.003, 0.0005),
}
TURN = rotation(np.array([0.01, -0.02, 0.015, (1 - 0.000725) ** 0.5]))


def raw_camera(model):
    return Camera(K, 300, 400, LENSES[model], model)


RECTIFIED = Camera([[280.0, 0, 198], [0, 280, 152], [0, 0, 1]], 310, 390)


def points_in_view():
    """Points (N, 3) of the rectified frame, seen well inside both images."""
    z = np.random.default_rng(0).uniform(2, 30, (40, 1))
    return np.hstack([np.random.default_rng(1).uniform(-0.42, 0.42, (40, 2)) * z, z])


def uv(points, camera):
    u, v, _ = pixels(*torch.from_numpy(points).unbind(1), camera)
    return torch.stack([u, v], -1).numpy()


@pytest.mark.parametrize('R', [np.eye(3), TURN], ids=['straight', 'turned'])
@pytest.mark.parametrize('model', LENSES)
def test_a_spot_in_the_raw_image_moves_to_where_its_point_projects(model, R):
    """CameraInfo: p_rectified = R @ p_raw; the raw image is K, D, the rectified one P."""
    raw = raw_camera(model)
    rectify = rectifier(raw, R, RECTIFIED)
    v, u = np.indices(raw.size)
    for point in points_in_view()[:12]:
        at = uv((R.T @ point)[None], raw)[0]
        spot = 255 * np.exp(-((u - at[0]) ** 2 + (v - at[1]) ** 2) / 18)
        found = rectify(np.repeat(spot[:, :, None], 3, 2).astype(np.uint8))
        assert found.shape == (310, 390, 3) and found.dtype == np.uint8
        rows, columns = np.indices(RECTIFIED.size)
        weight = found[:, :, 0].astype(float)
        centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
        assert np.abs(centre - uv(point[None], RECTIFIED)[0]).max() < 0.12


@pytest.mark.parametrize('model', LENSES)
def test_projecting_through_the_lens_then_undistorting_is_projecting_without(model):
    raw, points = raw_camera(model), points_in_view()
    through = torch.from_numpy(uv(points, raw))
    b = (through[:, 1] - K[1, 2]) / K[1, 1]
    a, b = undistort((through[:, 0] - K[0, 2]) / K[0, 0], b, raw)
    flat = np.stack([280 * a.numpy() + 198, 280 * b.numpy() + 152], -1)
    assert np.abs(flat - uv(points, RECTIFIED)).max() < 1e-6


@pytest.mark.parametrize('model', LENSES)
def test_equals_opencv(model):
    raw = raw_camera(model)
    image = np.random.default_rng(2).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    image = cv2.resize(image, (400, 300), interpolation=cv2.INTER_CUBIC)
    found = rectifier(raw, np.eye(3), Camera(K, 300, 400))(image)
    undistort_image = cv2.undistort
    if model == 'equidistant':
        undistort_image = lambda i, K, D: cv2.fisheye.undistortImage(i, K, D, Knew=K)  # noqa: E731
    expected = undistort_image(image, K, np.array(raw.D))
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_without_distortion_nothing_moves():
    image = np.random.default_rng(3).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    straight = Camera(K, 300, 400)
    rectify = rectifier(straight, np.eye(3), straight)
    np.testing.assert_array_equal(rectify(image), image)
    assert rectify.camera is straight


def test_what_lies_outside_the_raw_image_is_black():
    wide = Camera([[100.0, 0, 200], [0, 100, 150], [0, 0, 1]], 300, 400)
    found = rectifier(Camera(K, 300, 400), np.eye(3), wide)(np.full((300, 400, 3), 200, np.uint8))
    assert (found[150, 200] == 200).all() and not found[[0, -1]].any() and not found[:, :9].any()


@pytest.mark.parametrize('model', LENSES)
def test_both_ways_of_treating_a_lens_show_the_same_point_on_the_same_spot(model):
    """Rectify the image and project without lens, or project with it: the colours agree."""
    raw = raw_camera(model)
    v, u = np.indices(raw.size)
    ramp = np.dstack([u / 2, v / 2, (u + v) / 4]).astype(np.uint8)
    colours = []
    for camera, image in ((raw, ramp), (RECTIFIED, rectifier(raw, np.eye(3), RECTIFIED)(ramp))):
        index = sparse_depth(torch.from_numpy(points_in_view()), np.eye(4), camera).index.numpy()
        colours.append([image[tuple(np.argwhere(index == n)[0])] for n in range(40)])
    assert np.abs(np.subtract(*np.array(colours, int))).max() <= 2
