"""
Attention transfer: the student's features are large where the teacher's are.

Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017, eq. 2: an attention map
is the mean square over the channels, as a vector of unit length. The weight is customarily 1000
with the reduction of the authors' `code`, the mean of squared differences (default); their `paper`
has the norm of the difference, whose factor 1/2 is left to the weight. Jeong et al. (Sensors 2022)
compare with it; of the layers they say only what they chose "for all experiments".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args, Literal

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
import torch
from torch import Tensor
import torch.nn.functional as F

Reduction = Literal['code', 'paper']


@dataclass(frozen=True)
class Config:
    """
    Choose the features and the reduction.

    The default taps are E1-E3 of both encoders and D1-D3 of LSPKD; name those of other networks.
    """

    taps: tuple[str, ...] = (
        *(f'{encoder}.{tap}' for encoder in ('rgb', 'lidar') for tap in ('E1', 'E2', 'E3')),
        *('D1', 'D2', 'D3'),
    )
    reduction: Reduction = 'code'

    def __post_init__(self) -> None:
        """Raise ValueError for a reduction that does not exist."""
        if self.reduction not in get_args(Reduction):
            one = ', '.join(get_args(Reduction))
            raise ValueError(f'reduction = {self.reduction!r}: give one of {one}')


class Method(base.Method):
    """Compare attention maps, summed over the taps; there are no adapters."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        self.config = config
        self.taps = base.tap_pairs(config.taps, student, teacher)

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        reduction = self.config.reduction
        pairs = base.paired(self.taps, student, teacher)
        return {'attention': torch.stack([difference(*pair, reduction) for pair in pairs]).sum()}


def difference(f_s: Tensor, f_t: Tensor, reduction: Reduction = 'code') -> Tensor:
    """
    Compare the attention of features (B, C, h, w), any C each; ().

    'code': the mean square over images and pixels; 'paper': the norm per image, averaged.
    """
    a_s, a_t = attention(f_s), attention(f_t)
    if reduction == 'code':
        return F.mse_loss(a_s, a_t)
    return torch.linalg.vector_norm(a_s - a_t, dim=1).mean()


def attention(feature: Tensor) -> Tensor:
    """Give the mean square over channels (B, C, h, w) as vectors (B, hw) of length 1, or 0."""
    f = base.widened(feature)
    return F.normalize(f.square().mean(1).flatten(1))
