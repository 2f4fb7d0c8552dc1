"""
Probabilistic knowledge transfer: images that are alike to the teacher are so to the student.

Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV
2018, with the cosine kernel and the formula of the authors' code; customarily weighted 30000. The
probabilities are those of an image within its batch: the loss depends on what else is in this
process's part of the batch, of which 2 images are the least. Jeong et al. (Sensors 2022) compare
with it; of the layers they say only what they chose "for all experiments", and nothing of how a
feature map becomes the vector that the method is made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args, Literal

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
import torch
from torch import Tensor

Vector = Literal['pooled', 'flattened']
EPSILON = 1e-7


@dataclass(frozen=True)
class Config:
    """
    Choose the features and what makes them a vector: the mean over the pixels, or all numbers.

    The default taps are E1-E3 of both encoders and D1-D3 of LSPKD; name those of other networks.
    """

    taps: tuple[str, ...] = (
        *(f'{encoder}.{tap}' for encoder in ('rgb', 'lidar') for tap in ('E1', 'E2', 'E3')),
        *('D1', 'D2', 'D3'),
    )
    vector: Vector = 'pooled'

    def __post_init__(self) -> None:
        """Raise ValueError for a vector that does not exist."""
        if self.vector not in get_args(Vector):
            raise ValueError(
                f'vector = {self.vector!r}: give one of {", ".join(get_args(Vector))}'
            )


class Method(base.Method):
    """Compare probabilities within the batch, summed over the taps; there are no adapters."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        self.config = config
        self.taps = base.tap_pairs(config.taps, student, teacher)

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(student.depth.device.type, enabled=False):
            values = [
                divergence(
                    vectors(student.features[s], self.config.vector),
                    vectors(teacher.features[t], self.config.vector),
                )
                for s, t in self.taps
            ]
            return {'probability': torch.stack(values).sum()}


def vectors(feature: Tensor, vector: Vector) -> Tensor:
    """Turn features (B, C, h, w) into vectors (B, C) or (B, C * h * w)."""
    f = base.widened(feature)
    return f.mean((2, 3)) if vector == 'pooled' else f.flatten(1)


def divergence(x_s: Tensor, x_t: Tensor) -> Tensor:
    """
    Average p_t ln(p_t / p_s) over the pairs of vectors (B, D) of a batch, any D each; ().

    In float64: float32 rounds to 1e-8, as large as what networks of like features differ by.
    Raises ValueError for a batch of 1, in which every probability is 1.
    """
    if len(x_s) < 2:
        raise ValueError('a batch of 1 has no probabilities: give batches of 2 or more')
    p_s, p_t = probabilities(x_s), probabilities(x_t)
    return (p_t * ((p_t + EPSILON) / (p_s + EPSILON)).log()).mean().to(x_s.dtype)


def probabilities(x: Tensor) -> Tensor:
    """Give (cosine + 1) / 2 of all pairs of vectors (B, D), rows that sum up to 1, in float64."""
    x = x.double()
    u = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPSILON)
    similarity = (u @ u.mT + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)
