"""
Distil on images perturbed against the teacher: Hu et al., "Data-free Dense Depth ...", Fig. 7.

Iterative FGSM (Kurakin et al., "Adversarial examples in the physical world", eq. 2) changes each
image until the teacher's depth is far from what it was; student and teacher are compared there.
The images look the same, and distillation fails: what it lives on is that images are natural.
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

REACH = 1.25  # how far all steps together could go, in epsilon: Kurakin's number of steps


@dataclass(frozen=True)
class Config:
    """
    Choose how far a colour may be moved, in how many steps, and the supervised `loss`.

    `epsilon` is in units of the normalised image: 0.1 are about 6 of 255 grey levels.
    """

    epsilon: float = 0.1
    steps: int = 10
    loss: str = 'structure'

    def __post_init__(self) -> None:
        """Raise ValueError for a bound below 0, no steps and a loss that does not exist."""
        if type(self.epsilon) not in (int, float) or not 0 <= self.epsilon < float('inf'):
            raise ValueError(f'epsilon = {self.epsilon!r}: give a number from 0 on')
        if type(self.steps) is not int or self.steps < 1:
            raise ValueError(f'steps = {self.steps!r}: give a whole number from 1 on')
        if self.loss not in LOSSES:
            raise ValueError(f'loss = {self.loss!r}: give one of {", ".join(LOSSES)}')


class Method(base.Method):
    """Compare depth on perturbed images."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        base.check_same_kind(student, teacher)
        base.check_sees_images(student, teacher)
        self.config = config

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        return {'depth': base.everywhere(self.config.loss, student, teacher)}

    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[base.View]:
        """Give the batch with perturbed images; `told` is how far the teacher's depth went, m."""
        image, moved = perturbed(batch, teacher, self.config.epsilon, self.config.steps)
        return (base.View(base.with_images(batch, image), told={'moved': moved}),)


def perturbed(
    batch: Batch, teacher: DepthNetwork, epsilon: float, steps: int
) -> tuple[Tensor, Tensor]:
    """
    Move images (B, 3, H, W) by at most `epsilon` to where the teacher's depth differs most.

    Gives the mean |depth - depth before| of the last step but one, (), too. The first step goes
    in random directions [ours]: where nothing has changed yet, the difference has no slope.
    """
    clean, points = batch.samples.image, batch.samples.sparse_depth
    with torch.no_grad():
        before = teacher(clean, points, features=False).depth
    image, moved = clean, clean.new_zeros(())
    direction = torch.randn_like(clean)
    for step in range(steps):
        if step:
            image = image.requires_grad_()
            with torch.enable_grad():
                moved = (teacher(image, points, features=False).depth - before).abs().mean()
                (direction,) = torch.autograd.grad(moved, image)
        change = image.detach() + REACH * epsilon / steps * direction.sign() - clean
        image = clean + change.clamp(-epsilon, epsilon)
    return image, moved.detach()
