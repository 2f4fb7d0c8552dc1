"""Matching by message_filters' synchronisers, behind the interface of `sync.Matcher`."""

from __future__ import annotations

from typing import Any

from depth_kd_ros.sync import Pair

JUMP_NS = 10**9  # a stamp further back than this starts anew, as a looped bag does


class FilterMatcher:
    """
    Pair clouds (references) and images (partners) by `approximate` or `exact` time.

    Items need a `header`. message_filters counts no losses, so `counters` is empty. Raises
    ValueError where message_filters is not installed.
    """

    counters: dict[str, int] = {}  # noqa: RUF012

    def __init__(self, policy: str, slop_s: float, queue_size: int) -> None:
        try:
            import message_filters
        except ImportError:
            raise ValueError(
                f'sync.policy {policy!r} needs the ROS package message_filters, which is not '
                'installed; sync.policy nearest is built in'
            ) from None
        self._filters, self._policy = message_filters, policy
        self._slop_s, self._queue_size = slop_s, queue_size
        self.reset()

    def reset(self) -> None:
        """Drop what waits."""
        self._pairs: list[Pair] = []
        self._newest_ns = {'cloud': 0, 'image': 0}
        self._images, self._clouds = self._filters.SimpleFilter(), self._filters.SimpleFilter()
        both = [self._images, self._clouds]
        if self._policy == 'exact':
            synchroniser = self._filters.TimeSynchronizer(both, self._queue_size)
        else:
            synchroniser = self._filters.ApproximateTimeSynchronizer(
                both, self._queue_size, slop=self._slop_s
            )
        synchroniser.registerCallback(self._on_pair)
        self._synchroniser = synchroniser

    def add_reference(self, stamp_ns: int, item: Any, now_s: float) -> list[Pair]:
        """Take a cloud and return the pairs that are decided now."""
        return self._add('cloud', stamp_ns, item)

    def add_partner(self, stamp_ns: int, item: Any, now_s: float) -> list[Pair]:
        """Take an image and return the pairs that are decided now."""
        return self._add('image', stamp_ns, item)

    def poll(self, now_s: float) -> list[Pair]:
        """Give no pair: message_filters decides when a message comes."""
        return []

    def _add(self, stream: str, stamp_ns: int, item: Any) -> list[Pair]:
        if stamp_ns < self._newest_ns[stream] - JUMP_NS:
            self.reset()
        self._newest_ns[stream] = max(self._newest_ns[stream], stamp_ns)
        (self._clouds if stream == 'cloud' else self._images).signalMessage(item)
        pairs, self._pairs = self._pairs, []
        return pairs

    def _on_pair(self, image: Any, cloud: Any) -> None:
        image_ns, cloud_ns = (
            i.header.stamp.sec * 10**9 + i.header.stamp.nanosec for i in (image, cloud)
        )
        self._pairs.append(Pair(cloud, image, cloud_ns, image_ns, image_ns - cloud_ns))
