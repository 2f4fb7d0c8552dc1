"""Normals against finite differences of functions that are 0 on the surface, written here."""

from __future__ import annotations

from depth_kd_training.simulation.raycast import cast, MISS
from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.surfaces import locate
from depth_kd_training.simulation.world import Solid, stack, WorldBuilder
import numpy as np
import pytest
import torch

CENTRE, HALF, TAPER = np.array([6.0, 2.0, 1.5]), np.array([2.0, 1.0, 1.2]), np.array([0.4, 0.9])
POSE = {'yaw': 0.7, 'pitch': 0.3, 'roll': -0.2}
STEP = 1e-5


def normals(solids, ground, point, solid):
    """Give the normals (B, ..., 3) at points (B, ..., 3)."""
    number = torch.arange(len(solid)).repeat_interleave(solid[0].numel())
    place = locate(solids, ground, number, point.reshape(-1, 3).T.contiguous(), solid.flatten())
    return place.normal.T.reshape(point.shape)


def local(p):
    """Turn world points to the solid's axes: undo yaw, then pitch, then roll."""
    q = p - CENTRE
    for angle, (i, j) in ((0.7, (0, 1)), (0.3, (2, 0)), (-0.2, (1, 2))):
        a, b = q[..., i].copy(), q[..., j].copy()
        q = q.copy()
        q[..., i] = np.cos(angle) * a + np.sin(angle) * b
        q[..., j] = np.cos(angle) * b - np.sin(angle) * a
    return q


def box_sides(p, taper=(0, 0)):
    """How far beyond each of three pairs of faces, in metres along x, y, z."""
    q = local(p)
    up = (q[..., 2] + HALF[2]) / (2 * HALF[2])
    wide = [HALF[i] * (1 - taper[i] * up) for i in (0, 1)]
    return [abs(q[..., 0]) - wide[0], abs(q[..., 1]) - wide[1], abs(q[..., 2]) - HALF[2]]


def cylinder_sides(p):
    q = local(p)
    return [
        np.sqrt((q[..., 0] / HALF[0]) ** 2 + (q[..., 1] / HALF[1]) ** 2) - 1,
        abs(q[..., 2]) - HALF[2],
    ]


def ellipsoid_sides(p):
    return [((local(p) / HALF) ** 2).sum(-1) - 1]


def world(kind, taper=(0.0, 0.0)):
    builder = WorldBuilder(
        [Solid(kind, tuple(CENTRE), tuple(HALF), 'object', taper=taper, **POSE)]
    )
    builder.ground_height, builder.ground_slope, builder.ground_bend = -2.0, (0.05, -0.1), 0.01
    return stack([builder], ['plain', 'asphalt'])


