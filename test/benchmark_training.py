"""
Measure whether data preparation holds training up: `make bench`.

The same optimiser steps are made with batches of the real pipeline (PNG files, augmentation,
worker processes) and with one batch that stays in memory, in turn within one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import os
from pathlib import Path
import tempfile
import time

from depth_kd_training import config
from depth_kd_training.feed import Feed
from depth_kd_training.learning import learn
from depth_kd_training.opening import open_fabric
from depth_kd_training.run import Run
from depth_kd_training.samples import Batch
import numpy as np
import street_folder
import torch

SIZE, FRAMES = (240, 608), 48
ROUNDS, SKIPPED, TIMED = 4, 4, 8  # steps; those skipped use up what was prepared in between
BATCH = 4


def measure(frames: Path, preset: str, workers: int, device: str) -> tuple[float, float, float]:
    """Give samples/s with the pipeline and from memory, and the share of time spent waiting."""
    recipe = config.load(
        'lspkd_s8',
        [
            f'network.preset={preset}', f'data.batch={BATCH}', f'data.workers={workers}',
            f'data.labelled.0.options.root={frames}', 'data.validation=[]', 'steps=1000',
            'data.augmentation.beams=[16, 8]',
        ],
    )  # fmt: skip
    fabric = open_fabric(recipe, device)
    run, feed = Run(recipe, fabric, frames), Feed(recipe)
    steps = feed.steps(0, recipe.steps)
    kept = next(steps)
    rates: dict[str, list[float]] = {'pipeline': [], 'memory': []}
    waited: list[float] = []

    def timed(kind: str, batches: Callable[[], list[Batch]]) -> None:
        for step in range(SKIPPED + TIMED):
            if step == SKIPPED:
                start, before = time.perf_counter(), feed.waited_s
            learn(run, batches())
        took = time.perf_counter() - start
        rates[kind].append(BATCH * TIMED / took)
        if kind == 'pipeline':
            waited.append((feed.waited_s - before) / took)

    for _ in range(ROUNDS):
        timed('pipeline', lambda: next(steps))
        timed('memory', lambda: kept)
    steps.close()
    return tuple(float(np.median(v)) for v in (*rates.values(), waited))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--preset', default='lspkd_s8')
    parser.add_argument('--workers', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--device', default='auto')
    given = parser.parse_args()
    print(f'training {given.preset}, crops of 192x448 from 240x608 PNGs, batch {BATCH}, '
          f'{os.cpu_count()} cores, {torch.get_num_threads()} threads\n')  # fmt: skip
    print(
        '| workers | pipeline, samples/s | from memory | ratio | waiting |\n|---|---|---|---|---|'
    )
    with tempfile.TemporaryDirectory() as folder:
        frames = street_folder.write(Path(folder), FRAMES, SIZE)
        for workers in given.workers:
            real, memory, waiting = measure(frames, given.preset, workers, given.device)
            print(
                f'| {workers} | {real:.1f} | {memory:.1f} | {real / memory:.2f} | {waiting:.1%} |'
            )


if __name__ == '__main__':
    main()
