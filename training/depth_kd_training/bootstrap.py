"""Confidence intervals by bootstrap over images (percentile method)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def interval(
    values: Sequence[float], confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bound the mean of per-image values."""
    bounds = intervals(np.array(values, np.float64)[:, None], confidence, draws, seed)[0]
    return float(bounds[0]), float(bounds[1])


def intervals(
    values: np.ndarray, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> np.ndarray:
    """Bound the means of the columns of values (images, K): (K, 2); NaN does not count."""
    if not len(values):
        return np.full((values.shape[1], 2), np.nan)
    return _percentiles(_drawn_means(values, draws, seed), confidence)


def differences(
    values: np.ndarray, reference: np.ndarray,
    confidence: float = 0.95, draws: int = 2000, seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """
    Compare the columns of values (images, K) with those of the same images: (K, 3) percent.

    That is by how much the mean differs from the reference's, in percent of it, and the bounds by
    paired bootstrap: each draw takes the same images of both. Images that lack either value do
    not count; NaN where none is left or the reference is 0.
    """
    both = np.isfinite(values) & np.isfinite(reference)
    ours, theirs = (np.where(both, v, np.nan) for v in (values, reference))
    once = np.ones((1, len(values)))
    with np.errstate(divide='ignore', invalid='ignore'):
        found = 100 * (_means(once, ours) / _means(once, theirs) - 1)
        drawn = _drawn_means(ours, draws, seed) / _drawn_means(theirs, draws, seed)
    bounds = _percentiles(100 * (drawn - 1), confidence)
    return np.concatenate([np.where(np.isfinite(found), found, np.nan).T, bounds], 1)


def _drawn_means(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    return _means(_weights(len(values), draws, seed), values)


def _means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average values (images, K) by each row of weights (draws, images), without NaN."""
    known = np.isfinite(values)
    with np.errstate(invalid='ignore'):
        return (weights @ np.where(known, values, 0)) / (weights @ known.astype(np.float64))


@lru_cache(maxsize=2)
def _weights(count: int, draws: int, seed: int) -> np.ndarray:
    """Say how often each draw takes each image: (draws, images)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), draws).astype(np.float64)


def _percentiles(drawn: np.ndarray, confidence: float) -> np.ndarray:
    """Bound the columns of (draws, K): (K, 2); draws without a number do not count."""
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    bounds = np.full((drawn.shape[1], 2), np.nan)
    for column, bound in zip(drawn.T, bounds, strict=True):
        finite = column[np.isfinite(column)]
        if len(finite):
            bound[:] = np.quantile(finite, levels)
    return bounds
