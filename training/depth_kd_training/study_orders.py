"""
What a study claims of its rows, judged.

An order counts where the difference of the means exceeds one standard deviation over seeds, the
larger of the two rows' own. Where no row has two seeds, the 95 % interval of the paired
difference over frames takes its place; it says nothing of other seeds.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from depth_kd_training import bootstrap, metrics
from depth_kd_training.scoring import plain
from depth_kd_training.sections import LARGER_IS_BETTER
from depth_kd_training.study import Order, Study
from depth_kd_training.study_table import advantage, Found, gap, Scores, spread, values
import numpy as np

HOLDS, OPEN, FAILS, NONE = 'holds', 'undecided', 'does not hold', 'not run'


def judged(study: Study, order: Order, scores: Scores) -> Found:
    """
    Judge a claim: {set, beams, metric, asked, pairs, verdict}.

    A pair is {better, worse, difference, std, interval, verdict}: `difference` is by how much the
    first is better, in the metric's unit, `interval` in percent. A verdict is `holds`, `does not
    hold`, `undecided` (the right way round, or the wrong one, but within the noise), or `not run`;
    that of the claim is the worst of its pairs'.
    """
    name = order.set or next(iter(study.evaluate))
    beams = order.beams or study.evaluate[name].beams[0]
    metric, rows = order.metric or study.metrics[0], scores[name, beams]
    pairs = [
        _pair(study, order, metric, rows, better, worse)
        for better, worse in itertools.pairwise(order.rows)
    ]
    found = {pair['verdict'] for pair in pairs}
    return {
        'rows': list(order.rows), 'set': name, 'beams': beams, 'metric': metric,
        'asked': asked(order), 'pairs': pairs,
        'verdict': next(v for v in (NONE, FAILS, OPEN, HOLDS) if v in found),
    }  # fmt: skip


def asked(order: Order) -> str:
    """Say what is asked of each pair."""
    if order.ratio is not None:
        return f'reaches {order.ratio:.0%} of'
    if order.not_worse:
        return 'not worse than'
    more = [] if order.at_least is None else [f'{order.at_least:.0%} of the gap']
    more += [] if order.by is None else [f'{order.by:g}']
    return f'better by {" and ".join(more)} than' if more else 'better than'


def _pair(
    study: Study, order: Order, metric: str, rows: dict[str, dict[int, Found]],
    better: str, worse: str,
) -> Found:  # fmt: skip
    """Judge one row against the next."""
    common = rows[better].keys() & rows[worse].keys()  # seeds
    rows = {row: {s: f for s, f in found.items() if s in common} for row, found in rows.items()}
    one, other = (spread(values(rows[row], metric)) for row in (better, worse))
    found: Found = dict.fromkeys(('difference', 'std', 'interval'))
    found = {'better': better, 'worse': worse, **found, 'verdict': NONE}
    if one['mean'] is None or other['mean'] is None:
        return found
    by = advantage(metric, one['mean'], other['mean'])
    stds = [s['std'] for s in (one, other) if s['std'] is not None]
    std = max(stds, default=None)
    found |= {'difference': plain(by), 'std': std}
    if std is None:
        found['interval'] = between(metric, rows[better], rows[worse])
    if order.ratio is not None:
        larger = metric in LARGER_IS_BETTER
        low, high = (other, one) if larger else (one, other)
        reached = high['mean'] >= order.ratio * low['mean']
        return found | {'verdict': HOLDS if reached else FAILS}
    way = sign(metric, by, std, found['interval'])
    known = std is not None or found['interval'] is not None
    if order.not_worse and known:
        return found | {'verdict': FAILS if way < 0 else HOLDS}
    wanted = order.by or 0.0
    if order.at_least is not None:
        whole = gap(study, metric, rows)
        if whole is None:  # none to close a share of, or not known yet
            return found | {'verdict': FAILS if _ended(study, metric, rows) else NONE}
        wanted = max(wanted, order.at_least * whole)
    if way > 0:
        return found | {'verdict': HOLDS if by >= wanted else FAILS}
    return found | {'verdict': FAILS if way < 0 else OPEN}


def _ended(study: Study, metric: str, rows: dict[str, dict[int, Found]]) -> bool:
    """Tell whether teacher and student of the gap have run."""
    ends = (study.gap.student, study.gap.teacher) if study.gap else ()
    return all(spread(values(rows[row], metric))['mean'] is not None for row in ends)


def sign(metric: str, by: float, std: float | None, interval: Any) -> int:
    """
    Give 1 where an advantage exceeds the noise, -1 where its opposite does, else 0.

    With one seed the frames that both rows have decide, in whose interval the smaller is better.
    """
    if std is not None:
        return int(abs(by) > std) * (1 if by > 0 else -1)
    if interval is None or interval[1] * interval[2] <= 0:
        return 0
    return 1 if (interval[0] > 0) == (metric in LARGER_IS_BETTER) else -1


def between(metric: str, one: dict[int, Found], other: dict[int, Found]) -> list[Any] | None:
    """
    Compare two rows frame by frame: [difference, low, high] in percent of the other's mean.

    None where the metric is not one of frames, or they have none in common.
    """
    if metric not in metrics.UNITS:
        return None
    ours, theirs = (
        {frame['frame']: frame[metric] for row in found.values() for frame in row['per_frame']}
        for found in (one, other)
    )
    both = [name for name in ours if name in theirs]
    first, second = (np.array([[_number(f[name])] for name in both]) for f in (ours, theirs))
    if not both:
        return None
    found = [plain(float(value)) for value in bootstrap.differences(first, second)[0]]
    return None if None in found else found


def _number(value: float | None) -> float:
    return math.nan if value is None else value
