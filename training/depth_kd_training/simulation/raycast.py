"""
Cast rays at solids and the ground, in batches, on the CPU or the GPU.

Rays come in packets of neighbours with nearly one origin (a tile of an image, some firings of a
LiDAR). A packet meets only the solids whose bounding box, seen from the packet's origin, overlaps
the packet's outline; every other pair of ray and solid is never looked at.
"""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_training.simulation.solids import Ground, Kind, Solids
import torch
from torch import Tensor

GROUND, MISS = -1, -2  # what a ray hit beside solid 0, 1, ...
NEAREST_M = 0.05  # nothing nearer to a ray's origin is hit
_MARGIN = 1e-4  # of a packet's outline, in units of its distance-1 plane


class Hits(NamedTuple):
    """
    Hold where rays (B, T, N) first hit: distance in ray lengths (inf: nowhere) and the solid.

    `solid` is the index of the solid in its world, GROUND or MISS.
    """

    distance: Tensor  # (B, T, N) float32
    solid: Tensor  # (B, T, N) int64


def cast(solids: Solids, ground: Ground, origin: Tensor, direction: Tensor, seed: int = 0) -> Hits:
    """
    Cast T packets of N rays into each of B worlds: origin, direction (B, T, N, 3) m.

    `seed` decides where the holes of solids with a cutout are.
    """
    world, packet, solid = overlapping(solids, origin, direction)  # (K,) each
    o, d = origin[world, packet], direction[world, packet]  # (K, N, 3)
    enter = _enter(solids, world, solid, o, d, seed)  # (K, N)
    count = origin.shape[2]
    ray = (world * origin.shape[1] + packet)[:, None] * count + torch.arange(
        count, device=origin.device
    )
    # Positive floats order like their bits: the least (distance, solid) of each ray in one pass.
    key = (enter.view(torch.int32).long() << 32) | solid[:, None]
    below = _ground_distance(ground, origin, direction)  # (B, T, N)
    least = (below.view(torch.int32).long() << 32) | 0xFFFFFFFF
    least = least.reshape(-1).scatter_reduce(0, ray.reshape(-1), key.reshape(-1), 'amin')
    least = least.view(below.shape)
    distance = (least >> 32).int().view(torch.float32)
    index = least & 0xFFFFFFFF
    index = torch.where(index == 0xFFFFFFFF, GROUND, index)
    return Hits(distance, torch.where(distance.isinf(), MISS, index))


