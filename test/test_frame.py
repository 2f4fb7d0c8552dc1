"""Scenes, rigs and frames: depth against closed forms, labels, sensors, seeds and errors."""

from __future__ import annotations

from dataclasses import fields, replace
import math

from depth_kd_training.simulation import lidar_models, rig
from depth_kd_training.simulation.frame import FAR_M, random_place, render, shot
from depth_kd_training.simulation.rig import Rig
from depth_kd_training.simulation.scene import Config, draw, place, Scene, seed_of
from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.world import CLASSES, SKY, Solid, Surface, WorldBuilder
import numpy as np
import pytest
import torch

SIZE, FOCAL = (50, 70), 60.0
K = np.array([[FOCAL, 0, 33.7], [0, FOCAL, 20.2], [0, 0, 1]])
HEIGHT = 1.5
SMALL = Config('street', (64, 96), 'vlp16')
V, U = np.indices(SIZE)
RIGHT, DOWN = (U - K[0, 2]) / FOCAL, (V - K[1, 2]) / FOCAL  # of rays 1 m deep


def mount(lidar, height):
    """Make a level rig whose camera looks along +x, with the LiDAR at `lidar` from it, m."""
    T_base_cam = rig.pose((0, 0, height), (0, 0, 0))
    T_base_cam[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    return Rig(K, T_base_cam, rig.pose(np.add(lidar, (0, 0, height)), (0, 0, 0)), 0.0, 0.0)


def scene_of(*solids, sensor='none', lidar=(0.0, 0.0, 0.0), height=HEIGHT, **options):
    rng = np.random.default_rng(0)
    weather, look = rig.sky(rng, False, False), rig.look(rng, False)
    builder = WorldBuilder(list(solids), **options)
    return Scene(3, builder, mount(lidar, height), weather, look, sensor, SIZE)


def take(*solids, seconds=0.0, **options):
    return render([scene_of(*solids, **options)], [0.0], seconds=seconds)[0]


def box(x, half, y=0.0, z=HEIGHT, semantic='building', **options):
    return Solid(Kind.FRUSTUM, (x, y, z), half, semantic, **options)


def test_flat_ground_is_camera_height_over_slope_away():
    found = take().frame
    expected = np.where(DOWN > 0, HEIGHT / np.maximum(DOWN, 1e-9), 0)
    expected[expected > FAR_M] = 0
    np.testing.assert_allclose(found.depth_gt, expected, rtol=1e-4)
    assert found.depth_gt.dtype == np.float32
    road = CLASSES.index('road')
    np.testing.assert_array_equal(found.semantic, np.where(DOWN > 0, road, SKY))
    assert (found.instance == -1).all()


def test_what_lies_beyond_is_of_a_class_but_has_no_depth():
    found = take(height=3.5).frame
    expected = 3.5 / np.maximum(DOWN, 1e-9)
    far = (DOWN > 0) & (expected > FAR_M)
    assert far.any() and not found.depth_gt[far].any()
    assert (found.semantic[far] != SKY).all()
    assert (found.depth_gt[(DOWN > 0) & ~far] > 0).all()


def test_a_box_an_ellipsoid_and_a_rise():
    """A box face at 9 m, a ball of 1, 2 and 1.5 m about (12, -4, 1), a road that climbs."""
    wall = box(10, (1, 1.5, 1), y=3.0, semantic='car', instance=7)
    ball = Solid(Kind.ELLIPSOID, (12, -4, 1), (1, 2, 1.5), 'person', instance=2)
    found = take(wall, ball, ground_bend=0.002).frame
    # 1.5 - t DOWN = 0.002 t^2: up to 200 m away the road rises to 80 m.
    depth = (-DOWN + np.sqrt(DOWN**2 + 0.012)) / 0.004
    depth[depth > FAR_M] = np.inf
    # z = 1.5 - t DOWN, y = -t RIGHT, x = t: a quadratic equation in the depth t.
    p = np.stack([np.zeros(SIZE) - 12, np.full(SIZE, 4.0), np.full(SIZE, HEIGHT - 1)]).T
    d = np.stack([np.ones(SIZE), -RIGHT, -DOWN]).T
    p, d = p / [1, 2, 1.5], d / [1, 2, 1.5]
    a, b, c = ((x * y).sum(-1).T for x, y in ((d, d), (p, d), (p, p)))
    room = b * b - a * (c - 1)
    ball_depth = np.where(room > 0, (-b - np.sqrt(np.maximum(room, 0))) / a, np.inf)
    on_face = (np.abs(-9 * RIGHT - 3) <= 1.5) & (np.abs(9 * DOWN) <= 1)
    on_box = on_face & (depth > 9)
    # The box's inner side is seen beside its face: no closed form there.
    side = (np.abs(-9 * RIGHT - 3) > 1.5) & (np.abs(-11 * RIGHT - 3) <= 1.5)
    side |= np.abs(np.abs(-9 * RIGHT - 3) - 1.5) < 0.1
    on_ball = ball_depth < depth
    assert 100 < on_box.sum() and 100 < on_ball.sum()
    expected = np.where(on_box, 9.0, np.minimum(depth, ball_depth))
    expected[np.isinf(expected)] = 0
    known = (np.abs(room) > 1e-3) & ~side  # not grazing
    np.testing.assert_allclose(found.depth_gt[known], expected[known], rtol=1e-4)
    for mask, name, number in ((on_box, 'car', 7), (on_ball, 'person', 2)):
        assert (found.semantic[mask & known] == CLASSES.index(name)).all()
        assert (found.instance[mask & known] == number).all()
    assert (found.semantic[~on_box & ~on_ball & known] == CLASSES.index('road')).all()


def test_what_moves_is_elsewhere_later():
    car = box(11, (1, 40, 40), velocity=(2.0, 0.0, 0.0))
    for seconds, metres in ((0.0, 10.0), (1.5, 13.0)):
        found = take(car, seconds=seconds).frame.depth_gt
        np.testing.assert_allclose(found[5, 20:50], metres, rtol=1e-5)


@pytest.mark.parametrize('sensor', ['os1_64', 'hdl64e', 'rosette', 'raster'])
def test_a_wall_fills_the_picture_with_points_of_its_depth(sensor):
    """A wall across all of the view has one depth, wherever the LiDAR is."""
    wall = box(11, (1, 90, 90))
    found = take(wall, sensor=sensor, lidar=(-0.4, 0.3, 0.5), height=30.0)
    np.testing.assert_allclose(found.frame.depth_gt, 10, rtol=1e-5)
    points = found.frame.sparse_depth[found.frame.sparse_depth > 0]
    noise = lidar_models.find(sensor).noise_m
    assert len(points) > 300 and found.see_through == 0
    assert (found.frame.sparse_depth > 0).any(0).all()  # from the left edge to the right
    assert np.abs(points - 10).max() < 6 * noise
    assert abs(found.scan.points[:, 0].mean() - 10.4) < 0.005  # of all, not each pixel's nearest
    ring = found.frame.ring
    assert ((ring >= 0) == (found.frame.sparse_depth > 0)).all() and ring.dtype == np.int16
    assert ring.max() < lidar_models.find(sensor).beams and ring.min() == -1


def test_rings_count_from_the_top_down_at_their_elevation():
    found = take(box(11, (1, 90, 90)), sensor='os1_64', height=30.0).frame
    elevation = np.rad2deg(np.arctan2(-DOWN, np.hypot(1, RIGHT)))
    known = found.ring >= 0
    table = np.linspace(22.5, -22.5, 64)
    assert known.sum() > 1000
    off = elevation[known] - table[found.ring[known]]
    assert np.abs(off).max() < np.rad2deg(0.75 / FOCAL)  # a pixel's rounding


def test_points_agree_with_the_truth_except_those_past_an_edge():
    """A LiDAR beside the camera looks behind the box; one in its place does not."""
    solids = box(5, (0.2, 0.7, 0.5), z=30.0), box(21, (1, 90, 90))
    beside = take(*solids, sensor='vlp16', lidar=(0, 0.6, 0.77), height=30.0)
    within = take(*solids, sensor='vlp16', height=30.0)
    assert within.see_through == 0 and 0.01 < beside.see_through < 0.3
    for found in (within, beside):
        truth, points = found.frame.depth_gt, found.frame.sparse_depth
        near = np.stack([np.roll(truth, s, a) for s in (-1, 0, 1) for a in (0, 1)])
        known = points > 0
        known[0] = known[-1] = known[:, 0] = known[:, -1] = False
        past = points > near.max(0) + 0.3
        before = points < near.min(0) - 0.3
        mixed = 0.03  # of the points at edges
        assert before[known].mean() < mixed
        assert past[known].mean() == pytest.approx(found.see_through, abs=mixed)
        agree = known & (np.ptp(near, axis=0) < 0.05) & ~past
        assert agree.sum() > 300
        assert np.abs(points - truth)[agree & ~before].max() < 6 * 0.03 + 0.05


def test_streets_and_rooms_agree_with_their_points():
    for config, seed in ((SMALL, 5), (replace(SMALL, world='indoor', sensor='os1_32'), 6)):
        found = shot(config, seed)
        truth, points = found.frame.depth_gt, found.frame.sparse_depth
        known = (points > 0) & (truth > 0)
        close = np.abs(points - truth) < 0.1 + 0.1 * truth
        assert known.sum() > 300 and close[known].mean() > 0.85 - found.see_through
        assert found.frame.ring.max() < lidar_models.find(config.sensor).beams
        assert found.frame.image.shape == (64, 96, 3) and found.frame.image.std() > 10
        assert found.frame.semantic.min() >= 0 and found.frame.semantic.max() < len(CLASSES)


def test_frames_know_their_camera():
    drawn = draw(SMALL, 4)
    found = render([drawn], [0.0])[0].frame
    np.testing.assert_array_equal(found.K, drawn.rig.K)
    found.K[:] = 0
    assert drawn.rig.K[0, 0] > 0 and drawn.size == found.image.shape[:2]


def same(first, second):
    """Tell whether two frames hold the same."""
    values = [(getattr(first, f.name), getattr(second, f.name)) for f in fields(first)]
    return all(np.array_equal(a, b) for a, b in values)


def test_a_seed_is_a_frame_whatever_the_threads():
    first, again, other = (shot(SMALL, seed).frame for seed in (8, 8, 9))
    assert same(first, again) and not same(first, other)
    assert (first.depth_gt != other.depth_gt).mean() > 0.5
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert same(first, shot(SMALL, 8).frame)
    finally:
        torch.set_num_threads(threads)


def test_a_batch_holds_the_frames_it_would_hold_one_by_one():
    scenes = [draw(replace(SMALL, sensor='random'), seed) for seed in (1, 2)]
    assert scenes[0].sensor != scenes[1].sensor
    along = [random_place(s) for s in scenes]
    both = [s.frame for s in render(scenes, along)]
    for found, one, at in zip(both, scenes, along, strict=True):
        alone = render([one], [at])[0].frame
        np.testing.assert_allclose(found.depth_gt, alone.depth_gt, rtol=1e-5)
        for key in ('semantic', 'instance', 'ring', 'name'):
            np.testing.assert_array_equal(getattr(found, key), getattr(alone, key))
        difference = np.abs(found.image.astype(int) - alone.image)
        assert difference.max() <= 12 and (difference <= 1).mean() > 0.999  # rays at an edge


def test_an_rgbd_camera_and_none():
    found = shot(Config('indoor', (64, 96), 'rgbd'), 1)
    points = found.frame.sparse_depth
    assert found.frame.ring is None and found.scan is None
    assert 0.3 < (points > 0).mean() < 1
    assert 0.3 < points[points > 0].min() and points.max() < 20
    known = (points > 0) & (found.frame.depth_gt > 0)
    assert np.median(np.abs(points / np.maximum(found.frame.depth_gt, 0.1) - 1)[known]) < 0.1
    bare = shot(Config('indoor', (64, 96), 'none'), 1).frame
    assert bare.sparse_depth is None and bare.ring is None
    np.testing.assert_array_equal(bare.depth_gt, found.frame.depth_gt)


def test_a_rig_as_kitti_s():
    """Geiger et al. 2013: 1.65 m high, the LiDAR 8 cm higher and 27 cm behind; f = 721.5 px."""
    for width in (1242, 621):
        drawn = rig.draw(np.random.default_rng(0), 'kitti', (375, width), indoor=False)
        assert drawn.K[0, 0] == drawn.K[1, 1] == pytest.approx(721.5 * width / 1242)
        assert drawn.T_base_cam[:3, 3].tolist() == [0, 0, 1.65]
        T = drawn.T_cam_lidar
        axes = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
        assert np.abs(T[:3, :3] - axes).max() < math.radians(2)  # of pitch
        np.testing.assert_allclose(T[:3, 3], [0, -0.08, -0.27], atol=0.02)
        assert np.linalg.norm(T[:3, 3]) == pytest.approx(math.hypot(0.08, 0.27))
        point = drawn.T_base_cam @ T @ [3, 2, 1, 1]  # seen from the LiDAR
        np.testing.assert_allclose(point, [2.73, 2, 2.73, 1])


@pytest.mark.parametrize('indoor', [False, True])
def test_random_rigs_look_ahead_from_heights_of_robots_and_cars(indoor):
    focal = []
    for seed in range(40):
        drawn = rig.draw(np.random.default_rng(seed), 'random', (240, 320), indoor)
        for T in (drawn.T_base_cam, drawn.T_base_lidar):
            np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
            assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
        assert (drawn.T_base_cam[:3, :3] @ [0, 0, 1])[0] > 0.95
        assert drawn.T_base_cam[2, 3] < drawn.T_base_lidar[2, 3] < 3.5
        assert 0.2 < drawn.T_base_cam[2, 3] and 0 <= drawn.speed <= 14
        focal.append(drawn.K[0, 0])
    # 45 to 100 degrees across 320 px
    assert 160 / math.tan(math.radians(50)) <= min(focal) < 200
    assert 300 < max(focal) <= 160 / math.tan(math.radians(22.5))


def test_the_platform_stands_on_the_path_and_leans_with_the_ground():
    builder = WorldBuilder(
        path=[(0, 0, 0), (4, 2, 0.2), (6, 2, math.pi / 2)], ground_slope=(0.1, -0.05),
        ground_height=0.5, ground_bend=0.01,
    )  # fmt: skip
    T = place(builder, 0.5)
    np.testing.assert_allclose(T[:3, 3], [2, 1, 0.5 + 0.2 - 0.05 + 0.04])
    for along in (0.5, 1.0, 2.0):
        T = place(builder, along)
        x = T[0, 3]
        up = np.array([-(0.1 + 0.02 * x), 0.05, 1]) / np.sqrt((0.1 + 0.02 * x) ** 2 + 1.0025)
        assert T[:3, 2] @ up > 0.9999  # the platform's z axis is the ground's normal
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert place(builder, 2.0)[1, 0] > 0.99  # turned to the left
    np.testing.assert_array_equal(place(WorldBuilder(), 0.0), np.eye(4))


def test_seeds_of_two_sets_have_nothing_in_common():
    sets = [{seed_of(seed, number) for number in range(2000)} for seed in (0, 1)]
    assert len(sets[0]) == len(sets[1]) == 2000 and not sets[0] & sets[1]


def test_randomised_scenes_look_different_but_are_the_same_place():
    plain, mad = (draw(replace(SMALL, randomised=share), 3) for share in (0.0, 1.0))
    assert len(plain.builder.solids) == len(mad.builder.solids) > 10
    changed = 0
    for first, second in zip(plain.builder.solids, mad.builder.solids, strict=True):
        assert replace(second, surface=first.surface) == first
        assert second.surface.glass == first.surface.glass
        assert second.surface.reflectivity == first.surface.reflectivity
        changed += first.surface.tint != second.surface.tint
    assert changed == len(plain.builder.solids)


def test_mixed_worlds_are_both_and_random_sensors_many():
    drawn = [draw(Config('mixed', (64, 96)), seed) for seed in range(24)]
    assert 4 < sum(s.builder.indoor for s in drawn) < 20
    assert len({s.sensor for s in drawn}) > 8
    assert {s.sensor for s in drawn} <= set(lidar_models.MODELS)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'world': 'sea'}, "world = 'sea': give one of street, indoor, .*mixed"),
        ({'sensor': 'sonar'}, "sensor = 'sonar': give one of random, rgbd, none, hdl64e"),
        ({'rig': 'tank'}, "rig = 'tank': give one of random, kitti"),
        ({'size': (15, 96)}, r'size = \(15, 96\): \(height, width\) from 16 px on'),
        ({'size': (64, 96, 3)}, 'size = '),
        ({'size': (64.0, 96)}, 'size = '),
        ({'randomised': 1.1}, r'randomised = 1.1: a share from 0 to 1'),
        ({'randomised': -0.1}, 'randomised = -0.1'),
    ],
)
def test_choices_that_do_not_exist(changes, message):
    with pytest.raises(ValueError, match=message):
        Config(**changes)


def test_an_rgbd_camera_loses_panes_and_what_is_far():
    """2 m ahead are a pane, on the left, and a matt wall; a second one is 12 m away."""
    pane = box(3, (1, 30, 90), y=30.0, surface=Surface(glass=True))
    near, far = box(3, (1, 30, 60), y=-30.0, z=-30.0), box(13, (1, 90, 90))
    given = take(pane, near, far, sensor='rgbd', height=30.0).frame.sparse_depth > 0
    left, low, high = given[:, :32], given[22:, 36:], given[:19, 36:]
    assert left.mean() < 0.3 and low.mean() > 0.8 and not high.any()
