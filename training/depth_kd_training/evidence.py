"""The parts of a report that show what lies behind the numbers: frames, models, data."""

from __future__ import annotations

from html import escape
import json
from pathlib import Path
from typing import Any

from depth_kd_ros import pictures
from depth_kd_training import examples, page, tables
from depth_kd_training.sections import beams_of, Evaluation, said
import numpy as np

WORST = 5


def worst(found: Evaluation) -> str:
    """List the frames with the largest MAE of each model, with the first number of beams."""
    n, lines = beams_of(found)[0], []
    for row in found['rows']:
        frames = [f for f in row['per_frame'] if row['beams'] == n and f['mae'] is not None]
        for frame in sorted(frames, key=lambda f: -f['mae'])[:WORST]:
            numbers = [tables.number(frame[metric]) for metric in ('mae', 'rmse')]
            counts = [str(frame[key]) for key in ('points', 'pixels')]
            lines.append([escape(row['name']), escape(frame['frame']), *numbers, *counts])
    header = ['model', 'frame', 'MAE m', 'RMSE m', 'points', 'pixels']
    table = page.table(f'largest MAE, {said(n)}', header, lines, 2)
    return page.folded('the worst frames', table)


def frames(found: Evaluation, folder: Path) -> str:
    """Show the example frames: image, points, truth; each model's depth and error."""
    turbo = pictures.colour(np.geomspace(pictures.NEAR_M, pictures.FAR_M, 16)[None])[0]
    place = np.linspace(0, 1, 9)
    at, *channels = np.transpose(examples.STOPS)
    blue_red = np.stack([np.interp(place, at, channel) for channel in channels], -1)
    parts = [
        page.scale(f'depth {pictures.NEAR_M:g} m', f'{pictures.FAR_M:g} m', turbo.tolist()),
        page.scale(
            f'error -{examples.LARGEST_M:g} m, too near', f'+{examples.LARGEST_M:g} m, too far',
            blue_red.tolist(),
        ),
    ]  # fmt: skip
    for entry in found['examples']:
        given = [('image', entry['image']), ('points given', entry['sparse'])]
        given += [('truth', entry['truth'])] if entry['truth'] else []
        columns = [[one] for one in given] + [
            [(f'{model}: {kind}', path) for kind, path in made.items()]
            for model, made in entry['models'].items()
        ]
        cells = ''.join(
            '<div>'
            + ''.join(
                page.figure(title, page.picture(folder / path, f'{entry["frame"]}, {title}'))
                for title, path in column
            )
            + '</div>'
            for column in columns
        )
        heading = escape(f'{entry["frame"]}, {said(entry["beams"])}')
        parts.append(f'<h3>{heading}</h3><div class="frames">{cells}</div>')
    return ''.join(parts)


def about(found: Evaluation) -> str:
    """Show the data set, the models, and how, when and with what they were evaluated."""
    header = ['model', 'kind', 'network', 'parameters', 'licence', 'hash', 'file']
    keys = ('kind', 'network', 'parameters', 'licence', 'hash', 'argument')
    lines = [[escape(str(m.get(key, '-'))) for key in ('name', *keys)] for m in found['models']]
    left = [[f'<td class="text">{cell}</td>' for cell in line[1:]] for line in lines]
    models = page.table('models', header, [[a[0], *b] for a, b in zip(lines, left, strict=True)])
    trained = {m['name']: m['training'] for m in found['models'] if m.get('training')}
    kept = {key: found[key] for key in ('dataset', 'limits', 'bleed_filter', 'provenance')}
    text = page.folded('how the models were trained', page.code(_json(trained))) if trained else ''
    return models + text + page.folded('data set, limits, versions', page.code(_json(kept)))


def left_out(found: Evaluation) -> str:
    """List the frames that were not scored, and those whose prediction is doubtful."""
    lines = [
        [
            escape(row['name']),
            escape(said(row['beams'])),
            escape(name),
            f'<td class="text">{escape(why)}</td>',
        ]
        for row in found['rows']
        for key in ('left_out', 'caveats')
        for name, why in row[key].items()
    ]
    return (
        page.table('frames left out or doubtful', ['model', 'beams', 'frame', 'reason'], lines, 3)
        if lines
        else ''
    )


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False)