def hits(scene, count=3000):
    """Cast rays from all around at the solid: points (1, T, N, 3) and what they hit."""
    rng = np.random.default_rng(0)
    o = rng.normal(size=(count // 10, 1, 3))
    o = CENTRE + 12 * o / np.linalg.norm(o, axis=-1, keepdims=True)
    o = np.broadcast_to(o, (count // 10, 10, 3))
    d = CENTRE + rng.uniform(-1, 1, o.shape) * HALF - o
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    o, d = (torch.from_numpy(np.ascontiguousarray(a)).float()[None] for a in (o, d))
    found = cast(scene.solids, scene.ground, o, d)
    return o + found.distance.nan_to_num(posinf=0)[..., None] * d, found.solid, d


@pytest.mark.parametrize(
    ('kind', 'taper', 'sides'),
    [
        (Kind.FRUSTUM, (0.0, 0.0), box_sides),
        (Kind.FRUSTUM, tuple(TAPER), lambda p: box_sides(p, TAPER)),
        (Kind.CYLINDER, (0.0, 0.0), cylinder_sides),
        (Kind.ELLIPSOID, (0.0, 0.0), ellipsoid_sides),
    ],
    ids=['box', 'frustum', 'cylinder', 'ellipsoid'],
)
def test_normals_are_the_gradient_of_the_surface(kind, taper, sides):
    scene = world(kind, taper)
    point, solid, direction = hits(scene)
    found = normals(scene.solids, scene.ground, point, solid)
    assert found.shape == point.shape
    on = solid == 0
    p, n = point[on].double().numpy(), found[on].double().numpy()
    beyond = np.stack(sides(p))
    face = abs(beyond).argmin(0)
    if len(beyond) > 1:  # keep away from edges, where two faces meet
        clear = np.sort(abs(beyond), axis=0)[1] > 0.01
        p, n, face = p[clear], n[clear], face[clear]
        assert len(np.unique(face)) == len(beyond), 'each kind of face must be hit'
    assert len(p) > 800
    gradient = np.stack(
        [
            (np.stack(sides(p + e)) - np.stack(sides(p - e)))[face, np.arange(len(p))]
            for e in STEP * np.eye(3)
        ],
        -1,
    )
    gradient /= np.linalg.norm(gradient, axis=-1, keepdims=True)
    assert abs(n - gradient).max() < 1e-3
    assert ((direction[on].numpy() * found[on].numpy()).sum(-1) < 1e-3).all(), 'outward'


def test_the_ground_s_normal_follows_its_slope_and_bend():
    scene = world(Kind.ELLIPSOID)
    point, solid, _ = hits(scene)
    found = normals(scene.solids, scene.ground, point, solid)[solid == -1]
    x = point[solid == -1][:, 0]
    expected = torch.stack((-(0.05 + 0.02 * x), torch.full_like(x, 0.1), torch.ones_like(x)), -1)
    expected /= expected.norm(dim=-1, keepdim=True)
    assert len(x) > 50
    assert (found - expected).abs().max() < 1e-5


def test_each_world_of_a_batch_has_its_own_solids_and_ground():
    builders = [WorldBuilder(ground_slope=(s, 0.0)) for s in (0.0, 1.0)]
    builders[0].add(Solid(Kind.FRUSTUM, (5, 0, 0), (1, 1, 1), 'object'))
    builders[1].add(Solid(Kind.NONE, (0, 0, 0), (1, 1, 1), 'object'))
    builders[1].add(Solid(Kind.ELLIPSOID, (5, 0, 0), (1, 1, 1), 'object'))
    scene = stack(builders, ['plain', 'asphalt'])
    r = 0.5**0.5
    point = torch.tensor([[[4.0, 0.3, 0.2], [0, 0, 0]], [[5 - r, r, 0], [0, 0, 0]]])
    found = normals(scene.solids, scene.ground, point, torch.tensor([[0, -1], [1, MISS]]))
    expected = torch.tensor([[[-1.0, 0, 0], [0, 0, 1]], [[-r, r, 0], [-r, 0, r]]])
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_thin_plate_far_away_keeps_its_face():
    """Coordinates of 100 m have errors of 1e-5 m: 0.2 % of a plate 1 cm thick."""
    plate = Solid(Kind.FRUSTUM, (100, 30, 2), (0.005, 2, 2), 'sign', yaw=0.3)
    builder = WorldBuilder([plate], ground_height=-9.0)
    scene = stack([builder], ['plain', 'asphalt'])
    y, z = torch.meshgrid(
        torch.linspace(-1.9, 1.9, 40), torch.linspace(-1.9, 1.9, 40), indexing='ij'
    )
    aim = torch.stack((100 - np.sin(0.3) * y, 30 + np.cos(0.3) * y, 2 + z), -1).view(1, 1, -1, 3)
    o = torch.tensor([0.0, 0, 1.5]).expand_as(aim).contiguous()
    found = cast(scene.solids, scene.ground, o, aim - o)
    point = o + found.distance[..., None] * (aim - o)
    n = normals(scene.solids, scene.ground, point, found.solid)
    assert (found.solid == 0).all()
    front = torch.tensor([-np.cos(0.3), -np.sin(0.3), 0]).float()
    assert ((n - front).abs().amax(-1) < 1e-4).float().mean() > 0.99
