"""What a run shows: one bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

PLAIN_EVERY_S = 10.0
NOT_TERMS = ('rate', 'samples_per_s', 'waiting')


class Progress:
    """Show the steps, the time to go, the speed, the loss terms and the wait for data."""

    def __init__(self, step: int, steps: int, active: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not active, highlight=False, soft_wrap=True)
        self.steps, self.told = steps, 0.0
        self.bar = Bar(
            TextColumn('step'), MofNCompleteColumn(), BarColumn(None), TimeRemainingColumn(),
            TextColumn('{task.fields[text]}'), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task('', total=steps, completed=step, text='')
        if 0 < step < steps:
            self.say(f'going on from step {step} of {steps}')

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def update(self, step: int, row: Mapping[str, float] | None = None) -> None:
        """Move to a step; a row of the log, where there is a new one, is shown with it."""
        self.bar.update(self.task, completed=step)
        if row:
            text = describe(row)
            self.bar.update(self.task, text=text)
            if self.bar.disable and time.monotonic() - self.told > PLAIN_EVERY_S:
                self.told = time.monotonic()
                self.say(f'step {step}/{self.steps}: {text}')

    def say_scores(self, step: int, scores: Mapping[str, float], best: bool) -> None:
        """Print the scores of a validation."""
        mark = ', the best so far' if best else ''
        self.say(
            f'step {step}: validation MAE {scores["mae"]:.3f} m, RMSE {scores["rmse"]:.3f} m{mark}'
        )

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False)


def describe(row: Mapping[str, float]) -> str:
    """Put a row of the log into words."""
    terms = ', '.join(f'{key} {row[key]:.4g}' for key in row if key not in NOT_TERMS)
    return f'{terms}, {row["samples_per_s"]:.1f} samples/s, {row["waiting"]:.0%} waiting for data'
