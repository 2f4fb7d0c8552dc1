"""
The student predicts what the teacher predicts: mean absolute or squared difference of depth.

Eq. 9 of Jeong et al., Sensors 2022, the term with w1: |D_t - D_s|_1, of all pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args, Literal

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
from torch import Tensor

Loss = Literal['l1', 'l2']


@dataclass(frozen=True)
class Config:
    """Choose the difference: `l1` in m, `l2` in m^2."""

    loss: Loss = 'l1'

    def __post_init__(self) -> None:
        """Raise ValueError for a loss that does not exist."""
        if self.loss not in get_args(Loss):
            raise ValueError(f'loss = {self.loss!r}: give one of {", ".join(get_args(Loss))}')


class Method(base.Method):
    """Compare depth."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        base.check_same_kind(student, teacher)
        self.config = config

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        return {'depth': difference(student.depth, teacher.depth, self.config.loss)}


def difference(depth: Tensor, target: Tensor, loss: Loss = 'l1') -> Tensor:
    """Give the mean |depth - target| or its square over all pixels of (B, 1, H, W) m, ()."""
    error = depth.float() - target.float()
    return (error.abs() if loss == 'l1' else error.square()).mean()
