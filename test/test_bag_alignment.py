"""Depth edges, edge score, motion and search of check-bag, against scenes worked out by hand."""

from __future__ import annotations

import cv2
from depth_kd_ros.bag_check.alignment import Alignment
from depth_kd_ros.bag_check.depth_edges import depth_edges
from depth_kd_ros.bag_check.edge_score import edge_maps, EdgeScore, rotation, View
from depth_kd_ros.bag_check.motion import motion
from depth_kd_ros.bag_check.search import climb, interval
from depth_kd_ros.bag_check.verdicts import of_alignment
from depth_kd_ros.geometry import Camera
from depth_kd_ros.projection import sparse_depth
import numpy as np
import pytest
import torch

T_CAM_LIDAR = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
K = np.array([[200.0, 0, 160], [0, 200, 100], [0, 0, 1]])
SIZE = (200, 320)


def scan(range_m, elevations_deg=(0.0,), first_deg: float = -20.0) -> np.ndarray:
    """Scan 200 azimuths in steps of 0.2 degrees with range_m(azimuth, elevation) deg."""
    rows = []
    for elevation in elevations_deg:
        for azimuth in first_deg + 0.2 * np.arange(200):
            a, e, r = np.deg2rad(azimuth), np.deg2rad(elevation), range_m(azimuth, elevation)
            rows.append((r * np.cos(e) * np.cos(a), r * np.cos(e) * np.sin(a), r * np.sin(e)))
    return np.array(rows)


def test_edges_lie_halfway_at_the_nearer_range() -> None:
    # A board at 5 m from -3 to 2 degrees before a wall at 10 m: edges at -3.1 and 2.1 degrees.
    edges = depth_edges(scan(lambda a, e: 5.0 if -3.01 < a < 2.01 else 10.0), T_CAM_LIDAR)
    assert edges.upright.all()
    azimuth = np.rad2deg(np.arctan2(edges.points[:, 1], edges.points[:, 0]))
    assert np.allclose(sorted(azimuth), [-3.1, 2.1])
    assert np.allclose(np.linalg.norm(edges.points, axis=1), 5)


def test_level_edges_between_rows() -> None:
    rows = np.arange(-4, 4.1, 0.5)
    edges = depth_edges(scan(lambda a, e: 6.0 if e < 0.9 else 20.0, rows, -19.9), T_CAM_LIDAR)
    assert not edges.upright.any() and len(edges.points) > 150
    assert np.allclose(np.rad2deg(np.arcsin(edges.points[:, 2] / 6)), 0.75, atol=0.01)


def test_a_road_and_single_returns_have_no_edges() -> None:
    rows = np.arange(-8, -1.6, 0.5)
    road = scan(lambda a, e: 1.7 / np.sin(np.deg2rad(-e)), rows, first_deg=-19.9)
    assert len(depth_edges(road, T_CAM_LIDAR).points) == 0
    alone = scan(lambda a, e: 4.0 if abs(a - 3) < 0.01 else 10.0)
    assert len(depth_edges(alone, T_CAM_LIDAR).points) == 0


def test_what_lies_behind_the_camera_is_left_out() -> None:
    edges = depth_edges(
        scan(lambda a, e: 5.0 if abs(a) < 2.01 else 10.0) * [-1, 1, 1], T_CAM_LIDAR
    )
    assert len(edges.points) == 0


@pytest.mark.parametrize(
    ('angles', 'moves'), [((1, 0, 0), (1, 0)), ((0, 1, 0), (0, -1)), ((0, 0, 1), (0, 1))]
)
def test_yaw_is_right_pitch_up_roll_clockwise(angles: tuple, moves: tuple) -> None:
    point = np.array([0.0, 0, 1]) if not angles[2] else np.array([1.0, 0, 0])
    moved = rotation(*angles) @ point - point
    assert np.allclose(moved[:2], np.array(moves) * np.sin(np.deg2rad(1)), atol=2e-4)


