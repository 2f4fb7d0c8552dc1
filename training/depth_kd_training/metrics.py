"""
Errors of dense depth: per image over its valid pixels, then the mean over images.

The names and units are those of the benchmarks: RMSE and MAE in m, iRMSE and iMAE in 1/km, REL
and the deltas without a unit (KITTI depth completion; Eigen et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
import itertools
import math

import numpy as np

UNITS = {
    'rmse': 'm', 'mae': 'm', 'irmse': '1/km', 'imae': '1/km', 'rel': '',
    'delta1': '', 'delta2': '', 'delta3': '',
}  # fmt: skip
NEAREST_M = 0.9  # predictions are clamped to it before inversion, as for KITTI


def errors(
    depth: np.ndarray, depth_gt: np.ndarray, valid: np.ndarray | None = None,
    nearest_m: float = NEAREST_M,
) -> dict[str, float]:  # fmt: skip
    """
    Compare depth with depth_gt (H, W) m where `valid`, by default where the truth is positive.

    Returns the metrics of `UNITS`, all NaN without a valid pixel. A prediction that is not finite
    or not positive counts as `nearest_m`.
    """
    where = depth_gt > 0 if valid is None else valid & (depth_gt > 0)
    g = depth_gt[where].astype(np.float64)
    p = depth[where].astype(np.float64)
    if not len(g):
        return dict.fromkeys(UNITS, math.nan)
    p = np.where(np.isfinite(p), np.maximum(p, nearest_m), nearest_m)
    difference, inverse = p - g, 1000 / p - 1000 / g
    ratio = np.maximum(p / g, g / p)
    return {
        'rmse': float(np.sqrt(np.mean(difference**2))),
        'mae': float(np.mean(np.abs(difference))),
        'irmse': float(np.sqrt(np.mean(inverse**2))),
        'imae': float(np.mean(np.abs(inverse))),
        'rel': float(np.mean(np.abs(difference) / g)),
        **{f'delta{i}': float(np.mean(ratio < 1.25**i)) for i in (1, 2, 3)},
    }


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
    depth: np.ndarray, depth_gt: np.ndarray, bounds_m: Sequence[float] = (0, 20, 40, 80)
) -> dict[str, dict[str, float]]:
    """Give the metrics for each interval of true depth, as {'0-20': {...}, ...}."""
    return {
        f'{low:g}-{high:g}': errors(depth, depth_gt, (depth_gt > low) & (depth_gt <= high))
        for low, high in itertools.pairwise(bounds_m)
    }


def by_class(
    depth: np.ndarray, depth_gt: np.ndarray, semantic: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Give the metrics for each semantic class that occurs in (H, W) labels, -1 = unknown."""
    return {
        names[c]: errors(depth, depth_gt, semantic == c)
        for c in np.unique(semantic[depth_gt > 0])
        if 0 <= c < len(names)
    }


def interval(
    values: Sequence[float], confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bound the mean of per-image values by bootstrap over images (percentile method)."""
    finite = np.array([v for v in values if math.isfinite(v)])
    if not len(finite):
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = finite[rng.integers(len(finite), size=(draws, len(finite)))].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
