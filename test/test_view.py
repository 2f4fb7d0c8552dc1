"""Views of a frame against per-pixel loops and the points that they show."""

from __future__ import annotations

from dataclasses import replace

from depth_kd_ros.geometry import unproject
from depth_kd_training.view import cut_out, mirrored
import numpy as np
import pytest
from test_augment import assert_equal, frame_of

VIEWS = [  # scale, degrees, top, left, size
    (1.0, 0.0, 3, 5, (30, 41)),
    (1.6031, 0.0, 7, 12, (37, 53)),
    (0.7123, 0.0, 1, 2, (20, 33)),
    (1.0, 7.0, 0, 0, (37, 53)),
    (1.3127, -9.0, 1, 2, (41, 60)),
]


def seen_from(points, scale, degrees):
    """Move points (..., 3) of the old camera frame to the new: roll, then shrink along z."""
    angle = np.deg2rad(degrees)
    X, Y, Z = np.moveaxis(points, -1, 0)
    turned = X * np.cos(angle) - Y * np.sin(angle), X * np.sin(angle) + Y * np.cos(angle)
    return np.stack([*turned, Z / scale], -1)


def pixel_of(points, K):
    """Project points (..., 3) to u, v."""
    u, v, w = np.moveaxis(points @ K.T, -1, 0)
    return u / w, v / w


@pytest.mark.parametrize('view', VIEWS)
def test_points_lie_where_the_moved_points_project_and_the_nearest_wins(view):
    scale, degrees, *_, size = view
    frame = frame_of()
    result = cut_out(frame, *view)
    moved = seen_from(unproject(frame.sparse_depth, frame.K).astype(float), scale, degrees)
    expected, rings = np.zeros(size), np.full(size, -1)
    for v, u in zip(*np.nonzero(frame.sparse_depth), strict=True):
        x, y = (int(np.floor(c + 0.5)) for c in pixel_of(moved[v, u], result.K))
        z = moved[v, u, 2]
        if 0 <= x < size[1] and 0 <= y < size[0] and not 0 < expected[y, x] <= z:
            expected[y, x], rings[y, x] = z, frame.ring[v, u]
    assert np.count_nonzero(expected) > 50
    np.testing.assert_allclose(result.sparse_depth, expected, rtol=1e-6)
    np.testing.assert_array_equal(result.ring, rings)
    assert np.count_nonzero(result.sparse_depth) <= np.count_nonzero(frame.sparse_depth)
    fewer = replace(frame, sparse_depth=np.zeros_like(frame.sparse_depth), ring=None)
    both = cut_out(replace(fewer, all_points=frame.sparse_depth), *view)
    np.testing.assert_array_equal(both.all_points, result.sparse_depth)
    assert not both.sparse_depth.any()


@pytest.mark.parametrize('view', VIEWS)
def test_dense_maps_show_the_nearest_old_pixel(view):
    scale, degrees, *_, size = view
    frame = frame_of()
    result = cut_out(frame, *view)
    y, x = np.indices(size)
    ahead = np.linalg.inv(result.K) @ np.stack([x, y, np.ones(size)]).reshape(3, -1)
    back = seen_from(ahead.T, 1, -degrees)
    back[:, 2] *= scale
    u, v = (np.floor(c + 0.5).astype(int).reshape(size) for c in pixel_of(back, frame.K))
    inside = (u >= 0) & (u < 53) & (v >= 0) & (v < 37)
    assert inside.all() == (degrees == 0)
    for key, none in (('depth_gt', 0), ('semantic', -1), ('instance', -1)):
        old = getattr(frame, key)[v.clip(0, 36), u.clip(0, 52)]
        expected = np.where(inside, old / (scale if key == 'depth_gt' else 1), none)
        np.testing.assert_allclose(getattr(result, key), expected, rtol=1e-6, err_msg=key)


@pytest.mark.parametrize('view', VIEWS)
def test_a_plane_becomes_the_moved_plane(view):
    # n . p = 1 in the old camera frame; a nearest pixel is at most 0.71 px / scale off.
    scale, degrees, *_ = view
    normal = np.array([0.004, 0.006, 0.1])
    K = np.array([[300.0, 0, 27], [0, 300, 17], [0, 0, 1]])
    v, u = np.indices((37, 53))
    depth = 1 / (np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ normal)
    depth = depth.astype(np.float32)
    result = cut_out(frame_of(K=K, depth_gt=depth), *view)
    points = unproject(result.depth_gt, result.K).astype(float)[result.depth_gt > 0]
    turned = seen_from(normal[None], 1, degrees)[0]
    moved = np.array([*turned[:2], turned[2] * scale])  # dual to (X, Y, Z / s)
    np.testing.assert_allclose(points @ moved, 1, atol=1e-3)
    assert result.K[0, 0] == 300 and np.ptp(depth) > 0.1


@pytest.mark.parametrize('view', VIEWS)
def test_the_image_moves_with_the_depth(view):
    # A smooth image that is a function of the pixel: bilinear values are the function's.
    scale, degrees, *_, size = view
    v, u = np.indices((37, 53))
    image = np.stack([4 * u, 6 * v, u + 2 * v], -1).astype(np.uint8)
    frame = frame_of(image=image)
    result = cut_out(frame, *view)
    y, x = np.indices(size)
    ahead = np.linalg.inv(result.K) @ np.stack([x, y, np.ones(size)]).reshape(3, -1)
    back = seen_from(ahead.T, 1, -degrees)
    back[:, 2] *= scale
    u, v = (c.reshape(size) for c in pixel_of(back, frame.K))
    inside = (u > 0) & (u < 52) & (v > 0) & (v < 36)
    expected = np.stack([4 * u, 6 * v, u + 2 * v], -1)[inside]
    assert np.abs(result.image[inside] - expected).max() < 0.8  # rounding, 1/32 px of cv2


def test_zooming_in_leaves_each_point_on_its_ground_truth():
    frame = frame_of()
    depth = np.where(frame.sparse_depth > 0, frame.sparse_depth, 1).astype(np.float32)
    result = cut_out(replace(frame, depth_gt=depth), 1.7, 0, 5, 9, (37, 53))
    points = result.sparse_depth > 0
    np.testing.assert_array_equal(result.sparse_depth[points], result.depth_gt[points])


def test_mirrored_points_have_the_other_x():
    frame = frame_of()
    result = mirrored(frame)
    old, new = (unproject(f.depth_gt, f.K) for f in (frame, result))
    np.testing.assert_allclose(new[:, ::-1] * (-1, 1, 1), old, atol=1e-4)
    assert_equal(mirrored(result), frame)


def test_without_k_the_image_turns_about_its_centre():
    frame = frame_of()
    centred = np.array([[9.0, 0, 26], [0, 9, 18], [0, 0, 1]])
    view = 1.2, 10.0, 2, 3, (30, 40)
    expected = cut_out(replace(frame, K=centred), *view)
    assert_equal(cut_out(replace(frame, K=None), *view), replace(expected, K=None))


def test_maps_that_are_missing_stay_missing():
    frame = replace(frame_of(), sparse_depth=None, depth_gt=None, semantic=None, instance=None)
    result = cut_out(frame, 1.2, 10.0, 2, 3, (30, 40))
    assert result.sparse_depth is None and result.depth_gt is None and result.semantic is None
    assert (result.ring == -1).all() and result.ring.shape == (30, 40)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1)])
def test_frames_of_one_pixel_row_or_column(size):
    frame = frame_of(*size)
    for result in (mirrored(frame), cut_out(frame, 1.5, 3.0, 0, 0, size)):
        assert result.image.shape == (*size, 3) and result.instance.shape == size
