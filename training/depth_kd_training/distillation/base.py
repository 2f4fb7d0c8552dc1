"""
What every distillation method is: a comparison of what student and teacher make of a batch.

The loop predicts and takes the gradient; a method says on what (`views`) and how (`forward`) the
predictions are compared. Random numbers come from torch's global generator: the loop seeds it for
each batch, so that a run that was resumed draws the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.losses import LOSSES
from depth_kd_training.samples import Batch
import torch
from torch import distributed, nn, Tensor

PROBE_PX = 64  # side of the image by which the features' channels are found out


class View(NamedTuple):
    """
    Hold what student and teacher are compared on.

    `teacher` is the teacher's prediction where the method has made it already. `told` are values
    () for the log.
    """

    batch: Batch
    teacher: Prediction | None = None
    told: Mapping[str, Tensor] = MappingProxyType({})


class Method(nn.Module):
    """
    Be the base of every distillation method; it keeps neither of the networks.

    `taps` names the features it compares, as (student's, teacher's); none: depth alone. Parameters
    are `adapters`, trained with the student by its optimiser, unless the method has one of its own
    for them in `optimisers`; the loop scales their rates by its schedule and saves them. Neither
    is part of the student that is deployed.
    """

    config: Any
    needs_teacher: ClassVar[bool] = True
    taps: tuple[tuple[str, str], ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.optimisers: list[torch.optim.Optimizer] = []

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        """
        Give named loss terms (), the same names for every batch.

        The teacher's prediction carries no gradient.
        """
        raise NotImplementedError

    @property
    def reads_features(self) -> bool:
        """Tell whether `forward` reads features, not depth alone."""
        return bool(self.taps)

    def adapters(self) -> list[nn.Parameter]:
        """List what the student's optimiser trains beside the student."""
        own = {p for o in self.optimisers for group in o.param_groups for p in group['params']}
        return [p for p in self.parameters() if p.requires_grad and p not in own]

    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[View]:
        """Give what is compared in place of the batch; the batch itself: as it is, alone."""
        return (View(batch),)

    def after_step(
        self, step: int, batch: Batch, student: DepthNetwork, teacher: DepthNetwork
    ) -> None:
        """Train what is trained beside the student, after optimiser step 1, 2, ... of it."""


def check_same_kind(student: DepthNetwork, teacher: DepthNetwork) -> None:
    """Raise ValueError unless the depths of two networks can be subtracted."""
    kinds = [
        f'{"metric" if network.metric else "relative"} {network.output}'
        for network in (student, teacher)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f'the student predicts {kinds[0]}, the teacher {kinds[1]}: give networks of the same '
            'kind, or a method that normalises depth, such as channel_wise'
        )


def check_same_output(student: DepthNetwork, teacher: DepthNetwork) -> None:
    """Raise ValueError unless both predict depth, or both inverse depth; scale may differ."""
    if student.output != teacher.output:
        raise ValueError(
            f'the student predicts {student.output}, the teacher {teacher.output}: give '
            'networks of the same output (relative ones have an option of this name)'
        )


def check_sees_images(student: DepthNetwork, teacher: DepthNetwork) -> None:
    """Raise ValueError unless both networks read the image, for methods that change it."""
    for who, network in (('student', student), ('teacher', teacher)):
        if 'image' not in network.inputs:
            raise ValueError(f'the {who} reads no image, and only images are changed here')


def check_normalisation(mean: object, std: object) -> None:
    """Raise ValueError unless both are three numbers, those of `std` positive."""
    for key, values, least in (('mean', mean, -math.inf), ('std', std, 0.0)):
        if (
            not isinstance(values, tuple)
            or len(values) != 3
            or not all(type(x) in (int, float) and least < x < math.inf for x in values)
        ):
            kind = 'numbers' if key == 'mean' else 'positive numbers'
            raise ValueError(f'{key} = {values!r}: give three {kind}, of R, G and B')


def with_images(batch: Batch, image: Tensor) -> Batch:
    """Give a batch with other images (B, 3, H, W); all else stays."""
    return batch._replace(samples=batch.samples._replace(image=image))


def check_loss(loss: object) -> None:
    """Raise ValueError unless a supervised loss of that name exists."""
    if loss not in LOSSES:
        raise ValueError(f'loss = {loss!r}: give one of {", ".join(LOSSES)}')


class ImageMethod(Method):
    """
    Be the base of methods that change the images and compare the depth of all pixels.

    By the supervised loss `config.loss`, unless `forward` is another.
    """

    def __init__(self, config: Any, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        check_same_kind(student, teacher)
        check_sees_images(student, teacher)
        self.config = config

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        target = teacher.depth.float()
        everywhere = torch.ones_like(target, dtype=torch.bool)
        return {'depth': LOSSES[self.config.loss](student.depth.float(), target, everywhere)}


def tap_pairs(
    taps: Sequence[str], student: DepthNetwork, teacher: DepthNetwork
) -> tuple[tuple[str, str], ...]:
    """Read taps 'NAME' or 'STUDENT:TEACHER' as pairs; ValueError where one lacks a feature."""
    if not (isinstance(taps, (tuple, list)) and all(isinstance(tap, str) for tap in taps)):
        raise ValueError(f'taps = {taps!r}: give a list of names, as [D1, D2]')
    pairs = []
    known = {'student': channels(student), 'teacher': channels(teacher)}
    for tap in taps:
        first, _, second = tap.partition(':')
        pair = first, second or first
        for (who, features), name in zip(known.items(), pair, strict=True):
            if name not in features:
                raise ValueError(
                    f'taps: the {who} has no feature {name!r}; its features: '
                    f'{", ".join(features) or "none"}'
                )
        pairs.append(pair)
    if not pairs:
        raise ValueError('taps: give at least one feature')
    return tuple(pairs)


def paired(
    taps: Sequence[tuple[str, str]], student: Prediction, teacher: Prediction
) -> list[tuple[Tensor, Tensor]]:
    """Give the features (B, C, h, w) of taps; ValueError where a pair is not of one size."""
    found = []
    for s, t in taps:
        f_s, f_t = student.features[s], teacher.features[t]
        (h_s, w_s), (h_t, w_t) = f_s.shape[2:], f_t.shape[2:]
        if (h_s, w_s) != (h_t, w_t):
            raise ValueError(
                f"taps: the student's {s} is {h_s}x{w_s}, the teacher's {t} {h_t}x{w_t}: pair "
                'features of one size as STUDENT:TEACHER'
            )
        found.append((f_s, f_t))
    return found


def widened(x: Tensor) -> Tensor:
    """Give x in at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def adapter(in_channels: int, channels: int) -> nn.Module:
    """Bring (B, in, h, w) to (B, channels, h, w): a 1x1 convolution where they differ, no bias."""
    if in_channels == channels:
        return nn.Identity()
    return nn.Conv2d(in_channels, channels, 1, bias=False)


@torch.no_grad()
def channels(network: DepthNetwork) -> dict[str, int]:
    """Give the number of channels of each feature (B, C, h, w) that a network can be tapped at."""
    was, state = network.training, torch.get_rng_state()
    weight = next(network.parameters())
    image, depth = (weight.new_zeros(1, n, PROBE_PX, PROBE_PX) for n in (3, 1))
    features = network.eval()(image, depth).features
    network.train(was)
    torch.set_rng_state(state)
    return {name: x.shape[1] for name, x in features.items() if x.ndim == 4}


def step_alone(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Make one step of a method's own optimiser, by the mean gradient of all processes."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if distributed.is_available() and distributed.is_initialized():
        for group in optimiser.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= distributed.get_world_size()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
