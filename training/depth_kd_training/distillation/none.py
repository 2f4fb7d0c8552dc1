"""No distillation: the student learns from its supervision alone."""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.data.base import Batch
from depth_kd_training.distillation import base
from torch import Tensor


@dataclass(frozen=True)
class Config:
    """There is nothing to choose."""


class Method(base.Method):
    """Compare nothing: the baseline."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        return {}
