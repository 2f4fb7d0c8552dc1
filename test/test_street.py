"""Streets: every world keeps to the rules of the road, checked from the solids' corners."""

from __future__ import annotations

from collections import Counter
import math

from depth_kd_training.simulation import street
from depth_kd_training.simulation.place import Place
from depth_kd_training.simulation.raycast import cast, GROUND
from depth_kd_training.simulation.road import draw_road, KINDS
from depth_kd_training.simulation.textures import DRAW
from depth_kd_training.simulation.world import stack, WorldBuilder
import numpy as np
import pytest
import torch
from world_boxes import above_ground, clearance, corners

BANK = tuple(DRAW)

SEEDS = range(30)


def make(seed):
    return street.build(np.random.default_rng(seed))


@pytest.fixture(scope='module')
def worlds():
    return [make(seed) for seed in SEEDS]


def test_same_seed_same_world():
    one, other, different = make(3), make(3), make(4)
    assert one.solids == other.solids and one.path == other.path and one.sun == other.sun
    assert one.solids != different.solids


def test_path_is_clear_and_leads_ahead(worlds):
    for builder in worlds:
        assert clearance(builder) >= 1.2
    for builder in worlds:
        x, y, yaw = np.array(builder.path).T
        assert len(x) >= 2 and x[0] == 0 and x[-1] <= 40.1
        assert np.all((np.diff(x) >= 1) & (np.diff(x) <= 5))
        assert np.abs(y).max() < 0.3 and np.abs(yaw).max() < 0.1


def test_nothing_stands_on_the_way_of_the_drive(worlds):
    """Between the poses, too, the lane is free."""
    for builder in worlds:
        box = corners(builder)
        height = above_ground(builder, box)
        low, high = box.min(1), box.max(1)
        end = builder.path[-1][0] + 2
        blocks = (
            (height.max(1) > 0.05) & (height.min(1) < 2.2) & (low[:, 0] < end) & (high[:, 0] > -4)
            & (low[:, 1] < 1.0) & (high[:, 1] > -1.0)
        )  # fmt: skip
        assert not blocks.any()


def test_counts_stay_within_the_budget(worlds):
    counts = [len(builder.solids) for builder in worlds]
    assert min(counts) >= 150 and np.median(counts) <= 260 and max(counts) <= 290


def test_worlds_vary(worlds):
    seen = Counter(name for b in worlds for name in {s.semantic for s in b.solids})
    usual = [
        'car',
        'building',
        'vegetation',
        'pole',
        'sidewalk',
        'person',
        'sign',
        'fence',
        'truck',
    ]
    assert all(seen[name] >= 8 for name in usual), seen
    assert all(seen[name] >= 1 for name in ('bicycle', 'wall', 'wire', 'bridge', 'object')), seen
    assert {draw_road(np.random.default_rng(seed)).kind for seed in SEEDS} == set(KINDS)
    overcast = sum(b.sun_strength == 0 for b in worlds)
    assert 3 <= overcast <= 20
    assert all(b.sun[2] > 0.15 and b.ground_bend <= 0 and not b.indoor for b in worlds)


def things(builder, *names):
    """Group solid indices by instance."""
    groups = {}
    for i, s in enumerate(builder.solids):
        if s.instance and s.semantic in names:
            groups.setdefault(s.instance, []).append(i)
    return groups


def test_vehicles_rest_on_the_ground_and_have_their_size(worlds):
    lengths = []
    for builder in worlds:
        box = corners(builder)
        height = above_ground(builder, box)
        for parts in things(builder, 'car', 'truck').values():
            assert abs(height[parts].min()) < 0.03
            assert height[parts].max() < 4.5
            if builder.solids[parts[0]].semantic == 'car':
                yaw = builder.solids[parts[0]].yaw
                along = box[parts] @ (math.cos(yaw), math.sin(yaw), 0)
                lengths.append(along.max() - along.min())
    assert 3.2 < min(lengths) and max(lengths) < 6.3 and 4.0 < np.median(lengths) < 4.8


def test_vehicles_do_not_share_space(worlds):
    """Points inside each box of a vehicle lie in no box of another or of a building."""
    u = np.random.default_rng(0).uniform(-1, 1, (48, 3))
    for builder in worlds[::2]:
        world = stack([builder], BANK)
        turn, half = world.solids.rotation[0].numpy(), world.solids.half[0].numpy()
        centre = world.solids.centre[0].numpy()
        solid = [i for i, s in enumerate(builder.solids) if s.instance]
        for parts in things(builder, 'car', 'truck').values():
            own = builder.solids[parts[0]].instance
            others = [i for i in solid if builder.solids[i].instance != own
                      and abs(centre[i, 0] - centre[parts[0], 0]) < 25]  # fmt: skip
            if not others:
                continue
            points = np.concatenate([centre[i] + (u * half[i]) @ turn[i].T for i in parts])
            away = points[None] - centre[others][:, None]
            local = np.einsum('pni,pij->pnj', away, turn[others]) / half[others][:, None]
            assert not (np.abs(local) < 1).all(-1).any()


