"""Everything that a run changes: network, optimiser, averaged weights, position, best score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depth_kd_ros import checkpoint, files, networks
from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_training import schedule, state
from depth_kd_training.averaging import Average
from depth_kd_training.batch_norm import synchronise
from depth_kd_training.config import differences, parse
from depth_kd_training.opening import architecture, open_methods, open_network, open_teacher
from depth_kd_training.recipe import ConfigError, Recipe
from lightning_fabric import Fabric
import torch
import yaml

STATE, RECIPE = 'state.safetensors', 'recipe.yaml'
LAST, BEST = 'last.safetensors', 'best.safetensors'
RANKS = 1 << 16  # seeds of a batch: more than there will ever be processes


class Run:
    """
    Hold what a run changes, what it learns from the teacher, and keep the former in its folder.

    `network` is what is trained, `student` the same as Fabric runs it, `deployable` what is judged
    and saved for use. `step` counts optimiser steps; `best` is the lowest MAE in m of a
    validation, `scores` are those of the latest.
    """

    def __init__(self, recipe: Recipe, fabric: Fabric, out: Path) -> None:
        self.recipe, self.fabric, self.out = recipe, fabric, out
        torch.manual_seed(recipe.seed)
        self.network = open_network(recipe)
        if recipe.supervision.used and not self.network.metric:
            raise ConfigError(
                f'supervision.target = {recipe.supervision.target!r}: the network predicts '
                'relative depth, which has no metres to compare; give supervision.target = none '
                'and methods'
            )
        if fabric.world_size > 1:
            synchronise(self.network, cuda=fabric.device.type == 'cuda')
        if recipe.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher: Any = open_teacher(recipe)  # None without one
        self.methods = open_methods(recipe, self.network, self.teacher)
        for module in (self.teacher, *(method for _, method in self.methods.values())):
            if module:
                module.to(fabric.device)
        if self.teacher and recipe.channels_last:
            self.teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adapters = [p for _, method in self.methods.values() for p in method.adapters()]
        wanted = recipe.optimisation
        kind = torch.optim.Adam if wanted.optimiser == 'adam' else torch.optim.AdamW
        optimiser = kind(
            [*self.network.parameters(), *self.adapters], wanted.rate, wanted.betas,
            weight_decay=wanted.weight_decay,
        )  # fmt: skip
        self.student, self.optimiser = fabric.setup(self.network, optimiser)
        self.average = Average(self.network, wanted.ema) if wanted.ema else None
        self.deployable = self._deployable()
        self.step, self.best, self.scores = 0, float('inf'), dict[str, float]()
        self.scored = 0  # the step of the scores
        self.saw_truth = False

    @property
    def samples(self) -> int:
        """Give how many samples were learnt from."""
        return self.step * self.recipe.optimisation.accumulate * self.recipe.data.batch

    def acting(self) -> dict[str, tuple[float, Any]]:
        """Give the methods of the next step by name, with their weights."""
        done = self.step / self.recipe.steps
        return {
            method.name: self.methods[method.name]
            for method in self.recipe.methods
            if method.until is None or done < method.until
        }

    def resume(self) -> dict[str, Any]:
        """Go on from the folder's state, where there is one of this recipe; give its `extra`."""
        path = self.out / STATE
        extra: dict[str, Any] = {}
        if path.exists():
            saved = state.load(path)
            check_same(path, parse(saved['recipe'], str(path)), self.recipe)
            self.network.load_state_dict(saved['network'])
            self.optimiser.optimizer.load_state_dict(saved['optimiser'])
            self.fabric.strategy.precision.load_state_dict(saved['precision'])
            if self.average:
                self.average.load_state_dict(saved['average'])
            for name, (_, method) in self.methods.items():
                method.load_state_dict(saved['methods'][name]['state'])
                optimisers = saved['methods'][name]['optimisers']
                for optimiser, values in zip(method.optimisers, optimisers, strict=True):
                    optimiser.load_state_dict(values)
            self.step, self.best, self.scores = saved['step'], saved['best'], saved['scores']
            self.scored, self.saw_truth = saved['scored'], saved['step'] > 0
            extra = saved['extra']
        if self.fabric.is_global_zero:
            self.out.mkdir(parents=True, exist_ok=True)
            for name in (STATE, LAST, BEST, RECIPE):  # what a kill left half-written
                for path in self.out.glob(f'.{name}.*'):
                    path.unlink()
            values = self.recipe.model_dump(mode='json')
            files.replace(self.out / RECIPE, yaml.safe_dump(values, sort_keys=False).encode())
        self.fabric.barrier()  # none may save before all have read
        return extra

    def save(self, extra: dict[str, Any]) -> None:
        """Write the last weights, then the state; the first process does."""
        if not self.fabric.is_global_zero:
            return
        self.deploy(self.out / LAST)  # refuses weights that are not finite: the old state stays
        state.save(
            self.out / STATE,
            {
                'recipe': self.recipe.model_dump(mode='json'), 'step': self.step,
                'best': self.best, 'scores': self.scores, 'scored': self.scored, 'extra': extra,
                'network': self.network.state_dict(),
                'optimiser': self.optimiser.optimizer.state_dict(),
                'precision': self.fabric.strategy.precision.state_dict(),
                'average': self.average.state_dict() if self.average else None,
                'methods': {
                    name: {
                        'state': method.state_dict(),
                        'optimisers': [each.state_dict() for each in method.optimisers],
                    }
                    for name, (_, method) in self.methods.items()
                },
            },
        )  # fmt: skip

    def judge(self, scores: dict[str, float]) -> bool:
        """Take the scores of a validation, keep the best weights; tell whether these are."""
        self.scores, self.scored = scores, self.step
        better = scores['mae'] < self.best
        if better:
            self.best = scores['mae']
            if self.fabric.is_global_zero:
                self.deploy(self.out / BEST)
        return better

    def deploy(self, path: Path) -> None:
        """Write a checkpoint of the network alone, as the robot uses it."""
        recipe = self.recipe
        training = {
            'recipe': recipe.model_dump(mode='json'), 'seed': recipe.seed, 'steps': self.step,
            'samples': self.samples, 'averaged': self.average is not None,
        }  # fmt: skip
        checkpoint.save(
            path, self.deployable, normalisation=(recipe.data.mean, recipe.data.std),
            depth_range_m=recipe.depth_range_m, training=training,
            metrics=self.scores if self.scored == self.step else {},
            licence=recipe.licence,
        )  # fmt: skip

    def _deployable(self) -> DepthNetwork:
        """Make the network to be used, of averaged weights where there are: it shares tensors."""
        weights = self.average.weights() if self.average else self.network.state_dict()
        with torch.device('meta'):
            network = networks.build(*architecture(self.recipe.network))
        network.load_state_dict(weights, assign=True)
        return network.deployable().eval()

    def set_rate(self) -> float:
        """Set the learning rate of the coming step, and give it."""
        wanted = self.recipe.optimisation
        factor = schedule.factor(wanted, self.step, self.recipe.steps)
        others = (o for _, method in self.methods.values() for o in method.optimisers)
        for optimiser in (self.optimiser, *others):
            for group in optimiser.param_groups:
                group['lr'] = optimiser.defaults['lr'] * factor
        return wanted.rate * factor

    def seed_batch(self, index: int) -> None:
        """Make what is random in the network a function of seed and position, not of the past."""
        position = self.step * (self.recipe.optimisation.accumulate + 1) + index
        seeds = self.recipe.seed, position * RANKS + self.fabric.global_rank
        torch.manual_seed((seeds[0] * 0x9E3779B97F4A7C15 + seeds[1]) % (1 << 63))


def check_same(path: Path, begun: Recipe, given: Recipe) -> None:
    """Raise ConfigError, naming the keys, where a run was begun with another recipe."""
    other = differences(given, begun)
    if other:
        raise ConfigError(
            f'{path}: this run was begun with another recipe: {"; ".join(other)}. Give the same '
            'recipe to go on, or another folder to begin anew'
        )
