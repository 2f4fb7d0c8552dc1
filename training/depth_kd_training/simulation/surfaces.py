"""Where on a solid a ray has hit it: local coordinates, and the normal there."""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_training.simulation.places import places
from depth_kd_training.simulation.sky import each
from depth_kd_training.simulation.solids import Ground, Kind, Solids
import torch
from torch import Tensor


class Place(NamedTuple):
    """Hold where M points lie on what they are points of."""

    local: Tensor  # (3, M) m, in the solid's axes from its centre; on the ground the world's
    half: Tensor  # (3, M) m, the solid's half extents; 1 on the ground
    across: Tensor  # (3, M) normal in the solid's axes, of any length
    normal: Tensor  # (3, M) unit normal in the world, outwards


def locate(solids: Solids, ground: Ground, world: Tensor, points: Tensor, solid: Tensor) -> Place:
    """Give the places of points (3, M) m of worlds (M,) on solids (M,); below 0: the ground."""
    local, half = points.clone(), torch.ones_like(points)
    across = _of_ground(ground, world, points)
    normal = across.clone()
    hit = places(solid >= 0)
    row = (world * solids.kind.shape[1] + solid).index_select(0, hit)
    kind = solids.kind.view(-1).index_select(0, row)
    parts = (solids.rotation.flatten(2), solids.centre, solids.half, solids.taper)
    table = torch.cat(parts, -1).flatten(0, 1).T.contiguous()  # (17, B * P)
    for shape, gradient in _GRADIENTS.items():
        chosen = places(kind == shape)
        ray = hit.index_select(0, chosen)
        m = table.index_select(1, row.index_select(0, chosen))  # (17, K)
        turn, size = m[:9].view(3, 3, -1), m[12:15]
        at = points.index_select(1, ray) - m[9:12]
        own = (turn * at[:, None]).sum(0)  # (3, K): the transposed rotation
        slope = gradient(own / size, size, m[15:17]) / size
        local.index_copy_(1, ray, own)
        half.index_copy_(1, ray, size)
        across.index_copy_(1, ray, slope)
        normal.index_copy_(1, ray, (turn * slope).sum(1))
    return Place(
        local, half, across, normal * torch.rsqrt(normal.square().sum(0).clamp(min=1e-20))
    )


def _of_ground(ground: Ground, world: Tensor, points: Tensor) -> Tensor:
    """Give the upward normal (3, M), not of unit length, of the ground at points (3, M)."""
    slope_x, slope_y = each(ground.slope.T, world)
    slope_x = slope_x + 2 * each(ground.bend, world) * points[0]
    return torch.stack((-slope_x, -slope_y.expand_as(slope_x), torch.ones_like(slope_x)))


def _frustum(unit: Tensor, half: Tensor, taper: Tensor) -> Tensor:
    """Give the gradient (3, K), in unit coordinates, of the face nearest to points (3, K)."""
    x, y, z = unit
    side_x, side_y = (  # how far a point is beyond the side sign * x + lean * z = 1 - lean, m
        (at.abs() + lean * z - (1 - lean)) * torch.rsqrt(1 / size**2 + (lean / half[2]) ** 2)
        for at, lean, size in ((x, taper[0] / 2, half[0]), (y, taper[1] / 2, half[1]))
    )
    cap = (z.abs() - 1) * half[2]
    on_x = (side_x >= side_y) & (side_x >= cap)
    on_y = ~on_x & (side_y >= cap)
    on_z = ~(on_x | on_y)
    rise = on_x * taper[0] / 2 + on_y * taper[1] / 2 + on_z * _sign(z)
    return torch.stack((_sign(x) * on_x, _sign(y) * on_y, rise))


def _cylinder(unit: Tensor, half: Tensor, taper: Tensor) -> Tensor:
    """Give the gradient (3, K), in unit coordinates, of the mantle or cap nearest to points."""
    x, y, z = unit
    radius = torch.hypot(x, y).clamp(min=1e-6)
    beyond = (radius - 1) * radius / torch.hypot(x / half[0], y / half[1]).clamp(min=1e-6)  # m
    on_side = beyond >= (z.abs() - 1) * half[2]
    return torch.stack((x * on_side, y * on_side, _sign(z) * ~on_side))


def _ellipsoid(unit: Tensor, half: Tensor, taper: Tensor) -> Tensor:
    """Give the gradient (3, K), in unit coordinates, at points (3, K)."""
    return unit


def _sign(value: Tensor) -> Tensor:
    """Give 1 or -1, never 0."""
    return torch.copysign(torch.ones_like(value), value)


_GRADIENTS = {Kind.FRUSTUM: _frustum, Kind.CYLINDER: _cylinder, Kind.ELLIPSOID: _ellipsoid}
