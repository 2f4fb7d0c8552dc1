"""One step of training: all that is learnt from, supervision and distillation, comes together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import math
from typing import NamedTuple

from depth_kd_ros.networks.base import Prediction
from depth_kd_training.distillation import needs_teacher
from depth_kd_training.distillation.base import View
from depth_kd_training.losses import LOSSES, supervised
from depth_kd_training.recipe import ConfigError, Recipe
from depth_kd_training.run import Run
from depth_kd_training.samples import Batch
from lightning_fabric import Fabric
import torch
from torch import distributed, Tensor

TRUTH_WITHIN = 10  # steps


class TrainingError(RuntimeError):
    """Say at which step a run cannot go on, and what to do; its last checkpoint stays."""


class Lesson(NamedTuple):
    """Hold what is predicted once: a view, who compares on it, and whether truth does."""

    view: View
    methods: tuple[str, ...]
    supervised: bool


def learn(run: Run, batches: Sequence[Batch]) -> dict[str, float]:
    """Make one optimiser step from the batches' mean gradient; give the mean of each term."""
    wanted, fabric = run.recipe.optimisation, run.fabric
    means: dict[str, float] = {}
    run.student.train()
    for part in run.recipe.network.frozen:
        run.network.get_submodule(part).eval()
    for index, batch in enumerate(map(fabric.to_device, batches)):
        run.seed_batch(index)
        sums: dict[str, Tensor] = {}
        planned = lessons(run, batch)
        for number, lesson in enumerate(planned):
            last = index + 1 == len(batches) and number + 1 == len(planned)
            with fabric.no_backward_sync(run.student, enabled=not last):
                terms = compare(run, lesson)
                fabric.backward(torch.stack(list(terms.values())).sum() / len(batches))
            for key, value in (*terms.items(), *told(lesson)):
                sums[key] = sums.get(key, 0.0) + value.detach()
        values = fabric.all_reduce(torch.stack(list(sums.values())))
        for key, value in zip(sums, values.tolist(), strict=True):  # type: ignore[union-attr]
            means[key] = means.get(key, 0.0) + value / len(batches)
    if not all(map(math.isfinite, means.values())):
        raise TrainingError(
            f'step {run.step + 1}: the loss is no number ({means}). The last checkpoint is from '
            'before: lower optimisation.rate, clip the gradient (optimisation.clip=1) or, with '
            '16-mixed, use bf16-mixed or 32-true; in another folder'
        )
    expect_truth(run, means)
    average_gradients(run)
    if wanted.clip:
        fabric.clip_gradients(
            run.student, run.optimiser, max_norm=wanted.clip, error_if_nonfinite=False
        )
    run.optimiser.step()
    run.optimiser.zero_grad(set_to_none=True)
    if run.average:
        run.average.update(run.network)
    run.seed_batch(len(batches))
    for _, method in run.acting().values():
        method.after_step(run.step + 1, batch, run.network, run.teacher)
    run.step += 1
    return means


def lessons(run: Run, batch: Batch) -> list[Lesson]:
    """Plan what is predicted of a batch: itself, once for all, and what methods make of it."""
    shared: list[str] = []
    own: list[Lesson] = []
    for name, (_, method) in run.acting().items():
        for view in method.views(batch, run.teacher):
            if view.batch is batch and view.teacher is None:
                shared.append(name)
            else:
                own.append(Lesson(view, (name,), False))
    truth = run.recipe.supervision.used
    if shared or truth:
        own.insert(0, Lesson(View(batch), tuple(shared), truth))
    return own


def compare(run: Run, lesson: Lesson) -> dict[str, Tensor]:
    """Predict and give the weighted loss terms, a method's as NAME.TERM."""
    view, recipe = lesson.view, run.recipe
    methods = {name: run.methods[name] for name in lesson.methods}
    reads = any(method.reads_features for _, method in methods.values())
    student = predict(run, run.student, view.batch, reads)
    teacher = view.teacher
    if teacher is None and run.teacher and any(m.needs_teacher for _, m in methods.values()):
        with torch.no_grad(), run.fabric.autocast():
            teacher = predict(run, run.teacher, for_teacher(view.batch), reads)
    terms = {}
    if lesson.supervised:
        samples = view.batch.samples
        given = recipe.supervision.target == 'input_points'
        target = samples.sparse_depth if given else samples.depth_gt
        share = share_of_images(run.fabric, target, recipe.depth_range_m)
        losses = recipe.supervision.losses
        found = supervised(losses, student.depth, target, recipe.depth_range_m)
        terms = {name: share * term for name, term in found.items()}
    for name, (weight, method) in methods.items():
        for term, value in method(student, teacher, view.batch).items():
            terms[f'{name}.{term}'] = weight * value
    return terms


