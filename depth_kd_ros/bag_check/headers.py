"""Read what all stamped messages of a topic begin with, without decoding them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import struct

from depth_kd_ros.bags import Bag
import numpy as np


@dataclass
class Stream:
    """
    A topic's headers in receive order: stamps and receive times, ns, frame ids by count.

    `sizes` counts (height, width) of Image, CameraInfo and PointCloud2; empty for others.
    """

    topic: str
    type: str
    stamps: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    frame_ids: dict[str, int] = field(default_factory=dict)
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def stamps_ns(self) -> np.ndarray:
        """Give the stamps (N,) int64 in receive order."""
        return np.array(self.stamps, np.int64)

    def add(self, data: bytes, receive_ns: int) -> None:
        """Take one message's CDR bytes; ValueError where they are too short for a header."""
        stamp, frame_id, rest = _header(data)
        self.stamps.append(stamp)
        self.received.append(receive_ns)
        self.frame_ids[frame_id] = self.frame_ids.get(frame_id, 0) + 1
        if not self.type.endswith('/CompressedImage'):
            size = struct.unpack_from(_order(data) + '2I', data, rest)
            self.sizes[size] = self.sizes.get(size, 0) + 1


def read(bag: Bag, topics: list[str]) -> Iterator[dict[str, Stream]]:
    """
    Read the headers of topics; yield the growing streams after each message, for a progress bar.

    Raises BagError for damaged storage, ValueError for a message that is too short.
    """
    streams = {topic: Stream(topic, bag.topics[topic].type) for topic in topics}
    for topic, data, receive_ns in bag.raw_messages(topics):
        try:
            streams[topic].add(data, receive_ns)
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise ValueError(
                f'{bag.path}: {topic}, received at {receive_ns} ns: not a '
                f'{streams[topic].type} ({error}): record the topic again'
            ) from error
        yield streams


def _order(data: bytes) -> str:
    """Give struct's byte order from the CDR encapsulation."""
    return '<' if data[1] & 1 else '>'


def _header(data: bytes) -> tuple[int, str, int]:
    """Give stamp ns, frame id and the position behind a std_msgs/Header at the beginning."""
    seconds, nanoseconds, length = struct.unpack_from(_order(data) + 'iII', data, 4)
    end = 16 + length
    if len(data) < end:
        raise IndexError(f'{len(data)} bytes, header of {end}')
    name = bytes(data[16:end]).rstrip(b'\0').decode()
    return seconds * 10**9 + nanoseconds, name, (end + 3) // 4 * 4
