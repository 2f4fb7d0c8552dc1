"""One row of an evaluation: the errors of one model with one number of beams, over frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from typing import Any

from depth_kd_training import bootstrap, metrics
from depth_kd_training.data.base import Frame
import numpy as np

POOLED = 'pooled_rmse'
UNITS = metrics.UNITS | {POOLED: 'm'}


@dataclass(frozen=True)
class Limits:
    """Say what is scored: predictions are clamped to nearest and farthest, truth ends there."""

    nearest_m: float = metrics.NEAREST_M
    farthest_m: float = 120.0
    bounds_m: tuple[float, ...] = metrics.BOUNDS_M
    clean: bool = False  # also without truth that is hidden from the camera

    def __post_init__(self) -> None:
        """Raise ValueError for limits and bounds that do not ascend."""
        if not 0 < self.nearest_m < self.farthest_m:
            raise ValueError(
                f'min depth {self.nearest_m} m, max depth {self.farthest_m} m: give 0 < min < max'
            )
        ascending = list(self.bounds_m) == sorted({*self.bounds_m})
        if len(self.bounds_m) < 2 or not ascending or self.bounds_m[0] < 0:
            raise ValueError(
                f'distances {", ".join(f"{b:g}" for b in self.bounds_m)}: give at least two '
                'ascending metres, as in 0,20,40,80'
            )


@dataclass(frozen=True)
class Sums:
    """What `metrics.sums` adds up for one frame, (9,): over all, where clean, by group."""

    all: np.ndarray
    clean: np.ndarray
    distances: np.ndarray  # (D, 9)
    classes: np.ndarray  # (C, 9)


class Truth:
    """The ground truth of a frame, its pixels labelled once for all models."""

    def __init__(self, frame: Frame, limits: Limits, classes: Sequence[str]) -> None:
        if frame.depth_gt is None:
            raise ValueError(f'frame {frame.name} has no depth_gt')
        self.depth, self.limits = frame.depth_gt, limits
        self.shape = (2, len(classes) + 1, len(limits.bounds_m))  # clean, class, distance
        labels = np.zeros(self.depth.shape, np.intp)
        if limits.clean:
            sparse = frame.sparse_depth
            given = np.zeros_like(self.depth) if sparse is None else sparse
            labels += metrics.without_see_through(self.depth, given) > 0
        labels *= self.shape[1]
        if frame.semantic is not None:
            labels += metrics.class_labels(frame.semantic, len(classes))
        labels *= self.shape[2]
        labels += metrics.distance_labels(self.depth, limits.bounds_m)
        self.labels = labels

    def sums(self, depth: np.ndarray) -> Sums:
        """Add up the errors of depth (H, W) m."""
        if depth.shape != self.depth.shape:
            raise ValueError(f'predicted depth is {depth.shape}, its truth {self.depth.shape}')
        low, high, count = self.limits.nearest_m, self.limits.farthest_m, math.prod(self.shape)
        cells = metrics.sums(depth, self.depth, self.labels, count, low, high)
        cells = cells.reshape(*self.shape, -1)
        return Sums(
            cells.sum((0, 1, 2)), cells[1].sum((0, 1)),
            cells.sum((0, 1))[1:], cells.sum((0, 2))[1:],
        )  # fmt: skip


@dataclass
class Row:
    """Collect one model's frames with one number of beams; None: as recorded."""

    name: str
    beams: int | None
    frames: list[str] = field(default_factory=list)
    sums: list[Sums] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    beams_seen: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    caveats: dict[str, str] = field(default_factory=dict)

    def add(self, frame: Frame, sums: Sums, milliseconds: float) -> None:
        """Take in a frame, as the model got it, and what became of it."""
        self.frames.append(frame.name)
        self.sums.append(sums)
        self.milliseconds.append(milliseconds)
        known = np.zeros(0, bool) if frame.sparse_depth is None else frame.sparse_depth > 0
        self.points.append(int(np.count_nonzero(known)))
        if frame.ring is not None:
            seen = frame.ring[known]
            self.beams_seen.append(int(np.count_nonzero(np.bincount(seen[seen >= 0]))))

    def to_json(
        self, limits: Limits, classes: Sequence[str], reference: Row | None = None
    ) -> dict[str, Any]:
        """Give the row of the evaluation's JSON; `reference` is the row that it is compared to."""
        theirs = reference.sums if reference is not None else None
        row = {
            'name': self.name,
            'beams': 'all' if self.beams is None else self.beams,
            'points': _mean(self.points),
            'beams_seen': _mean(self.beams_seen),
            'milliseconds': float(np.median(self.milliseconds)) if self.milliseconds else None,
            **part(_stack(self.sums, 'all'), _stack(theirs, 'all')),
        }
        if limits.clean:
            row['clean'] = part(_stack(self.sums, 'clean'), _stack(theirs, 'clean'))
        for key, groups, names in (
            ('by_distance', 'distances', metrics.distances(limits.bounds_m)),
            ('by_class', 'classes', classes),
        ):
            ours, other = _stack(self.sums, groups), _stack(theirs, groups)  # (frames, groups, 9)
            row[key] = {
                name: part(ours[:, i], None if other is None else other[:, i])
                for i, name in enumerate(names)
                if ours is not None and ours[:, i, 0].any()
            }
        row |= {'left_out': self.left_out, 'caveats': self.caveats}
        row['per_frame'] = [
            {'frame': name, 'points': points, 'pixels': int(sums.all[0])}
            | {key: plain(value) for key, value in metrics.from_sums(sums.all).items()}
            for name, points, sums in zip(self.frames, self.points, self.sums, strict=True)
        ]
        return row


def part(sums: np.ndarray | None, reference: np.ndarray | None = None) -> dict[str, Any]:
    """Give frames, pixels, metrics, interval and difference of sums (frames, 9) of each frame."""
    sums = np.zeros((0, 1 + len(metrics.UNITS))) if sums is None else sums
    values = _per_frame(sums)
    rows = [dict(zip(metrics.UNITS, row, strict=True)) for row in values.tolist()]
    found = metrics.mean(rows) | {POOLED: metrics.pooled_rmse(rows, sums[:, 0].tolist())}
    made = {
        'frames': int(np.count_nonzero(sums[:, 0])),
        'pixels': int(sums[:, 0].sum()),
        'metrics': {key: plain(value) for key, value in found.items()},
        'interval': _by_metric(bootstrap.intervals(values)),
    }
    if reference is not None:
        made['difference'] = _by_metric(bootstrap.differences(values, _per_frame(reference)))
    return made


def _per_frame(sums: np.ndarray) -> np.ndarray:
    """Give the metrics of sums (frames, 9) as (frames, 8)."""
    found = [list(metrics.from_sums(row).values()) for row in sums]
    return np.array(found).reshape(-1, len(metrics.UNITS))


def _by_metric(values: np.ndarray) -> dict[str, list[float | None]]:
    """Name the rows of values (8, N)."""
    return {
        key: [plain(value) for value in row]
        for key, row in zip(metrics.UNITS, values.tolist(), strict=True)
    }


def _stack(sums: Sequence[Sums] | None, key: str) -> np.ndarray | None:
    """Put one kind of sums of all frames together: (frames, ..., 9); None of none."""
    return np.stack([getattr(s, key) for s in sums]) if sums else None


def plain(value: float) -> float | None:
    """Round to 6 digits for JSON, which has no NaN: None."""
    return float(f'{value:.6g}') if math.isfinite(value) else None


def _mean(values: Sequence[int]) -> float | None:
    return plain(float(np.mean(values))) if values else None
