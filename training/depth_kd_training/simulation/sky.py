"""The sky: what is seen where nothing is hit, what lights the shade and what glass mirrors."""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_training.simulation.texture_bank import Bank, VARIANTS
import torch
from torch import Tensor

CLOUD_TILE = 2.5  # of the clouds' texture, in units of their height


def each(values: Tensor, world: Tensor) -> Tensor:
    """Give each of M rays (..., M) its world's of values (..., B); (..., 1) where B is 1."""
    return values if values.shape[-1] == 1 else values.index_select(-1, world)


class Sky(NamedTuple):
    """Hold B skies; colours (3, B) are linear."""

    zenith: Tensor
    horizon: Tensor
    sun: Tensor  # (3, B) colour of its direct light
    clouds: Tensor  # (B,) share 0..1 of white
    visibility_m: Tensor  # (B,) where haze hides half

    def colour(
        self, world: Tensor, direction: Tensor, to_sun: Tensor, bank: Bank, dither: Tensor
    ) -> Tensor:
        """
        Give the light (3, M) from unit directions (3, M) in worlds (M,); to_sun is (3, B).

        Below the horizon it is as at the horizon.
        """
        up = direction[2].clamp(min=0.0)
        rise = (1 - up).square().square()
        horizon = each(self.horizon, world)
        blue = each(self.zenith, world) * (1 - rise) + horizon * rise
        u, v = direction[:2] / ((up + 0.12) * CLOUD_TILE)
        drawing = torch.full_like(world, bank.names.index('concrete') * VARIANTS)
        shape = bank.brightness(drawing, u, v, torch.ones_like(up), dither)  # 0.75 +- 0.1
        cover = ((shape - 0.75) * 5 + (each(self.clouds, world) * 3 - 1)).clamp(0, 1)
        seen = blue + cover * (horizon.amax(0) * 1.1 - blue)
        glow = (direction * each(to_sun, world)).sum(0).clamp(min=0)
        return seen + each(self.sun, world) * (
            0.15 * torch.exp(12 * (glow - 1)) + 4 * torch.exp(1500 * (glow - 1))
        ) * (1 - cover)

    def hazed(self, world: Tensor, light: Tensor, distance_m: Tensor) -> Tensor:
        """Mix light (3, M) from distances (M,) m with the air's."""
        clear = torch.exp2(-distance_m / each(self.visibility_m, world))
        return each(self.horizon, world) * (1 - clear) + light * clear
