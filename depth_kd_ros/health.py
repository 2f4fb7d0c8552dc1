"""What a running node counts and measures: rates, latencies, losses, errors at held-out points."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from threading import Lock
import time
from typing import Any

import numpy as np
import numpy.typing as npt

WINDOW = 1000  # latest samples of a latency, a skew and a point count
RATE_WINDOW_S = 5.0
HELD_OUT_FRAMES = 100  # latest frames in the moving average of the held-out error
DISTANCES_M = (0, 20, 40, 80)


class Rate:
    """Count messages per second over the last `window_s` of the caller's clock."""

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._times_s: deque[float] = deque()
        self._since_s = 0.0

    def add(self, now_s: float) -> None:
        """Count a message; a clock that was set back starts anew."""
        if not self._times_s or now_s < self._times_s[-1]:
            self._times_s.clear()
            self._since_s = now_s
        self._times_s.append(now_s)
        while self._times_s[0] <= now_s - self._window_s:
            self._times_s.popleft()

    def hz(self, now_s: float) -> float | None:
        """Give the rate, 0 after a stall; None before there was time to measure one."""
        start_s = max(self._since_s, now_s - self._window_s)
        if not self._times_s or now_s <= start_s:
            return None
        return sum(start_s < each <= now_s for each in self._times_s) / (now_s - start_s)


class Health:
    """
    Gather the node's figures; any thread may write, any may take a snapshot.

    The lock is held to append or copy only, never to compute.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._lock, self._window = Lock(), window
        self._frames_in = Counter(image=0, points=0)
        self._frames_matched = self._frames_out = 0
        self._dropped: Counter[str] = Counter()
        self._rates = {name: Rate() for name in ('image', 'points', 'out')}
        self._latency_s: dict[str, deque[float]] = {'total': deque(maxlen=window)}
        self._skew_ns: deque[int] = deque(maxlen=window)
        self._points: deque[int] = deque(maxlen=window)
        self._held_out: deque[np.ndarray] = deque(maxlen=HELD_OUT_FRAMES)

    def received(self, name: str, now_s: float) -> None:
        """Count an incoming message of the stream `image` or `points`."""
        with self._lock:
            self._rates[name].add(now_s)
            self._frames_in[name] += 1

    def matched(self, skew_ns: int) -> None:
        """Count a pair of image and cloud."""
        with self._lock:
            self._frames_matched += 1
            self._skew_ns.append(skew_ns)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count lost frames by reason: no_partner, busy, stale, bad_message, no_extrinsics ..."""
        with self._lock:
            self._dropped[reason] += count

    def completed(self, now_s: float, seconds: Mapping[str, float], points: int) -> None:
        """Count a frame that went out, with its stages' durations and its number of points."""
        with self._lock:
            self._frames_out += 1
            self._rates['out'].add(now_s)
            self._points.append(points)
            for stage, duration_s in seconds.items():
                if stage not in self._latency_s:
                    self._latency_s[stage] = deque(maxlen=self._window)
                self._latency_s[stage].append(duration_s)

    def held_out(self, prediction_m: npt.ArrayLike, truth_m: npt.ArrayLike) -> None:
        """Add a frame to the moving average of the held-out error; errors as held_out_errors."""
        sums = _error_sums(prediction_m, truth_m)
        with self._lock:
            self._held_out.append(sums)

    def forget_held_out(self) -> None:
        """Start the moving average of the held-out error anew, as after a jump in time."""
        with self._lock:
            self._held_out.clear()

    def snapshot(self, now_s: float | None = None) -> dict[str, Any]:
        """Give all figures as plain numbers, None where there are none; default time.monotonic."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            latency_s = {stage: list(window) for stage, window in self._latency_s.items()}
            skew_ns, points, held_out = (
                list(self._skew_ns),
                list(self._points),
                list(self._held_out),
            )
            figures: dict[str, Any] = {
                'frames_in': dict(self._frames_in),
                'frames_matched': self._frames_matched,
                'frames_out': self._frames_out,
                'dropped': dict(self._dropped),
                'rates_hz': {name: rate.hz(now_s) for name, rate in self._rates.items()},
            }
        figures['latency_ms'] = {
            stage: {'p50': _percentile(window, 50, 1e3), 'p99': _percentile(window, 99, 1e3)}
            for stage, window in latency_s.items()
        }
        figures['skew_ms'] = {
            'median': _percentile(skew_ns, 50, 1e-6),
            'max_abs': _percentile([abs(skew) for skew in skew_ns], 100, 1e-6),
        }
        figures['points_per_frame'] = {
            name: _percentile(points, q, 1)
            for name, q in (('min', 0), ('median', 50), ('max', 100))
        }
        figures['held_out'] = _errors(sum(held_out, np.zeros((len(DISTANCES_M), 5))))
        return figures


def held_out_errors(prediction_m: npt.ArrayLike, truth_m: npt.ArrayLike) -> dict[str, Any]:
    """
    Compare depths (N,) m with held-out LiDAR points: MAE, RMSE, REL = mean |error| / truth.

    Points without truth (0 or NaN) are left out; those without prediction count as `missing`. The
    table by the truth's distance ends at 80 m; the figures over all points do not. Raises
    ValueError where the shapes differ.
    """
    return _errors(_error_sums(prediction_m, truth_m))


def _error_sums(prediction_m: npt.ArrayLike, truth_m: npt.ArrayLike) -> np.ndarray:
    """Sum 1, |e|, e^2, |e| / truth and missing by distance: (4, 5), last row beyond 80 m."""
    prediction, truth = np.asarray(prediction_m, np.float64), np.asarray(truth_m, np.float64)
    if prediction.shape != truth.shape:
        raise ValueError(
            f'prediction_m has shape {prediction.shape}, truth_m {truth.shape}: give the '
            'prediction at each held-out point'
        )
    measured = np.isfinite(truth) & (truth > 0)
    prediction, truth = prediction[measured], truth[measured]
    predicted = np.isfinite(prediction) & (prediction > 0)
    error = np.where(predicted, np.abs(np.where(predicted, prediction, 0) - truth), 0)
    terms = np.stack([predicted, error, error**2, error / truth, ~predicted], axis=1)  # (N, 5)
    rows = np.digitize(truth, DISTANCES_M[1:])  # (N,)
    return np.stack([terms[rows == row].sum(axis=0) for row in range(len(DISTANCES_M))])


def _errors(sums: np.ndarray) -> dict[str, Any]:
    """Divide the sums (4, 5) into the figures over all points and by distance."""
    bands = zip(pairwise(DISTANCES_M), sums[:-1], strict=True)
    table = {f'{low}-{high}': _row(row) for (low, high), row in bands}
    return {**_row(sums.sum(axis=0)), 'by_distance_m': table}


def _row(sums: np.ndarray) -> dict[str, Any]:
    points, absolute, squared, relative, missing = (float(each) for each in sums)
    found = points > 0
    return {
        'mae_m': absolute / points if found else None,
        'rmse_m': (squared / points) ** 0.5 if found else None,
        'rel': relative / points if found else None,
        'points': int(points),
        'missing': int(missing),
    }


def _percentile(samples: Sequence[float], q: float, unit: float) -> float | None:
    """Give the q-th percentile (linear between samples) times `unit`, None of no samples."""
    return float(np.percentile(samples, q)) * unit if samples else None
