"""
Which solids a packet of rays can hit at all.

A packet whose rays all go its way lies within the pyramid of its outline. A solid is let through
unless its bounding box lies wholly outside one of the pyramid's four sides, or behind its tip.
"""

from __future__ import annotations

from depth_kd_training.simulation.intersections import NEAREST_M, Pairs
from depth_kd_training.simulation.places import places
from depth_kd_training.simulation.solids import Kind, Solids
import torch
from torch import Tensor
import torch.nn.functional as F

_MARGIN = 1e-4  # of a packet's outline, in units of its distance-1 plane


def overlapping(solids: Solids, origin: Tensor, direction: Tensor) -> Pairs:
    """List the pairs of which a ray may hit the solid: (B, T, 3, N or 1), (B, T, 3, N) m."""
    planes, wide = _outlines(origin, direction)
    batch, _, packets, _ = planes.shape
    centre = solids.centre.transpose(1, 2)  # (B, 3, P)
    exists = (solids.kind != Kind.NONE)[:, None]  # (B, 1, P)
    # First the balls around the solids, all at once; then their boxes, of the pairs that are left.
    radius = solids.half.square().sum(2).sqrt()[:, None]  # (B, 1, P)
    inside = planes.flatten(1, 2) @ torch.cat((centre, torch.ones_like(radius)), 1)
    near = inside.view(batch, len(_PLANES), packets, -1).amin(1) + radius >= 0
    world, packet, solid = ((near | wide) & exists).nonzero().unbind(1)
    row, column = world * packets + packet, world * centre.shape[2] + solid
    rows = planes.permute(1, 3, 0, 2).flatten(0, 1).flatten(1).contiguous()  # (20, B * T)
    own = rows.index_select(1, row).unflatten(0, (len(_PLANES), 4))  # (5, 4, K)
    normal, offset = own[:, :3], own[:, 3]
    middle = centre.transpose(0, 1).flatten(1).contiguous()  # (3, B * P)
    arms = (solids.rotation * solids.half[:, :, None]).permute(3, 2, 0, 1).flatten(2)
    top = (normal * middle.index_select(1, column)).sum(1) + offset
    for arm in arms.contiguous():  # (3, B * P)
        top = top + (normal * arm.index_select(1, column)).sum(1).abs()
    kept = (top.amin(0) >= 0) | wide.view(-1).index_select(0, row)
    chosen = places(kept)
    row, world, solid = (x.index_select(0, chosen) for x in (row, world, solid))
    return Pairs(row, world, solid)


_PLANES = ('left', 'right', 'below', 'above', 'behind')


def _outlines(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """
    Give the planes (B, 5, T, 4) of the packets' pyramids, and which have none (B, T, 1).

    A point p lies on a packet's side of a plane n, c where n . p + c >= 0, with |n| = 1.
    """
    tip = origin.mean(3)  # (B, T, 3)
    slack = (origin - tip[..., None]).square().sum(2).amax(2).sqrt()  # (B, T) m
    axis = F.normalize(direction.mean(3), dim=2)
    right, up = _across(axis)
    x, y, z = (torch.stack((right, up, axis), 2) @ direction).unbind(2)  # (B, T, N)
    wide = (z.amin(2) <= 1e-3)[..., None]  # no pyramid holds such a packet: all may be hit
    inverse = z.clamp(min=1e-3).reciprocal()
    u, v = x * inverse, y * inverse  # on the plane at distance 1
    sides = (
        right - (u.amin(2) - _MARGIN)[..., None] * axis,
        (u.amax(2) + _MARGIN)[..., None] * axis - right,
        up - (v.amin(2) - _MARGIN)[..., None] * axis,
        (v.amax(2) + _MARGIN)[..., None] * axis - up,
        axis,
    )
    normal = F.normalize(torch.stack(sides, 1), dim=3)  # (B, 5, T, 3)
    offset = slack[:, None] - (normal * tip[:, None]).sum(3)
    offset[:, 4] -= NEAREST_M
    return torch.cat((normal, offset[..., None]), 3), wide


def _across(axis: Tensor) -> tuple[Tensor, Tensor]:
    """Give two unit vectors (..., 3) at right angles to the axis (..., 3) and to each other."""
    helper = torch.zeros_like(axis)
    helper.scatter_(-1, axis.abs().argmin(-1, keepdim=True), 1.0)
    right = F.normalize(torch.linalg.cross(axis, helper), dim=-1)
    return right, torch.linalg.cross(axis, right)
