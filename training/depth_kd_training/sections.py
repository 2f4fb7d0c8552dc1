"""The parts of a report that show the numbers of one evaluation: tables and charts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from depth_kd_training import page, tables
from depth_kd_training.charts import chart, legend, Line

Evaluation = dict[str, Any]
MAIN = ('mae', 'rmse', 'imae', 'irmse')
ORDER = tuple(tables.TITLES)
LARGER_IS_BETTER = ('delta1', 'delta2', 'delta3')
METHOD = (
    'Small numbers below a mean: its 95 % bootstrap interval over frames, and the paired '
    'difference from the first model. Green: the best of its rows.'
)


def comparison(found: Evaluation) -> str:
    """Show all models, by beams: every metric with interval and difference."""
    parts = [f'<p class="soft">{METHOD}</p>']
    counts = ['points', 'beams seen', 'frames', 'pixels', 'ms']
    for key, title in (('', 'all truth'), ('clean', 'truth that the camera sees')):
        rows = [(row, row[key] if key else row) for row in found['rows'] if not key or key in row]
        if not rows:
            continue
        more = [
            [
                tables.number(row['points'], 0), tables.number(row['beams_seen'], 1),
                str(p['frames']), str(p['pixels']), tables.number(row['milliseconds'], 1),
            ]
            for row, p in rows
        ]  # fmt: skip
        names = [[str(row['beams']), row['name']] for row, _ in rows]
        header, others = ['beams', 'model'], [m for m in found['units'] if m not in MAIN]
        parts.append(_table(found, title, MAIN, header, names, rows, 1, counts, more))
        rest = _table(found, title, others, header, names, rows, 1, [], [[]] * len(rows))
        parts.append(page.folded(f'more metrics, {title}', rest))
    return ''.join(parts)


def groups(found: Evaluation, key: str) -> str:
    """Show all models by distance or class: key is by_distance or by_class."""
    title, unit = ('distance', ' m') if key == 'by_distance' else ('class', '')
    rows, names = [], []
    for beams in beams_of(found):
        same = [row for row in found['rows'] if row['beams'] == beams]
        for group in dict.fromkeys(g for row in same for g in row[key]):
            for row in same:
                if group in row[key]:
                    rows.append((row, row[key][group]))
                    names.append([str(beams), group + unit, row['name']])
    more = [[str(p['frames']), str(p['pixels'])] for _, p in rows]
    header = ['beams', title, 'model']
    made = _table(
        found, f'by {title}', ORDER, header, names, rows, 2, ['frames', 'pixels'], more,
    )  # fmt: skip
    return page.folded(f'all numbers by {title}', made) if rows else ''


def _table(
    found: Evaluation, caption: str, metrics: Sequence[str], header: list[str],
    names: list[list[str]],
    rows: list[tuple[Any, Any]], same: int, extra: list[str], more: list[list[str]],
) -> str:  # fmt: skip
    """Lay out PARTs: rows whose first `same` names are equal are compared."""
    units = found['units']
    lines, first = [], []
    for i, (name, (_, part), ends) in enumerate(zip(names, rows, more, strict=True)):
        rivals = [p for n, (_, p) in zip(names, rows, strict=True) if n[:same] == name[:same]]
        if i and names[i - 1][:same] != name[:same]:
            first.append(i)
        cells = [_cell(part, metric, rivals) for metric in metrics]
        lines.append([*map(escape, name), *cells, *ends])
    titles = [*header, *(tables.heading(metric, units) for metric in metrics), *extra]
    return page.table(caption, titles, lines, len(header), first)


def _cell(part: Any, metric: str, rivals: Sequence[Any]) -> str:
    """Write a metric with interval and difference; the best of its rivals stands out."""
    value = part['metrics'][metric]
    best = max if metric in LARGER_IS_BETTER else min
    known = [p['metrics'][metric] for p in rivals if p['metrics'][metric] is not None]
    wins = len(known) > 1 and value == best(known)
    text = f'<b>{tables.number(value)}</b>'
    low, high = part['interval'].get(metric, (None, None))
    if low is not None:
        text += f'<small>[{tables.number(low)}, {tables.number(high)}]</small>'
    if difference := tables.percent(part, metric):
        text += f'<small>{escape(difference)}</small>'
    return f'<td{" class=best" if wins else ""}>{text}</td>'


def charts(found: Evaluation) -> str:
    """Draw MAE and RMSE by beams, MAE by distance for each number of beams, MAE over frames."""
    models = list(dict.fromkeys(row['name'] for row in found['rows']))
    beams, drawn = beams_of(found), []
    places = sorted(beams, key=lambda n: (n == 'all', n if n != 'all' else 0))
    named = [str(place) for place in places]
    for metric in ('mae', 'rmse') if len(beams) > 1 else ():
        title = f'{tables.TITLES[metric]} by number of LiDAR beams'
        lines = [_by_beams(found, model, metric, places) for model in models]
        drawn.append(page.figure(title, chart(title, lines, 'beams', _unit(found, metric), named)))
    for n in beams:
        distances = list(
            dict.fromkeys(d for r in found['rows'] if r['beams'] == n for d in r['by_distance'])
        )
        lines = [_by_distance(found, model, n, distances) for model in models]
        title = f'MAE by true depth, {said(n)}'
        label = _unit(found, 'mae')
        drawn.append(page.figure(title, chart(title, lines, 'depth, m', label, distances)))
    n = beams[0]
    lines = [_sorted(row) for row in found['rows'] if row['beams'] == n]
    title = f'MAE of the frames, best to worst, {said(n)}'
    svg = chart(title, lines, '% of the frames', _unit(found, 'mae'))
    drawn.append(page.figure(title, svg))
    return f'{legend(models)}<div class="charts">{"".join(drawn)}</div>'


def _by_beams(found: Evaluation, model: str, metric: str, places: Sequence[Any]) -> Line:
    at = {row['beams']: row for row in found['rows'] if row['name'] == model}
    return _points(model, [at.get(place) for place in places], metric)


def _by_distance(found: Evaluation, model: str, beams: Any, distances: Sequence[str]) -> Line:
    row = next(r for r in found['rows'] if (r['name'], r['beams']) == (model, beams))
    return _points(model, [row['by_distance'].get(d) for d in distances], 'mae')


def _points(model: str, parts: Sequence[Any], metric: str) -> Line:
    values = [None if part is None else part['metrics'][metric] for part in parts]
    bounds = [
        None if part is None or part['interval'][metric][0] is None else part['interval'][metric]
        for part in parts
    ]
    return Line(model, range(len(parts)), values, bounds)


def _sorted(row: Any) -> Line:
    """Order a row's frames by their MAE."""
    values = sorted(f['mae'] for f in row['per_frame'] if f['mae'] is not None)
    ends = max(1, len(values) - 1)
    return Line(row['name'], [100 * i / ends for i in range(len(values))], values)


def beams_of(found: Evaluation) -> list[Any]:
    """List the numbers of beams in their order."""
    return list(dict.fromkeys(row['beams'] for row in found['rows']))


def said(beams: Any) -> str:
    """Write a number of beams."""
    return 'all beams' if beams == 'all' else f'{beams} beams'


def _unit(found: Evaluation, metric: str) -> str:
    return f'{tables.TITLES[metric]}, {found["units"][metric]}'
