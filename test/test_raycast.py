"""The ray caster against closed forms, worked out here with other formulas."""

from __future__ import annotations

import math

from depth_kd_training.simulation import raycast
from depth_kd_training.simulation.culling import overlapping
from depth_kd_training.simulation.intersections import enter, Pairs
from depth_kd_training.simulation.raycast import cast, GROUND, MISS
from depth_kd_training.simulation.solids import Ground, Kind, Solids
import numpy as np
import pytest
import torch

FLAT = Ground(torch.zeros(1), torch.zeros(1, 2), torch.zeros(1))
DEEP = Ground(torch.full((1,), -1e6), torch.zeros(1, 2), torch.zeros(1))


def solids(*rows):
    """Make one world of (kind, centre, half, yaw, taper, cutout) rows."""
    kind, centre, half, yaw, taper, cutout = zip(*rows, strict=True)
    c, s = (torch.tensor([f(a) for a in yaw]) for f in (math.cos, math.sin))
    rotation = torch.zeros(len(rows), 3, 3)
    rotation[:, 0, 0], rotation[:, 0, 1], rotation[:, 1, 0], rotation[:, 1, 1] = c, -s, s, c
    rotation[:, 2, 2] = 1
    pores = torch.full((len(rows),), 0.1)
    columns = (
        torch.tensor(kind), torch.tensor(centre), rotation, torch.tensor(half),
        torch.tensor(taper), torch.tensor(cutout), pores,
    )  # fmt: skip
    return Solids(*(column[None] for column in columns))


def solid(kind, centre, half, yaw=0.0, taper=(0.0, 0.0), cutout=0.0):
    return kind, tuple(map(float, centre)), tuple(map(float, half)), yaw, taper, cutout


