"""The runs of a study: recipes with folders in the place of names, each known by its hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

from depth_kd_ros import checkpoint, networks
from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_ros.plugins import configure
from depth_kd_training import data, distillation, learning
from depth_kd_training.config import FREE, parse
from depth_kd_training.opening import (
    architecture,
    check_begins,
    named,
    open_augmentation,
    open_methods,
    open_parts,
)  # fmt: skip
from depth_kd_training.recipe import ConfigError, Recipe, Source
from depth_kd_training.run import BEST, LAST
from depth_kd_training.study import (
    references,
    replaced,
    ROW,
    Scored,
    SET,
    Study,
    Values,
    values_of,
)  # fmt: skip
from pydantic import BaseModel
import torch

DEFAULTS = 1  # raise it where a default of recipes changes: what was run with the old one stays

COST = 'cost.json'


@dataclass(frozen=True)
class Job:
    """One run: its recipe, its folder, the folders of the runs that it needs, what judges it."""

    row: str
    seed: int
    recipe: Recipe
    folder: Path
    needs: tuple[Path, ...]
    scored: tuple[tuple[Path, str, Scored], ...]  # file of an evaluation, its name, its data set

    @property
    def name(self) -> str:
        """Name it for people."""
        return f'{self.row}, seed {self.seed}'

    @property
    def weights(self) -> Path:
        """Give the checkpoint that it is worth: the best, or without validation the last."""
        return self.folder / (BEST if self.recipe.data.validation else LAST)

    def cost(self) -> dict[str, Any]:
        """Read what it has cost so far; nothing where it has not begun."""
        try:
            found = json.loads((self.folder / COST).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def complete(self) -> bool:
        """Tell whether it is trained and judged on every set."""
        return bool(self.cost().get('finished')) and all(
            file.is_file() for file, _, _ in self.scored
        )


def digest(values: Any) -> str:
    """Give 12 hex digits for values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def said(chosen: BaseModel) -> Values:
    """Give what values say beyond defaults: they stay the same where keys are added to a model."""
    return {'defaults': DEFAULTS, **chosen.model_dump(mode='json', exclude_defaults=True)}


class Plan:
    """
    Give the runs of a study that are kept in the folder `out`.

    A folder is named by the hash of its recipe, in which sets and other runs stand by theirs, and
    keys that change nothing that is learnt are left out.
    """

    def __init__(self, study: Study, out: Path) -> None:
        self.study, self.out = study, out.resolve()
        self.sets = {
            name: self.out / 'sets' / digest(said(chosen)) for name, chosen in study.sets.items()
        }
        self.made: dict[tuple[str, int], Job] = {}

    def jobs(self, rows: Sequence[str], seeds: Sequence[int]) -> list[Job]:
        """List the runs of rows and of those that they need, these first, by seed."""
        found: dict[Path, Job] = {}
        for seed, row in itertools.product(seeds, rows):
            self._gather(row, seed, found)
        return list(found.values())

    def _gather(self, row: str, seed: int, found: dict[Path, Job]) -> None:
        for other in references(values_of(self.study, row), ROW):
            self._gather(other, seed, found)
        job = self.job(row, seed)
        found.setdefault(job.folder, job)

    def job(self, row: str, seed: int) -> Job:
        """Make the run of a row and a seed; ConfigError for a recipe that cannot be used."""
        if (row, seed) not in self.made:
            values = values_of(self.study, row) | {'seed': seed}
            others = {name: self.job(name, seed) for name in references(values, ROW)}
            hashes = {ROW + name: ROW + job.folder.name for name, job in others.items()}
            hashes |= {SET + name: SET + folder.name for name, folder in self.sets.items()}
            paths = {ROW + name: str(job.weights) for name, job in others.items()}
            paths |= self._folders()
            named_by_hash = parse(replaced(values, hashes), f'rows.{row}')
            known = said(named_by_hash)
            for key in FREE:
                *parents, last = key.split('.')
                holder = known
                for parent in parents:
                    holder = holder.get(parent, {})
                holder.pop(last, None)
            with named(f'rows.{row}'):
                known['resolved'] = _resolved(named_by_hash)
            folder = self.out / 'runs' / digest(known)
            self.made[row, seed] = Job(
                row, seed, parse(replaced(values, paths), f'rows.{row}'), folder,
                tuple(job.folder for job in others.values()), tuple(self._scored(folder)),
            )  # fmt: skip
        return self.made[row, seed]

    def _folders(self) -> dict[str, str]:
        return {SET + name: str(folder) for name, folder in self.sets.items()}

    def _scored(self, folder: Path) -> Iterable[tuple[Path, str, Scored]]:
        """List the evaluations of a run: each file is named by the hash of what it says."""
        hashes = {SET + name: SET + path.name for name, path in self.sets.items()}
        for name, chosen in self.study.evaluate.items():
            known = replaced(said(chosen), hashes)
            options = replaced(chosen.options, self._folders())
            file = folder / f'evaluate_{name}_{digest(known)}.json'
            yield file, name, chosen.model_copy(update={'options': options})

    def sets_of(self, jobs: Sequence[Job]) -> list[str]:
        """List the sets that runs learn from or are scored on."""
        values = [values_of(self.study, job.row) for job in jobs]
        values += [chosen.options for chosen in self.study.evaluate.values()]
        return list(dict.fromkeys(references(values, SET)))


