"""A study's table for people: in the terminal, as Markdown, and as sections of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
import json
from pathlib import Path
from typing import Any

from depth_kd_ros import files
from depth_kd_ros.metadata import package_version
from depth_kd_training import documents, page, runs, tables
from depth_kd_training.charts import chart, legend, Line
from depth_kd_training.curves import training
from depth_kd_training.sections import said
from depth_kd_training.study_table import Found, WRITTEN_BY
from rich.console import Console

METHOD = (
    'Mean ± sample standard deviation over seeds. Gap closed: (student - row) / (student - '
    'teacher) of the means. A claim counts where the difference exceeds one standard deviation, '
    'the larger of the two; with one seed, where the 95 % interval of the paired difference over '
    'frames excludes 0.'
)
COST = (
    'GFLOPs: of one prediction at the size named. Memory: the peak of the training process, on a '
    'GPU the peak in use there. Time: of training, per run.'
)


def scores(found: Found, table: Found) -> tables.Lines:
    """Lay out the rows on one set: metrics, gap closed, and beside the first set the paper's."""
    metrics = found['metrics']
    seeds, gap = len(found['seeds']), found['gap'] is not None
    published = published_metrics(found) if table == found['tables'][0] else []
    header = ['model', 'seeds', *(tables.heading(m, found['units']) for m in metrics)]
    header += ['gap closed'] * gap
    header += [f'paper: {tables.heading(m, paper_units(found))}' for m in published]
    lines = []
    for row in table['rows']:
        line = [row['row'], f'{len(row["seeds"])} of {seeds}']
        line += [with_std(row['metrics'][m]) for m in metrics]
        line += [share(row['gap_closed'])] * gap
        values = found['paper'].get(row['row'], {})
        lines.append([*line, *(f'{values[m]:g}' if m in values else '-' for m in published)])
    return header, lines


def published_metrics(found: Found) -> list[str]:
    """List the metrics that the paper gives, those of the table first."""
    given = dict.fromkeys(m for values in found['paper'].values() for m in values)
    return sorted(given, key=lambda m: (m not in found['metrics'], *_place(found['metrics'], m)))


def _place(known: Sequence[str], metric: str) -> list[int]:
    return [known.index(metric)] if metric in known else []


def paper_units(found: Found) -> dict[str, str]:
    """Give the unit of each of the paper's metrics: its own, else ours."""
    own = found['paper_units']
    if isinstance(own, str):
        return {m: own or unit for m, unit in found['units'].items()}
    return found['units'] | own


def with_std(spread: Found) -> str:
    """Write a mean with its standard deviation, as 1.234 ± 0.012."""
    text = tables.number(spread['mean'])
    return text if spread['std'] is None else f'{text} ± {tables.number(spread["std"])}'


def share(value: float | None) -> str:
    """Write a share in percent."""
    return '-' if value is None else f'{round(100 * value)} %'  # a whole number has no -0


def costs(found: Found) -> tables.Lines:
    """Lay out what the rows cost."""
    sizes = {f'{c["size"][0]}x{c["size"][1]}' for c in found['cost'] if c['size']}
    header = ['model', 'parameters', f'GFLOPs {", ".join(sorted(sizes))}'.rstrip()]
    header += ['memory MB', 'min', 'device']
    lines = [
        [
            c['row'],
            '-' if c['parameters'] is None else f'{c["parameters"]:,}',
            tables.number(c['gflops']), tables.number(c['memory_mb'], 0),
            tables.number(None if c['seconds'] is None else c['seconds'] / 60, 1),
            c['device'] or '-',
        ]
        for c in found['cost']
    ]  # fmt: skip
    return header, lines


def claims(found: Found) -> tables.Lines:
    """Lay out what is claimed, pair by pair."""
    header = ['model', 'asked', 'than', 'metric', 'set', 'better by', 'noise', 'verdict']
    lines = []
    for order in found['orders']:
        unit = found['units'][order['metric']]
        for pair in order['pairs']:
            noise = '-' if pair['std'] is None else f'{tables.number(pair["std"])} {unit}'.rstrip()
            if pair['interval']:
                noise = '{:+.1f} % [{:+.1f}, {:+.1f}]'.format(*pair['interval'])
            by = '-' if pair['difference'] is None else f'{pair["difference"]:.3f} {unit}'.rstrip()
            lines.append([
                pair['better'], order['asked'], pair['worse'], tables.TITLES[order['metric']],
                where(order), by, noise, pair['verdict'],
            ])  # fmt: skip
    return header, lines


def where(table: Found) -> str:
    """Name a set and its beams."""
    return table['set'] if table['beams'] == 'all' else f'{table["set"]}, {said(table["beams"])}'


