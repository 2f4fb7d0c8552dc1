"""Match two stamped streams by nearest stamp: pure Python, ROS-free, single-threaded by contract.

The reference is the cloud, its partner the image whose stamp is nearest to reference + offset.
There are no locks and no callbacks: a call returns the pairs that it decides, so an exception in
the consumer of a pair leaves the matcher as it is.
"""

from __future__ import annotations

import math
from collections import deque
from operator import index
from statistics import median_high
from typing import Any, NamedTuple

LOOP_NS = 500_000_000  # stamps that jump back by more are a looped bag, by less out of order
PASS_NS = 10**30  # unrolls a looped bag: each pass lies this much later than the one before


class Pair(NamedTuple):
    """A reference and its partner; `skew_ns` = partner_ns - (reference_ns + offset)."""

    reference: Any
    partner: Any
    reference_ns: int
    partner_ns: int
    skew_ns: int


class _Message(NamedTuple):
    item: Any
    stamp_ns: int
    arrived_s: float


class _Stream:
    """Keep one stream's waiting messages by unrolled time, and count the fate of each."""

    def __init__(self, left_over: str) -> None:
        fates = ('received', 'matched', left_over, 'overflow', 'late', 'duplicate', 'reset')
        self.counts = dict.fromkeys(fates, 0)
        self.forget()

    def forget(self) -> None:
        self.pass_ns = self.newest_ns = self.spent_ns = -PASS_NS
        self.waiting: dict[int, _Message] = {}
        self.intervals_ns: deque[int] = deque(maxlen=16)

    def add(self, message: _Message, offset_ns: int, other: _Stream) -> None:
        """Insert a message; one that jumps back, or fits the pass `other` is in, begins a pass.

        The streams of a looped bag jump at slightly different moments: what is still under way
        from the old pass stays in it. A clock that is set back makes one stream jump alone.
        """
        local_ns = message.stamp_ns + offset_ns
        jumped = self.pass_ns + local_ns < self.newest_ns - LOOP_NS
        follows = self.pass_ns < other.pass_ns and (
            other.pass_ns + local_ns <= other.newest_ns + LOOP_NS
        )
        if self.pass_ns < 0 or jumped or follows:
            self.pass_ns = max(self.pass_ns + PASS_NS, other.pass_ns)
            self.newest_ns = self.pass_ns + local_ns
        time_ns = self.pass_ns + local_ns
        if time_ns > self.newest_ns:
            self.intervals_ns.append(time_ns - self.newest_ns)
            self.newest_ns = time_ns

        self.counts['received'] += 1
        if time_ns == self.spent_ns or time_ns in self.waiting:
            self.counts['duplicate'] += 1
        elif time_ns < self.spent_ns:
            self.counts['late'] += 1
        else:
            self.waiting[time_ns] = message

    def drop(self, times_ns: list[int], fate: str) -> None:
        self.counts[fate] += len(times_ns)
        for time_ns in times_ns:
            del self.waiting[time_ns]


class Matcher:
    """Pair each reference with its nearest partner, unless another reference is nearer to that.

    Stamps are int nanoseconds, `now_s` any monotonic clock. `offset_s` is the partner's stamp
    minus the reference's at the same moment. A reference is decided when no nearer partner is to
    be expected, after `max_wait_s` at the latest. Partner stamps of successive pairs increase; a
    looped bag starts anew, and no pair mixes two passes. Raises ValueError for a bad setting.
    """

    def __init__(
        self, slop_s: float, offset_s: float = 0.0, max_wait_s: float = 0.2, queue_size: int = 30
    ) -> None:
        least = {'slop_s': 0, 'offset_s': -math.inf, 'max_wait_s': 0, 'queue_size': 1}
        for key, value in zip(least, (slop_s, offset_s, max_wait_s, queue_size), strict=True):
            if not (math.isfinite(value) and value >= least[key]):
                raise ValueError(f'{key} is {value!r}: give a finite number, {least[key]} or more')
        self._slop_ns, self._offset_ns = round(slop_s * 1e9), round(offset_s * 1e9)
        self._max_wait_s, self._queue_size = max_wait_s, queue_size
        self._references, self._partners = _Stream('no_partner'), _Stream('unused')

    @property
    def counters(self) -> dict[str, int]:
        """Tell the fate of all messages: received = matched + waiting + every way of loss."""
        streams = {'reference': self._references, 'partner': self._partners}
        return {
            f'{name}_{fate}': number
            for name, stream in streams.items()
            for fate, number in {**stream.counts, 'waiting': len(stream.waiting)}.items()
        }

    def add_reference(self, stamp_ns: int, item: Any, now_s: float) -> list[Pair]:
        """Take a reference and return the pairs that this decides."""
        message = _Message(item, index(stamp_ns), now_s)
        self._references.add(message, self._offset_ns, self._partners)
        return self.poll(now_s)

    def add_partner(self, stamp_ns: int, item: Any, now_s: float) -> list[Pair]:
        """Take a partner and return the pairs that this decides."""
        self._partners.add(_Message(item, index(stamp_ns), now_s), 0, self._references)
        return self.poll(now_s)

    def poll(self, now_s: float) -> list[Pair]:
        """Return the pairs of the references that need not wait any longer."""
        clouds, images = self._references, self._partners
        for time_ns, message in clouds.waiting.items():
            if now_s < message.arrived_s:  # the caller's clock was set back: wait anew
                clouds.waiting[time_ns] = message._replace(arrived_s=now_s)
        pairs = []
        while clouds.waiting and (decided := self._decide(now_s)) is not None:
            pairs += decided
        for stream in (clouds, images):
            stream.drop(sorted(stream.waiting)[: -self._queue_size], 'overflow')
        return pairs

    def flush(self) -> list[Pair]:
        """Decide everything with what is there, as at the end of a bag."""
        pairs = self.poll(math.inf)
        self._partners.drop(list(self._partners.waiting), 'unused')
        return pairs

    def reset(self) -> int:
        """Forget every stamp; drop, count and return the number of what waits."""
        dropped = len(self._references.waiting) + len(self._partners.waiting)
        for stream in (self._references, self._partners):
            stream.drop(list(stream.waiting), 'reset')
            stream.forget()
        return dropped

    def _decide(self, now_s: float) -> Iterator[Pair]:
        """Decide references, oldest first, up to the first that is worth waiting for."""
        clouds, images = self._references, self._partners
        while times_ns := sorted(clouds.waiting):
            ...
