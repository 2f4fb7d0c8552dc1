"""
Distil on images perturbed against the teacher: Hu et al., "Data-free Dense Depth ...", Fig. 7.

Iterative FGSM (Kurakin et al., "Adversarial examples in the physical world", eq. 2) moves the
colours of each image a little, to where the teacher's depth is far from what it was; student and
teacher are compared there. The more the colours may move, the less the student learns: that
images look the same does not make them natural.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch
import torch
from torch import Tensor

REACH = 1.25  # how far all steps together could go, in epsilon: Kurakin's number of steps
START = 0.01  # the random offset before the first step, in epsilon


@dataclass(frozen=True)
class Config:
    """
    Choose how many of 255 grey levels a colour may move, in how many steps, and the `loss`.

    `mean` and `std` say how the recipe normalises images, as `data.mean` and `data.std`; `loss` is
    a supervised one.
    """

    epsilon: float = 4.0
    steps: int = 10
    loss: str = 'structure'
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Raise ValueError for a bound below 0, no steps and a loss that does not exist."""
        if type(self.epsilon) not in (int, float) or not 0 <= self.epsilon < float('inf'):
            raise ValueError(f'epsilon = {self.epsilon!r}: give a number from 0 on')
        if type(self.steps) is not int or self.steps < 1:
            raise ValueError(f'steps = {self.steps!r}: give a whole number from 1 on')
        base.check_loss(self.loss)
        base.check_normalisation(self.mean, self.std)


class Method(base.ImageMethod):
    """Compare depth on perturbed images."""

    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[base.View]:
        """Give perturbed images and what the teacher says; `told`: how far its depth moved."""
        image, before = perturbed(batch, teacher, self.config)
        with torch.no_grad():
            found = teacher(image, batch.samples.sparse_depth, features=False)
        told = {'moved': (found.depth - before).abs().mean()}
        return (base.View(base.with_images(batch, image), Prediction(found.depth, {}), told),)


def perturbed(batch: Batch, teacher: DepthNetwork, config: Config) -> tuple[Tensor, Tensor]:
    """
    Move images (B, 3, H, W) by at most epsilon to where the teacher's depth differs most.

    Gives the teacher's depth (B, 1, H, W) of the images as they were, too. A random offset comes
    before the first step [ours]: where nothing has changed yet, the difference has no slope.
    """
    clean, points = batch.samples.image, batch.samples.sparse_depth
    mean, std = (clean.new_tensor(x).view(3, 1, 1) for x in (config.mean, config.std))
    reach = config.epsilon / 255 / std
    # Colours stay colours; a pixel that was none, such as padding, stays within reach.
    low = torch.minimum(clean, torch.maximum(clean - reach, -mean / std))
    high = torch.maximum(clean, torch.minimum(clean + reach, (1 - mean) / std))
    with torch.no_grad():
        before = teacher(clean, points, features=False).depth
    image = clean + START * reach * torch.randn_like(clean).sign()
    for _ in range(config.steps):
        image = image.clamp(low, high).requires_grad_()
        with torch.enable_grad():
            moved = (teacher(image, points, features=False).depth - before).abs().mean()
            (slope,) = torch.autograd.grad(moved, image)
        image = image.detach() + REACH / config.steps * reach * slope.sign()
    return image.clamp(low, high), before
