"""
The file of a study's table: a JSON object (numbers have 6 digits, null = none).

    format        "depth_kd_training.study 1"
    title, preset, seeds, metrics, units, gap, paper, paper_units, paper_note; see study.Study
    tables        [{set, beams, rows: [{row, seeds, metrics: {metric: SPREAD}, gap_closed}]}]
    cost          [{row, parameters, gflops, size, memory_mb, seconds, device}], means over seeds
    orders        see study_orders
    runs          [{row, seed, folder, complete}]
    provenance    {created, package_version, device}

SPREAD is {mean, std, values}: over seeds, `std` the sample's, null of one seed. `gap_closed` is
(student - row) / (student - teacher) of the means in the first metric, null where the teacher is
no better than the student.
"""

from __future__ import annotations

from collections.abc import Sequence
import datetime
import platform
import statistics
from typing import Any

from depth_kd_ros.metadata import package_version
from depth_kd_training import evaluation, scoring
from depth_kd_training.scoring import plain
from depth_kd_training.sections import LARGER_IS_BETTER
from depth_kd_training.study import Study
from depth_kd_training.study_plan import Job, Plan

FORMAT = 'depth_kd_training.study 1'
WRITTEN_BY = {FORMAT: 'study'}
Found = dict[str, Any]
Scores = dict[tuple[str, Any], dict[str, dict[int, Found]]]
"""Rows of evaluations by (set, beams), row and seed."""


def document(plan: Plan, seeds: Sequence[int], preset: str) -> Found:
    """Put together what is finished of a study."""
    from depth_kd_training.study_orders import judged

    study = plan.study
    jobs = [plan.job(row, seed) for row in study.rows for seed in seeds]
    scores = read(study, jobs)
    kept = ('title', 'metrics', 'gap', 'paper', 'paper_units', 'paper_note')
    return {
        'format': FORMAT,
        **{key: value for key, value in study.model_dump(mode='json').items() if key in kept},
        'preset': preset,
        'seeds': list(seeds),
        'units': scoring.UNITS,
        'tables': [table(study, key, rows) for key, rows in scores.items()],
        'cost': [cost(row, [j for j in jobs if j.row == row]) for row in study.rows],
        'orders': [judged(study, order, scores) for order in study.orders],
        'runs': [
            {
                'row': job.row, 'seed': job.seed, 'complete': job.complete(),
                'folder': str(job.folder.relative_to(plan.out)),
            }
            for job in jobs
        ],
        'provenance': {
            'created': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
            'package_version': package_version(),
            'device': f'{platform.machine()}, {platform.system()}',
        },
    }  # fmt: skip


def read(study: Study, jobs: Sequence[Job]) -> Scores:
    """Read the evaluations of the runs that are finished, in the order of the study."""
    keys = [(name, n) for name, chosen in study.evaluate.items() for n in chosen.beams]
    scores: Scores = {key: {row: {} for row in study.rows} for key in keys}
    for job in jobs:
        if job.complete():
            for file, name, _ in job.scored:
                for row in evaluation.read(file)['rows']:
                    scores[name, row['beams']][job.row][job.seed] = row
    return scores


def table(study: Study, key: tuple[str, Any], rows: dict[str, dict[int, Found]]) -> Found:
    """Sum up the rows on one set with one number of beams."""
    lines = [
        {
            'row': row,
            'seeds': list(found),
            'metrics': {m: spread(values(found, m)) for m in study.metrics},
            'gap_closed': closed(study, row, rows),
        }
        for row, found in rows.items()
    ]
    return {'set': key[0], 'beams': key[1], 'rows': lines}


def values(found: dict[int, Found], metric: str) -> list[float]:
    """List a metric by seed, without seeds that lack it."""
    known = [row['metrics'][metric] for row in found.values()]
    return [value for value in known if value is not None]


def spread(numbers: Sequence[float]) -> Found:
    """Give mean, sample standard deviation and the numbers."""
    return {
        'mean': plain(statistics.mean(numbers)) if numbers else None,
        'std': plain(statistics.stdev(numbers)) if len(numbers) > 1 else None,
        'values': list(numbers),
    }


def advantage(metric: str, one: float, other: float) -> float:
    """Say by how much one score is better than another."""
    return one - other if metric in LARGER_IS_BETTER else other - one


def gap(study: Study, metric: str, rows: dict[str, dict[int, Found]]) -> float | None:
    """Give by how much the teacher's mean is better than the student's; None where it is not."""
    if study.gap is None:
        return None
    both = [
        spread(values(rows[r], metric))['mean'] for r in (study.gap.teacher, study.gap.student)
    ]
    if None in both:
        return None
    found = advantage(metric, *both)
    return found if found > 0 else None


def closed(study: Study, row: str, rows: dict[str, dict[int, Found]]) -> float | None:
    """Give the share of the gap that a row closes, in the first metric."""
    metric = study.metrics[0]
    whole, own = gap(study, metric, rows), spread(values(rows[row], metric))['mean']
    if whole is None or own is None or study.gap is None:
        return None
    student = spread(values(rows[study.gap.student], metric))['mean']
    return plain(advantage(metric, own, student) / whole)


def cost(row: str, jobs: Sequence[Job]) -> Found:
    """Average what the finished runs of a row have cost."""
    found = [job.cost() for job in jobs if job.complete()]

    def mean(key: str) -> float | None:
        known = [c[key] for c in found if c.get(key) is not None]
        return plain(statistics.mean(known)) if known else None

    first = found[0] if found else {}
    return {
        'row': row, 'parameters': first.get('parameters'), 'gflops': mean('gflops'),
        'size': first.get('size'), 'memory_mb': mean('peak_memory_mb'),
        'seconds': mean('seconds'), 'device': first.get('device'),
    }  # fmt: skip
