"""
The student predicts what the teacher predicts, on labelled and on auxiliary unlabelled images.

Hu et al., "Boosting LightWeight Depth Estimation Via Knowledge Distillation", eq. 3 and 4: with X
labelled and U not, L = mean_X (lam L(s, t) + (1 - lam) L(s, g)) + mean_U L(s, t). Here are the
terms with the teacher's t; (1 - lam) L(s, g) is the recipe's supervision: give it the weight
1 - lam = 0.9 and the same loss. Of eq. 4, where U is labelled too, the recipe names U among its
labelled sources; its means over X and U are then one mean. Eq. 2 (U alone) has a factor lam that
only scales the whole loss; that is left to the recipe's weight.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.losses import LOSSES
from depth_kd_training.samples import Batch
from torch import Tensor


@dataclass(frozen=True)
class Config:
    """
    Choose the loss and `lam`, the teacher's share where there is truth (the paper: 0.1).

    A metric teacher's depth counts where it is positive and, given `max_depth_m`, no farther than
    that; the paper says nothing of either. A relative teacher's counts everywhere.
    """

    lam: float = 0.1
    loss: str = 'structure'
    max_depth_m: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a share outside 0..1, an unknown loss and no positive depth."""
        if type(self.lam) not in (int, float) or not 0 <= self.lam <= 1:
            raise ValueError(f'lam = {self.lam!r}: give a number from 0 to 1')
        if self.loss not in LOSSES:
            raise ValueError(f'loss = {self.loss!r}: give one of {", ".join(LOSSES)}')
        most = self.max_depth_m
        if most is not None and (type(most) not in (int, float) or not most > 0):
            raise ValueError(f'max_depth_m = {most!r}: give a positive number, or leave it out')


class Method(base.Method):
    """Compare depth; the terms are `labelled` and `unlabelled`, 0 for a set that is empty."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        base.check_same_kind(student, teacher)
        if config.max_depth_m is not None and not teacher.metric:
            raise ValueError(
                f'max_depth_m = {config.max_depth_m!r}: relative depth has no metres; leave it out'
            )
        self.config, self.metric = config, teacher.metric

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        options = self.config
        depth, target = student.depth.float(), teacher.depth.float()
        least = 0.0 if self.metric else -math.inf
        valid = within(target, least, options.max_depth_m)
        return compare(depth, target, valid, batch.labelled, options.lam, options.loss)


def within(target: Tensor, least: float, most: float | None) -> Tensor:
    """Tell where least < target (B, 1, H, W) <= most, same shape; None: however far."""
    valid = target > least
    return valid if most is None else valid & (target <= most)


def compare(
    depth: Tensor, target: Tensor, valid: Tensor, labelled: int, lam: float, loss: str
) -> dict[str, Tensor]:
    """
    Give lam L of the first `labelled` images and L of the others, (), each set's own mean.

    depth, target and valid are (B, 1, H, W); L is one of `losses`, by its name.
    """
    sets = (('labelled', lam, slice(labelled)), ('unlabelled', 1.0, slice(labelled, None)))
    return {
        name: weight * LOSSES[loss](depth[part], target[part], valid[part])
        for name, weight, part in sets
    }
