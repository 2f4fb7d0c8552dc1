"""
Batches in an order that is a pure function of the seed and the position.

Position p of a run decides which frame comes and with which random augmentation, whatever the
number of workers and processes. So a run that stops at any step goes on exactly, and two
processes share the very samples of one with twice the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from depth_kd_training.data.base import Dataset, Frame
from depth_kd_training.samples import NONE, Sample
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

Augment = Callable[[Frame, np.random.Generator], Frame]
ToSample = Callable[[Frame, int], Sample]
Key = tuple[int, int, int]  # source, frame, position


PERIOD = 1000  # positions in which the shares of the sources come out exactly


class Order:
    """
    Say which frame of which source stands at each position of a run.

    Sources of sizes `counts` are mixed in the proportions `shares`, as evenly as they go; each
    source is passed through completely, in a new random order, before it begins again.
    """

    def __init__(self, counts: Sequence[int], shares: Sequence[float], seed: int) -> None:
        if not counts or min(counts) < 1:
            raise ValueError(f'frames per source = {list(counts)}: every source needs frames')
        self.counts, self.seed = list(counts), seed
        # The sources' turns within a period: those of a source lie evenly spread over it.
        parts = np.asarray(shares, np.float64) / np.sum(shares)
        turns = np.maximum(1, np.rint(parts * PERIOD)).astype(int)
        places = np.concatenate([(np.arange(n) + 0.5) / n for n in turns])
        self.pattern = np.repeat(np.arange(len(turns)), turns)[np.argsort(places, kind='stable')]
        self.turns = turns
        self.before = np.zeros(len(self.pattern), int)  # turns of the same source in this period
        for source in range(len(turns)):
            self.before[self.pattern == source] = np.arange(turns[source])
        self._permutations: dict[tuple[int, int], np.ndarray] = {}

    def at(self, position: int) -> Key:
        """Give (source, frame, position) at a position."""
        source, nth = self._source(position)
        turn, place = divmod(nth, self.counts[source])
        return source, int(self._permutation(source, turn)[place]), position

    def _source(self, position: int) -> tuple[int, int]:
        """Give the source at a position, and how many of its frames came before."""
        period, place = divmod(position, len(self.pattern))
        source = int(self.pattern[place])
        return source, int(period * self.turns[source] + self.before[place])

    def _permutation(self, source: int, turn: int) -> np.ndarray:
        key = source, turn
        if key not in self._permutations:
            self._permutations = {k: v for k, v in self._permutations.items() if k[0] != source}
            rng = np.random.default_rng([self.seed, source, turn])
            self._permutations[key] = rng.permutation(self.counts[source])
        return self._permutations[key]


class _Samples(torch.utils.data.Dataset):
    """Read, augment and convert the frame of a key."""

    def __init__(
        self, sources: Sequence[Dataset], augment: Augment, to_sample: ToSample, seed: int
    ) -> None:
        self.sources, self.augment, self.to_sample, self.seed = sources, augment, to_sample, seed

    def __getitem__(self, key: Key) -> Sample:
        source, index, position = key
        rng = np.random.default_rng([self.seed, 1, position])
        return self.to_sample(self.augment(self.sources[source][index], rng), index)


class Loader:
    """
    Give the batches of a run from any step on: `batch` samples of all processes together.

    Each of `world` processes gets an equal part; `rank` says which.
    """

    def __init__(
        self, sources: Sequence[Dataset], shares: Sequence[float], augment: Augment,
        to_sample: ToSample, batch: int, seed: int, workers: int = 0, rank: int = 0,
        world: int = 1,
    ) -> None:  # fmt: skip
        if batch % world:
            raise ValueError(f'batch = {batch}: must be a multiple of the {world} processes')
        self.order = Order([len(source) for source in sources], shares, seed)
        self.samples = _Samples(sources, augment, to_sample, seed)
        self.batch, self.workers, self.rank, self.world = batch, workers, rank, world

    def keys(self, step: int) -> list[Key]:
        """List this process's part of the batch at a step."""
        part = self.batch // self.world
        start = step * self.batch + self.rank * part
        return [self.order.at(position) for position in range(start, start + part)]

    def batches(self, first: int, last: int) -> Generator[Sample, None, None]:
        """Give the batches of the steps first .. last - 1."""
        keys = (self.keys(step) for step in range(first, last))
        loader: DataLoader[Any] = DataLoader(
            self.samples, batch_sampler=keys, num_workers=self.workers, collate_fn=collate,
            multiprocessing_context='spawn' if self.workers else None,
            worker_init_fn=_one_thread,
        )  # fmt: skip
        batches = iter(loader)
        try:
            yield from batches
        finally:  # now, not when nothing refers to it any more: an error's traceback may for long
            getattr(batches, '_shutdown_workers', bool)()


def collate(samples: Sequence[Sample]) -> Sample:
    """Stack samples to a batch."""
    return Sample(*(torch.stack(list(values)) for values in zip(*samples, strict=True)))


def _one_thread(worker: int) -> None:
    """Keep workers from fighting for the cores."""
    torch.set_num_threads(1)


def as_tensors(mean: Sequence[float], std: Sequence[float]) -> ToSample:
    """Make the function that turns a frame into a sample with this normalisation."""
    return _Conversion(tuple(mean), tuple(std))


class _Conversion:
    """Turn frames into samples; a class, because workers need it pickled."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))

    def __call__(self, frame: Frame, index: int) -> Sample:
        pixels = torch.from_numpy(frame.image).permute(2, 0, 1).float() / 255
        none = np.zeros(frame.image.shape[:2], np.float32)
        K = np.zeros((3, 3)) if frame.K is None else frame.K

        def depth(values: np.ndarray | None) -> Tensor:
            return torch.from_numpy(none if values is None else values)[None]

        def label(values: np.ndarray | None) -> Tensor:
            return torch.from_numpy(np.full(none.shape, -1) if values is None else values).long()

        return Sample(
            (pixels - self.mean) / self.std, depth(frame.sparse_depth), depth(frame.depth_gt),
            label(frame.semantic), label(frame.instance), torch.from_numpy(K).float(),
            torch.tensor(index),
            NONE if frame.all_points is None else depth(frame.all_points),
        )  # fmt: skip