def fan(count=4096, seed=0):
    """Draw rays of length 1 all around, in packets of 64 neighbours, from near the origin."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(count // 64, 1, 3))
    d = axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    d = d + rng.normal(scale=0.03, size=(count // 64, 64, 3))
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    o = rng.uniform(-0.05, 0.05, d.shape) + np.array([0, 0, 1.5])
    return tuple(torch.from_numpy(a).float()[None] for a in (o, d))


def march(inside, o, d, far=60.0):
    """Find the first t with inside(o + t d) by fine steps and bisection, ray by ray."""
    o, d = o.double().reshape(-1, 3).numpy(), d.double().reshape(-1, 3).numpy()
    t = np.arange(raycast.NEAREST_M, far, 0.02)
    found = np.full(len(o), np.inf)
    for i in range(len(o)):
        hit = inside(o[i] + t[:, None] * d[i])
        if hit.any():
            high = t[hit.argmax()]
            low = high - 0.02
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (low, middle) if inside(o[i] + middle * d[i]) else (middle, high)
            found[i] = high
    return found


def turned(p, centre, yaw):
    """Give points (..., 3) in the frame of a solid at `centre`, turned by `yaw`."""
    q = p - np.array(centre)
    c, s = math.cos(yaw), math.sin(yaw)
    return np.stack((c * q[..., 0] + s * q[..., 1], c * q[..., 1] - s * q[..., 0], q[..., 2]), -1)


def in_box(p):
    q = np.abs(turned(p, (6, 2, 1.5), 0.7))
    return (q <= [2.0, 1.0, 1.2]).all(-1)


def in_cabin(p):
    q = turned(p, (6, 2, 1.5), 0.7)
    up = (q[..., 2] + 1.2) / 2.4  # 0 at the bottom, 1 at the top
    x, y = 2.0 * (1 - 0.4 * up), 1.0 * (1 - 0.9 * up)
    return (np.abs(q[..., 0]) <= x) & (np.abs(q[..., 1]) <= y) & (0 <= up) & (up <= 1)


def in_cylinder(p):
    q = turned(p, (6, 2, 1.5), 0.7)
    return ((q[..., 0] / 2) ** 2 + q[..., 1] ** 2 <= 1) & (np.abs(q[..., 2]) <= 1.2)


def in_ellipsoid(p):
    q = turned(p, (6, 2, 1.5), 0.7) / [2.0, 1.0, 1.2]
    return (q**2).sum(-1) <= 1


@pytest.mark.parametrize(
    ('kind', 'taper', 'inside'),
    [
        (Kind.FRUSTUM, (0.0, 0.0), in_box),
        (Kind.FRUSTUM, (0.4, 0.9), in_cabin),
        (Kind.CYLINDER, (0.0, 0.0), in_cylinder),
        (Kind.ELLIPSOID, (0.0, 0.0), in_ellipsoid),
    ],
)
def test_a_solid_is_entered_where_its_inside_begins(kind, taper, inside):
    rng = np.random.default_rng(1)
    target = rng.uniform([3, 0, 0], [9, 4, 3], (4, 64, 3))
    o = np.tile([0.0, 0.0, 1.5], (4, 64, 1))
    d = target - o
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    o, d = (torch.from_numpy(a).float()[None] for a in (o, d))
    hits = cast(solids(solid(kind, (6, 2, 1.5), (2, 1, 1.2), 0.7, taper)), DEEP, o, d)
    expected = march(inside, o, d)
    found = hits.distance.reshape(-1).double().numpy()
    both = np.isfinite(expected) & np.isfinite(found)
    # Grazing rays may slip between two steps of the march.
    assert (np.isfinite(expected) & ~np.isfinite(found)).sum() == 0
    assert (np.isfinite(found) & ~np.isfinite(expected)).sum() <= 5
    assert both.sum() > 60
    assert np.abs(found[both] - expected[both]).max() < 1e-4
    assert (hits.solid.reshape(-1).numpy() == np.where(np.isfinite(found), 0, -2))[both].all()


def test_sphere_by_the_formula_of_its_distance():
    """A ray with closest approach h to a ball of radius r enters it sqrt(r^2 - h^2) before."""
    o, d = fan()
    hits = cast(solids(solid(Kind.ELLIPSOID, (9, -3, 4), (2.5,) * 3)), DEEP, o, d)
    to = torch.tensor([9.0, -3, 4]) - o
    along = (to * d).sum(-1).double()
    h2 = ((to - along[..., None] * d) ** 2).sum(-1)
    expected = along - (2.5**2 - h2).clamp(min=0).sqrt()
    seen = (h2 < 2.5**2 - 1e-3) & (along > 0)
    assert seen.sum() > 20
    assert (hits.distance.double() - expected)[seen].abs().max() < 1e-4
    assert (hits.solid[(h2 > 2.5**2 + 1e-3)] == MISS).all()


def test_flat_ground_lies_at_height_over_sine():
    o, d = fan()
    hits = cast(solids(solid(Kind.NONE, (0, 0, 0), (1, 1, 1))), FLAT, o, d)
    down = d[..., 2] < -0.02
    expected = -o[..., 2].double() / d[..., 2].double()
    assert (hits.distance.double() / expected - 1)[down].abs().max() < 1e-5
    assert (hits.solid[down] == GROUND).all()
    assert (hits.solid[d[..., 2] > 0] == MISS).all()


@pytest.mark.parametrize('bend', [-0.003, 0.0, 0.004])
def test_hits_of_curved_ground_lie_on_it(bend):
    ground = Ground(torch.tensor([0.2]), torch.tensor([[0.05, -0.03]]), torch.tensor([bend]))
    o, d = fan()
    hits = cast(solids(solid(Kind.NONE, (0, 0, 0), (1, 1, 1))), ground, o, d)
    near = hits.distance < 40
    assert near.sum() > 1000
    x, y, z = (o.double() + hits.distance.double()[..., None] * d.double())[near].unbind(-1)
    assert (z - (0.2 + 0.05 * x - 0.03 * y + bend * x * x)).abs().max() < 1e-4
    # Between the origin and the hit the ray is above the ground.
    for share in (0.2, 0.5, 0.9):
        x, y, z = (o + share * hits.distance[..., None] * d)[near].unbind(-1)
        assert (z > 0.2 + 0.05 * x - 0.03 * y + bend * x * x).all()


def test_the_nearer_of_two_solids_hides_the_other():
    world = solids(
        solid(Kind.FRUSTUM, (10, 0, 1.5), (1, 3, 3)), solid(Kind.ELLIPSOID, (5, 0, 1.5), (1,) * 3)
    )
    o = torch.tensor([0.0, 0, 1.5]).expand(1, 1, 3, 3)
    d = torch.tensor([[1.0, 0, 0], [1.0, 0.25, 0], [-1.0, 0, 0]])[None, None]
    hits = cast(world, DEEP, o, d)
    assert hits.solid.tolist() == [[[1, 0, MISS]]]
    assert hits.distance[0, 0, :2].tolist() == pytest.approx([4, 9])


def crowd(count=150, seed=3, batch=2):
    rng = np.random.default_rng(seed)
    worlds = []
    for _ in range(batch):
        rows = []
        for i in range(count):
            centre = rng.uniform([-30, -30, 0], [30, 30, 4])
            kind = (Kind.FRUSTUM, Kind.CYLINDER, Kind.ELLIPSOID)[i % 3]
            cutout = 0.5 * (i % 5 == 0)
            taper = tuple(map(float, rng.uniform(0, 1, 2)))
            rows.append(
                solid(kind, centre, rng.uniform(0.1, 2, 3), rng.uniform(0, 6), taper, cutout)
            )
        worlds.append(solids(*rows))
    return Solids(*(torch.cat(columns) for columns in zip(*worlds, strict=True)))


def test_no_hit_is_lost_by_looking_at_overlapping_packets_only():
    world = crowd()
    ground = Ground(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2))
    o, d = (x.expand(2, -1, -1, -1).contiguous() for x in fan(8192))
    hits = cast(world, ground, o, d, seed=5)
    rows, columns = (x.transpose(2, 3) for x in (o, d))
    best = raycast._ground_distance(ground, rows, columns)
    for b in range(2):
        packets, lanes = torch.full((o.shape[1],), b), torch.arange(o.shape[1])
        for p in range(world.kind.shape[1]):
            every = torch.full_like(packets, p)
            near = enter(world, Pairs(lanes, packets, every), rows[b], columns[b], 5)
            best[b] = torch.minimum(best[b], near)
    best[best > raycast.FAR_M] = torch.inf
    assert torch.allclose(best, hits.distance, rtol=1e-6)  # sums may differ in their last bit
    assert (hits.solid >= 0).float().mean() > 0.1
    pairs = len(overlapping(world, rows, columns).packet)
    assert pairs < 0.3 * 2 * o.shape[1] * world.kind.shape[1]  # or culling does nothing


@pytest.mark.parametrize('share', [0.3, 0.7])
def test_cutouts_let_their_share_of_rays_through(share):
    row = solid(Kind.FRUSTUM, (5, 0, 1.5), (0.01, 2, 2), cutout=share)
    o = torch.tensor([0.0, 0, 1.5]).expand(1, 64, 64, 3)
    y, z = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.6 - 0.3
    d = torch.stack((torch.ones_like(y), y, z), -1)
    through = [cast(solids(row), DEEP, o, d, seed=s).solid == MISS for s in (1, 1, 2)]
    # Front and back of a thin plate have the same holes in part.
    assert share**2 - 0.05 < through[0].float().mean() < share + 0.05
    assert torch.equal(through[0], through[1])
    assert not torch.equal(through[0], through[2])
