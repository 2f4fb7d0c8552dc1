"""
Errors of dense depth: per image over its valid pixels, then the mean over images.

The names and units are those of the benchmarks: RMSE and MAE in m, iRMSE and iMAE in 1/km, REL
and the deltas without a unit (KITTI depth completion; Eigen et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
import itertools
import math

import cv2
import numpy as np

UNITS = {
    'rmse': 'm', 'mae': 'm', 'irmse': '1/km', 'imae': '1/km', 'rel': '',
    'delta1': '', 'delta2': '', 'delta3': '',
}  # fmt: skip
NEAREST_M = 0.9  # predictions are clamped to it before inversion, as for KITTI
BOUNDS_M = (0.0, 20.0, 40.0, 80.0)
CHUNK = 1 << 13  # pixels
SEE_THROUGH_PX, SEE_THROUGH, SEE_THROUGH_M = 5, 0.12, 1.0


def sums(
    depth: np.ndarray, depth_gt: np.ndarray, labels: np.ndarray | None = None, count: int = 1,
    nearest_m: float = NEAREST_M, farthest_m: float = math.inf,
) -> np.ndarray:  # fmt: skip
    """
    Add up the errors of depth (H, W) m where its truth lies in (0, `farthest_m`] m.

    Gives (count, 9): for each of the labels (H, W) from 0 to `count` - 1 the number of pixels and
    the sums behind the metrics of `UNITS`, for `from_sums`. A prediction is clamped to `nearest_m`
    and `farthest_m`; one that is not finite counts as `nearest_m`. Works chunk by chunk, which
    stays in the processor's cache: 10 times faster than whole images.
    """
    total = np.zeros((count, 1 + len(UNITS)))
    predicted, true = depth.reshape(-1), depth_gt.reshape(-1)
    groups = None if labels is None else labels.reshape(-1)
    terms = np.ones((1 + len(UNITS), CHUNK))  # one piece of memory for all chunks
    for start in range(0, true.size, CHUNK):
        g = true[start : start + CHUNK]
        at = np.flatnonzero((g > 0) & (g <= farthest_m))
        rows = terms[:, : len(at)]
        p = predicted[start : start + CHUNK].take(at)
        _fill(rows[1:], p, g.take(at), nearest_m, farthest_m)
        if groups is None:
            total[0] += rows.sum(1)
        else:
            group = groups[start : start + CHUNK].take(at)
            total += np.stack([np.bincount(group, row, minlength=count) for row in rows], 1)
    return total


def _fill(
    rows: np.ndarray, p: np.ndarray, g: np.ndarray, nearest_m: float, farthest_m: float
) -> None:
    """Write what is averaged for the metrics, (8, N), from predictions and truths (N,) m."""
    rmse, mae, irmse, imae, rel, *deltas = rows
    p = np.where(np.isfinite(p), p, nearest_m)
    np.clip(p, nearest_m, farthest_m, out=p)
    np.abs(np.subtract(p, g, out=mae), out=mae)
    np.multiply(mae, mae, out=rmse)
    np.divide(mae, g, out=rel)
    np.divide(rel, p, out=imae)  # |1 / p - 1 / g| = |p - g| / (p g)
    imae *= 1000
    np.multiply(imae, imae, out=irmse)
    ratio = np.maximum(p / g, g / p, dtype=np.float64)
    for i, delta in enumerate(deltas, 1):
        np.less(ratio, 1.25**i, out=delta, casting='unsafe')


def from_sums(row: np.ndarray) -> dict[str, float]:
    """Give the metrics of `UNITS` from a row (9,) of `sums`, or several added: NaN of no pixel."""
    if not row[0]:
        return dict.fromkeys(UNITS, math.nan)
    means = dict(zip(UNITS, (row[1:] / row[0]).tolist(), strict=True))
    return means | {key: math.sqrt(means[key]) for key in ('rmse', 'irmse')}


def errors(
    depth: np.ndarray, depth_gt: np.ndarray, valid: np.ndarray | None = None,
    nearest_m: float = NEAREST_M,
) -> dict[str, float]:  # fmt: skip
    """
    Compare depth with depth_gt (H, W) m where `valid`, by default where the truth is positive.

    Returns the metrics of `UNITS`, all NaN without a valid pixel. A prediction that is not finite
    or nearer than `nearest_m` counts as `nearest_m`.
    """
    truth = depth_gt if valid is None else np.where(valid, depth_gt, 0)
    return from_sums(sums(depth, truth, nearest_m=nearest_m)[0])


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average the metrics of images; images without a valid pixel do not count."""
    return {key: _mean([row[key] for row in rows]) for key in (rows[0] if rows else UNITS)}


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def pooled_rmse(rows: Sequence[dict[str, float]], counts: Sequence[int]) -> float:
    """Give the RMSE over all pixels of all images: some papers pool before the root."""
    kept = [(r['rmse'], n) for r, n in zip(rows, counts, strict=True) if n]
    total = sum(n for _, n in kept)
    return math.sqrt(math.fsum(e * e * n for e, n in kept) / total) if total else math.nan


def by_distance(
    depth: np.ndarray, depth_gt: np.ndarray, bounds_m: Sequence[float] = BOUNDS_M
) -> dict[str, dict[str, float]]:
    """Give the metrics for each interval of true depth, as {'0-20': {...}, ...}."""
    names = distances(bounds_m)
    rows = sums(depth, depth_gt, distance_labels(depth_gt, bounds_m), len(names) + 1)
    return {name: from_sums(row) for name, row in zip(names, rows[1:], strict=True)}


def distances(bounds_m: Sequence[float]) -> list[str]:
    """Name the intervals between bounds, as '0-20'."""
    return [f'{low:g}-{high:g}' for low, high in itertools.pairwise(bounds_m)]


def distance_labels(depth_gt: np.ndarray, bounds_m: Sequence[float]) -> np.ndarray:
    """Label pixels (H, W) by the interval (low, high] of their truth: 1, 2, ...; 0 = none."""
    return np.searchsorted(bounds_m, depth_gt) % len(bounds_m)


def by_class(
    depth: np.ndarray, depth_gt: np.ndarray, semantic: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Give the metrics for each semantic class that occurs in (H, W) labels, -1 = unknown."""
    rows = sums(depth, depth_gt, class_labels(semantic, len(names)), len(names) + 1)
    return {n: from_sums(row) for n, row in zip(names, rows[1:], strict=True) if row[0]}


def class_labels(semantic: np.ndarray, count: int) -> np.ndarray:
    """Label pixels (H, W) by their class: 1, 2, ..., `count`; 0 = unknown."""
    return np.where((semantic >= 0) & (semantic < count), semantic + 1, 0)


def without_see_through(depth_gt: np.ndarray, sparse_depth: np.ndarray) -> np.ndarray:
    """
    Drop truth (H, W) m that the LiDAR saw past a nearer surface, which hides it from the camera.

    That is truth clearly behind a point, of the truth or of the LiDAR, at most 5 pixels away.
    """
    points = np.where(depth_gt > 0, depth_gt, sparse_depth)
    points = np.where(points > 0, points, np.inf).astype(np.float32)
    side = 2 * SEE_THROUGH_PX + 1
    nearest = cv2.erode(points, np.ones((side, side), np.uint8))
    hidden = nearest < np.minimum((1 - SEE_THROUGH) * depth_gt, depth_gt - SEE_THROUGH_M)
    return np.where(hidden, 0, depth_gt)
