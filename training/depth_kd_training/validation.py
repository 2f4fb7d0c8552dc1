"""Scores on frames that are not learnt from: whole, not augmented, evenly spread."""

from __future__ import annotations

from collections.abc import Iterator

from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_ros.networks.parts.alignment import align
from depth_kd_training import metrics
from depth_kd_training.data.loading import as_tensors
from depth_kd_training.opening import open_sources
from depth_kd_training.recipe import ConfigError, Recipe
from depth_kd_training.samples import Sample
from lightning_fabric import Fabric
import numpy as np
import torch


class Validation:
    """
    Compare a network's depth with the truth of the validation sources, as it is deployed.

    Relative depth is first brought to metres by the scale and shift that fit the truth best.
    """

    def __init__(self, recipe: Recipe, fabric: Fabric) -> None:
        self.recipe, self.fabric = recipe, fabric
        self.sources = open_sources('data.validation', recipe.data.validation)
        frames = [(source, i) for source in self.sources for i in range(len(source))]
        count = min(len(frames), recipe.data.validation_frames)
        chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
        self.frames = [frames[i] for i in chosen]

    @torch.no_grad()
    def __call__(self, network: DepthNetwork) -> dict[str, float]:
        """Give the mean of each metric over the frames, shared among the processes."""
        nearest, farthest = self.recipe.depth_range_m
        sums, counts = torch.zeros(2, len(metrics.UNITS), dtype=torch.float64)
        for sample in self._samples():
            with self.fabric.autocast():
                depth = network(sample.image, sample.sparse_depth, features=False).depth.float()
            if not network.metric:
                depth, _ = align(depth, sample.depth_gt, network.output)
            found = depth[0, 0].clamp(nearest, farthest).cpu().numpy()
            truth = sample.depth_gt[0, 0].cpu().numpy()
            valid = (truth >= nearest) & (truth <= farthest)
            row = metrics.errors(found, truth, valid, nearest)
            values = torch.tensor([row[key] for key in metrics.UNITS], dtype=torch.float64)
            counts += values.isfinite()
            sums += values.nan_to_num(0.0)
        both = self.fabric.all_reduce(torch.stack((sums, counts)), reduce_op='sum')
        sums, counts = both.cpu()  # type: ignore[union-attr]
        if not counts.all():
            raise ConfigError(
                'data.validation: none of its frames has ground truth within depth_range_m = '
                f'{self.recipe.depth_range_m}'
            )
        return dict(zip(metrics.UNITS, (sums / counts).tolist(), strict=True))

    def _samples(self) -> Iterator[Sample]:
        """Give this process's part of the frames, each as a batch of one."""
        convert = as_tensors(self.recipe.data.mean, self.recipe.data.std)
        for source, index in self.frames[self.fabric.global_rank :: self.fabric.world_size]:
            sample = convert(source[index], index)
            yield self.fabric.to_device(Sample(*(tensor[None] for tensor in sample)))
