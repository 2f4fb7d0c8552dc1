"""Cheap dense depth from sparse depth, for a network's last layer to correct."""

from __future__ import annotations

from collections.abc import Callable

from depth_kd_ros.networks.parts.sizes import crop
import torch
from torch import Tensor
import torch.nn.functional as F

TYPICAL_M = 10.0  # the depth where nothing was measured at all
LEVELS = 8  # of the pyramid, however large the map: the graph is the same for every size
GAIN = 8.0  # a level's weight over the mean weight in its window: a window of 16 is sure with two


def push_pull(sparse_depth: Tensor, typical: float = TYPICAL_M) -> Tensor:
    """
    Fill (B, 1, H, W) m, 0 = none, from a pyramid of weighted averages; points keep their depth.

    Push: average depth and weight into ever coarser levels. Pull: where a level's weight is below
    1, the upsampled coarser level makes up the rest (Gortler et al., The Lumigraph, SIGGRAPH
    1996). The first level halves the rows only, as LiDAR points lie denser along a beam than
    across beams. Beyond the reach of all levels is their mean; without any
    point it is `typical`. Computed in float32 at least.
    """
    depth = sparse_depth.to(torch.promote_types(sparse_depth.dtype, torch.float32))
    weight = (depth > 0).to(depth.dtype)
    levels = []
    for level in range(LEVELS):
        levels.append((depth, weight))  # depth is times weight
        depth, weight = _halve(depth, weight, rows_only=level == 0)
    total = weight.sum((2, 3), keepdim=True)
    mean = depth.sum((2, 3), keepdim=True) / total.clamp(min=1e-6)
    dense = depth + (1 - weight) * torch.where(total > 0, mean, typical)
    for level in reversed(range(LEVELS)):
        depth, weight = levels[level]
        dense = F.interpolate(dense, scale_factor=(2, 2 if level else 1), mode='bilinear')
        dense = depth + (1 - weight) * crop(dense, depth)
    return dense


def _halve(depth: Tensor, weight: Tensor, rows_only: bool) -> tuple[Tensor, Tensor]:
    """Average depth times weight and weight in windows of 2x1 or 4x4, to half the size, up."""
    pads, window, stride = ((0, 0, 0, 1), (2, 1), (2, 1)) if rows_only else ((1, 2, 1, 2), 4, 2)
    depth, weight = (F.avg_pool2d(F.pad(x, pads), window, stride) for x in (depth, weight))
    saturated = (GAIN * weight).clamp(max=1)
    return depth * (saturated / weight.clamp(min=1e-6)), saturated


PREFILLS: dict[str, Callable[[Tensor], Tensor]] = {'push_pull': push_pull}