def test_edge_maps_vanish_on_the_whole_and_peak_on_the_edge() -> None:
    picture = np.full(SIZE, 40, np.uint8)
    picture[:, 160:] = 200
    upright, level = edge_maps(picture, 2.0)
    assert abs(upright.mean()) < 1e-3 and np.abs(level).max() < 1e-3
    assert np.argmax(upright[100]) in (159, 160)


def views(shift_px: float, velocity: float = 0.0, late_s: float = 0.0) -> list[View]:
    """Show a square at 10 m; its edge points lie `shift_px` too far right."""
    picture = np.full(SIZE, 60, np.uint8)
    picture[70:131, 120:201] = 190
    v = np.repeat(np.arange(70.0, 131), 2)
    u = np.tile([119.5, 200.5], 61) + shift_px
    points = np.c_[(u - 160) / 20, (v - 100) / 20, np.full(len(u), 10.0)]
    speed = np.tile([velocity, 0, 0], (len(u), 1))
    upright = np.ones(len(u), bool)
    return [View(points, speed, upright, picture, K, np.full(len(u), late_s))]


def test_the_score_peaks_where_edges_meet() -> None:
    score = EdgeScore(views(7.0) * 3, 2.0)
    yaws = np.arange(-4, 4.01, 0.1)
    best = yaws[np.argmax([score(np.array([yaw, 0, 0, 0])) for yaw in yaws])]
    # The rays of the two sides: atan(-33.5 / 200) - atan(-40.5 / 200), atan(47.5 / 200) - ...
    assert best == pytest.approx(-(1.939 + 1.912) / 2, abs=0.06)
    sums, counts = score.by_frame(np.zeros(4))
    assert counts.tolist() == [122, 122, 122]
    assert sums.sum() / counts.sum() == pytest.approx(score(np.zeros(4)))


def test_points_move_with_time_until_the_image() -> None:
    # 20 px too far left, 2 m/s to the right at 20 px/m, image 0.4 s late: 0.5 s are needed.
    score = EdgeScore(views(-20.0, velocity=2.0, late_s=0.4), 2.0)
    offsets = np.arange(-0.3, 0.31, 0.01)
    best = offsets[np.argmax([score(np.array([0, 0, 0, at])) for at in offsets])]
    assert best == pytest.approx(-0.1, abs=0.011)


def test_points_outside_the_image_count_for_nothing() -> None:
    value, seen = EdgeScore(views(500.0), 2.0).by_frame(np.zeros(4))
    assert value.tolist() == seen.tolist() == [0]


def test_climbing_along_the_free_axes_only() -> None:
    goal = np.array([0.4, -0.7, 0.2, 0.03])
    start, step = np.zeros(4), (0.2, 0.2, 0.2, 0.02)
    top, best = climb(lambda at: -float(((at - goal) ** 2).sum()), start, step, (0, 3), 6)
    assert np.allclose(top, [0.4, 0, 0, 0.03], atol=0.005)
    assert best == pytest.approx(-(0.7**2) - 0.2**2, abs=1e-4)
    assert start.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ('yaw_deg', 'given_score', 'names'),
    [
        (0.2, 0.04, []),
        (0.5, 0.04, ['warning rotation']),
        (-0.8, 0.04, ['error rotation']),
        (0.8, 0.059, []),  # hardly better
        (0.8, -0.01, ['error rotation']),
    ],
)
def test_the_verdict_on_a_rotation(yaw_deg: float, given_score: float, names: list) -> None:
    best, width = np.array([yaw_deg, 0.02, 0, 0]), np.array([0.1, 0.1, 0.1, 0.005])
    found = Alignment(best, width, 0.06, given_score, 0.002, 20, 9000, 8.0, is_moving=True)
    given = [f'{f.weight} {f.name}' for f in of_alignment(found, 0.0, 'better.yaml')]
    assert given == names


