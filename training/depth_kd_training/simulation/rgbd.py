"""
What an RGB-D camera measures: structured light with a projector beside the lens, and its holes.

Depth comes from a disparity, so that noise and steps grow with the square of the distance.
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_training.simulation.draws import normal, Seeds, uniform
import torch
from torch import Tensor

GLASS_LOST = 0.85
_PATCH_PX = 4  # of surfaces that are lost together
_SHADOW_PX = 0.1  # more than what rounding makes of a surface's own light


@dataclass(frozen=True)
class Model:
    """
    Describe the camera; its projector is `baseline_m` to the right.

    `step_px` is the step of the disparity, `noise_px` its standard deviation.
    """

    range_min_m: float = 0.4
    range_m: float = 8.0
    baseline_m: float = 0.075
    step_px: float = 0.125
    noise_px: float = 0.08
    grazing_cosine: float = 0.2  # of the steepest incidence that still returns
    dropout: float = 0.005

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that cannot be."""
        if not 0 < self.range_min_m < self.range_m:
            raise ValueError(f'range_m = {self.range_m}: must be > range_min_m > 0')
        if self.baseline_m <= 0 or self.step_px <= 0 or self.noise_px < 0:
            raise ValueError('baseline_m and step_px must be > 0, noise_px not negative')


def holes(
    depth: Tensor,
    cosine: Tensor,
    reflectivity: Tensor,
    gloss: Tensor,
    glass: Tensor,
    focal_px: Tensor,
    seeds: Seeds,
    model: Model = Model(),
) -> Tensor:
    """
    Measure true depth (B, H, W) m: depth with noise, steps and holes, 0 = none.

    `cosine` of the incidence, `reflectivity`, `gloss` and `glass` are those of each pixel's
    surface, `focal_px` (B,) the horizontal focal length.
    """
    strength = focal_px.to(depth)[:, None, None] * model.baseline_m  # px m
    disparity = strength / depth.clamp(min=1e-3)
    lost = (depth < model.range_min_m) | (depth > model.range_m) | _in_shadow(disparity, depth)
    # As much light as from a surface of reflectivity 0.1, head-on, at the end of the range.
    signal = reflectivity * cosine * (model.range_m / depth.clamp(min=1e-3)) ** 2 / 0.1
    steepness = (cosine / model.grazing_cosine).clamp(max=1)
    chance = signal.clamp(max=1) * steepness**2 * (1 - gloss * (1 - cosine) ** 2)
    # A polished surface head-on blinds the camera.
    chance = chance * (1 - gloss * cosine.clamp(min=0) ** 32)
    chance = torch.where(glass, chance * (1 - GLASS_LOST), chance)
    lost |= _patches(seeds, depth) >= chance
    size = depth[0].numel()
    lost |= uniform(seeds, 'dropout', size, depth.device).view(depth.shape) < model.dropout
    noise = normal(seeds, 'disparity', size, depth.device).view(depth.shape)
    measured = disparity + model.noise_px * noise
    measured = torch.round(measured / model.step_px) * model.step_px
    lost |= measured <= 0
    return torch.where(lost, 0.0, strength / torch.where(lost, 1.0, measured))


def _in_shadow(disparity: Tensor, depth: Tensor) -> Tensor:
    """Tell which pixels (B, H, W) the projector's light does not reach: a nearer one has it."""
    column = torch.arange(depth.shape[-1], device=depth.device)
    seen_at = torch.where(depth > 0, column - disparity, torch.inf)  # px in the projector's view
    least = seen_at.flip(-1).cummin(-1).values.flip(-1)  # of the pixels to the right
    return seen_at > least + _SHADOW_PX


def _patches(seeds: Seeds, depth: Tensor) -> Tensor:
    """Draw a number 0..1 for each pixel (B, H, W), equal within patches."""
    height, width = (-(-side // _PATCH_PX) for side in depth.shape[1:])
    drawn = uniform(seeds, 'patch', height * width, depth.device).view(-1, height, width)
    drawn = drawn.repeat_interleave(_PATCH_PX, 1).repeat_interleave(_PATCH_PX, 2)
    return drawn[:, : depth.shape[1], : depth.shape[2]]
