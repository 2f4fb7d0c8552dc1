"""Read rosbag2 recordings (mcap, sqlite3): topics, messages, static extrinsics, matched frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from depth_kd_ros import geometry
from depth_kd_ros.bag_frames import BagFrame, matched_frames
from depth_kd_ros.bag_reader import BagError, BagReader, TopicInfo
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.sync import Matcher
from depth_kd_ros.transform_tree import TransformTree
import numpy as np

__all__ = ['Bag', 'BagError', 'BagFrame', 'TopicInfo']

TYPES = {
    'image': ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'),
    'points': ('sensor_msgs/msg/PointCloud2',),
    'camera_info': ('sensor_msgs/msg/CameraInfo',),
}
OPTIONS = {'image': '--image', 'points': '--points', 'camera_info': '--camera-info'}
DEPTH_ENCODINGS = ('16UC1', '32FC1')
FOREVER_S = 1e9
OTHER_EXTRINSICS = 'record /tf_static, or give the extrinsics in a file'


class Bag(BagReader):
    """A rosbag2 as camera and LiDAR recording: topics by kind, extrinsics, matched frames."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._tree: TransformTree | None = None

    def find_topic(self, kind: str, name: str | None = None, image: str | None = None) -> str:
        """
        Find the topic of `kind` (image, points, camera_info), or check the one given by `name`.

        Colour goes before depth, a raw image before its own compressed form. Of several
        camera_info topics the one beside `image` (default: the image topic found) is taken.
        Raises BagError: no such topic, another type, none of the kind, several, no messages.
        """
        types = TYPES[kind]
        if name is not None:
            self._check([name], types)
            return name
        found = [
            topic
            for topic, info in self.topics.items()
            if info.type in types and info.count and not topic.endswith('/compressedDepth')
        ]
        if not found:
            raise BagError(
                f'{self.path}: no messages of type {" or ".join(types)}: record such a topic; '
                f'topics: {self._listing()}'
            )
        if len(found) > 1 and kind == 'image':
            found = self._colour_images(found)
        if len(found) > 1 and kind == 'camera_info':
            beside = _camera_info_topic(image or self.find_topic('image'))
            found = [beside] if beside in found else found
        if len(found) > 1:
            raise BagError(
                f'{self.path}: several {kind} topics, {", ".join(found)}: '
                f'choose one with {OPTIONS[kind]} TOPIC'
            )
        return found[0]

    def frame_id(self, topic: str) -> str:
        """Give the frame id in a topic's first header; raise BagError without a message."""
        return str(self.first(topic).header.frame_id)

    def first(self, topic: str) -> Any:
        """Give a topic's first message; raise BagError without one."""
        first = next(self.messages([topic]), None)
        if first is None:
            raise BagError(f'{self.path}: {topic!r} holds no messages; topics: {self._listing()}')
        return first[1]

    def static_transforms(self) -> dict[tuple[str, str], np.ndarray]:
        """
        Give T_parent_child (4, 4) of every /tf_static transform by (parent, child); may be empty.

        Raises BagError: not rigid, given twice with different values, two parents of one frame.
        """
        return self._transform_tree().transforms

    def T(self, target_frame: str, source_frame: str) -> np.ndarray:  # noqa: N802
        """
        Chain /tf_static to T_target_source (4, 4): p_target = T @ p_source, as tf2 looks it up.

        Raises BagError where /tf_static does not connect the frames, and as static_transforms.
        """
        try:
            return self._transform_tree().lookup(target_frame, source_frame)
        except ValueError as error:
            raise BagError(f'{self.path}: /tf_static: {error}; {OTHER_EXTRINSICS}') from error

    def extrinsics(self, camera_frame: str, lidar_frame: str) -> np.ndarray:
        """Give T_cam_lidar (4, 4) from /tf_static; errors as T."""
        return self.T(camera_frame, lidar_frame)

    def frames(
        self,
        image: str | None = None,
        points: str | None = None,
        camera_info: str | None = None,
        slop_s: float = 0.05,
        offset_s: float = 0.0,
    ) -> Iterator[BagFrame]:
        """
        Match every cloud with the image nearest to its header stamp + `offset_s`, lazily.

        Raises BagError as find_topic, and at the end where no cloud has an image within `slop_s`.
        """
        image = self.find_topic('image', image)
        points = self.find_topic('points', points)
        camera_info = self.find_topic('camera_info', camera_info, image)
        matcher = Matcher(slop_s, offset_s, max_wait_s=FOREVER_S)  # stamps alone decide
        info = self.first(camera_info)
        messages = self.messages([image, points, camera_info])
        matched = matched_frames(messages, matcher, points, camera_info, info)
        first_s = [stamp_ns(self.first(topic).header) * 1e-9 for topic in (image, points)]
        nothing = (
            f'{self.path}: no cloud of {points} has an image of {image} within {slop_s} s (the '
            f'first image is stamped {first_s[0]:.3f} s, the first cloud {first_s[1]:.3f} s): '
            f'give an offset or more slop'
        )
        return _some(matched, nothing)

    def _transform_tree(self) -> TransformTree:
        if self._tree is None:
            tree = TransformTree()
            topics = [name for name in self.topics if name.endswith('/tf_static')]
            for topic, message, _ in self.messages(topics):
                for item in message.transforms:
                    parent, child = item.header.frame_id, item.child_frame_id
                    t, q = item.transform.translation, item.transform.rotation
                    try:
                        T = geometry.transform([t.x, t.y, t.z], [q.x, q.y, q.z, q.w])
                        tree.add(parent, child, T)
                    except ValueError as error:
                        edge = f'{self.path}: {topic}: {parent} -> {child}'
                        raise BagError(f'{edge}: {error}; {OTHER_EXTRINSICS}') from error
            self._tree = tree
        return self._tree

    def _colour_images(self, topics: list[str]) -> list[str]:
        """Leave out the compressed form of a raw topic, and depth where there is colour."""
        raw = [t for t in topics if t.removesuffix('/compressed') not in {*topics} - {t}]
        colour = [t for t in raw if not _is_depth(self.first(t))] if len(raw) > 1 else raw
        return colour or raw


def _camera_info_topic(image: str) -> str:
    """Name the camera_info topic that belongs to an image topic, as image_transport does."""
    return image.removesuffix('/compressed').rpartition('/')[0] + '/camera_info'


def _is_depth(message: Any) -> bool:
    encoding, form = getattr(message, 'encoding', ''), getattr(message, 'format', '')
    return encoding in DEPTH_ENCODINGS or 'compressedDepth' in form


def _some(frames: Iterator[BagFrame], nothing: str) -> Iterator[BagFrame]:
    """Pass frames on; raise BagError(nothing) where there are none."""
    first = next(frames, None)
    if first is None:
        raise BagError(nothing)
    yield first
    yield from frames
