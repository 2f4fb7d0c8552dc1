"""
Align relative depth to sparse metric depth by a scale and a shift that outliers do not move.

A line is fitted through the points (relative value, target), where the target is the measured
depth or, for a network whose output is inverse depth, its inverse. See-through points, wrong
returns and pixels where the network is wrong are outliers, so the fit has two parts:

1. Theil's incomplete method (1950): the points are sorted by relative value, each is paired with
   the one half the list further on, and the slope is the median of the pairs' slopes. A point is
   in one pair (the middle one of an odd number in two), so fewer than a quarter of wrong points,
   however and wherever they are wrong, spoil fewer than half of the pairs. The shift is the median
   of what remains.
2. Closed-form least squares of the relative error, residual / fitted value, reweighted by Tukey's
   biweight, whose width follows the median error. The relative error is nearly the same in depth
   and in inverse depth: near and far points count alike in both.

Beginning with least squares instead, as graduated non-convexity does (Yang et al. 2020), failed on
one-sided outliers in inverse depth: a few see-through points among the nearest pull all the rest.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

POINTS = 2048  # at most; with 1 % of noise their mean is known to 0.02 %
STEPS = 12  # of reweighting: then nothing is left of the start, which jumps with the sorting
TUKEY = 4.685  # width of the biweight: 95 % efficiency where the noise is Gaussian
LEAST_NOISE = 1e-3  # as a share of the depth: no LiDAR is better
LEAST_SPREAD = 1e-5  # of the relative values: standard deviation / root mean square
LEAST_SHARE = 0.01  # standard deviation of the points' relative values / that of the whole map
NEAREST_M, FARTHEST_M = 0.1, 200.0  # limits of an aligned depth


class Way(IntEnum):
    """Tell how scale and shift were found; all but FITTED are makeshifts."""

    FITTED = 0
    RATIO = 1  # scale: sum of the targets / sum of the relative values; shift 0
    CONSTANT = 2  # scale 0, shift: mean of the targets
    NO_POINTS = 3  # scale 1, shift 0


class Fit(NamedTuple):
    """Hold scale (B,), shift (B,) and the `Way` (B,) in which they were found."""

    scale: Tensor
    shift: Tensor
    way: Tensor


def align(relative: Tensor, sparse_depth: Tensor, output: str) -> tuple[Tensor, Fit]:
    """
    Turn relative (B, 1, H, W), of the kind `output`, into depth (B, 1, H, W) m; give the fit, too.

    Depth is limited to `NEAREST_M` .. `FARTHEST_M`; where an aligned inverse depth is not
    positive, it is `FARTHEST_M`. Raises ValueError for an output that is neither 'inverse_depth'
    nor 'depth'.
    """
    if output not in ('inverse_depth', 'depth'):
        raise ValueError(f"output = {output!r}: give 'inverse_depth' or 'depth'")
    inverse = output == 'inverse_depth'
    found = fit(relative, sparse_depth, inverse)
    scale, shift = (x.view(-1, 1, 1, 1) for x in (found.scale, found.shift))
    values = scale * relative + shift
    if inverse:
        return 1 / values.clamp(1 / FARTHEST_M, 1 / NEAREST_M), found
    return values.clamp(NEAREST_M, FARTHEST_M), found


def fit(relative: Tensor, sparse_depth: Tensor, inverse: bool = False) -> Fit:
    """
    Fit scale * relative + shift to sparse depth (B, 1, H, W) m, 0 = none, or to its inverse.

    Where no line can be fitted - fewer than two points, relative values that hardly differ beside
    those of the whole map, a scale that would not be positive - the scale is the ratio of the sums
    and the shift 0. If, besides, not all these relative values are positive, the scale is 0 and
    the shift the targets' mean. Without any point they are 1 and 0. Gradients flow through the
    last least squares alone: an affine change of all relative values has none. Computed in float32
    at least.
    """
    x, y, valid = _points(relative, sparse_depth)
    y = 1 / y if inverse else y
    with torch.no_grad():
        weight = _weights(x, y, valid)
    scale, shift = line(x, y, weight)
    fitted = (scale > 0) & (_spread(x, valid) > LEAST_SHARE * _spread(relative.flatten(1).to(x)))
    count, sum_x, sum_y = ((valid * z).sum(1, keepdim=True) for z in (torch.ones_like(x), x, y))
    positive = ((x > 0) | ~valid).all(1, keepdim=True) & (count > 0)
    ratio = sum_y / torch.where(positive, sum_x, 1)
    constant = torch.where(count > 0, 0.0, 1.0)
    scale = torch.where(fitted, scale, torch.where(positive, ratio, constant))
    shift = torch.where(fitted, shift, torch.where(positive, 0, sum_y / count.clamp(min=1)))
    makeshift = torch.where(count > 0, Way.CONSTANT.value, Way.NO_POINTS.value)
    makeshift = torch.where(positive, Way.RATIO.value, makeshift)
    way = torch.where(fitted, Way.FITTED.value, makeshift)
    return Fit(scale[:, 0], shift[:, 0], way[:, 0])


def _points(relative: Tensor, sparse_depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """
    Take every k-th point, sorted by relative value: relative, depth (1 if invalid), valid.

    All are (B, POINTS); what is left over is invalid and comes last.
    """
    exact = torch.promote_types(relative.dtype, torch.float32)
    x, y = relative.flatten(1).to(exact), sparse_depth.flatten(1).to(exact)  # (B, H * W)
    rank = (y > 0).cumsum(1, dtype=torch.float32)
    every = POINTS / rank[:, -1:].clamp(min=POINTS)
    place = (rank * every).ceil().clamp(max=POINTS)  # 1 .. POINTS
    before = torch.cat((torch.zeros_like(place[:, :1]), place[:, :-1]), 1)
    first = place > before
    place = torch.where(first, place, 0).long()
    pixel = torch.arange(x.shape[1], device=x.device).expand_as(place)
    taken = torch.full_like(place[:, :1], -1).repeat(1, POINTS + 1)
    taken = taken.scatter(1, place, pixel)[:, 1:]
    valid = taken >= 0
    taken = taken.clamp(min=0)
    order = torch.where(valid, x.detach().gather(1, taken), torch.inf).argsort(1)
    valid, taken = valid.gather(1, order), taken.gather(1, order)
    return x.gather(1, taken), torch.where(valid, y.gather(1, taken), 1), valid


def _weights(x: Tensor, y: Tensor, valid: Tensor) -> Tensor:
    """Weigh sorted points (B, POINTS) for the last least squares: outliers get 0."""
    count = valid.sum(1, keepdim=True)
    rank = torch.arange(POINTS, device=x.device)
    other = rank + count // 2
    paired = other < count
    other = other.clamp(max=POINTS - 1)
    run, rise = x.gather(1, other) - x, y.gather(1, other) - y
    paired = paired & (run > 0)
    scale = _median(rise / torch.where(paired, run, 1), paired)
    shift = _median(y - scale * x, valid)
    least = torch.where(valid, y, torch.inf).amin(1, keepdim=True)
    weight = torch.zeros_like(x)
    for step in range(STEPS):
        if step:
            scale, shift = line(x, y, weight)
        value = scale * x + shift
        value, error = value.clamp(min=least), y - value
        error = (error / value).abs()
        noise = (1.4826 * _median(error, valid)).clamp(min=LEAST_NOISE)
        weight = valid * ((1 - (error / (TUKEY * noise)) ** 2).clamp(min=0) / value) ** 2
    return weight


def _spread(values: Tensor, among: Tensor | None = None) -> Tensor:
    """Give the standard deviation (B, 1) of the values (B, N), or of those that are `among`."""
    weight = torch.ones_like(values) if among is None else among.to(values)
    total = weight.sum(1, keepdim=True).clamp(min=1)
    mean = (weight * values).sum(1, keepdim=True) / total
    return ((weight * (values - mean) ** 2).sum(1, keepdim=True) / total).sqrt()


def line(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Solve weighted least squares (B, N) for scale and shift (B, 1); scale 0 without spread."""
    total = weight.sum(1, keepdim=True)
    share = weight / torch.where(total > 0, total, 1)
    mean_x, mean_y = ((share * z).sum(1, keepdim=True) for z in (x, y))
    dx, dy = x - mean_x, y - mean_y
    spread, energy = ((share * z * z).sum(1, keepdim=True) for z in (dx, x))
    enough = spread > LEAST_SPREAD**2 * energy
    slope = (share * dx * dy).sum(1, keepdim=True) / torch.where(enough, spread, 1)
    scale = torch.where(enough, slope, 0)
    return scale, mean_y - scale * mean_x


def _median(values: Tensor, among: Tensor) -> Tensor:
    """Give the lower median (B, 1) of the values (B, N) that are `among`; 0 of none."""
    count = among.sum(1, keepdim=True)
    ordered = torch.where(among, values, torch.inf).sort(1).values
    middle = ordered.gather(1, (count - 1).clamp(min=0) // 2)
    return torch.where(count > 0, middle, 0)