def test_curbs_are_of_a_usual_height_without_gaps(worlds):
    for builder in worlds:
        box = corners(builder)
        slabs = [i for i, s in enumerate(builder.solids) if s.semantic == 'sidewalk']
        for i in slabs:
            top = np.sort(above_ground(builder, box[i]))[4:]
            assert 0.08 < top.min() and top.max() < 0.18
        for i in slabs:  # each slab reaches the next one or ends at a side road
            s = builder.solids[i]
            same = [j for j in slabs if abs(builder.solids[j].half[1] - s.half[1]) < 1e-6
                    and abs(builder.solids[j].roll - s.roll) < 1e-2
                    and (builder.solids[j].centre[1] > 0) == (s.centre[1] > 0)]  # fmt: skip
            gaps = [box[j][:, 0].min() - box[i][:, 0].max() for j in same
                    if builder.solids[j].centre[0] > s.centre[0] + 0.1]  # fmt: skip
            assert not gaps or abs(min(gaps)) < 0.05 or 6 < min(gaps) < 12


def test_markings_are_flat_and_people_have_their_size(worlds):
    for builder in worlds:
        height = above_ground(builder, corners(builder))
        for i, s in enumerate(builder.solids):
            if s.semantic == 'road':
                assert height[i].max() < 0.05
        for parts in things(builder, 'person', 'bicycle').values():  # a rider's includes a cycle
            assert 0.8 < height[parts].max() < 2.2
            assert -0.08 < height[parts].min() < 0.2


def test_everything_stacks_and_casts(worlds):
    """A camera at the first pose sees the road, a horizon closed in most worlds, and things."""
    closed = 0
    for builder in worlds[::3]:
        world = stack([builder], BANK)  # KeyError: a texture that is not in the bank
        assert torch.isfinite(world.solids.centre).all() and (world.solids.half > 0).all()
        assert ((world.solids.taper >= 0) & (world.solids.taper <= 1)).all()
        v, u = torch.meshgrid(torch.linspace(0.35, -0.35, 12), torch.linspace(0.7, -0.7, 24),
                              indexing='ij')  # fmt: skip
        ray = torch.stack((torch.ones_like(u), u, v), -1).view(1, 12, 24, 3)
        origin = torch.tensor([0.0, 0.0, builder.ground_at(0, 0) + 1.65]).expand_as(ray)
        hits = cast(world.solids, world.ground, origin, ray)
        assert hits.distance[0, -1].isfinite().all()  # below: the ground or what stands on it
        assert (hits.solid == GROUND).float().mean() > 0.1
        assert len(hits.solid.unique()) > 8
        closed += hits.distance[0, 5].isfinite().float().mean() > 0.6
    assert closed >= 5


def test_mirrored_world_is_the_reflection():
    builder = WorldBuilder(ground_slope=(0.03, 0.02))
    place = Place(builder, 5.0, 3.0, 0.4, 'car', tilt=True, speed=2.0)
    place.box((1.0, 0.5, 0.2), (2.0, 1.0, 0.5), street.Surface())
    expected = corners(builder)[0] * (1, -1, 1)
    velocity = builder.solids[0].velocity
    mirrored = street.mirrored(builder)
    found = corners(mirrored)[0]
    assert np.allclose(np.sort(found, 0), np.sort(expected, 0), atol=1e-9)
    assert mirrored.solids[0].velocity == (velocity[0], -velocity[1], velocity[2])
    assert mirrored.ground_slope == (0.03, -0.02)


def test_tilted_place_follows_the_ground():
    builder = WorldBuilder(ground_slope=(0.05, -0.03))
    place = Place(builder, 2.0, -1.0, 0.7, tilt=True)
    for at in ((3.0, 0.0, 0.0), (0.0, 2.0, 0.0), (-1.0, -1.0, 0.0)):
        x, y, z = place.point(*at)
        assert z == pytest.approx(builder.ground_at(x, y), abs=1e-9)
    place.box((1.0, 0.5, 0.0), (2.0, 1.0, 0.5), street.Surface())
    low = np.sort(above_ground(builder, corners(builder)[0]))[:4]
    assert low == pytest.approx([0] * 4, abs=1e-9)
