"""Beams, mounting and errors of the LiDAR, against loops and known distributions."""

from __future__ import annotations

from dataclasses import replace

from depth_kd_training import lidar_noise
from depth_kd_training.data.base import Frame
import numpy as np
import pytest
from test_augment import assert_equal, frame_of


def rng(seed=0):
    return np.random.default_rng(seed)


def beams_of(frame):
    return np.unique(frame.ring[frame.sparse_depth > 0]).tolist()


@pytest.mark.parametrize('count, phase, kept', [
    (4, 0.0, [0, 4, 8, 12]), (4, 0.99, [3, 7, 11, 15]), (4, 0.5, [2, 6, 10, 14]),
    (6, 0.0, [0, 2, 5, 8, 10, 13]), (1, 0.5, [8]), (16, 0.7, range(16)), (64, 0.7, range(16)),
])  # fmt: skip
def test_the_beams_kept_are_evenly_spaced(count, phase, kept):
    frame = frame_of(48, 20)  # 16 beams
    result = lidar_noise.fewer_beams(frame, count, phase)
    assert beams_of(result) == [*kept]
    stays = np.isin(frame.ring, kept)
    np.testing.assert_array_equal(result.sparse_depth, np.where(stays, frame.sparse_depth, 0))
    np.testing.assert_array_equal(result.ring, np.where(stays, frame.ring, -1))


def test_beams_are_counted_among_those_in_the_frame():
    ring = np.where(frame_of(48, 20).ring >= 8, frame_of(48, 20).ring * 3, -1).astype(np.int16)
    depth = (ring >= 0).astype(np.float32)
    depth[0, 0] = 5  # a point of an unknown beam
    result = lidar_noise.fewer_beams(frame_of(48, 20, ring=ring, sparse_depth=depth), 4, 0)
    assert beams_of(result) == [24, 30, 36, 42] and result.sparse_depth[0, 0] == 0


def test_beams_are_those_of_the_lidar_where_it_is_known_how_many_it_has():
    ring = np.where(frame_of(48, 20).ring >= 8, frame_of(48, 20).ring, -1).astype(np.int16)
    depth = (ring >= 0).astype(np.float32)
    frame = replace(frame_of(48, 20, ring=ring, sparse_depth=depth), beams=40)
    assert beams_of(lidar_noise.fewer_beams(frame, 10, 0)) == [8, 12]
    assert beams_of(lidar_noise.fewer_beams(frame, 10, 0.75)) == [11, 15]
    assert beams_of(lidar_noise.fewer_beams(frame, 40, 0.5)) == [*range(8, 16)]


def test_a_frame_without_a_point_has_no_beams_to_drop():
    frame = frame_of(sparse_depth=np.zeros((37, 53), np.float32), ring=None)
    result = lidar_noise.fewer_beams(frame, 4, 0.5)
    assert not result.sparse_depth.any() and result.ring is None
    frame = frame_of(ring=np.full((37, 53), -1, np.int16))
    with pytest.raises(ValueError, match='frame 37x53: no ring of its points is known'):
        lidar_noise.fewer_beams(frame, 4, 0.5)


def test_miscalibration_moves_points_as_the_transform_says():
    # The oracle draws the same numbers, turns by Rodrigues' formula and z-buffers in a loop.
    frame = frame_of()
    result = lidar_noise.miscalibrated(frame, 1.5, 0.1, rng(4))
    draw = rng(4)
    w, t = np.deg2rad(draw.normal(0, 1.5, 3)), draw.normal(0, 0.1, 3)
    angle = np.linalg.norm(w)
    axis = w / angle
    fx, skew, cx, fy, cy = frame.K[[0, 0, 0, 1, 1], [0, 1, 2, 1, 2]]
    expected, rings = np.zeros((37, 53)), np.full((37, 53), -1)
    moved = 0
    for v, u in zip(*np.nonzero(frame.sparse_depth), strict=True):
        z = float(frame.sparse_depth[v, u])
        y = (v - cy) / fy
        p = np.array([(u - cx - skew * y) / fx, y, 1]) * z
        p = (
            p * np.cos(angle) + np.cross(axis, p) * np.sin(angle)
            + axis * (axis @ p) * (1 - np.cos(angle)) + t
        )  # fmt: skip
        x = round((fx * p[0] + skew * p[1]) / p[2] + cx)
        y = round(fy * p[1] / p[2] + cy)
        moved += (x, y) != (u, v)
        if 0 <= x < 53 and 0 <= y < 37 and not 0 < expected[y, x] <= p[2]:
            expected[y, x], rings[y, x] = p[2], frame.ring[v, u]
    assert moved > 100
    np.testing.assert_allclose(result.sparse_depth, expected, rtol=1e-6)
    np.testing.assert_array_equal(result.ring, rings)
    assert_equal(
        replace(result, sparse_depth=frame.sparse_depth, ring=frame.ring), frame
    )  # nothing else moves


