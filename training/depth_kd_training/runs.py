"""What a run folder tells: its curves, its recipe, the evaluations in it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
import math
from pathlib import Path

from depth_kd_training import evaluation

Curves = dict[str, list[float]]
"""Numbers by column; NaN where a cell is empty."""
MOST_POINTS = 400


@dataclass
class Run:
    """A run folder: `log` and `validation` by column, the recipe's text, files of evaluations."""

    name: str
    log: Curves = field(default_factory=dict)
    validation: Curves = field(default_factory=dict)
    recipe: str = ''
    evaluations: list[Path] = field(default_factory=list)


def read(folder: Path, name: str) -> Run:
    """Read a run folder; ValueError where it holds neither curves nor evaluations."""
    recipe = folder / 'recipe.yaml'
    run = Run(
        name,
        curves(folder / 'log.csv'),
        curves(folder / 'validation.csv'),
        recipe.read_text() if recipe.is_file() else '',
        [path for path in sorted(folder.glob('*.json')) if _is_evaluation(path)],
    )
    if not (run.log or run.validation or run.evaluations):
        raise ValueError(
            f'{folder}: no numbers: neither log.csv nor validation.csv nor an evaluation. '
            'Give the folder of a run (--out of `depth_kd_training train`), or the file of an '
            'evaluation (--out of `depth_kd_training evaluate`)'
        )
    return run


def _is_evaluation(path: Path) -> bool:
    try:
        evaluation.read(path)
    except ValueError:
        return False
    return True


def curves(path: Path) -> Curves:
    """Read the columns of a CSV file that hold numbers; none where there is no row."""
    if not path.is_file():
        return {}
    with path.open(newline='') as file:
        rows = [
            row for row in csv.DictReader(file) if None not in row and None not in row.values()
        ]
    found = {key: [_number(row[key]) for row in rows] for key in (rows[0] if rows else ())}
    found = {key: v for key, v in found.items() if any(map(math.isfinite, v))}
    if rows and 'step' not in found:
        raise ValueError(f'{path}: no column `step`; a log of `depth_kd_training train` expected')
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def thinned(x: list[float], y: list[float]) -> tuple[list[float], list[float | None]]:
    """Average neighbouring points where there are more than a chart can show."""
    each = math.ceil(len(x) / MOST_POINTS)
    places, values = [], []
    for start in range(0, len(x), each):
        known = [v for v in y[start : start + each] if math.isfinite(v)]
        part = x[start : start + each]
        places.append(sum(part) / len(part))
        values.append(sum(known) / len(known) if known else None)
    return places, values
