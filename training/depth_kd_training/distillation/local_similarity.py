"""
Local similarity: the student's features vary from pixel to pixel as the teacher's do.

Jeong et al., "Lightweight Depth Completion Network with Local Similarity-Preserving Knowledge
Distillation", Sensors 2022, eq. 4-6: |F_t - phi(F_s)| + alpha |S_t - S_s| of every pair of
features, where S holds the cosines of a pixel's feature with those of its 8 neighbours. Both terms
are summed over the pairs. What the paper leaves open:

- the reduction: the mean of squares; option `l2norm`: the norm of each image, averaged over the
  batch, as eq. 6 has it;
- the border: a neighbour outside of the map has the cosine 0, for student and teacher alike;
- phi: a 1x1 convolution without bias where the numbers of channels differ, else the identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, Literal

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
import torch
from torch import nn, Tensor
from torch.autograd.function import once_differentiable
import torch.nn.functional as F

Reduction = Literal['mean_square', 'l2norm']
SHIFTS = ((0, 1), (1, -1), (1, 0), (1, 1))  # down, right; the other neighbours mirror these
SMALLEST = 1e-6  # norm of a feature that has a direction; the cosines of those below are 0


@dataclass(frozen=True)
class Config:
    """
    Choose the features, `alpha` before the similarity and the `reduction`.

    The default taps are the paper's E1-E3 of both encoders and D1-D3, as LSPKD names them; name
    those of other networks.
    """

    taps: tuple[str, ...] = (
        *(f'{encoder}.{tap}' for encoder in ('rgb', 'lidar') for tap in ('E1', 'E2', 'E3')),
        *('D1', 'D2', 'D3'),
    )
    alpha: float = 1.0
    reduction: Reduction = 'mean_square'

    def __post_init__(self) -> None:
        """Raise ValueError for an alpha below 0 and a reduction that does not exist."""
        if type(self.alpha) not in (int, float) or not 0 <= self.alpha < float('inf'):
            raise ValueError(f'alpha = {self.alpha!r}: give 0 or a positive number')
        if self.reduction not in get_args(Reduction):
            one = ', '.join(get_args(Reduction))
            raise ValueError(f'reduction = {self.reduction!r}: give one of {one}')


class Method(base.Method):
    """Compare features, and their similarities to the neighbours; phi is the adapter."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        self.config = config
        self.taps = base.tap_pairs(config.taps, student, teacher)
        inner, outer = base.channels(student), base.channels(teacher)
        self.phi = nn.ModuleList(base.adapter(inner[s], outer[t]) for s, t in self.taps)

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        reduction = self.config.reduction
        feature, similarity = [], []
        pairs = base.paired(self.taps, student, teacher)
        for (f_s, f_t), phi in zip(pairs, self.phi, strict=True):
            feature.append(feature_difference(phi(base.widened(f_s)), f_t, reduction))
            similarity.append(similarity_difference(f_s, f_t, reduction))
        return {
            'feature': torch.stack(feature).sum(),
            'similarity': self.config.alpha * torch.stack(similarity).sum(),
        }


def feature_difference(f_s: Tensor, f_t: Tensor, reduction: Reduction = 'mean_square') -> Tensor:
    """Compare adapted features (B, C, h, w) of the student with the teacher's: eq. 6, left; ()."""
    return distance(base.widened(f_s), base.widened(f_t), reduction)


def similarity_difference(
    f_s: Tensor, f_t: Tensor, reduction: Reduction = 'mean_square'
) -> Tensor:
    """
    Compare the local similarities of features (B, C, h, w), any C each: eq. 6, right; ().

    Each pair of neighbours stands in 2 of the 8 maps and is compared once: the mean is the same,
    the sum of squares is half.
    """
    value = distance(local_similarity(f_s), local_similarity(f_t), reduction)
    return value if reduction == 'mean_square' else 2**0.5 * value


def distance(a: Tensor, b: Tensor, reduction: Reduction) -> Tensor:
    """Give the mean square of a - b (B, C, h, w), or its norm per image, averaged; ()."""
    if reduction == 'mean_square':
        return F.mse_loss(a, b)
    return torch.linalg.vector_norm(a - b, dim=(1, 2, 3)).mean()


def local_similarity(feature: Tensor) -> Tensor:
    """
    Give the cosines of each feature (B, C, h, w) with those at `SHIFTS` of it, (B, 4, h, w).

    Eq. 4; the other four are mirror images, S(x, y, -p) = S(x - p_x, y - p_y, p). 0 where the
    neighbour lies outside, or where a norm is below `SMALLEST`. Beside the maps and the feature
    itself, no more is kept for the gradient than one norm per pixel.
    """
    similarity: Tensor = _LocalSimilarity.apply(feature)
    return similarity


class _LocalSimilarity(torch.autograd.Function):
    """
    Multiply by one shifted map at a time, without a normalised copy of the feature.

    With the unit vectors u = F / |F| and G = sum_p g_p u(x + p), over the 8 neighbours, the
    gradient is (G - u <u, G>) / |F|, where <u, G> = sum_p g_p S_p needs no features.
    """

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        f = base.widened(feature)
        norm = torch.linalg.vector_norm(f, dim=1)  # (B, h, w)
        inverse = (norm >= SMALLEST) / norm.clamp(min=SMALLEST)
        similarity = f.new_zeros(len(f), len(SHIFTS), *norm.shape[1:])
        for j, (here, there) in enumerate(neighbours(*norm.shape[1:])):
            product = (f[here] * f[there]).sum(1)
            similarity[:, j][here] = product * inverse[here] * inverse[there]
        ctx.save_for_backward(feature, inverse, similarity)
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        feature, inverse, similarity = ctx.saved_tensors
        f = base.widened(feature)
        along = torch.zeros_like(inverse)  # <u, G>
        gradient = torch.zeros_like(f)
        for j, (here, there) in enumerate(neighbours(*inverse.shape[1:])):
            weight = g[:, j][here] * inverse[here] * inverse[there]
            gradient[here].addcmul_(f[there], weight.unsqueeze(1))
            gradient[there].addcmul_(f[here], weight.unsqueeze(1))
            both = g[:, j][here] * similarity[:, j][here]
            along[here] += both
            along[there] += both
        gradient.addcmul_(f, (along * inverse**2).unsqueeze(1), value=-1)
        return gradient.to(feature.dtype)


def neighbours(height: int, width: int) -> Iterator[tuple[Any, Any]]:
    """Index, for each of `SHIFTS`, the pixels (..., h, w) that have a neighbour, and these."""
    for down, right in SHIFTS:
        left = max(-right, 0)
        right = max(right, 0)
        yield (
            (..., slice(height - down), slice(left, max(width - right, 0))),
            (..., slice(down, None), slice(right, max(width - left, 0))),
        )
