"""
Which solids a packet of rays can hit at all.

A packet whose rays all go its way lies within the pyramid of its outline. A solid is let through
unless its bounding box lies wholly outside one of the pyramid's four sides, or behind its tip.
"""

from __future__ import annotations

from depth_kd_training.simulation.intersections import NEAREST_M, Pairs
from depth_kd_training.simulation.solids import Kind, Solids
import torch
from torch import Tensor
import torch.nn.functional as F

_MARGIN = 1e-4  # of a packet's outline, in units of its distance-1 plane


def overlapping(solids: Solids, origin: Tensor, direction: Tensor) -> Pairs:
    """List the pairs of which a ray may hit the solid: (B, T, 3, N or 1), (B, T, 3, N) m."""
    tip = origin.mean(3)  # (B, T, 3)
    slack = (origin - tip[..., None]).square().sum(2).amax(2).sqrt()[..., None]  # (B, T, 1) m
    axis = F.normalize(direction.mean(3), dim=2)
    right, up = _across(axis)
    x, y, z = (torch.stack((right, up, axis), 2) @ direction).unbind(2)  # (B, T, N)
    wide = (z.amin(2) <= 1e-3)[..., None]  # no pyramid holds such a packet: all may be hit
    z = z.clamp(min=1e-3)
    u, v = x / z, y / z  # on the plane at distance 1
    sides = (
        right - (u.amin(2) - _MARGIN)[..., None] * axis,
        (u.amax(2) + _MARGIN)[..., None] * axis - right,
        up - (v.amin(2) - _MARGIN)[..., None] * axis,
        (v.amax(2) + _MARGIN)[..., None] * axis - up,
    )  # (B, T, 3) each: a point p of the pyramid has side . (p - tip) >= 0
    centre = solids.centre.transpose(1, 2)  # (B, 3, P)
    arms = (solids.rotation * solids.half[:, :, None]).permute(3, 0, 2, 1)  # (3, B, 3, P)
    kept = (solids.kind != Kind.NONE)[:, None].expand(-1, tip.shape[1], -1)
    for side in sides:
        top = side @ centre - (side * tip).sum(2, keepdim=True)
        for arm in arms:
            top = top + (side @ arm).abs()
        kept = kept & (top + slack * side.norm(dim=2, keepdim=True) >= 0)
    middle = axis @ centre - (axis * tip).sum(2, keepdim=True)  # (B, T, P)
    size = sum(((axis @ arm).abs() for arm in arms), slack)
    kept = (kept & (middle + size > NEAREST_M)) | (wide & (solids.kind != Kind.NONE)[:, None])
    world, packet, solid = kept.nonzero().unbind(1)
    return Pairs(packet + world * tip.shape[1], world, solid)


def _across(axis: Tensor) -> tuple[Tensor, Tensor]:
    """Give two unit vectors (..., 3) at right angles to the axis (..., 3) and to each other."""
    helper = torch.zeros_like(axis)
    helper.scatter_(-1, axis.abs().argmin(-1, keepdim=True), 1.0)
    right = F.normalize(torch.linalg.cross(axis, helper), dim=-1)
    return right, torch.linalg.cross(axis, right)
