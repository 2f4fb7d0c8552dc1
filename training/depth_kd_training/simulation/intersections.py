"""
Where rays enter and leave solids: closed forms, for K pairs of a packet of N rays and a solid.

Vectors are (K, 3, N), so that each coordinate is contiguous; an origin that a packet shares is
(K, 3, 1). Distances are (K, N) ray lengths.
"""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_training.simulation.places import places
from depth_kd_training.simulation.solids import Kind, Solids
import torch
from torch import Tensor

NEAREST_M = 0.05  # nothing nearer to a ray's origin is hit
TINY = 1e-20  # keeps a quotient by 0 finite
HUGE = 1e30
BLOCK = 512  # pairs at a time: what they need nearly fits into a core's cache


class Pairs(NamedTuple):
    """Hold K pairs of a packet and a solid of its world, ordered by packet."""

    packet: Tensor  # (K,) index among all B * T
    world: Tensor  # (K,)
    solid: Tensor  # (K,)


def below_zero(value: Tensor) -> Tensor:
    """Give a huge distance where a value is negative, else 0: several times faster than where."""
    return (value * -HUGE).clamp_(min=0)


def enter(solids: Solids, pairs: Pairs, origin: Tensor, direction: Tensor, seed: int) -> Tensor:
    """
    Give the distance (K, N) at which rays enter their solid; huge: never.

    Origin (T, 3, N or 1) and direction (T, 3, N) are those of the packets that pairs name.
    """
    pair = pairs.world, pairs.solid
    kind = solids.kind[pair]
    straight = (solids.taper[pair] == 0).all(1)
    groups = (
        (_box, (kind == Kind.FRUSTUM) & straight), (_frustum, (kind == Kind.FRUSTUM) & ~straight),
        (_cylinder, kind == Kind.CYLINDER), (_ellipsoid, kind == Kind.ELLIPSOID),
    )  # fmt: skip
    found = direction.new_empty(len(pairs.packet), direction.shape[2])
    centre, taper = solids.centre.flatten(0, 1)[..., None], solids.taper.flatten(0, 1)
    into = (solids.rotation.transpose(2, 3) / solids.half[..., None]).flatten(0, 1)  # local axes
    number = pairs.world * solids.kind.shape[1] + pairs.solid
    for interval, chosen in groups:
        every = places(chosen)
        for index in every.split(BLOCK if every.device.type == 'cpu' else max(1, len(every))):
            own = pair[0].index_select(0, index), pair[1].index_select(0, index)
            packet = pairs.packet.index_select(0, index)
            row = number.index_select(0, index)
            turn = into.index_select(0, row)
            o = turn @ (origin.index_select(0, packet) - centre.index_select(0, row))
            d = turn @ direction.index_select(0, packet)  # (M, 3, N)
            first, last = interval(o, d, taper.index_select(0, row))
            found.index_copy_(0, index, _seen(solids, own, o, d, first, last, seed))
    return found


def _seen(
    solids: Solids,
    pair: tuple[Tensor, Tensor],
    o: Tensor,
    d: Tensor,
    first: Tensor,
    last: Tensor,
    seed: int,
) -> Tensor:
    """Choose the front or, behind a hole of it, the back of each solid; huge where both miss."""
    # Neither passed nor too near; in place: these are the largest arrays of all.
    missed = torch.maximum(first - last, NEAREST_M - first)
    front = missed.mul_(HUGE).clamp_(min=0).add_(first)
    share = solids.cutout[pair]
    porous = places(share > 0)
    if not len(porous):
        return front
    back = last.index_select(0, porous)
    which, lane = ((first.index_select(0, porous) < back) & (back > NEAREST_M)).nonzero().unbind(1)
    which = porous.index_select(0, which)
    count = front.shape[1]
    flat = which * count + lane  # (Q,)
    solid, share = pair[1].index_select(0, which), share.index_select(0, which)
    cells = solids.half[pair] / solids.pore_m[pair][:, None]  # (M, 3)
    whole = o.expand_as(d).reshape(-1)
    lines = []  # of each coordinate in units of the holes' size: start, direction
    for axis in range(3):
        at = flat + which * 2 * count + axis * count
        cell = cells[:, axis].index_select(0, which)
        lines.append([x.index_select(0, at) * cell for x in (whole, d.view(-1))])
    found = torch.full_like(share, HUGE)
    for ends in (last, front):  # the front hides the back
        t = ends.view(-1).index_select(0, flat)
        points = [start + t.clamp(max=1e4) * ray for start, ray in lines]
        leaf = (_hash(points, solid, seed) >= share) & (t < HUGE / 2)
        found = torch.where(leaf, t, found)
    front.view(-1).index_copy_(0, flat, found)
    return front


def _hash(at: list[Tensor], solid: Tensor, seed: int) -> Tensor:
    """Draw a number 0..1 (Q,) for the unit cells around points, x, y, z (Q,), of solids (Q,)."""
    x, y, z = (coordinate.floor_().int() for coordinate in at)
    h = x.mul_(73856093) ^ y.mul_(19349663) ^ z.mul_(83492791)  # int32 wraps around
    h ^= (((solid + 1) * 40503 + seed * 97531) & 0x7FFFFFFF).int()
    for _ in range(2):  # so that neighbouring cells have nothing in common
        h ^= h >> 16
        h *= 0x45D9F3B
    return ((h >> 12) & 0xFFFF).float() / 65536


def _box(o: Tensor, d: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays o + t d to the cube [-1, 1]^3."""
    low, high = _slab(o, d)
    return low.amax(1), high.amin(1)


def _frustum(o: Tensor, d: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays to |z| <= 1, |x| <= 1 - taper (1 + z) / 2, y alike."""
    first, last = _slab(o[:, 2], d[:, 2])
    for axis in (0, 1):
        lean = taper[:, axis, None] / 2  # (M, 1)
        for sign in (-1, 1):  # sign * x + lean * z <= 1 - lean
            rate = sign * d[:, axis] + lean * d[:, 2]
            t = (1 - lean - sign * o[:, axis] - lean * o[:, 2]) / (rate + TINY)
            first = torch.maximum(first, t - below_zero(-rate))
            last = torch.minimum(last, t + below_zero(rate))
    return first, last


def _cylinder(o: Tensor, d: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays to x^2 + y^2 <= 1, |z| <= 1."""
    first, last = _ball(o[:, :2], d[:, :2])
    bottom, top = _slab(o[:, 2], d[:, 2])
    return torch.maximum(first, bottom), torch.minimum(last, top)


def _ellipsoid(o: Tensor, d: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """Clip rays to the unit ball."""
    return _ball(o, d)


def _slab(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Clip coordinates o + t d, of d's shape, to -1 .. 1, each by itself."""
    inverse = (d + TINY).reciprocal_()
    half = inverse.abs()
    middle = inverse.mul_(-o)  # in place, as half of the time goes into boxes
    return middle - half, middle + half


def _ball(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Clip n coordinates (M, n, N) to the unit ball; first > last where rays pass it."""
    inverse = (d * d).sum(1).clamp_(min=TINY).reciprocal_()
    middle = (o * d).sum(1).mul_(-inverse)
    closest = torch.addcmul(o, middle[:, None], d)  # exact where o is far away, unlike b^2 - 4ac
    room = (1 - closest.square_().sum(1)).mul_(inverse)
    width = room.clamp(min=0).sqrt_().sub_(below_zero(room))
    return middle - width, middle + width
