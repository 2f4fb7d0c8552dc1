"""
The one training loop: for teachers, baselines and every distilled student.

`train` reads from top to bottom. What it is made of lies beside it: feed.py gives batches, run.py
holds what changes, learning.py makes a step, validation.py judges, logs.py and progress.py tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
import signal
import time

from depth_kd_ros.checkpoint import CheckpointError
from depth_kd_training import logs
from depth_kd_training.feed import Feed
from depth_kd_training.interruption import Interruption
from depth_kd_training.learning import check, learn, TrainingError
from depth_kd_training.progress import Progress
from depth_kd_training.recipe import Recipe
from depth_kd_training.run import Run
from depth_kd_training.validation import Validation
from lightning_fabric import Fabric


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
                    run.save({'meter': meter.seen})
                    saved = time.monotonic()
            if stopping and run.step < recipe.steps:
                return interruption.signal or signal.SIGTERM  # another process was asked
    return None


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
