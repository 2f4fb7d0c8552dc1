"""Cheap dense depths of one sparse depth, for a network to choose between at each pixel."""

from __future__ import annotations

import math
from typing import NamedTuple

from depth_kd_ros.networks.parts.prefill import push_pull, TYPICAL_M
import torch
from torch import Tensor
import torch.nn.functional as F

NAMES = ('smooth', 'average', 'column', 'above', 'below')
SHOWN = len(NAMES) + 3  # channels of `Candidates.shown`
NEAREST_M, FARTHEST_M = 0.1, 1000.0
ALONG_PX = 4  # how far a point reaches along its row, to close the gaps within a beam
TYPICAL_PX = 16.0  # between two beams
NOWHERE = 1e4  # rows


class Candidates(NamedTuple):
    """
    Depths (B, 5, H, W) m in the order of `NAMES`, and what a network sees of them (B, 8, H, W).

    Shown are the logarithms of the first depth in units of `TYPICAL_M` and of the others' ratios
    to it, how far the points above and below lie (0: here, 1: nowhere), and where points are.
    """

    depth: Tensor
    shown: Tensor


def candidates(sparse_depth: Tensor) -> Candidates:
    """
    Fill (B, 1, H, W) m, 0 = none, in the ways of `NAMES`, in float32 at least.

    'smooth' is the push_pull of inverse depth, 'average' that of depth. 'above' and 'below' are
    the nearest points of the pixel's column, 'column' is linear between them in inverse depth.
    Where a column has points on one side alone, it stands for both, and where it has none,
    'smooth'.
    """
    depth = sparse_depth.to(torch.promote_types(sparse_depth.dtype, torch.float32))
    known = (depth > 0).to(depth.dtype)
    inverse = known / depth.clamp(NEAREST_M, FARTHEST_M)  # 1/m, 0 = none
    smooth = push_pull(inverse, 1 / TYPICAL_M).clamp(min=1 / FARTHEST_M)
    average = 1 / push_pull(depth).clamp(NEAREST_M, FARTHEST_M)
    wide = torch.where(known > 0, inverse, _along_rows(inverse))
    up, down = (_rows_to(wide > 0, upwards, depth.dtype) for upwards in (True, False))
    row = torch.arange(depth.shape[2], device=depth.device, dtype=depth.dtype)[:, None]
    above = wide.gather(2, (row - up).clamp(min=0).long())  # 0 where there is none
    below = wide.gather(2, (row + down).clamp(max=depth.shape[2] - 1).long())
    either = torch.where(below > 0, below, smooth)
    below = torch.where(below > 0, below, torch.where(above > 0, above, smooth))
    above = torch.where(above > 0, above, either)
    share = up / (up + down).clamp(min=1)  # of the point below
    column = torch.lerp(above, below, share)
    found = torch.cat((smooth, average, column, above, below), 1)
    logs = -found.log()  # of depth
    first, others = logs[:, :1], logs[:, 1:]
    far = [rows / (rows + TYPICAL_PX) for rows in (up, down)]
    shown = torch.cat((first - math.log(TYPICAL_M), others - first, *far, known), 1)
    return Candidates(1 / found, shown)


def _along_rows(inverse: Tensor) -> Tensor:
    """Let points (B, 1, H, W) 1/m reach `ALONG_PX` along their row; the nearer in depth wins."""
    return F.max_pool2d(inverse, (1, 2 * ALONG_PX + 1), 1, (0, ALONG_PX))


def _rows_to(known: Tensor, upwards: bool, dtype: torch.dtype) -> Tensor:
    """Count the rows (B, 1, H, W) from each pixel to the next known one; `NOWHERE` if none."""
    height = known.shape[2]
    row = torch.arange(height, device=known.device, dtype=dtype)[:, None]
    place = row if upwards else height - 1 - row
    last = torch.where(known, place, -NOWHERE)  # the largest so far is the nearest
    for reach in (2**doubling for doubling in range((height - 1).bit_length())):
        here, there = (last[:, :, reach:], last[:, :, :-reach])[:: 1 if upwards else -1]
        nearer = torch.maximum(here, there)
        rest = last[:, :, :reach] if upwards else last[:, :, -reach:]
        last = torch.cat((rest, nearer) if upwards else (nearer, rest), 2)
    return torch.where(last < 0, NOWHERE, place - last)
