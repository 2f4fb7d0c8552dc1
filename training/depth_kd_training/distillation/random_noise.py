"""
Distil on noise: the baseline "random noises" of Hu et al., "Data-free Dense Depth Distillation".

Images are normal noise of mean 0 and variance 1 in every channel of the normalised image. Sparse
depth is the batch's, for networks that read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.losses import LOSSES
from depth_kd_training.samples import Batch
import torch
from torch import Tensor


@dataclass(frozen=True)
class Config:
    """Choose the supervised `loss` by which depth is compared over all pixels."""

    loss: str = 'structure'

    def __post_init__(self) -> None:
        """Raise ValueError for a loss that does not exist."""
        if self.loss not in LOSSES:
            raise ValueError(f'loss = {self.loss!r}: give one of {", ".join(LOSSES)}')


class Method(base.Method):
    """Compare depth on noise."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        base.check_same_kind(student, teacher)
        base.check_sees_images(student, teacher)
        self.config = config

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        return {'depth': base.everywhere(self.config.loss, student, teacher)}

    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[base.View]:
        """Give the batch with noise for images."""
        return (base.View(base.with_images(batch, torch.randn_like(batch.samples.image))),)
