"""
Distil without the teacher's data, from simulated images: Hu et al., "Data-free Dense Depth ...".

Algorithm 1. Student and teacher are compared on each simulated batch x and, as a second view, on
x~ = G(x^): x^ is x with half its classes kept and the rest taken from other images of the batch
(eq. 8), and the transformation network G learns to make of it what the teacher's batch norms know
(eq. 9). The loop adds the two views up (eq. 10).

Only images are mixed. Mixed depth would be no scene's; the target is what the teacher says of the
mixed image. A teacher that reads LiDAR gets that of x as it is, for the same reason: it is one
scene's, what its own layers see stays a real scan's, and student and teacher are asked the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.bn_statistics import measured, norms
from depth_kd_training.distillation import base
from depth_kd_training.losses import LOSSES
from depth_kd_training.samples import Batch
from depth_kd_training.transformation import PRESETS, TransformationNetwork
import torch
from torch import Tensor

CHOICES = {
    'loss': tuple(LOSSES),
    'mixing': ('classes', 'instances', 'none'),
    'transformation': (*PRESETS, 'none'),
}


@dataclass(frozen=True)
class Config:
    """
    Choose how images are made, and by which supervised `loss` depth is compared over all pixels.

    `mixing` says what half of is kept, `transformation` which preset G is. `bn_weight` and
    `reconstruction_weight` are alpha and beta of eq. 9, `rate` and `weight_decay` those of G's
    Adam. `transform_unmixed` compares on G(x) instead of x.

    The rows of Table V: reconstruction_weight 0, transformation none, mixing none,
    transform_unmixed true. Neither transformation nor mixing is the baseline "KD-OOD": x alone.
    """

    loss: str = 'structure'
    mixing: Literal['classes', 'instances', 'none'] = 'classes'
    transformation: Literal['paper', 'small', 'none'] = 'paper'
    bn_weight: float = 0.001
    reconstruction_weight: float = 0.001
    rate: float = 1e-4
    weight_decay: float = 1e-4
    transform_unmixed: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a choice that is not there, a number below 0 and what is unused."""
        for key, known in CHOICES.items():
            if getattr(self, key) not in known:
                raise ValueError(f'{key} = {getattr(self, key)!r}: give one of {", ".join(known)}')
        for key in ('bn_weight', 'reconstruction_weight', 'rate', 'weight_decay'):
            value = getattr(self, key)
            if type(value) not in (int, float) or not 0 <= value < float('inf'):
                raise ValueError(f'{key} = {value!r}: give a number from 0 on')
        if type(self.transform_unmixed) is not bool:
            raise ValueError(f'transform_unmixed = {self.transform_unmixed!r}: give true or false')
        if self.transform_unmixed and 'none' in (self.mixing, self.transformation):
            raise ValueError('transform_unmixed = True: needs both mixing and transformation')


class Method(base.ImageMethod):
    """Compare depth on simulated images as they are, and mixed and transformed."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__(config, student, teacher)
        self.transformation: TransformationNetwork | None = None
        if config.transformation != 'none':
            norms(teacher)
            self.transformation = TransformationNetwork(PRESETS[config.transformation])
            parameters = self.transformation.parameters()
            self.optimisers.append(
                torch.optim.Adam(parameters, config.rate, weight_decay=config.weight_decay)
            )

    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[base.View]:
        """
        Give x and x~, with the teacher's prediction of x~, and make G's step.

        One pass of the teacher serves as the student's target and as G's loss; `told` are that
        loss's two parts and the share of pixels that come from another image.
        """
        samples, told = batch.samples, {}
        image = samples.image
        if self.config.mixing != 'none':
            classes = self.config.mixing == 'classes'
            labels = samples.semantic if classes else samples.instance
            image, told['mixed'] = mixed(image, kept_half(labels, self.config.mixing))
        if self.transformation is None:
            plain = base.View(batch)
            return (plain, seen(batch, image, told=told)) if told else (plain,)
        first = base.View(batch)
        if self.config.transform_unmixed:
            with torch.no_grad():
                first = seen(batch, self.transformation(samples.image))
        with torch.enable_grad():
            changed = self.transformation(image).type_as(image)
            with measured(teacher) as distances:
                depth = teacher(changed, samples.sparse_depth, features=False).depth
            told['bn'] = torch.stack(distances).sum()
            told['reconstruction'] = (changed - image).abs().mean()
            loss = self.config.bn_weight * told['bn']
            loss = loss + self.config.reconstruction_weight * told['reconstruction']
        base.step_alone(self.optimisers[0], loss)
        target = Prediction(depth.detach(), {})
        return (first, seen(batch, changed, target, told))


def seen(
    batch: Batch, image: Tensor, teacher: Prediction | None = None,
    told: dict[str, Tensor] | None = None,
) -> base.View:  # fmt: skip
    """Show a batch with other images; all else stays, and nothing carries a gradient."""
    image = image.detach().type_as(batch.samples.image)
    values = {key: value.detach() for key, value in (told or {}).items()}
    return base.View(base.with_images(batch, image), teacher, values)


def kept_half(labels: Tensor, kind: str = 'classes') -> Tensor:
    """
    Choose at random half of the labels in each image (B, H, W), (B, 1, H, W) bool: m of eq. 8.

    Of an odd number one more is kept, and so are pixels of unknown label (< 0) [ours]. Raises
    ValueError where no label of the batch is known.
    """
    known, places = torch.unique(labels, return_inverse=True)  # (K,), (B, H, W)
    if not bool((known >= 0).any()):
        other = 'instances' if kind == 'classes' else 'classes'
        raise ValueError(
            f'mixing = {kind!r}: the images of a batch have no {kind}, all pixels are unknown '
            f'(-1); give data that has them, such as the simulation, mixing={other} where those '
            'are there, or mixing=none'
        )
    places = places.flatten(1)
    present = torch.zeros(len(labels), len(known), device=labels.device)
    present = present.scatter_(1, places, 1.0) * (known >= 0)  # (B, K)
    draw = torch.rand_like(present) - present  # those present come first, in random order
    rank = draw.argsort(1).argsort(1)
    half = (present.sum(1, keepdim=True) / 2).ceil()
    kept = (rank < half) | (known < 0)
    return kept.gather(1, places).view(labels.shape)[:, None]


def mixed(image: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """
    Fill images (B, 3, H, W) up from shuffled ones where not kept (B, 1, H, W), eq. 8.

    Gives the share of pixels from another image, too; the shuffle may leave an image in its place.
    """
    order = torch.randperm(len(image), device=image.device)
    m = kept.to(image.dtype)
    moved = order != torch.arange(len(image), device=image.device)
    share = ((1 - m).mean((1, 2, 3)) * moved).mean()
    return m * image + (1 - m) * image.index_select(0, order), share
