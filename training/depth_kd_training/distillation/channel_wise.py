"""
Channel-wise distillation of normalised depth: the poster "label-free distillation", part (a).

"First normalize the depth and then compute KL divergency loss": that of Shu et al., "Channel-wise
Knowledge Distillation for Dense Prediction", ICCV 2021, with the normalised depth as the channel.
The poster's rows are 'CN + KL' (`loss: kl`) and its baseline 'CN + MSE' (`loss: mse`).
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import get_args, Literal

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
from torch import Tensor
import torch.nn.functional as F

Loss = Literal['kl', 'mse']
Normalisation = Literal['median', 'mean']

FLAT = 1e-6  # share of its size by which a map must vary to be more than rounding of a constant


@dataclass(frozen=True)
class Config:
    """
    Choose how depth is normalised and compared.

    `kl` compares distributions over pixels, softened by `temperature` (Shu et al.: 4); `mse` the
    normalised depths themselves. `normalisation`, which the poster leaves open: by the `median`
    and the mean absolute deviation from it (Ranftl et al., "Towards Robust Monocular Depth
    Estimation"), or by the `mean` and the standard deviation.
    """

    loss: Loss = 'kl'
    normalisation: Normalisation = 'median'
    temperature: float = 4.0

    def __post_init__(self) -> None:
        """Raise ValueError for a name that is not known and a temperature that is not positive."""
        for key, known in (('loss', get_args(Loss)), ('normalisation', get_args(Normalisation))):
            value = getattr(self, key)
            if value not in known:
                raise ValueError(f'{key} = {value!r}: give one of {", ".join(known)}')
        value = self.temperature
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ValueError(f'temperature = {value!r}: give a positive number')


class Method(base.Method):
    """Compare normalised depth; relative networks may be compared with metric ones."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        base.check_same_output(student, teacher)
        self.config = config

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        options = self.config
        d_s, d_t = (
            normalise(prediction.depth.float(), options.normalisation)
            for prediction in (student, teacher)
        )
        if options.loss == 'mse':
            return {'mse': (d_s - d_t).square().mean()}
        return {'kl': divergence(d_s, d_t, options.temperature)}


def normalise(depth: Tensor, by: Normalisation = 'median') -> Tensor:
    """
    Shift and scale each channel of (B, C, H, W) to median or mean 0 and deviation 1, no unit.

    Of an even number of pixels the lower middle one is the median. A channel that does not vary
    becomes 0, and keeps a gradient that is finite.
    """
    flat = depth.flatten(2)
    shift = flat.median(2, keepdim=True).values if by == 'median' else flat.mean(2, keepdim=True)
    centred = flat - shift
    least = FLAT * flat.detach().abs().mean(2, keepdim=True)
    if by == 'median':
        scale = centred.abs().mean(2, keepdim=True)
        scale = scale + (scale <= least)
    else:
        variance = centred.square().mean(2, keepdim=True)
        scale = (variance + (variance <= least.square())).sqrt()
    return (centred / scale).view_as(depth)


def divergence(d_s: Tensor, d_t: Tensor, temperature: float) -> Tensor:
    """
    Give T^2 / C sum_c KL(phi(d_t) || phi(d_s)), phi = softmax(d / T) over pixels; mean of B, ().

    Of normalised depth (B, C, H, W), by Shu et al. Where T is large it is about half the variance
    of d_t - d_s over the pixels, however many: the recipe's weight suits any size and T.
    """
    log_s, log_t = ((d / temperature).flatten(2).log_softmax(2) for d in (d_s, d_t))
    total = F.kl_div(log_s, log_t, reduction='sum', log_target=True)
    return temperature**2 * total / (d_s.shape[0] * d_s.shape[1])
