"""
Supervised losses: prediction and ground truth (B, 1, H, W) m, valid (B, 1, H, W) bool -> scalar.

Each is the mean over an image's valid pixels, then over the images that have any: an image with
many measurements weighs no more than one with few. Without a valid pixel the loss is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
import torch.nn.functional as F


def mean_over_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Average values (B, 1, H, W) over valid pixels per image, then over images with any."""
    counts = valid.sum((1, 2, 3))  # (B,)
    sums = torch.where(valid, values, 0.0).sum((1, 2, 3))
    return (sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)


def l1(depth: Tensor, depth_gt: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute error, m (Jeong et al. 2022, eq. 8; the l1 variant of paper 4)."""
    return mean_over_valid((depth - depth_gt).abs(), valid)


def l2(depth: Tensor, depth_gt: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error, m^2 (paper 4)."""
    return mean_over_valid((depth - depth_gt) ** 2, valid)


def structure(depth: Tensor, depth_gt: Tensor, valid: Tensor) -> Tensor:
    """
    Depth, gradient and normal terms of Hu et al. 2019 (papers 1 and 3), with unit weights.

    mean ln(|d - g| + 0.5) + mean ln(|dx| + 0.5) + mean ln(|dy| + 0.5) + mean |1 - cos(n_d, n_g)|,
    with gradients by Sobel and n = (-dx, -dy, 1). Gradients that touch an invalid pixel do not
    count: the authors' code has no mask, holes in the ground truth need one.
    """
    offset = 0.5
    whole = (F.avg_pool2d(F.pad(valid.to(depth.dtype), (1, 1, 1, 1)), 3, 1) > 0.999) & valid
    filled = torch.where(valid, depth_gt, depth.detach())
    error = (depth - depth_gt).abs()
    (dx, dy), (gx, gy) = sobel(depth), sobel(filled)
    cosine = (dx * gx + dy * gy + 1) / (
        torch.sqrt(dx**2 + dy**2 + 1) * torch.sqrt(gx**2 + gy**2 + 1)
    )
    return (
        mean_over_valid(torch.log(error + offset), valid)
        + mean_over_valid(torch.log((dx - gx).abs() + offset), whole)
        + mean_over_valid(torch.log((dy - gy).abs() + offset), whole)
        + mean_over_valid((1 - cosine).abs(), whole)
    )


def sobel(x: Tensor) -> tuple[Tensor, Tensor]:
    """Give the horizontal and vertical derivatives of x (B, 1, H, W), times 8, by Sobel."""
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=x.dtype, device=x.device)
    padded = F.pad(x, (1, 1, 1, 1), mode='replicate')
    return (
        F.conv2d(padded, kernel.view(1, 1, 3, 3)),
        F.conv2d(padded, kernel.T.reshape(1, 1, 3, 3)),
    )


def reconstruction(image: Tensor, grey: Tensor) -> Tensor:
    """Mean squared error of reconstructed and true grey image (B, 1, H, W), 0..255 (paper 4)."""
    return ((image - grey) ** 2).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    'l1': l1,
    'l2': l2,
    'structure': structure,
}


def supervised(
    weights: Mapping[str, float], depth: Tensor, target: Tensor, depth_range_m: tuple[float, float]
) -> dict[str, Tensor]:
    """
    Weigh losses by name against a target depth (B, 1, H, W) m, 0 = none, beyond the range none.

    Raises ValueError for a loss that is not known.
    """
    unknown = sorted(set(weights) - set(LOSSES))
    if unknown:
        raise ValueError(f'unknown loss {unknown[0]!r}: give one of {", ".join(LOSSES)}')
    valid = (target >= depth_range_m[0]) & (target <= depth_range_m[1])
    return {
        name: weight * LOSSES[name](depth.float(), target, valid)
        for name, weight in weights.items()
    }
