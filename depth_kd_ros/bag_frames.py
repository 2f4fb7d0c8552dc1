"""Match the recorded messages of a camera and a LiDAR to frames, by header stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.sync import Matcher, Pair

PATIENCE = 4  # pairs held back while the CameraInfo of their stamp is still to come


class BagFrame(NamedTuple):
    """A cloud, its nearest image and that image's CameraInfo (ROS messages); skew in ns."""

    image: Any
    camera_info: Any
    points: Any
    skew_ns: int


def matched_frames(
    messages: Iterable[tuple[str, Any, int]],
    matcher: Matcher,
    points: str,
    camera_info: str,
    first_info: Any,
) -> Iterator[BagFrame]:
    """
    Match (topic, message, receive time ns) of two named topics and an image topic, lazily.

    A frame's CameraInfo is the newest one with the image's stamp, else the latest before it, else
    `first_info`. Drivers send it before or after its image, so frames wait for it for a while.
    """
    infos = [first_info]
    waiting: deque[Pair] = deque()
    for topic, message, receive_ns in messages:
        stamp, now_s = stamp_ns(message.header), receive_ns * 1e-9
        if topic == camera_info:
            infos.append(message)
        elif topic == points:
            waiting += matcher.add_reference(stamp, message, now_s)
        else:
            waiting += matcher.add_partner(stamp, message, now_s)
        while waiting and (len(waiting) > PATIENCE or _passed(waiting[0], infos[-1])):
            yield _frame(waiting.popleft(), infos)
    for pair in [*waiting, *matcher.flush()]:
        yield _frame(pair, infos)


def _passed(pair: Pair, info: Any) -> bool:
    return stamp_ns(info.header) > stamp_ns(pair.partner.header)


def _frame(pair: Pair, infos: list[Any]) -> BagFrame:
    info = info_of(pair.partner_ns, infos)
    return BagFrame(pair.partner, info, pair.reference, pair.skew_ns)


def info_of(image_ns: int, infos: list[Any]) -> Any:
    """
    Choose the CameraInfo of an image by its stamp, and forget those before it.

    The newest one with the image's stamp, else the latest before it, else the first of the list.
    """
    usable = [i for i, info in enumerate(infos) if stamp_ns(info.header) <= image_ns]
    chosen = max(usable, key=lambda i: (stamp_ns(infos[i].header), i), default=0)
    del infos[:chosen]
    return infos[0]
