"""
Cast rays at solids and the ground, in batches, on the CPU or the GPU.

Rays come in packets of neighbours with nearly one origin (a tile of an image, some firings of a
LiDAR). A packet meets only the solids that `culling` lets through.
"""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_training.simulation.culling import overlapping
from depth_kd_training.simulation.intersections import below_zero, enter, NEAREST_M, TINY
from depth_kd_training.simulation.solids import Ground, Solids
import torch
from torch import Tensor

GROUND, MISS = -1, -2  # what a ray hit beside solid 0, 1, ...
FAR_M = 1e5  # what is hit beyond, in ray lengths, is none


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
    batch, packets, count = origin.shape[:3]
    columns = direction.transpose(2, 3).contiguous()  # (B, T, 3, N)
    shared = origin.stride(2) == 0  # expanded: all rays of a packet begin at one point
    starts = (origin[:, :, :1] if shared else origin).transpose(2, 3).contiguous()
    pairs = overlapping(solids, starts, columns)
    below = _ground_distance(ground, starts, columns).flatten(0, 1)  # (B * T, N)
    near = enter(solids, pairs, starts.flatten(0, 1), columns.flatten(0, 1), seed)  # (K, N)
    # Positive floats order like their bits. The lowest bits give way to the place of the pair
    # among its packet's, so that one pass finds who is nearest; `near` keeps the full distance.
    first, rank = _ranked(pairs.packet, batch * packets)
    mask = (1 << (int(rank.max()) + 2).bit_length()) - 1 if len(rank) else 1
    found = (near.view(torch.int32) & ~mask) | rank[:, None]
    best = (below.view(torch.int32) & ~mask) | mask  # the ground comes last
    best = best.scatter_reduce(0, pairs.packet[:, None].expand(-1, count), found, 'amin') & mask
    on_ground = best == mask
    pair = (first[:, None] + best).masked_fill(on_ground, 0)  # (B * T, N)
    distance, index = below, torch.full_like(pair, GROUND)
    if len(rank):
        lane = torch.arange(count, device=origin.device)
        own = near.view(-1).index_select(0, (pair * count + lane).view(-1)).view(below.shape)
        solid = pairs.solid.index_select(0, pair.view(-1)).view(below.shape)
        distance = torch.where(on_ground, below, own)
        index = solid.masked_fill(on_ground, GROUND)
    missed = distance > FAR_M
    distance, index = distance.masked_fill(missed, torch.inf), index.masked_fill(missed, MISS)
    return Hits(*(x.view(batch, packets, count) for x in (distance, index)))


def _ranked(packet: Tensor, packets: int) -> tuple[Tensor, Tensor]:
    """Give each packet's first pair (packets,), and each pair's place from there on (K,)."""
    counts = torch.bincount(packet, minlength=packets)
    first = counts.cumsum(0) - counts
    number = torch.arange(len(packet), device=packet.device)
    return first, (number - first.index_select(0, packet)).int()


def _ground_distance(ground: Ground, starts: Tensor, columns: Tensor) -> Tensor:
    """
    Give the distance (B, T, N) at which rays meet the ground from above; inf: never.

    Origins (B, T, 3, N or 1) and directions (B, T, 3, N) are in m.
    """
    bend, slope_x, slope_y, height = (
        x.view(-1, 1, 1) for x in (ground.bend, *ground.slope.unbind(1), ground.height)
    )
    (ox, oy, oz), (dx, dy, dz) = starts.unbind(2), columns.unbind(2)
    # z - g(x, y) = 0 along the ray: a t^2 + b t + c = 0, with c the height above the ground.
    a = -bend * dx * dx
    b = dz - (slope_x + 2 * bend * ox) * dx - slope_y * dy
    c = oz - height - slope_x * ox - slope_y * oy - bend * ox * ox
    room = b * b - 4 * a * c
    q = -(b + torch.copysign(room.clamp(min=0).sqrt(), b)) / 2  # no cancellation
    passed = below_zero(room)
    first, second = c / (q + TINY), q / (a + TINY)
    first, second = (t + below_zero(t - NEAREST_M) for t in (first, second))
    return torch.minimum(first, second) + passed
