"""
Distil on images made to be hard: Fang et al., "Data-Free Adversarial Distillation" (DFAD).

A generator makes images of noise; the student learns to predict on them what the teacher does,
the generator learns where it does not. A baseline of Hu et al., "Data-free Dense Depth
Distillation". Sparse depth is the batch's, for networks that read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.dcgan import Generator
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
import torch
from torch import nn, Tensor


@dataclass(frozen=True)
class Config:
    """
    Choose the steps of the student to one of the generator, its size and the rate of its Adam.

    Defaults are the authors'. `noise` and `width` are called nz and ngf there.
    """

    student_steps: int = 5
    noise: int = 256
    width: int = 64
    rate: float = 1e-3

    def __post_init__(self) -> None:
        """Raise ValueError for counts below 1 and a rate that is none."""
        for key in ('student_steps', 'noise', 'width'):
            value = getattr(self, key)
            if type(value) is not int or value < 1:
                raise ValueError(f'{key} = {value!r}: give a whole number from 1 on')
        if type(self.rate) not in (int, float) or not 0 <= self.rate < float('inf'):
            raise ValueError(f'rate = {self.rate!r}: give a number from 0 on')


class Method(base.ImageMethod):
    """Compare depth on generated images, and train the generator against the student."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__(config, student, teacher)
        self.generator = Generator(config.noise, config.width)
        self.optimisers.append(torch.optim.Adam(self.generator.parameters(), config.rate))

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        return {'depth': discrepancy(student.depth, teacher.depth)}

    @torch.no_grad()
    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[base.View]:
        """Give the batch with generated images."""
        return (base.View(base.with_images(batch, self.generated(batch.samples.image))),)

    def after_step(
        self, step: int, batch: Batch, student: DepthNetwork, teacher: DepthNetwork
    ) -> None:
        """Make the images harder: a step of the generator after each `student_steps`."""
        if step % self.config.student_steps:
            return
        with untouched(student), untouched(teacher):
            image = self.generated(batch.samples.image)
            first, second = (
                network(image, batch.samples.sparse_depth, features=False)
                for network in (student, teacher)
            )
            base.step_alone(self.optimisers[0], -discrepancy(first.depth, second.depth))

    def generated(self, like: Tensor) -> Tensor:
        """Make images of the batch's number, size and type from new noise."""
        noise = torch.randn(len(like), self.config.noise, device=like.device)
        height, width = like.shape[2:]
        return self.generator(noise, (height, width)).type_as(like)


def discrepancy(depth: Tensor, target: Tensor) -> Tensor:
    """
    Give the mean |depth - target| of (B, 1, H, W) m, (): the paper's, of both sides.

    The authors' code for NYU lets the generator ascend its ln(1 + x) instead, which climbs alike.
    """
    return (depth.float() - target.float()).abs().mean()


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network, and leave its own and its statistics as they are."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
