"""Choose clouds evenly over a bag and read them with the images around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
from depth_kd_ros.bag_check.headers import Stream
from depth_kd_ros.bag_check.timing import nearest
from depth_kd_ros.bags import Bag
from depth_kd_ros.clouds import points, times_s
from depth_kd_ros.frames import FrameReader
from depth_kd_ros.geometry import Camera
from depth_kd_ros.messages import MessageError, stamp_ns
import numpy as np


@dataclass(frozen=True)
class Sample:
    """
    A cloud, points (N, 3) m in the LiDAR frame, and grey images (H, W) around it by stamp ns.

    `times_s` (N,): when each point was measured, from an unknown zero, or None. `camera` is that
    of the images, which are rectified and at most as wide as asked for.
    """

    stamp_ns: int
    points: np.ndarray
    times_s: np.ndarray | None
    images: dict[int, np.ndarray]
    camera: Camera


@dataclass(frozen=True)
class Sources:
    """The open bag, the topics' headers and how images are read."""

    bag: Bag
    image: Stream
    points: Stream
    camera_info: str
    reader: FrameReader

    def with_clouds(self, chosen: np.ndarray) -> Sources:
        """Keep the clouds at some indices only."""
        stamps, received = (
            [values[i] for i in chosen] for values in (self.points.stamps, self.points.received)
        )
        return replace(self, points=replace(self.points, stamps=stamps, received=received))


def evenly(count: int, most: int) -> np.ndarray:
    """Choose at most `most` indices of `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def read(sources: Sources, shift_s: float, reach_s: float, width: int) -> Iterator[Sample]:
    """
    Read each cloud with the images within `reach_s` of its stamp + `shift_s`, or the nearest.

    The image after them comes along, for the motion.

    Raises BagError for damaged storage and MessageError, with the topic, for a bad message.
    """
    image, cloud = sources.image, sources.points
    order = np.argsort(image.stamps_ns, kind='stable')
    stamps = image.stamps_ns[order]
    info = sources.bag.first(sources.camera_info)
    for stamp, received in zip(cloud.stamps, cloud.received, strict=True):
        middle, reach = stamp + round(shift_s * 1e9), round(reach_s * 1e9)
        [closest] = nearest(stamps, np.array([middle]))
        low = min(closest, np.searchsorted(stamps, middle - reach))
        high = max(closest + 1, np.searchsorted(stamps, middle + reach, 'right'))
        wanted = order[max(0, min(low, len(stamps) - 2)) : high + 1]  # two at least
        span = [received, *(image.received[i] for i in wanted)]
        keep = {image.stamps[i] for i in wanted}
        images: dict[int, np.ndarray] = {}
        found, times, camera = None, None, sources.reader.camera(info)
        topics = [image.topic, cloud.topic]
        for topic, message, _ in sources.bag.messages(topics, min(span), max(span) + 1):
            at = stamp_ns(message.header)
            try:
                if topic == cloud.topic and at == stamp:
                    found, times = points(message), times_s(message)
                elif topic == image.topic and at in keep:
                    images[at], camera = _grey(sources.reader, message, info, width)
            except MessageError as error:
                raise MessageError(f'{sources.bag.path}: {topic}: {error}') from error
        if found is not None:
            times = times if times is None else times[found.kept]
            yield Sample(stamp, found.xyz, times, images, camera)


def _grey(
    reader: FrameReader, message: object, info: object, width: int
) -> tuple[np.ndarray, Camera]:
    """Decode, rectify and shrink an image; give it with its camera."""
    frame = reader.image(message, info)
    grey, camera = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), reader.camera(info)
    if camera.width > width:
        height = max(1, round(camera.height * width / camera.width))
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        camera = camera.resized(height, width)
    return grey, camera
