"""
Worlds made of solids: frusta, cylinders and ellipsoids on a curved ground.

World frame: x forward, y left, z up (REP 103), metres. A batch holds B worlds of P solids each; a
solid of kind `NONE` fills up worlds that have fewer.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor


class Kind(IntEnum):
    """Say what shape a solid has inside its local cube [-1, 1]^3."""

    NONE = 0
    FRUSTUM = 1  # a box whose top is narrower by `taper` in x and y: boxes, cabins, roofs
    CYLINDER = 2  # upright in its local frame
    ELLIPSOID = 3


class Solids(NamedTuple):
    """
    Hold B worlds of P solids: p_world = centre + rotation @ (half * p_local).

    `cutout` (B, P) is the share of the surface that is holes (foliage, fences): rays pass there;
    `pore_m` (B, P) is the size of a hole.
    """

    kind: Tensor  # (B, P) int64, of Kind
    centre: Tensor  # (B, P, 3) m
    rotation: Tensor  # (B, P, 3, 3), columns are the local axes
    half: Tensor  # (B, P, 3) m, half extents
    taper: Tensor  # (B, P, 2) 0..1, by which the top is narrower in x and y
    cutout: Tensor  # (B, P) 0..1
    pore_m: Tensor  # (B, P)

    def corners(self) -> Tensor:
        """Give the corners (B, P, 8, 3) of the boxes around the solids."""
        signs = torch.tensor(
            [[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)],
            device=self.half.device,
        )
        local = self.half[:, :, None] * signs  # (B, P, 8, 3)
        return self.centre[:, :, None] + torch.einsum('bpij,bpcj->bpci', self.rotation, local)


class Ground(NamedTuple):
    """Hold B grounds: z = height + slope . (x, y) + bend * x^2, without holes."""

    height: Tensor  # (B,) m
    slope: Tensor  # (B, 2)
    bend: Tensor  # (B,) 1/m

    def at(self, x: Tensor, y: Tensor) -> Tensor:
        """Give the height (B, ...) m of the ground at x, y (B, ...) m."""
        shape = (-1, *[1] * (x.dim() - 1))
        height, bend = self.height.view(shape), self.bend.view(shape)
        a, b = (self.slope[:, i].view(shape) for i in (0, 1))
        return height + a * x + b * y + bend * x * x