@pytest.mark.parametrize(
    ('offset_s', 'used_s', 'width_s', 'moving', 'names'),
    [
        (0.008, 0.0, 0.004, True, []),
        (0.03, 0.0, 0.004, True, ['warning offset']),
        (0.03, 0.03, 0.004, True, []),
        (-0.08, 0.0, 0.004, True, ['error offset']),
        (0.03, 0.0, 0.04, True, ['note offset_unsure']),
        (0.0, 0.0, np.inf, False, ['note no_motion']),
    ],
)
def test_the_verdict_on_an_offset(
    offset_s: float, used_s: float, width_s: float, moving: bool, names: list
) -> None:
    best, width = np.array([0, 0, 0, offset_s]), np.array([0.1, 0.1, 0.1, width_s])
    found = Alignment(best, width, 0.06, 0.06, 0.002, 20, 9000, 8.0, moving)
    given = [f'{f.weight} {f.name}' for f in of_alignment(found, used_s, 'better.yaml')]
    assert given == names


def test_the_verdict_on_what_cannot_be_judged() -> None:
    assert [f.name for f in of_alignment(None, 0.0, '')] == ['not_judged']
    lost = Alignment(np.zeros(4), np.ones(4), 0.009, 0.004, 0.001, 20, 9000, 8.0, is_moving=True)
    [fault] = of_alignment(lost, 0.0, '')
    assert (fault.weight, fault.name) == ('warning', 'no_alignment')


def test_climbing_ends_on_a_plateau_of_rounding() -> None:
    top, _ = climb(lambda at: 1e-12 * float(at[3]), np.zeros(4), (1, 1, 1, 1), (3,), 2)
    assert top.tolist() == [0, 0, 0, 0]


def test_frames_that_disagree_widen_the_interval() -> None:
    agree = EdgeScore([*views(0.0), *views(0.2), *views(-0.2)], 3.0)
    differ = EdgeScore([*views(0.0), *views(2.0), *views(-2.0)], 3.0)
    narrow, wide = (interval(score, np.zeros(4), (0,)) for score in (agree, differ))
    assert np.isinf(narrow[1:]).all()
    assert 0 < narrow[0] < 0.2 < wide[0] < 2
    assert wide[0] > 5 * narrow[0]


def test_motion_of_a_textured_wall() -> None:
    # The camera drives 0.2 m towards a wall at 8 m and turns left by 0.5 degree in 0.1 s.
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, SIZE, np.uint8), (0, 0), 1.5)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    R, shift = rotation(0.5, 0, 0), np.array([0, 0, -0.2])
    plane = K @ (R + np.outer(shift, [0, 0, 1]) / 8) @ np.linalg.inv(K)
    later = cv2.warpPerspective(picture, plane, SIZE[::-1])
    x, y = np.meshgrid(np.linspace(-5, 5, 150), np.linspace(-3, 3, 100))
    points = np.c_[x.ravel(), y.ravel(), np.full(x.size, 8.0)]
    found = motion(picture, later, 0.1, K, points)
    assert found is not None
    assert np.allclose(np.rad2deg(found.turn), [0, 5, 0], atol=0.4)
    assert np.allclose(found.shift, [0, 0, -2], atol=0.15)
    assert found.flow_px == pytest.approx(200 * np.deg2rad(0.5), abs=1.5)
    assert np.allclose(found.velocity(points[:1]), np.cross(found.turn, points[0]) + found.shift)


def test_no_texture_no_motion() -> None:
    grey = np.full(SIZE, 90, np.uint8)
    points = np.c_[np.zeros((50, 2)), np.full(50, 8.0)]
    assert motion(grey, grey, 0.1, K, points) is None


def test_the_square_of_the_views_projects_as_the_package_projects() -> None:
    points = views(0.0)[0].points_cam
    depth = sparse_depth(torch.from_numpy(points), np.eye(4), Camera(K, *SIZE)).depth
    assert np.unique(np.nonzero(depth.numpy())[1]).tolist() == [120, 200]  # half to even
