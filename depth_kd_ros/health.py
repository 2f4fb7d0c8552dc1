"""What the node counts and times, and how well it predicts points that it was not shown."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
import threading
import time
from typing import Any

import numpy as np

WINDOW = 1000  # samples kept for percentiles
RATE_S = 5.0  # seconds over which rates are counted
BINS_M = ((0, 20), (20, 40), (40, 80))


def percentiles(samples: deque[float], scale: float = 1.0) -> dict[str, float] | None:
    """Give the exact p50 and p99 of samples times scale; None without a sample."""
    if not samples:
        return None
    p50, p99 = np.percentile(np.array(samples) * scale, (50, 99))
    return {'p50': round(float(p50), 3), 'p99': round(float(p99), 3)}


class Rate:
    """Messages per second over the last RATE_S of the caller's clock."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def tick(self, now_s: float) -> None:
        """Count one message."""
        self._times.append(now_s)
        self._forget(now_s)

    def hz(self, now_s: float) -> float:
        """Give the rate."""
        self._forget(now_s)
        return round(len(self._times) / RATE_S, 2)

    def _forget(self, now_s: float) -> None:
        while self._times and now_s - self._times[0] > RATE_S:
            self._times.popleft()


class Health:
    """Count and time frames; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames_in: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._matched = self._out = 0
        self._seconds: dict[str, deque[float]] = {}
        self._skew_ns: deque[float] = deque(maxlen=WINDOW)
        self._points: deque[float] = deque(maxlen=WINDOW)
        self._rates = {name: Rate() for name in ('image', 'points', 'out')}

    def received(self, stream: str, now_s: float) -> None:
        """Count a message of `image` or `points`."""
        with self._lock:
            self._frames_in[stream] += 1
            self._rates[stream].tick(now_s)

    def matched(self, skew_ns: int) -> None:
        """Count a pair, with the difference of its stamps in ns."""
        with self._lock:
            self._matched += 1
            self._skew_ns.append(skew_ns)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count a frame that was lost."""
        with self._lock:
            self._dropped[reason] += count

    def completed(self, now_s: float, seconds: Mapping[str, float], points: int) -> None:
        """Count a frame that was published, with the seconds of each stage and its sparse pixels."""
        with self._lock:
            self._out += 1
            self._rates['out'].tick(now_s)
            self._points.append(points)
            for stage, value in seconds.items():
                self._seconds.setdefault(stage, deque(maxlen=WINDOW)).append(value)

    def snapshot(self) -> dict[str, Any]:
        """Give all figures as plain numbers; what has no sample yet is None."""
        now = time.monotonic()
        with self._lock:
            skew = percentiles(deque(abs(s) for s in self._skew_ns), 1e-6)
            return {
                'frames_in': {name: self._frames_in[name] for name in ('image', 'points')},
                'frames_matched': self._matched,
                'frames_out': self._out,
                'dropped': dict(self._dropped),
                'rates_hz': {name: rate.hz(now) for name, rate in self._rates.items()},
                'latency_ms': {name: percentiles(s, 1e3) for name, s in self._seconds.items()},
                'skew_ms': skew,
                'points_per_frame': percentiles(self._points),
            }


def held_out_errors(prediction_m: np.ndarray, truth_m: np.ndarray) -> dict[str, Any]:
    """
    Compare depth (N,) m with held-out points (N,) m: MAE, RMSE (m), REL, and MAE by distance.

    None where a range holds no point.
    """
    error = np.abs(np.asarray(prediction_m, np.float64) - truth_m)
    if not len(error):
        return {'mae_m': None, 'rmse_m': None, 'rel': None, 'points': 0, 'mae_by_distance_m': {}}
    table = {}
    for low, high in BINS_M:
        inside = (truth_m >= low) & (truth_m < high)
        table[f'{low}-{high}'] = float(error[inside].mean()) if inside.any() else None
    return {
        'mae_m': float(error.mean()),
        'rmse_m': float(np.sqrt((error**2).mean())),
        'rel': float((error / truth_m).mean()),
        'points': len(error),
        'mae_by_distance_m': table,
    }
