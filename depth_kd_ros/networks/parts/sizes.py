"""Fit one tensor's height and width to another's."""

from __future__ import annotations

from torch import Tensor
import torch.nn.functional as F


def crop(x: Tensor, like: Tensor) -> Tensor:
    """Cut x (B, C, H', W') at its bottom and right to the height and width of `like`."""
    return x[:, :, : like.shape[2], : like.shape[3]]


def resize(x: Tensor, like: Tensor, align_corners: bool = False) -> Tensor:
    """Resample x (B, C, H', W') bilinearly to the height and width of `like`."""
    return F.interpolate(x, like.shape[2:], mode='bilinear', align_corners=align_corners)
