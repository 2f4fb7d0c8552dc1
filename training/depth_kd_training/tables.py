"""Evaluations as tables: the columns, and their text for a terminal, a pipe or a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

TITLES = {
    'mae': 'MAE', 'rmse': 'RMSE', 'imae': 'iMAE', 'irmse': 'iRMSE', 'rel': 'REL',
    'delta1': 'δ<1.25', 'delta2': 'δ<1.25²', 'delta3': 'δ<1.25³', 'pooled_rmse': 'pooled RMSE',
}  # fmt: skip
Lines = tuple[list[str], list[list[str]]]
"""A table's header and its rows."""
SHOWN = ('mae', 'rmse', 'imae', 'irmse', 'rel', 'delta1')


def heading(metric: str, units: dict[str, str]) -> str:
    """Title a metric with its unit."""
    unit = units.get(metric, '')
    return f'{TITLES.get(metric, metric)} {unit}'.rstrip()


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash for none."""
    return '-' if value is None else f'{value:.{digits}f}'


def with_interval(part: dict[str, Any], metric: str) -> str:
    """Write a metric of a PART with its interval, as 1.117 [1.082, 1.151]."""
    text = number(part['metrics'].get(metric))
    low, high = part['interval'].get(metric, (None, None))
    return text if low is None else f'{text} [{number(low)}, {number(high)}]'


def percent(part: dict[str, Any], metric: str) -> str:
    """Write the difference from the first model, as -31.2 % [-33.0, -29.5]; empty for it."""
    value, low, high = part.get('difference', {}).get(metric, (None, None, None))
    return '' if value is None else f'{value:+.1f} % [{low:+.1f}, {high:+.1f}]'


def summary(evaluation: dict[str, Any], metrics: Sequence[str]) -> Lines:
    """Compare all models."""
    units, rows = evaluation['units'], evaluation['rows']
    compared = len({row['name'] for row in rows}) > 1
    clean = [m for m in metrics if m in ('mae', 'rmse')] if evaluation['limits']['clean'] else []
    header = ['beams', 'model', *(heading(m, units) for m in metrics)]
    header += [f'clean {heading(m, units)}' for m in clean]
    header += [f'Δ{TITLES[m]}' for m in ('mae', 'rmse') if compared]
    lines = []
    for row in rows:
        line = [str(row['beams']), row['name']]
        line += [with_interval(row, metric) for metric in metrics]
        line += [with_interval(row['clean'], metric) for metric in clean]
        line += [percent(row, metric) for metric in ('mae', 'rmse') if compared]
        counts = number(row['points'], 0), str(row['frames'])
        lines.append([*line, *counts, number(row['milliseconds'], 1)])
    return [*header, 'points', 'frames', 'ms'], lines


def groups(evaluation: dict[str, Any], key: str, metrics: Sequence[str]) -> Lines:
    """Compare all models by distance or class: key is by_distance or by_class."""
    name, unit = ('distance', ' m') if key == 'by_distance' else ('class', '')
    header = ['beams', 'model', name]
    header += [*(heading(m, evaluation['units']) for m in metrics), 'pixels']
    lines = [
        [str(row['beams']), row['name'], f'{group}{unit}']
        + [with_interval(part, metric) for metric in metrics]
        + [str(part['pixels'])]
        for row in evaluation['rows']
        for group, part in row[key].items()
    ]
    return header, lines


def rich_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Make a table for the terminal; numbers stand at the right."""
    table = Table(title=title, title_justify='left', title_style='bold', box=None)
    for column in header:
        left = column in ('model', 'distance', 'class')
        table.add_column(column, no_wrap=True, justify='left' if left else 'right')
    for line in lines:
        table.add_row(*line)
    return table
