"""Match two stamped streams by nearest stamp: ROS-free, single-threaded by contract, no locks."""

from __future__ import annotations

from collections import deque
import math
from operator import index
from statistics import median_high
from typing import Any, NamedTuple

LOOP_NS = 250_000_000  # stamps that jump back by more are a looped bag, by less out of order
PASS_NS = 10**30  # unrolls a looped bag: each pass lies this much later than the one before


class Pair(NamedTuple):
    """A reference and its partner; `skew_ns` = partner_ns - (reference_ns + offset)."""

    reference: Any
    partner: Any
    reference_ns: int
    partner_ns: int
    skew_ns: int


class _Stream:
    """Keep one stream's waiting messages by unrolled time, and count the fate of each."""

    def __init__(self, left_over: str, offset_ns: int) -> None:
        fates = ('received', 'matched', left_over, 'overflow', 'late', 'duplicate', 'reset')
        self.counts = dict.fromkeys(fates, 0)
        self.left_over, self.offset_ns = left_over, offset_ns
        self.pass_ns = self.newest_ns = self.spent_ns = -PASS_NS
        self.waiting: dict[int, tuple[Any, int, float]] = {}  # item, stamp ns, arrival s
        self.intervals_ns: deque[int] = deque(maxlen=16)

    def add(self, stamp_ns: int, item: Any, now_s: float, other: _Stream) -> None:
        """
        Insert a message; one that jumps back, or fits the next pass of `other`, begins a pass.

        The streams of a looped bag jump at slightly different moments: what is still under way
        from the old pass stays in it. A clock that is set back makes one stream jump alone.
        """
        local_ns = index(stamp_ns) + self.offset_ns
        jumps = self.pass_ns + local_ns < self.newest_ns - LOOP_NS
        fits = other.pass_ns + local_ns <= other.newest_ns + LOOP_NS
        if self.pass_ns < 0 or jumps or (fits and self.pass_ns < other.pass_ns):
            self.pass_ns = max(self.pass_ns + PASS_NS, other.pass_ns)
            self.newest_ns = self.pass_ns + local_ns
        time_ns = self.pass_ns + local_ns
        if time_ns > self.newest_ns:
            self.intervals_ns.append(time_ns - self.newest_ns)
            self.newest_ns = time_ns
        self.counts['received'] += 1
        seen = time_ns == self.spent_ns or time_ns in self.waiting
        if seen or time_ns < self.spent_ns:
            self.counts['duplicate' if seen else 'late'] += 1
        else:
            self.waiting[time_ns] = (item, local_ns - self.offset_ns, now_s)

    def take(self, times_ns: list[int], fate: str) -> list[tuple[Any, int, float]]:
        self.counts[fate] += len(times_ns)
        return [self.waiting.pop(time_ns) for time_ns in times_ns]

    def spend(self, until_ns: int) -> None:
        """Drop what waits with a time up to `until_ns`, and what still comes with one."""
        self.spent_ns = max(self.spent_ns, until_ns)
        self.take([t for t in self.waiting if t <= self.spent_ns], self.left_over)


class Matcher:
    """
    Pair each cloud (reference) with its nearest image (partner), unless another cloud is nearer.

    Stamps are int nanoseconds, `now_s` any monotonic clock, `offset_s` the partner's stamp minus
    the reference's at the same moment. A reference is decided when no nearer partner is to be
    expected, after `max_wait_s` at the latest. Partner stamps of successive pairs increase; a
    looped bag starts anew, and no pair mixes two passes. Calls return the pairs they decide, so
    no exception of a consumer gets in here. Raises ValueError for a bad setting.
    """

    def __init__(
        self, slop_s: float, offset_s: float = 0.0, max_wait_s: float = 0.2, queue_size: int = 30
    ) -> None:
        least = {'slop_s': 0, 'offset_s': -math.inf, 'max_wait_s': 0, 'queue_size': 1}
        for key, value in zip(least, (slop_s, offset_s, max_wait_s, queue_size), strict=True):
            if not (math.isfinite(value) and value >= least[key]):
                raise ValueError(f'{key} is {value!r}: give a finite number >= {least[key]}')
        self._slop_ns = round(slop_s * 1e9)
        self._max_wait_s, self._queue_size = max_wait_s, queue_size
        self._references = _Stream('no_partner', offset_ns=round(offset_s * 1e9))
        self._partners = _Stream('unused', offset_ns=0)

    @property
    def counters(self) -> dict[str, int]:
        """Tell the fate of all messages: received = matched + waiting + every way of loss."""
        return {
            f'{name}_{fate}': count
            for name, stream in (('reference', self._references), ('partner', self._partners))
            for fate, count in {**stream.counts, 'waiting': len(stream.waiting)}.items()
        }

    def add_reference(self, stamp_ns: int, item: Any, now_s: float) -> list[Pair]:
        """Take a reference and return the pairs that are decided now."""
        self._references.add(stamp_ns, item, now_s, self._partners)
        return self.poll(now_s)

    def add_partner(self, stamp_ns: int, item: Any, now_s: float) -> list[Pair]:
        """Take a partner and return the pairs that are decided now."""
        self._partners.add(stamp_ns, item, now_s, self._references)
        return self.poll(now_s)

    def poll(self, now_s: float) -> list[Pair]:
        """Decide references, the oldest first, up to one that has to wait; return the pairs."""
        references, partners, pairs = self._references, self._partners, []
        while times_ns := sorted(references.waiting):
            head_ns = times_ns[0]
            gaps = ((abs(time_ns - head_ns), time_ns) for time_ns in partners.waiting)
            gap_ns, best_ns = min(gaps, default=(PASS_NS, 0))
            fits = gap_ns <= self._slop_ns and all(abs(t - best_ns) >= gap_ns for t in times_ns)
            due_ns = partners.newest_ns + min(partners.intervals_ns or [0])
            rival_ns = references.newest_ns + median_high(references.intervals_ns or [PASS_NS])
            better = due_ns < head_ns + min(gap_ns, self._slop_ns + 1)  # a nearer partner is due
            better |= fits and abs(rival_ns - best_ns) < gap_ns  # or a reference nearer to it
            waited_s = max(abs(now_s - arrived_s) for *_, arrived_s in references.waiting.values())
            if better and waited_s < self._max_wait_s:
                break
            if fits:
                [(cloud, cloud_ns, _)] = references.take([head_ns], 'matched')
                [(image, image_ns, _)] = partners.take([best_ns], 'matched')
                pairs.append(Pair(cloud, image, cloud_ns, image_ns, best_ns - head_ns))
            references.spend(head_ns)
            partners.spend(best_ns if fits else head_ns)
        for stream in (references, partners):
            stream.take(sorted(stream.waiting)[: -self._queue_size], 'overflow')
        return pairs

    def flush(self) -> list[Pair]:
        """Decide everything with what is there, as at the end of a bag."""
        pairs = self.poll(math.inf)
        self._partners.take(list(self._partners.waiting), 'unused')
        return pairs

    def reset(self) -> None:
        """Drop what waits, counted as reset; any stamps may follow, those of before, too."""
        for stream in (self._references, self._partners):
            stream.take(list(stream.waiting), 'reset')
            stream.spent_ns = -PASS_NS
