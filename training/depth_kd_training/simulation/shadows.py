"""Which points the light reaches: hard shadows, by rays cast from the light."""

from __future__ import annotations

from depth_kd_training.simulation.raycast import cast
from depth_kd_training.simulation.solids import Ground, Solids
import torch
from torch import Tensor
import torch.nn.functional as F

PACKET, CELL_M = 128, 1.5  # rays of a packet; neighbours lie in one cell across the light
TOLERANCE_M = 0.03  # by which what casts a shadow must be nearer to the light


def lit(solids: Solids, ground: Ground, lamp: Tensor, points: Tensor) -> Tensor:
    """Tell which points (3, M) m of one world the light of a lamp (3,) reaches: (M,), 0 or 1."""
    from_lamp = points - lamp[:, None]
    away = from_lamp.square().sum(0).sqrt()
    # Neighbours as the light sees them share a packet, so that it meets few solids.
    axis = F.normalize(from_lamp.mean(1), dim=0)
    side = F.normalize(torch.linalg.cross(axis, axis.new_tensor([0.3, 0.2, 0.9])), dim=0)
    basis = torch.stack((side, torch.linalg.cross(axis, side)))
    cell = (basis @ from_lamp / CELL_M).floor().int().clamp(-500, 500)
    order = (cell[0] * 1001 + cell[1]).argsort()
    order = torch.cat((order, order[-1:].expand(-len(order) % PACKET)))
    direction = (from_lamp / away)[:, order].view(3, -1, PACKET).permute(1, 2, 0)[None]
    first = cast(solids, ground, lamp.expand_as(direction), direction).distance.view(-1)
    free = torch.empty_like(away)
    free[order] = (first > away[order] - TOLERANCE_M).to(free.dtype)
    return free