def parts(found: Found) -> Iterator[tuple[str, tables.Lines]]:
    """Give every table with its caption."""
    for table in found['tables']:
        yield f'on {where(table)}', scores(found, table)
    if found['orders']:
        yield 'claims', claims(found)
    yield 'cost', costs(found)


def show(found: Found, console: Console) -> None:
    """Print all tables."""
    for caption, lines in parts(found):
        console.print(tables.rich_table(caption, *lines))
    if found['paper_note']:
        console.print(f'paper: {found["paper_note"]}', markup=False)


def markdown(found: Found) -> str:
    """Write all tables as Markdown."""
    about = f'Preset {found["preset"]}. ' if found['preset'] else ''
    text = [f'# {found["title"] or "Study"}', about + METHOD]
    for caption, (header, lines) in parts(found):
        rows = [header, [':--', *['--:'] * (len(header) - 1)], *lines]
        table = '\n'.join(f'| {" | ".join(map(_cell, row))} |' for row in rows)
        text += [f'## {caption[0].upper()}{caption[1:]}', table]
    text += [COST] + ([f'Paper: {found["paper_note"]}'] if found['paper_note'] else [])
    return '\n\n'.join(text) + '\n'


def _cell(text: str) -> str:
    return text.replace('|', '\\|')


def write(found: Found, stem: Path, out: Path) -> None:
    """
    Write STEM.json, STEM.md and the page STEM.html, with the curves of the first seed.

    Raises ValueError where another study's table has that name.
    """
    document, text, web = (stem.parent / f'{stem.name}.{kind}' for kind in ('json', 'md', 'html'))
    if document.exists():
        there = documents.read(document, WRITTEN_BY)['title']
        if there != found['title']:
            raise ValueError(f'{document} is the table of {there!r}: give another --out')
    files.replace(document, json.dumps(found, allow_nan=False).encode())
    files.replace(text, markdown(found).encode())
    first = [r for r in found['runs'] if r['complete'] and r['seed'] == found['seeds'][0]]
    made = sections(found)
    if first:
        made['Training'] = training([runs.read(out / r['folder'], r['row']) for r in first])
    lead = f'depth_kd_training {package_version()}, {found["provenance"]["created"]}'
    files.replace(web, page.page(found['title'] or 'Study', lead, made).encode())


def sections(found: Found, name: str = '') -> dict[str, str]:
    """Make the sections of a report by heading, named where there are several."""
    note = f'<p>Paper: {escape(found["paper_note"])}</p>' if found['paper_note'] else ''
    preset = f'<p>Preset {escape(found["preset"])}.</p>' if found['preset'] else ''
    made = {caption: _html(caption, lines) for caption, lines in parts(found)}
    cost = made.pop('cost')
    heading, cost_of = found['title'] or 'Study', 'Cost'
    if name:
        heading, cost_of = f'{heading}: {name}', f'Cost: {name}'
    return {
        heading: f'{preset}<p class="soft">{METHOD}</p>{"".join(made.values())}{note}'
        + charts(found),
        cost_of: f'<p class="soft">{COST}</p>{cost}',
    }


def _html(caption: str, lines: tables.Lines) -> str:
    header, rows = lines
    return page.table(caption, header, [[escape(cell) for cell in row] for row in rows])


def charts(found: Found) -> str:
    """Draw the first metric by beams, a line for each row, on sets that have several."""
    metric, drawn = found['metrics'][0], []
    unit = tables.heading(metric, found['units'])
    names = [row['row'] for row in found['cost']]
    for name in dict.fromkeys(table['set'] for table in found['tables']):
        same = [table for table in found['tables'] if table['set'] == name]
        same.sort(key=lambda t: (t['beams'] == 'all', t['beams'] if t['beams'] != 'all' else 0))
        if len(same) > 1:
            title = f'{tables.TITLES[metric]} by number of LiDAR beams, {name}'
            lines = [_line(row, metric, same) for row in names]
            places = [str(table['beams']) for table in same]
            drawn.append(page.figure(title, chart(title, lines, 'beams', unit, places)))
    return f'{legend(names)}<div class="charts">{"".join(drawn)}</div>' if drawn else ''


def _line(row: str, metric: str, same: Sequence[Found]) -> Line:
    """Follow a row over numbers of beams; the bars are one standard deviation."""
    found: list[Any] = [
        next(r['metrics'][metric] for r in table['rows'] if r['row'] == row) for table in same
    ]
    bounds = [
        None if s['std'] is None else (s['mean'] - s['std'], s['mean'] + s['std']) for s in found
    ]
    return Line(row, range(len(same)), [s['mean'] for s in found], bounds)
