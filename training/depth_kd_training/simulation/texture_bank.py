"""
All textures, drawn once from a seed, with smaller copies of each, and how rays look them up.

Every name has `VARIANTS` drawings, so that two walls of brick are not the same wall.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from depth_kd_training.simulation.textures import DRAW, SIDE
import numpy as np
import torch
from torch import Tensor

VARIANTS, LEVELS = 4, 8  # drawings per name; sides of 128, 64, ... 1 texels


class Bank(NamedTuple):
    """Hold all drawings (T, M) int32, 0xBBGGRR, the levels of a drawing one after the other."""

    names: tuple[str, ...]
    texels: Tensor

    def to(self, device: torch.device | str) -> Bank:
        """Move the texels to a device."""
        return Bank(self.names, self.texels.to(device))

    def sample(
        self, drawing: Tensor, u: Tensor, v: Tensor, level: Tensor, dither: Tensor
    ) -> Tensor:
        """
        Look drawings (M,) up at u, v (M,), in tiles, on a level (M,) of detail: (3, M) 0..1.

        Level 0 has SIDE texels per tile, each further one half of them. A random `dither` (2, M)
        in 0..1 chooses among the neighbours: on average that is bilinear, at a quarter the cost.
        """
        packed = self._texels(drawing, u, v, level, dither)
        drawn = packed.new_empty((3, len(packed)), dtype=torch.float32)
        for shift, channel in zip((0, 8, 16), drawn, strict=True):
            torch.bitwise_and(packed >> shift, 255, out=channel)
        return drawn.mul_(1 / 255)

    def brightness(
        self, drawing: Tensor, u: Tensor, v: Tensor, level: Tensor, dither: Tensor
    ) -> Tensor:
        """Look grey drawings up, as `sample` does: (M,) 0..1."""
        return (self._texels(drawing, u, v, level, dither) & 255) * (1 / 255)

    def _texels(
        self, drawing: Tensor, u: Tensor, v: Tensor, level: Tensor, dither: Tensor
    ) -> Tensor:
        """Look up packed colours (M,) int32."""
        level = level.clamp(0, LEVELS - 1).int()
        side = torch.full_like(level, SIDE) >> level  # powers of two
        start = _starts(level.device).index_select(0, level)
        column, row = (
            (at * side).add_(shift - 0.5).floor_().int().bitwise_and_(side - 1)
            for at, shift in zip((u, v), dither, strict=True)
        )
        place = drawing * self.texels.shape[1] + row.mul_(side).add_(column).add_(start)
        return self.texels.view(-1).index_select(0, place)


@functools.lru_cache(maxsize=2)
def bank(seed: int = 0) -> Bank:
    """Draw the bank of a seed."""
    texels = []
    for number, draw in enumerate(DRAW.values()):
        for variant in range(VARIANTS):
            drawn = np.clip(draw(np.random.default_rng([seed, number, variant])), 0, 1)
            if drawn.ndim == 2:
                drawn = np.repeat(drawn[..., None], 3, 2)
            levels, size = [], SIDE
            while size:
                levels.append(drawn.reshape(-1, 3))
                size //= 2
                drawn = drawn.reshape(size, 2, size, 2, 3).mean((1, 3)) if size else drawn
            texels.append(np.rint(np.concatenate(levels) * 255).astype(np.int32) @ [1, 256, 65536])
    return Bank(tuple(DRAW), torch.from_numpy(np.stack(texels).astype(np.int32)))


@functools.lru_cache
def _starts(device: torch.device) -> Tensor:
    """Give how many texels of a drawing come before each level, (LEVELS,) int32."""
    sizes = [(SIDE >> level) ** 2 for level in range(LEVELS)]
    starts = [sum(sizes[:level]) for level in range(LEVELS)]
    return torch.tensor(starts, dtype=torch.int32, device=device)
