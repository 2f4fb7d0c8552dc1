"""Rooms: closed, furnished, with poses that have room around them."""

from __future__ import annotations

from collections import Counter

from depth_kd_training.simulation import indoor
from depth_kd_training.simulation.raycast import cast, GROUND
from depth_kd_training.simulation.textures import DRAW
from depth_kd_training.simulation.world import stack
import numpy as np
import pytest
import torch
from world_boxes import clearance, corners

BANK = tuple(DRAW)
SEEDS = range(30)


def make(seed):
    return indoor.build(np.random.default_rng(seed))


@pytest.fixture(scope='module')
def worlds():
    return [make(seed) for seed in SEEDS]


def test_same_seed_same_room():
    one, other = make(5), make(5)
    assert one.solids == other.solids and one.path == other.path
    assert one.solids != make(6).solids


def test_poses_are_clear_and_apart(worlds):
    for builder in worlds:
        assert builder.indoor and builder.ground_semantic == 'ground'
        assert clearance(builder) >= 1.2
        x, y, _ = np.array(builder.path).T
        apart = np.hypot(np.diff(x), np.diff(y))
        assert len(x) >= 3 and apart.min() >= 1 and apart.max() <= 5
    yaws = np.concatenate([np.array(b.path)[:, 2] for b in worlds])
    assert np.cos(yaws).std() > 0.4 and np.sin(yaws).std() > 0.4


def test_counts_stay_within_the_budget(worlds):
    counts = [len(builder.solids) for builder in worlds]
    assert min(counts) >= 40 and np.median(counts) >= 90 and max(counts) <= 260


def test_rooms_vary(worlds):
    seen = Counter(name for b in worlds for name in {s.semantic for s in b.solids})
    assert seen['wall'] == seen['ceiling'] == len(worlds)
    assert seen['furniture'] >= 25 and seen['object'] >= 25
    assert all(seen[name] >= 4 for name in ('person', 'vegetation', 'building')), seen
    assert len({b.ground_surface.texture for b in worlds}) >= 4
    assert sum(any(s.surface.glass for s in b.solids) for b in worlds) >= 10


def test_nothing_floats_below_the_floor_or_through_the_ceiling(worlds):
    for builder in worlds:
        box = corners(builder)
        rim = max(box[i][:, 2].min() for i, s in enumerate(builder.solids)
                  if s.semantic == 'ceiling' and s.half[2] == 0.1)  # fmt: skip
        groups = {}
        for i, s in enumerate(builder.solids):
            assert box[i][:, 2].min() > -0.1
            if s.semantic in ('furniture', 'object', 'person'):
                assert box[i][:, 2].max() < rim + 0.06
            if s.instance and s.semantic in ('furniture', 'person'):
                groups.setdefault(s.instance, []).append(box[i][:, 2].min())
        assert all(abs(min(lows)) < 0.09 for lows in groups.values())


def test_furniture_does_not_share_space(worlds):
    """Points inside a thing's boxes lie in no box of another thing, but under a table."""
    u = np.random.default_rng(0).uniform(-1, 1, (32, 3))
    shared = things = 0
    for builder in worlds:
        world = stack([builder], BANK)
        turn, half = world.solids.rotation[0].numpy(), world.solids.half[0].numpy()
        centre = world.solids.centre[0].numpy()
        kept = [i for i, s in enumerate(builder.solids) if s.instance and s.semantic != 'ground']
        for number in {builder.solids[i].instance for i in kept}:
            own = [i for i in kept if builder.solids[i].instance == number]
            others = [i for i in kept if builder.solids[i].instance > number]
            if not others:
                continue
            points = np.concatenate([centre[i] + (u * half[i]) @ turn[i].T for i in own])
            away = points[None] - centre[others][:, None]
            local = np.einsum('pni,pij->pnj', away, turn[others]) / half[others][:, None]
            things += 1
            shared += bool((np.abs(local) < 1).all(-1).any())
    assert shared <= 0.02 * things, (shared, things)


def test_rooms_are_closed_and_cast(worlds):
    """Few rays around a pose leave through a window; the floor is at its height."""
    for builder in worlds[::3]:
        world = stack([builder], BANK)
        assert torch.isfinite(world.solids.centre).all() and (world.solids.half > 0).all()
        assert ((world.solids.taper >= 0) & (world.solids.taper <= 1)).all()
        angle = torch.arange(0, 6.28, 0.02).view(1, -1, 1)
        rise = torch.tensor([-0.5, -0.1, 0.0, 0.3])
        ray = torch.stack(torch.broadcast_tensors(torch.cos(angle), torch.sin(angle), rise), -1)
        for x, y, _ in builder.path[:2]:
            origin = torch.tensor([x, y, 1.4]).expand_as(ray)
            hits = cast(world.solids, world.ground, origin, ray)
            assert hits.distance.isinf().float().mean() < 0.12
            floor = hits.solid[..., 0] == GROUND
            assert floor.float().mean() > 0.1
            assert torch.allclose(hits.distance[..., 0][floor], torch.tensor(2.8), atol=1e-4)
            assert len(hits.solid.unique()) > 6
