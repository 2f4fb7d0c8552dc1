"""The batches of a run: labelled and unlabelled frames, mixed by ratio, from any step on."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, ExitStack
from multiprocessing import resource_tracker
import re
import signal
import time

from depth_kd_training.data.base import Dataset
from depth_kd_training.data.loading import as_tensors, Loader
from depth_kd_training.opening import open_augmentation, open_sources
from depth_kd_training.recipe import ConfigError, Data, Recipe, Source
from depth_kd_training.samples import Batch, Sample
import torch

UNLABELLED_SEED = 1 << 32  # added to the seed: frames that both parts have come in another order
RAISED = re.compile(r'^[\w.]*(?:Error|Exception): ', re.MULTILINE)  # in a worker's traceback


class FeedError(ValueError):
    """Say at which step which frame cannot be learnt from, and why."""


class Feed:
    """
    Give the batches of each step; `waited_s` sums up the time that the loop waited for them.

    Every batch has the same number of unlabelled frames. Their ground truth, should they have
    any, is hidden.
    """

    def __init__(self, recipe: Recipe, rank: int = 0, world: int = 1) -> None:
        self.recipe, self.rank, self.world = recipe, rank, world
        self.waited_s = 0.0
        wanted = recipe.data
        labelled = open_sources('data.labelled', wanted.labelled)
        unlabelled = open_sources('data.unlabelled', wanted.unlabelled)
        if not (labelled or unlabelled):
            raise ConfigError('data.labelled, data.unlabelled: both are empty; give a data set')
        count = unlabelled_count(wanted, sum(map(len, labelled)), sum(map(len, unlabelled)))
        self.labelled = (wanted.batch - count) // world
        self.parts = []
        if labelled:
            rest = wanted.batch - count
            self.parts.append(self._loader(labelled, wanted.labelled, rest, recipe.seed))
        if count:
            seed = recipe.seed + UNLABELLED_SEED
            self.parts.append(self._loader(unlabelled, wanted.unlabelled, count, seed))

    def steps(self, first: int, last: int) -> Generator[list[Batch], None, None]:
        """
        Give the batches of the steps first .. last - 1, `accumulate` for each; FeedError.

        Close it: the worker processes end with it.
        """
        accumulate = self.recipe.optimisation.accumulate
        with closing(self._batches(first * accumulate, last * accumulate)) as batches:
            for step in range(first, last):
                start = time.perf_counter()
                try:
                    found = [next(batches) for _ in range(accumulate)]
                except (ValueError, RuntimeError, OSError) as error:
                    raise FeedError(f'step {step + 1}: {told(error)}') from error
                self.waited_s += time.perf_counter() - start
                yield found

    def _batches(self, first: int, last: int) -> Generator[Batch, None, None]:
        """Join the labelled and unlabelled parts of the batches first .. last - 1."""
        with ExitStack() as stack:
            streams = [stack.enter_context(closing(p.batches(first, last))) for p in self.parts]
            with deaf_children():  # the workers start with the first batch
                found = [next(stream) for stream in streams]
            while True:
                if self.recipe.data.unlabelled:
                    found[-1] = found[-1]._replace(depth_gt=torch.zeros_like(found[-1].depth_gt))
                one = len(found) == 1
                samples = found[0] if one else Sample(*map(torch.cat, zip(*found, strict=True)))
                yield Batch(samples, self.labelled)
                try:
                    found = [next(stream) for stream in streams]
                except StopIteration:
                    return

    def _loader(
        self, opened: Sequence[Dataset], sources: Sequence[Source], batch: int, seed: int
    ) -> Loader:
        """Make the loader of one part."""
        wanted = self.recipe.data
        try:
            return Loader(
                opened, [source.share for source in sources], open_augmentation(self.recipe),
                as_tensors(wanted.mean, wanted.std), batch, seed, wanted.workers, self.rank,
                self.world,
            )  # fmt: skip
        except ValueError as error:
            raise ConfigError(f'data: {error} (data.batch = {wanted.batch})') from error


def unlabelled_count(data: Data, labelled_frames: int, unlabelled_frames: int) -> int:
    """Give how many frames of each batch are unlabelled; ConfigError where too many are."""
    if not data.unlabelled:
        return 0
    if not data.labelled:
        return data.batch
    share = data.unlabelled_share
    if share is None:
        share = unlabelled_frames / (labelled_frames + unlabelled_frames)
    count = max(1, round(share * data.batch))
    if count >= data.batch:
        raise ConfigError(
            f'data.batch = {data.batch}: no room for labelled frames beside {count} unlabelled '
            'ones; give a larger batch, or a smaller data.unlabelled_share'
        )
    return count


def told(error: Exception) -> str:
    """Give the sentence of an error, without the traceback that a worker wraps it in."""
    text = str(error)
    raised = list(RAISED.finditer(text))
    text = text[raised[-1].end() :] if raised else text
    if 'stack expects each tensor to be equal size' in text:
        text += '. Frames of several sizes: give data.augmentation.crop = [H, W]'
    return text.strip()


@contextmanager
def deaf_children() -> Iterator[None]:
    """Start processes that Ctrl-C and SIGTERM do not end: the loop needs them until it stops."""
    resource_tracker.ensure_running()  # starting it later, it would clear the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