def check(plan: Plan, where: str) -> None:
    """Raise ConfigError for a row by which nothing could be learnt, before any is begun."""
    study = plan.study
    for name, chosen in study.evaluate.items():
        with named(f'{where}: evaluate.{name}'):
            _check_source(chosen)
    for row in study.rows:
        try:
            recipe = plan.job(row, study.seeds[0]).recipe
        except ConfigError as error:
            raise ConfigError(f'{where}: {error}') from error
        with named(f'{where}: rows.{row}'):
            _check(plan, recipe)


def _check_source(source: Source | Scored) -> None:
    configure(data.find(source.dataset), 'dataset', source.dataset, source.options)


def _check(plan: Plan, recipe: Recipe) -> None:
    """Try what can be tried without frames and weights."""
    learning.check(recipe)
    open_augmentation(recipe)
    for source in recipe.data.labelled + recipe.data.unlabelled + recipe.data.validation:
        _check_source(source)
    student, teacher = _shape(*architecture(recipe.network)), None
    with named('network'):
        wanted = [(recipe.network.checkpoint, student)] if recipe.network.checkpoint else []
        parts = open_parts(student, recipe.network)
        wanted += [(path, parts[name]) for name, path in recipe.network.parts.items()]
        for path, network in wanted:
            check_begins(network, _held(plan, path), path)
    if recipe.teacher:
        with named('teacher.checkpoint'):
            teacher = _held(plan, recipe.teacher.checkpoint)
    with suppress(NotImplementedError, RuntimeError):  # a method that reads weights tells later
        open_methods(recipe, student, teacher)


def _shape(name: str, options: Mapping[str, Any]) -> DepthNetwork:
    """Build a network without weights."""
    return _built(name, json.dumps(options))


@cache
def _built(name: str, options: str) -> DepthNetwork:
    """Build a network without weights from options in JSON: rows often share it."""
    with torch.device('meta'):
        return networks.build(name, json.loads(options))


def _held(plan: Plan, path: str) -> DepthNetwork:
    """Give the shape of what a checkpoint holds, or will hold once its run is done."""
    jobs = [job for job in plan.made.values() if str(job.weights) == path]
    if jobs:
        return _shape(*architecture(jobs[0].recipe.network)).deployable()
    metadata = checkpoint.read_metadata(checkpoint.resolve(path))
    return _shape(metadata.network, metadata.options)


def _resolved(recipe: Recipe) -> list[Any]:
    """Say what a recipe leaves to defaults and to files: other code or files, another run."""
    methods = []
    for place, method in enumerate(recipe.methods):
        with named(f'methods.{place}'):
            module, kind = distillation.find(method.name), 'distillation method'
            config = configure(module, kind, method.name, method.options)
            methods.append([method.name, asdict(config)])
    network, teacher = recipe.network, recipe.teacher
    paths = (
        network.checkpoint, network.encoder_weights, *network.parts.values(),
        teacher and teacher.checkpoint,
    )  # fmt: skip
    files = [Path(path) for path in paths if path]
    hashes = [hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()]
    return [*architecture(network), methods, hashes]
