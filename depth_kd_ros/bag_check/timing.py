"""Rates, gaps and skew of recorded streams, from their stamps alone."""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.sync import Matcher
import numpy as np

MISSING = 1.5  # an interval this many times the median lacks messages


@dataclass(frozen=True)
class Rhythm:
    """
    How regular a stream is: Hz from the median interval, gaps, stamps out of order.

    `lost` estimates the messages missing in the gaps; `gaps_s` lists (seconds after the stream's
    first stamp, length s), the longest first. `delay_s` is the median of receive time - stamp.
    """

    count: int
    hz: float
    jitter_s: float  # interquartile range of the intervals
    lost: int
    gaps_s: tuple[tuple[float, float], ...]
    repeated: int  # stamps seen before
    backwards: int  # messages whose stamp is smaller than the one before
    delay_s: float

    @property
    def lost_share(self) -> float:
        """Give the share of lost messages among those there should be."""
        return self.lost / max(1, self.lost + self.count)


@dataclass(frozen=True)
class Skew:
    """
    Image stamp - (cloud stamp + offset), s, of each cloud and its nearest image.

    `spread_s` is the width of the middle 90 %; `matched_share` is what the node's matcher pairs.
    """

    median_s: float
    spread_s: float
    largest_s: float
    matched: int
    matched_share: float


def rhythm(stamps_ns: np.ndarray, received_ns: np.ndarray) -> Rhythm:
    """Measure a stream of N stamps and receive times (N,) int64 ns in receive order."""
    delay_s = float(np.median(received_ns - stamps_ns)) * 1e-9
    backwards = int((np.diff(stamps_ns) < 0).sum())
    unique = np.unique(stamps_ns)
    repeated = len(stamps_ns) - len(unique)
    if len(unique) < 2:
        return Rhythm(len(stamps_ns), 0.0, 0.0, 0, (), repeated, backwards, delay_s)
    interval_s = np.diff(unique) * 1e-9
    median = float(np.median(interval_s))
    low, high = np.percentile(interval_s, (25, 75))
    wide = np.flatnonzero(interval_s > MISSING * median)
    wide = wide[np.argsort(-interval_s[wide], kind='stable')]
    since_s = (unique - unique[0]) * 1e-9
    gaps = tuple((float(since_s[i]), float(interval_s[i])) for i in wide)
    lost = int((np.round(interval_s[wide] / median) - 1).sum())
    return Rhythm(
        len(stamps_ns), 1 / median, float(high - low), lost, gaps, repeated, backwards, delay_s
    )


def nearest(images_ns: np.ndarray, times_ns: np.ndarray) -> np.ndarray:
    """Find for each time the index (M,) of the nearest image among sorted stamps (N,) ns."""
    right = np.searchsorted(images_ns, times_ns).clip(1, max(1, len(images_ns) - 1))
    left = right - 1
    right = right.clip(max=len(images_ns) - 1)
    nearer = np.abs(images_ns[left] - times_ns) <= np.abs(images_ns[right] - times_ns)
    return np.where(nearer, left, right)


def skew(clouds_ns: np.ndarray, images_ns: np.ndarray, slop_s: float, offset_s: float) -> Skew:
    """Measure the skew of clouds (N,) and images (M,) ns, and match them as the node does."""
    times = clouds_ns + round(offset_s * 1e9)
    images = np.unique(images_ns)
    skews = (images[nearest(images, times)] - times) * 1e-9
    low, high = np.percentile(skews, (5, 95))
    matched = _matched(clouds_ns, images_ns, slop_s, offset_s)
    return Skew(
        float(np.median(skews)), float(high - low), float(np.abs(skews).max()), matched,
        matched / len(clouds_ns),
    )  # fmt: skip


def _matched(clouds_ns: np.ndarray, images_ns: np.ndarray, slop_s: float, offset_s: float) -> int:
    """Count the pairs that the node's matcher makes of two complete streams."""
    matcher = Matcher(slop_s, offset_s, max_wait_s=1e9)
    shifted = clouds_ns + round(offset_s * 1e9)
    events = sorted(
        [(int(t), 0, int(c)) for t, c in zip(shifted, clouds_ns, strict=True)]
        + [(int(t), 1, int(t)) for t in images_ns]
    )
    pairs = 0
    for _, is_image, stamp in events:
        add = matcher.add_partner if is_image else matcher.add_reference
        pairs += len(add(stamp, None, 0.0))
    return pairs + len(matcher.flush())
