"""
Global similarity: pixels, channels or images that are alike to the teacher are to the student.

Yoon et al., "Lightweight Deep CNN for Natural Image Matting via Similarity-Preserving Knowledge
Distillation", SPL 2020, which Jeong et al. (Sensors 2022, 3.4.3) compare with: the mean square
difference of the cosines of all pairs of pixels of an image, (hw x hw), and of all its pairs of
channels, (C x C). Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
compare the pairs of images in a batch: weight `batch`. Each term is summed over the taps.

Channels can only be compared where their numbers agree: as in Yoon et al., a 1x1 convolution
without bias brings the student's to the teacher's number where they differ, for this term alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args, Literal

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
import torch
from torch import nn, Tensor
from torch.autograd.function import once_differentiable
import torch.nn.functional as F

Product = Literal['pixels', 'channels']
EPSILON = 1e-7  # added to norms, as in the authors' code


@dataclass(frozen=True)
class Config:
    """
    Choose the features and the weights of the three similarities; what has weight 0 is left out.

    The default taps are E2-E4 of both encoders and D0-D2 of LSPKD, as in the comparison of its
    paper; name those of other networks. `product` says how the spatial term is worked out: from
    `pixels`, as published, with hw x hw numbers per image and tap; or the same value from
    `channels`, with C x C.
    """

    taps: tuple[str, ...] = (
        *(f'{encoder}.{tap}' for encoder in ('rgb', 'lidar') for tap in ('E2', 'E3', 'E4')),
        *('D0', 'D1', 'D2'),
    )
    spatial: float = 1.0
    channel: float = 1.0
    batch: float = 0.0
    product: Product = 'pixels'

    def __post_init__(self) -> None:
        """Raise ValueError for weights below 0 or all 0 and a product that does not exist."""
        for key in ('spatial', 'channel', 'batch'):
            weight = getattr(self, key)
            if type(weight) not in (int, float) or not 0 <= weight < float('inf'):
                raise ValueError(f'{key} = {weight!r}: give 0 or a positive number')
        if not self.spatial + self.channel + self.batch:
            raise ValueError('spatial = channel = batch = 0: give one of them a weight')
        if self.product not in get_args(Product):
            raise ValueError(
                f'product = {self.product!r}: give one of {", ".join(get_args(Product))}'
            )


class Method(base.Method):
    """Compare similarities of pixels, channels and images."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        self.config = config
        self.taps = base.tap_pairs(config.taps, student, teacher)
        inner, outer = base.channels(student), base.channels(teacher)
        self.phi = nn.ModuleList(
            base.adapter(inner[s], outer[t]) for s, t in self.taps if config.channel
        )

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        config = self.config
        if config.spatial or config.channel:
            features = base.paired(self.taps, student, teacher)
        else:  # images are compared whatever their size
            features = [(student.features[s], teacher.features[t]) for s, t in self.taps]
        terms = {}
        with torch.autocast(student.depth.device.type, enabled=False):
            pairs = [(base.widened(f_s), base.widened(f_t)) for f_s, f_t in features]
            if config.spatial:
                values = [spatial_difference(f_s, f_t, config.product) for f_s, f_t in pairs]
                terms['spatial'] = config.spatial * torch.stack(values).sum()
            if config.channel:
                adapted = zip(self.phi, pairs, strict=True)
                values = [channel_difference(phi(f_s), f_t) for phi, (f_s, f_t) in adapted]
                terms['channel'] = config.channel * torch.stack(values).sum()
            if config.batch:
                values = [batch_difference(f_s, f_t) for f_s, f_t in pairs]
                terms['batch'] = config.batch * torch.stack(values).sum()
        return terms


def spatial_difference(f_s: Tensor, f_t: Tensor, product: Product = 'pixels') -> Tensor:
    """
    Compare the cosines of all pairs of pixels of features (B, C, h, w), any C each; ().

    With unit vectors U (C, hw) and |U^T U| = |U U^T|, the squares of the hw x hw differences sum
    up to |U_s U_s^T|^2 - 2 |U_s U_t^T|^2 + |U_t U_t^T|^2: products of C x C, whose rounding is
    some 1e-7 of the mean square of the cosines. So small a difference is not resolved.
    """
    u_s, u_t = unit(f_s.flatten(2), 1), unit(f_t.flatten(2), 1)  # (B, C, hw)
    pixels = u_s.shape[2]
    if product == 'pixels':
        return products_difference(u_s.mT, u_s, u_t.mT, u_t)
    within, across, of_teacher = (
        torch.bmm(a, b.mT).square().sum((1, 2)) for a, b in ((u_s, u_s), (u_s, u_t), (u_t, u_t))
    )
    return (within - 2 * across + of_teacher).mean() / pixels**2


def channel_difference(f_s: Tensor, f_t: Tensor) -> Tensor:
    """Compare the cosines of all pairs of channels of features (B, C, h, w); ()."""
    u_s, u_t = unit(f_s.flatten(2), 2), unit(f_t.flatten(2), 2)
    return products_difference(u_s, u_s.mT, u_t, u_t.mT)


def products_difference(a_s: Tensor, b_s: Tensor, a_t: Tensor, b_t: Tensor) -> Tensor:
    """Give the mean square of a_s b_s - a_t b_t, keeping but this difference (B, n, n); ()."""
    value: Tensor = _MeanSquare.apply(torch.baddbmm(torch.bmm(a_t, b_t), a_s, b_s, beta=-1))
    return value


class _MeanSquare(torch.autograd.Function):
    """Average the squares of (B, n, n); the gradient is one copy, where autograd's takes four."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.linalg.vector_norm(x, dim=2).square().mean() / x.shape[2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x * (g * (2 / x.numel()))


def batch_difference(f_s: Tensor, f_t: Tensor) -> Tensor:
    """
    Compare the similarities of all pairs of images, of features (B, ...), any shape each; ().

    Tung and Mori, eq. 1-4: products of the flattened features, rows of unit length, sum of squares
    / B^2. It depends on what else is in the batch; ValueError where there is nothing else.
    """
    if len(f_s) < 2:
        raise ValueError('batch similarity compares images: give batches of 2 or more')
    q_s, q_t = (unit(f @ f.mT, 1) for f in (f_s.flatten(1), f_t.flatten(1)))  # (B, B)
    return F.mse_loss(q_s, q_t)


def unit(x: Tensor, dim: int) -> Tensor:
    """Divide x by its norm along a dimension."""
    return x / (torch.linalg.vector_norm(x, dim=dim, keepdim=True) + EPSILON)
