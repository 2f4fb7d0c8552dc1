"""Copy a bag and damage the copy: what can go wrong in a recording, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from depth_kd_ros.bag_writer import BagWriter
from depth_kd_ros.bags import Bag
from depth_kd_ros.messages import stamp_ns
import numpy as np
from rosbags.interfaces import QosDurability

Change = Callable[[str, Any, int], Any]  # topic, message, number on its topic -> message or None


def copy(
    source: Path, path: Path, change: Change, volatile: bool = False, first: int | None = None
) -> Path:
    """Copy the first messages of each topic, each changed; `volatile` /tf_static."""
    numbers: dict[str, int] = {}
    with Bag(source) as bag, BagWriter(path) as writer:
        for topic, info in bag.topics.items():
            offered = info.offered_qos
            if volatile:
                offered = tuple(q._replace(durability=QosDurability.VOLATILE) for q in offered)
            writer.declare(topic, info.type, offered)
        for topic, message, receive_ns in bag.messages(list(bag.topics)):
            number = numbers[topic] = numbers.get(topic, -1) + 1
            changed = None if first and number >= first else change(topic, message, number)
            if changed is not None:
                writer.add(topic, changed, receive_ns)
    return path


def same(topic: str, message: Any, number: int) -> Any:
    """Change nothing."""
    return message


def without(missing: str) -> Change:
    """Leave a topic out."""
    return lambda topic, message, number: None if topic == missing else message


def without_numbers(thinned: str, *gone: int) -> Change:
    """Leave some messages of a topic out."""
    return lambda t, message, number: None if t == thinned and number in gone else message


def stamped_later(shifted: str, by_s: float) -> Change:
    """Add to the stamps of a topic."""

    def change(topic: str, message: Any, number: int) -> Any:
        if topic == shifted:
            second, nanosecond = divmod(stamp_ns(message.header) + round(by_s * 1e9), 10**9)
            message.header.stamp.sec, message.header.stamp.nanosec = second, nanosecond
        return message

    return change


def turned(child: str, by_deg: float) -> Change:
    """Turn the transform of a frame about its parent's z axis."""
    c, s = np.cos(np.deg2rad(by_deg) / 2), np.sin(np.deg2rad(by_deg) / 2)

    def change(topic: str, message: Any, number: int) -> Any:
        for item in message.transforms if topic == '/tf_static' else []:
            if item.child_frame_id == child:
                q = item.transform.rotation
                q.x, q.y, q.z, q.w = (
                    c * q.x - s * q.y, c * q.y + s * q.x, c * q.z + s * q.w, c * q.w - s * q.z,
                )  # fmt: skip
        return message

    return change
