"""The part of a report that shows how runs learnt: best scores, curves and speed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
import math

from depth_kd_training import page, runs, tables
from depth_kd_training.charts import chart, legend, Line
from depth_kd_training.runs import Run

NO_LOSS = ('step', 'rate', 'samples', 'samples_per_s', 'waiting')  # columns of a log
UNITS = {'mae': 'm', 'rmse': 'm', 'imae': '1/km', 'irmse': '1/km', 'samples_per_s': '1/s'}


def training(found: Sequence[Run]) -> str:
    """Show the runs: their best scores, validation, losses, learning rate and speed."""
    shown = [run for run in found if run.log or run.validation]
    validation = _columns([run.validation for run in shown])
    log = _columns([run.log for run in shown])
    losses = [key for key in log if key not in NO_LOSS]
    plots = [
        *(('validation', key) for key in ('mae', 'rmse', 'imae', 'irmse') if key in validation),
        *(('log', key) for key in [*losses, 'rate', 'samples_per_s'] if key in log),
    ]
    drawn = ''.join(_plot(shown, where, key) for where, key in plots)
    return _table(shown) + f'{legend([r.name for r in shown])}<div class="charts">{drawn}</div>'


def _columns(curves: Sequence[runs.Curves]) -> list[str]:
    return list(dict.fromkeys(key for columns in curves for key in columns if key != 'step'))


def _plot(shown: Sequence[Run], where: str, key: str) -> str:
    """Draw one column of all runs."""
    lines = []
    for run in shown:
        columns = run.validation if where == 'validation' else run.log
        x, y = columns.get('step', []), columns.get(key, [])
        lines.append(Line(run.name, *(runs.thinned(x, y) if y else ([], []))))
    name = tables.TITLES.get(key, key.replace('_', ' '))
    title = f'validation {name}' if where == 'validation' else name
    label = ', '.join([name, *([UNITS[key]] if key in UNITS else [])])
    return page.figure(title, chart(title, lines, 'step', label))


def _table(shown: Sequence[Run]) -> str:
    """List each run's steps, speed and best validation."""
    known = _columns([run.validation for run in shown])
    metrics = [key for key in tables.TITLES if key in known]
    units = dict.fromkeys(metrics, '') | UNITS
    header = ['run', 'steps', 'samples/s', 'best step']
    header += [tables.heading(metric, units) for metric in metrics]
    lines = []
    for run in shown:
        steps = [*run.log.get('step', []), *run.validation.get('step', [])]
        speed = [v for v in run.log.get('samples_per_s', []) if math.isfinite(v)]
        mae = run.validation.get('mae', [])
        best = mae.index(min(v for v in mae if math.isfinite(v))) if mae else 0
        keys = ['step', *metrics]
        scores = [run.validation.get(key, [math.nan] * len(mae))[best] for key in keys if mae]
        told = [v if math.isfinite(v) else None for v in scores] or [None] * len(keys)
        lines.append([
            escape(run.name), f'{max(steps, default=0):g}',
            tables.number(sorted(speed)[len(speed) // 2] if speed else None, 1),
            tables.number(told[0], 0), *map(tables.number, told[1:]),
        ])  # fmt: skip
    return page.table('runs, with the scores of the least validation MAE', header, lines)