def for_teacher(batch: Batch) -> Batch:
    """Give a batch with the points that the teacher reads."""
    samples = batch.samples
    if not samples.all_points.numel():
        return batch
    return batch._replace(samples=samples._replace(sparse_depth=samples.all_points))


def predict(run: Run, network: torch.nn.Module, batch: Batch, features: bool) -> Prediction:
    """Predict a batch, in the memory format of the run."""
    image = batch.samples.image
    if run.recipe.channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    return network(image, batch.samples.sparse_depth, features=features)


def told(lesson: Lesson) -> Iterator[tuple[str, Tensor]]:
    """Give what a view tells for the log."""
    for name in lesson.methods:
        for key, value in lesson.view.told.items():
            yield f'{name}.{key}', value


def expect_truth(run: Run, means: Mapping[str, float]) -> None:
    """Raise TrainingError where none of the first frames had anything to compare with."""
    wanted = run.recipe.supervision
    if not wanted.used or run.saw_truth:
        return
    run.saw_truth = any(means[name] for name in wanted.losses)
    if not run.saw_truth and run.step + 1 >= TRUTH_WITHIN:
        what = 'sparse depth' if wanted.target == 'input_points' else 'ground truth'
        raise TrainingError(
            f'step {run.step + 1}: no frame had any {what} within depth_range_m = '
            f'{run.recipe.depth_range_m} so far. Give data.labelled a data set that has it (a '
            'folder: the option depth_gt=NAME), or another range or supervision.target'
        )


def average_gradients(run: Run) -> None:
    """Average the adapters' gradients over the processes, as DDP does the student's."""
    if run.fabric.world_size == 1:
        return
    for parameter in run.adapters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= run.fabric.world_size


def share_of_images(
    fabric: Fabric, target: Tensor, depth_range_m: tuple[float, float]
) -> float | Tensor:
    """
    Weigh this process's mean over images, so that the mean over processes is that of all images.

    Images without a valid pixel do not count, and each process may have another number of them
    (the gradient terms of `structure` ask for valid pixels side by side).
    """
    if fabric.world_size == 1:
        return 1.0
    valid = (target >= depth_range_m[0]) & (target <= depth_range_m[1])
    own = valid.flatten(1).any(1).sum().float()
    every = fabric.all_reduce(own.clone(), reduce_op='sum')
    return fabric.world_size * own / every.clamp(min=1)  # type: ignore[union-attr]


def check(recipe: Recipe) -> None:
    """Raise ConfigError for a recipe by which nothing, or not all it names, is learnt from."""
    wanted, names = recipe.supervision, [method.name for method in recipe.methods]
    teaches = any(name != 'none' for name in names)
    if not wanted.used and not teaches:
        raise ConfigError(
            'supervision: without losses and target, and without methods, there is nothing to '
            'learn'
        )
    stays = any(method.until is None for method in recipe.methods if method.name != 'none')
    if not wanted.used and not stays:
        raise ConfigError(
            'methods: after the last `until` there is nothing to learn: leave it out of one'
        )
    if recipe.data.unlabelled and not stays and wanted.target != 'input_points':
        ended = 'after the last `until`' if teaches else 'without a teacher'
        raise ConfigError(
            f'data.unlabelled: {ended} nothing is learnt from frames without truth; give '
            'teacher.checkpoint and methods'
        )
    if wanted.used and wanted.target == 'ground_truth' and not recipe.data.labelled:
        raise ConfigError(
            'data.labelled: empty, but supervision.target = ground_truth; give a data set, or '
            'the target none or input_points'
        )
    if recipe.teacher and not any(needs_teacher(name) for name in names):
        raise ConfigError('teacher: no method uses it; give methods, or leave the teacher out')
    strange = sorted(set(wanted.losses) - set(LOSSES))
    if strange:
        raise ConfigError(
            f'supervision.losses: unknown loss {strange[0]!r}: give one of {", ".join(LOSSES)}'
        )
