"""Studies by name or path, with a preset laid over; every name in them checked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
import re

from depth_kd_ros import plugins
from depth_kd_training.bundled import Folder
from depth_kd_training.recipe import ConfigError
from depth_kd_training.scoring import UNITS
from depth_kd_training.study import merge, parse, references, ROW, SET, Study, values_of

STUDIES = Folder('study', Path(__file__).parent / 'studies')
PRESETS = ('tiny', 'full')
FILE_NAME = re.compile(r'[\w+.-]+')


def load(name_or_path: str | Path, preset: str = '') -> tuple[Study, str]:
    """
    Read a study by name or path with a preset laid over; give it and the preset's name.

    Without a name it is `tiny`, or none where the study has no presets. Raises ConfigError.
    """
    values, path = STUDIES.read(name_or_path)
    study, where = parse(values, str(path)), str(path)
    known = [name for name in PRESETS if name in study.presets]
    preset = preset or (known[0] if known else '')
    if preset and preset not in known:
        raise ConfigError(f'{path}: no preset {preset!r}; it has {" and ".join(known) or "none"}')
    if preset:
        over, where = values['presets'][preset], f'{path}, preset {preset}'
        _known(f'{where}: rows', list(over.get('rows') or {}), list(study.rows))
        study = parse(merge(values, over), where)
    check(study, where)
    return study, preset


def check(study: Study, where: str) -> None:
    """Raise ConfigError for a name that stands for nothing."""
    rows, sets, scored = list(study.rows), list(study.sets), list(study.evaluate)
    for name in scored:
        if not FILE_NAME.fullmatch(name):
            raise ConfigError(
                f'{where}: evaluate: name {name!r}: files are named so; give letters, digits, '
                '+, -, . and _'
            )
    if len({*study.seeds}) < len(study.seeds):
        raise ConfigError(f'{where}: seeds = {list(study.seeds)}: one is there twice')
    for row in rows:
        values = values_of(study, row)
        if ',' in row:
            raise ConfigError(f'{where}: rows: name {row!r}: give one without a comma')
        if 'seed' in values:
            raise ConfigError(f'{where}: rows.{row}: seed: it comes from `seeds`; leave it out')
        _known(f'{where}: rows.{row}: {ROW}', references(values, ROW), rows)
        _known(f'{where}: rows.{row}: {SET}', references(values, SET), sets)
    circle = _circle(study)
    if circle:
        raise ConfigError(f'{where}: rows need each other in a circle: {" -> ".join(circle)}')
    for name, source in study.evaluate.items():
        _known(f'{where}: evaluate.{name}: {SET}', references(source.options, SET), sets)
        _known(f'{where}: evaluate.{name}: {ROW}', references(source.options, ROW), [])
    _known(f'{where}: metrics', study.metrics, list(UNITS))
    if study.gap:
        _known(f'{where}: gap', [study.gap.student, study.gap.teacher], rows)
    _known(f'{where}: paper', list(study.paper), rows)
    for row, published in study.paper.items():
        _known(f'{where}: paper.{row}', list(published), list(UNITS))
    for place, order in enumerate(study.orders):
        key = f'{where}: orders.{place}'
        _known(f'{key}.rows', order.rows, rows)
        _known(f'{key}.set', [order.set] if order.set else [], scored)
        _known(f'{key}.metric', [order.metric] if order.metric else [], list(UNITS))
        beams = study.evaluate[order.set or scored[0]].beams
        if order.beams and order.beams not in beams:
            raise ConfigError(
                f'{key}.beams = {order.beams!r}: its set is scored with '
                f'{", ".join(map(str, beams))}'
            )
        if order.at_least is not None and not study.gap:
            raise ConfigError(f'{key}.at_least: a share of the gap, but there is no `gap`')


def _known(key: str, names: Iterable[str], known: list[str]) -> None:
    """Raise ConfigError for the first name that is not known."""
    for name in names:
        if name not in known:
            listed = f'there {"are" if known else "is"} {", ".join(known) or "none"}'
            raise ConfigError(f'{key}: unknown {plugins.unknown(name, known)} {listed}')


def _circle(study: Study) -> list[str]:
    """Find rows that need each other, [] where there are none."""
    needs = {row: references(values_of(study, row), ROW) for row in study.rows}
    ways = [[row] for row in needs]
    while ways:
        way = ways.pop()
        for row in needs[way[-1]]:
            if row in way:
                return [*way[way.index(row) :], row]
            ways.append([*way, row])
    return []