def test_miscalibration_of_nothing_is_nothing():
    frame = frame_of()
    assert_equal(lidar_noise.miscalibrated(frame, 0, 0, rng()), frame)
    empty = frame_of(sparse_depth=np.zeros((37, 53), np.float32), ring=None)
    assert not lidar_noise.miscalibrated(empty, 1, 1, rng()).sparse_depth.any()


def test_sampled_points_are_random_pixels_of_the_ground_truth():
    frame = frame_of()
    result = lidar_noise.sampled(frame, 100, rng())
    points = result.sparse_depth > 0
    assert points.sum() == 100 and result.ring is None
    np.testing.assert_array_equal(result.sparse_depth[points], frame.depth_gt[points])
    every = lidar_noise.sampled(frame, 10**6, rng())
    np.testing.assert_array_equal(every.sparse_depth, frame.depth_gt)
    unlabelled = replace(frame, depth_gt=np.zeros_like(frame.depth_gt))
    assert not lidar_noise.sampled(unlabelled, 5, rng()).sparse_depth.any()
    rows, columns = np.nonzero(sum(lidar_noise.sampled(frame, 30, rng(i)).sparse_depth
                                   for i in range(200)))  # fmt: skip
    assert {*rows} == set(range(37)) and {*columns} == set(range(53))


def many_points(depth=20.0):
    """Make a frame of 40,000 points at one depth."""
    ring = np.zeros((200, 200), np.int16)
    values = np.full(ring.shape, depth, np.float32)
    return Frame('many', np.zeros((200, 200, 3), np.uint8), sparse_depth=values, ring=ring)


def test_dropout_loses_its_share_with_the_rings():
    result = lidar_noise.thinned(many_points(), 0.3, rng())
    assert np.mean(result.sparse_depth == 0) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(result.ring == -1, result.sparse_depth == 0)
    assert {*np.unique(result.sparse_depth)} == {0, 20}


@pytest.mark.parametrize('metres, relative, deviation', [
    (0.5, 0.0, 0.5), (0.0, 0.02, 0.4), (0.3, 0.02, 0.5),
])  # fmt: skip
def test_noise_has_its_deviation(metres, relative, deviation):
    error = lidar_noise.noisy(many_points(), metres, relative, rng()).sparse_depth - 20
    assert error.std() == pytest.approx(deviation, rel=0.02)
    assert error.mean() == pytest.approx(0, abs=0.01)


def test_noise_makes_no_points_and_none_behind_the_camera():
    frame = frame_of()
    result = lidar_noise.noisy(frame, 0.1, 0, rng())
    np.testing.assert_array_equal(result.sparse_depth > 0, frame.sparse_depth > 0)
    result = lidar_noise.noisy(many_points(1.0), 1.0, 0, rng())
    lost = result.sparse_depth == 0
    assert lost.mean() == pytest.approx(0.159, abs=0.01) and result.sparse_depth.min() == 0
    np.testing.assert_array_equal(result.ring == -1, lost)


def test_outliers_are_their_share_of_the_points_and_lie_between_them():
    frame = frame_of(100, 100)
    result = lidar_noise.with_outliers(frame, 0.2, rng())
    points = frame.sparse_depth > 0
    np.testing.assert_array_equal(result.sparse_depth > 0, points)
    old, new = frame.sparse_depth[points], result.sparse_depth[points]
    assert np.mean(old != new) == pytest.approx(0.2, abs=0.03)
    wrong = new[old != new]
    assert old.min() <= wrong.min() < 10 and 50 < wrong.max() <= old.max()
    none = replace(frame, sparse_depth=np.zeros_like(frame.sparse_depth))
    assert not lidar_noise.with_outliers(none, 0.2, rng()).sparse_depth.any()
