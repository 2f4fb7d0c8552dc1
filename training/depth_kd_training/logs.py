"""A run's curves: CSV files and TensorBoard events that a run which goes on continues exactly."""

from __future__ import annotations

from collections.abc import Mapping
import csv
import io
from pathlib import Path
import time
from typing import Any

from depth_kd_ros import files

TRAINING, VALIDATION, EVENTS = 'log.csv', 'validation.csv', 'tensorboard'


class Logs:
    """Write rows of numbers by step; rows after the step that a run goes on from are cut off."""

    def __init__(self, out: Path, step: int, active: bool = True) -> None:
        self.out, self.active = out, active
        if active:
            from torch.utils.tensorboard import SummaryWriter

            for name in (TRAINING, VALIDATION):
                cut(out / name, step)
            self.events = SummaryWriter(str(out / EVENTS), purge_step=step + 1)

    def write(self, name: str, step: int, values: Mapping[str, float]) -> None:
        """
        Add a row to one of the CSV files, and its numbers to TensorBoard.

        The first row names the columns; a later one leaves those empty that it has no number for.
        """
        if not self.active:
            return
        path = self.out / name
        text = io.StringIO()
        rows = csv.writer(text, lineterminator='\n')
        columns = ['step', *values]
        if path.exists():
            with path.open() as file:
                columns = file.readline().rstrip().split(',')
        else:
            rows.writerow(columns)
        cells = {'step': str(step), **{key: f'{value:.6g}' for key, value in values.items()}}
        if not cells.keys() <= set(columns):
            raise ValueError(f'{path}: no columns {sorted(cells.keys() - set(columns))}')
        rows.writerow([cells.get(key, '') for key in columns])
        with path.open('a') as file:
            file.write(text.getvalue())
        for key, value in values.items():
            self.events.add_scalar(f'{path.stem}/{key}', value, step)

    def flush(self) -> None:
        """Put on disk what was written: the state that is saved next says that it is there."""
        if self.active:
            self.events.flush()

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.active:
            self.events.close()


def cut(path: Path, step: int) -> None:
    """Remove a CSV file's rows after a step, and one that was not written to its end."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines[1:] if line.endswith('\n') and int(line.split(',')[0]) <= step]
    if kept:
        files.replace(path, ''.join([lines[0], *kept]).encode())
    else:
        path.unlink()


class Meter:
    """Average what the steps report between two rows of the log."""

    def __init__(self, seen: Mapping[str, tuple[float, int]] | None = None) -> None:
        # Of each loss term its sum and in how many steps it was; saved with a run's state.
        self.seen = {key: (value, count) for key, (value, count) in (seen or {}).items()}
        self.restart(0.0)

    def restart(self, waited_s: float) -> None:
        """Begin to measure the speed anew, as after a validation."""
        self.since, self.waited_s, self.samples = time.perf_counter(), waited_s, 0

    def add(self, terms: Mapping[str, float], samples: int) -> None:
        """Take in one step."""
        for key, value in terms.items():
            before, count = self.seen.get(key, (0.0, 0))
            self.seen[key] = before + value, count + 1
        self.samples += samples

    def row(self, rate: float, waited_s: float) -> dict[str, Any]:
        """Give the means since the last row, and begin a new one."""
        took = max(time.perf_counter() - self.since, 1e-9)
        found = {
            'rate': rate, **{key: value / count for key, (value, count) in self.seen.items()},
            'samples_per_s': self.samples / took, 'waiting': (waited_s - self.waited_s) / took,
        }  # fmt: skip
        self.seen = {}
        self.restart(waited_s)
        return found
