"""
Distil on noise: the baseline "random noises" of Hu et al., "Data-free Dense Depth Distillation".

Images are normal noise of mean 0 and variance 1 in every channel of the normalised image. Sparse
depth is the batch's, for networks that read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
import torch


@dataclass(frozen=True)
class Config:
    """Choose the supervised `loss` by which depth is compared over all pixels."""

    loss: str = 'structure'

    def __post_init__(self) -> None:
        """Raise ValueError for a loss that does not exist."""
        base.check_loss(self.loss)


class Method(base.ImageMethod):
    """Compare depth on noise."""

    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[base.View]:
        """Give the batch with noise for images."""
        return (base.View(base.with_images(batch, torch.randn_like(batch.samples.image))),)
