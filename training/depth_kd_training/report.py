"""One HTML page of runs, evaluations and studies, with everything in it: opens offline."""

from __future__ import annotations

from collections.abc import Sequence
import datetime
from html import escape
from pathlib import Path
from typing import Any

from depth_kd_ros.metadata import package_version
from depth_kd_training import (
    documents,
    evaluation,
    evidence,
    page,
    runs,
    sections,
    study_page,
    study_table,
)  # fmt: skip
from depth_kd_training.curves import training


def report(paths: Sequence[Path], title: str = '') -> str:
    """Make the page of run folders, evaluations and studies; ValueError for anything else."""
    found = [runs.read(path, _name(path, paths)) for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    files += [path for run in found for path in run.evaluations if path not in files]
    parts: dict[str, str] = {}
    for path in files:
        document = documents.read(path, evaluation.WRITTEN_BY | study_table.WRITTEN_BY)
        name = _name(path.with_suffix(''), files) if len(files) > 1 else ''
        if document['format'] in study_table.WRITTEN_BY:
            parts |= study_page.sections(document, name)
        else:
            parts |= _evaluation(document, path.parent, name)
    if any(run.log or run.validation for run in found):
        parts['Training'] = training(found)
    recipes = [page.folded(f'recipe of {run.name}', page.code(run.recipe)) for run in found]
    recipes = [text for text, run in zip(recipes, found, strict=True) if run.recipe]
    if recipes:
        parts['Configuration'] = ''.join(recipes)
    names = [run.name for run in found] + [path.stem for path in files]
    heading = title or ', '.join(dict.fromkeys(names))
    now = datetime.datetime.now(datetime.timezone.utc)
    lead = f'depth_kd_training {package_version()}, {now:%Y-%m-%d %H:%M} UTC'
    return page.page(heading, lead, parts)


def _name(path: Path, paths: Sequence[Path]) -> str:
    """Name a run or evaluation by its folder or file, or by its path where two have that name."""
    name = path.resolve().stem
    return name if [other.resolve().stem for other in paths].count(name) == 1 else str(path)


def _evaluation(found: dict[str, Any], folder: Path, name: str) -> dict[str, str]:
    """Make the sections of one evaluation in a folder, named where there are several."""
    data, end = found['dataset'], f': {name}' if name else ''
    root = f' {data["options"]["root"]}' if 'root' in data['options'] else ''
    intro = (
        f'<p>Data set {escape(data["name"] + root)}, {data["frames"]} frames, scored up to '
        f'{found["limits"]["farthest_m"]:g} m.</p>'
    )
    if not found['rows']:
        return {f'Evaluation{end}': f'{intro}<p>Nothing was scored: no ground truth.</p>'}
    parts = {
        f'Evaluation{end}': intro + sections.comparison(found) + evidence.left_out(found),
        f'By beams and distance{end}': sections.charts(found)
        + sections.groups(found, 'by_distance')
        + sections.groups(found, 'by_class')
        + evidence.worst(found),
    }
    if found['examples']:
        parts[f'Frames{end}'] = evidence.frames(found, folder)
    parts[f'Models and data{end}'] = evidence.about(found)
    return parts
