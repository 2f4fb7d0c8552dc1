"""
The one training loop: for teachers, baselines and every distilled student.

`train` reads from top to bottom. What it is made of lies beside it: feed.py gives batches, run.py
holds what changes, validation.py judges, logs.py and progress.py tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
import math
from pathlib import Path
import signal
import time

from depth_kd_ros.checkpoint import CheckpointError
from depth_kd_training import logs
from depth_kd_training.config import ConfigError, Recipe
from depth_kd_training.data.base import Batch
from depth_kd_training.feed import Feed
from depth_kd_training.interruption import Interruption
from depth_kd_training.losses import LOSSES, supervised
from depth_kd_training.progress import Progress
from depth_kd_training.run import Run
from depth_kd_training.validation import Validation
from lightning_fabric import Fabric
import torch
from torch import Tensor


class TrainingError(RuntimeError):
    """Say at which step a run cannot go on, and what to do; its last checkpoint stays."""


def train(recipe: Recipe, out: Path, fabric: Fabric) -> int | None:
    """
    Train to the recipe's last step, going on from what the folder `out` holds.

    Gives None at the end, or the signal that stopped it: then the same call goes on. Raises
    ConfigError, FeedError for a frame and TrainingError.
    """
    check(recipe)
    feed = Feed(recipe, fabric.global_rank, fabric.world_size)
    validation = Validation(recipe, fabric)
    run = Run(recipe, fabric, out)
    with writing(run):
        meter = logs.Meter(run.resume().get('meter'))
        log = logs.Logs(out, run.step, fabric.is_global_zero)
    progress = Progress(run.step, recipe.steps, fabric.is_global_zero)
    steps = closing(feed.steps(run.step, recipe.steps))
    with Interruption() as interruption, progress, log, steps as batches_of_steps:
        saved = time.monotonic()
        for batches in batches_of_steps:
            rate = run.set_rate()
            terms = learn(run, batches)
            meter.add(terms, recipe.data.batch * len(batches))
            stopping = interruption.asked(fabric)
            scores, best = None, False
            if validation.frames and due(run, recipe.validate_every):
                scores = validation(run.deployable)
            with writing(run):
                row = None
                if due(run, recipe.log_every):
                    row = meter.row(rate, feed.waited_s)
                    log.write(logs.TRAINING, run.step, row)
                progress.update(run.step, row)
                if scores:
                    best = run.judge(scores)
                    log.write(logs.VALIDATION, run.step, {'samples': run.samples, **scores})
                    progress.say_scores(run.step, scores, best)
                    meter.restart(feed.waited_s)
                late = time.monotonic() - saved > recipe.save_every_s
                if late or best or stopping or run.step == recipe.steps:
                    log.flush()
                    run.save({'meter': meter.sums})
                    saved = time.monotonic()
            if stopping and run.step < recipe.steps:
                return interruption.signal or signal.SIGTERM  # another process was asked
    return None


def learn(run: Run, batches: Sequence[Batch]) -> dict[str, float]:
    """Make one optimiser step from the batches' mean gradient; give the mean of each term."""
    wanted, fabric = run.recipe.optimisation, run.fabric
    means: dict[str, float] = {}
    run.student.train()
    for index, batch in enumerate(batches):
        run.seed_batch(index)
        with fabric.no_backward_sync(run.student, enabled=index + 1 < len(batches)):
            terms = compare(run, fabric.to_device(batch))
            fabric.backward(torch.stack(list(terms.values())).sum() / len(batches))
        values = fabric.all_reduce(torch.stack([term.detach() for term in terms.values()]))
        for key, value in zip(terms, values.tolist(), strict=True):  # type: ignore[union-attr]
            means[key] = means.get(key, 0.0) + value / len(batches)
    if not all(map(math.isfinite, means.values())):
        raise TrainingError(
            f'step {run.step + 1}: the loss is no number ({means}). The last checkpoint is from '
            'before: lower optimisation.rate, clip the gradient (optimisation.clip=1) or, with '
            '16-mixed, use bf16-mixed or 32-true; in another folder'
        )
    if wanted.clip:
        fabric.clip_gradients(
            run.student, run.optimiser, max_norm=wanted.clip, error_if_nonfinite=False
        )
    run.optimiser.step()
    run.optimiser.zero_grad(set_to_none=True)
    if run.average:
        run.average.update(run.network)
    run.step += 1
    return means


def compare(run: Run, batch: Batch) -> dict[str, Tensor]:
    """
    Predict a batch and give the weighted loss terms: all that is learnt from comes together here.

    Supervised terms are means over the images with a valid pixel, of all processes together (the
    gradient terms of `structure`: if each such image has valid pixels side by side).
    """
    recipe, samples = run.recipe, batch.samples
    image = samples.image
    if recipe.channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    prediction = run.student(image, samples.sparse_depth, features=False)
    given = recipe.supervision.target == 'input_points'
    target = samples.sparse_depth if given else samples.depth_gt
    share = share_of_images(run.fabric, target, recipe.depth_range_m)
    terms = supervised(recipe.supervision.losses, prediction.depth, target, recipe.depth_range_m)
    return {name: share * term for name, term in terms.items()}


def share_of_images(
    fabric: Fabric, target: Tensor, depth_range_m: tuple[float, float]
) -> float | Tensor:
    """
    Weigh this process's mean over images, so that the mean over processes is that of all images.

    Images without a valid pixel do not count, and each process may have another number of them.
    """
    if fabric.world_size == 1:
        return 1.0
    valid = (target >= depth_range_m[0]) & (target <= depth_range_m[1])
    own = valid.flatten(1).any(1).sum().float()
    every = fabric.all_reduce(own.clone(), reduce_op='sum')
    return fabric.world_size * own / every.clamp(min=1)  # type: ignore[union-attr]


def check(recipe: Recipe) -> None:
    """Raise ConfigError for a recipe that names no loss, or one that is not known."""
    if recipe.methods or recipe.teacher:
        raise ConfigError('methods, teacher: there is no distillation yet; leave them out')
    wanted = recipe.supervision
    if wanted.target == 'none' or not wanted.losses:
        raise ConfigError('supervision: without losses and target there is nothing to learn')
    strange = sorted(set(wanted.losses) - set(LOSSES))
    if strange:
        raise ConfigError(
            f'supervision.losses: unknown loss {strange[0]!r}: give one of {", ".join(LOSSES)}'
        )


def due(run: Run, every: int) -> bool:
    """Tell whether something that happens every so many steps, and at the last, happens now."""
    return run.step % every == 0 or run.step == run.recipe.steps


@contextmanager
def writing(run: Run) -> Iterator[None]:
    """Turn a full disk, a read-only folder and weights that are no numbers into TrainingErrors."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f'step {run.step}: cannot write to {run.out}: {error.strerror or error}. A checkpoint '
            'that is there is intact: make room or the folder writable, and give the same '
            'command again to go on from it'
        ) from error
    except CheckpointError as error:
        raise TrainingError(f'step {run.step}: {error}') from error