def overlapping(
    solids: Solids, origin: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """List the pairs (world, packet, solid), (K,) each, of which some ray may hit the solid."""
    centre = origin.mean(2)  # (B, T, 3)
    spread = (origin - centre[:, :, None]).norm(dim=-1).amax(-1)  # (B, T) m
    axis = torch.nn.functional.normalize(
        torch.nn.functional.normalize(direction, dim=-1).mean(2), dim=-1
    )  # (B, T, 3)
    right, up = _across(axis)
    low, high = _outline(direction, axis, right, up)  # (B, T, 2) on the plane at distance 1
    reach = torch.maximum(low.abs(), high.abs()).norm(dim=-1)  # tangent of the half angle
    # A cone around the packet against a sphere around the solid, cheap, for all pairs.
    radius = solids.half.norm(dim=-1)  # (B, P)
    along = torch.einsum('bti,bpi->btp', axis, solids.centre) - (axis * centre).sum(-1)[..., None]
    squared = (
        (solids.centre**2).sum(-1)[:, None]
        - 2 * torch.einsum('bti,bpi->btp', centre, solids.centre)
        + (centre**2).sum(-1)[..., None]
    )
    aside = (squared - along**2).clamp(min=0).sqrt()
    cosine = torch.rsqrt(1 + reach**2)[..., None]
    size = radius[:, None] + spread[..., None] + 1e-3
    near = (aside * cosine - along * cosine * reach[..., None] < size) & (along > -size)
    near &= (solids.kind != Kind.NONE)[:, None]
    world, packet, solid = near.nonzero().unbind(1)
    # The outline of the box against the packet's, for the pairs that are left.
    corner = solids.corners()[world, solid] - centre[world, packet][:, None]  # (K, 8, 3)
    basis = torch.stack((right, up, axis), -1)[world, packet]  # (K, 3, 3)
    x, y, z = (corner @ basis).unbind(-1)  # (K, 8)
    slack = spread[world, packet][:, None]
    nearest = (z - slack).amin(1)
    z = z.clamp(min=1e-6)
    more = slack / nearest.clamp(min=1e-6)[:, None]
    u, v = torch.stack((x / z, y / z)) if len(z) else (x, y)
    box_low = torch.stack((u.amin(1), v.amin(1)), -1) - more
    box_high = torch.stack((u.amax(1), v.amax(1)), -1) + more
    inside = (box_low <= high[world, packet]) & (box_high >= low[world, packet])
    kept = ((nearest < NEAREST_M) | inside.all(1)).nonzero().squeeze(1)
    return world[kept], packet[kept], solid[kept]


def _across(axis: Tensor) -> tuple[Tensor, Tensor]:
    """Give two unit vectors (..., 3) at right angles to the axis (..., 3) and to each other."""
    helper = torch.zeros_like(axis)
    helper.scatter_(-1, axis.abs().argmin(-1, keepdim=True), 1.0)
    right = torch.nn.functional.normalize(torch.linalg.cross(axis, helper), dim=-1)
    return right, torch.linalg.cross(axis, right)


def _outline(direction: Tensor, axis: Tensor, right: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Bound where the rays (B, T, N, 3) cross the plane at distance 1: low, high (B, T, 2)."""
    basis = torch.stack((right, up, axis), -1)  # (B, T, 3, 3)
    x, y, z = (direction @ basis).unbind(-1)  # (B, T, N)
    z = z.clamp(min=1e-3)
    crossing = torch.stack((x / z, y / z), -1)  # (B, T, N, 2)
    return crossing.amin(2) - _MARGIN, crossing.amax(2) + _MARGIN


def _enter(
    solids: Solids, world: Tensor, solid: Tensor, origin: Tensor, direction: Tensor, seed: int
) -> Tensor:
    """Give the distance (K, N), in ray lengths, at which rays enter their solid; inf: never."""
    kind = solids.kind[world, solid]
    result = torch.full(origin.shape[:2], torch.inf, device=origin.device)
    for shape, interval in _INTERVALS.items():
        chosen = (kind == shape).nonzero().squeeze(1)
        if len(chosen):
            pair = world[chosen], solid[chosen]
            half = solids.half[pair][:, None]  # (M, 1, 3)
            rotation = solids.rotation[pair]
            o = (origin[chosen] - solids.centre[pair][:, None]) @ rotation / half  # (M, N, 3)
            d = direction[chosen] @ rotation / half
            enter, leave = interval(o, d, solids.taper[pair])
            through = (enter < leave) & (leave > NEAREST_M)
            result[chosen] = _seen(solids, pair, o, d, enter, leave, through, seed)
    return result


def _seen(
    solids: Solids, pair: tuple[Tensor, Tensor], o: Tensor, d: Tensor, enter: Tensor,
    leave: Tensor, through: Tensor, seed: int,
) -> Tensor:  # fmt: skip
    """Choose the front or, behind a hole of it, the back of each solid; inf where both miss."""
    front = torch.where(through & (enter > NEAREST_M), enter, torch.inf)
    share = solids.cutout[pair]
    porous = (share > 0).nonzero().squeeze(1)
    if not len(porous):
        return front
    cell = solids.half[pair][porous] / solids.pore_m[pair][porous, None]  # (Q, 3)
    found = torch.full_like(front[porous], torch.inf)
    for t in (torch.where(through, leave, torch.inf)[porous], front[porous]):
        at = (o[porous] + t.nan_to_num(posinf=0)[..., None] * d[porous]) * cell[:, None]
        leaf = _hash(at.floor().long(), pair[1][porous, None], seed) >= share[porous, None]
        found = torch.where(leaf & t.isfinite(), t, found)
    front[porous] = found
    return front


def _hash(cell: Tensor, solid: Tensor, seed: int) -> Tensor:
    """Draw a number 0..1 (...) for each cell (..., 3) of a solid; the same for the same seed."""
    x, y, z = cell.unbind(-1)
    h = x * 73856093 ^ y * 19349663 ^ z * 83492791 ^ (solid + 1) * 2654435761 ^ seed * 97531
    for _ in range(2):  # so that neighbouring cells have nothing in common
        h = h & 0xFFFFFFFF
        h = (h ^ (h >> 16)) * 0x45D9F3B
    return ((h >> 12) & 0xFFFF).float() / 65536


def _frustum(o: Tensor, d: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays o + t d (M, N, 3) to |z| <= 1, |x| <= 1 - taper (1 + z) / 2, y alike."""
    enter, leave = _slab(o[..., 2], d[..., 2], torch.ones_like(o[..., 2]))
    for axis in (0, 1):
        lean = taper[:, None, axis] / 2  # (M, 1)
        for sign in (-1, 1):  # sign * x + lean * z <= 1 - lean
            rate = sign * d[..., axis] + lean * d[..., 2]
            room = 1 - lean - sign * o[..., axis] - lean * o[..., 2]
            t = room / torch.where(rate.abs() < 1e-12, 1e-12, rate)
            enter = torch.where(rate < 0, torch.maximum(enter, t), enter)
            leave = torch.where(rate >= 0, torch.minimum(leave, t), leave)
    return enter, leave


def _cylinder(o: Tensor, d: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays (M, N, 3) to x^2 + y^2 <= 1, |z| <= 1."""
    enter, leave = _ball(o[..., :2], d[..., :2])
    bottom, top = _slab(o[..., 2], d[..., 2], torch.ones_like(enter))
    return torch.maximum(enter, bottom), torch.minimum(leave, top)


def _ellipsoid(o: Tensor, d: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays (M, N, 3) to the unit ball."""
    return _ball(o, d)


def _slab(o: Tensor, d: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays o + t d (M, N) to |value| <= half."""
    inverse = 1 / torch.where(d.abs() < 1e-12, 1e-12, d)
    a, b = (-half - o) * inverse, (half - o) * inverse
    return torch.minimum(a, b), torch.maximum(a, b)


def _ball(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays (M, N, n) to the unit ball; enter > leave where they pass it."""
    a = (d * d).sum(-1).clamp(min=1e-20)
    middle = -(o * d).sum(-1) / a
    closest = o + middle[..., None] * d  # exact where o is far away, unlike b^2 - 4ac
    room = (1 - (closest * closest).sum(-1)) / a
    width = room.clamp(min=0).sqrt()
    passed = room < 0
    return (
        torch.where(passed, torch.inf, middle - width),
        torch.where(passed, -torch.inf, middle + width),
    )


_INTERVALS = {Kind.FRUSTUM: _frustum, Kind.CYLINDER: _cylinder, Kind.ELLIPSOID: _ellipsoid}


def _ground_distance(ground: Ground, origin: Tensor, direction: Tensor) -> Tensor:
    """Give the distance (B, T, N) at which rays meet the ground from above; inf: never."""
    shape = (-1, 1, 1)
    bend = ground.bend.view(shape)
    slope_x, slope_y = (ground.slope[:, i].view(shape) for i in (0, 1))
    (ox, oy, oz), (dx, dy, dz) = origin.unbind(-1), direction.unbind(-1)
    # z - g(x, y) = 0 along the ray: a t^2 + b t + c = 0, with c the height above the ground.
    a = -bend * dx * dx
    b = dz - slope_x * dx - slope_y * dy - 2 * bend * ox * dx
    c = oz - ground.height.view(shape) - slope_x * ox - slope_y * oy - bend * ox * ox
    root = (b * b - 4 * a * c).clamp(min=0).sqrt()
    q = -(b + torch.where(b < 0, -root, root)) / 2  # no cancellation
    first = c / torch.where(q.abs() < 1e-12, 1e-12, q)
    second = q / torch.where(a.abs() < 1e-12, 1e-12, a)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    t = torch.where(low > NEAREST_M, low, high)
    return torch.where((b * b - 4 * a * c >= 0) & (t > NEAREST_M) & (t < 1e5), t, torch.inf)
