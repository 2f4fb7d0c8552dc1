"""
A rosbag2 recording of a camera and a LiDAR, read as the robot reads it.

    BAG/metadata.yaml and *.mcap or *.db3, with messages of
    sensor_msgs/Image or CompressedImage, CameraInfo, PointCloud2, and /tf_static
    (or a YAML file of extrinsics, the option `extrinsics`)

Sparse depth is the completer's own projection, bit for bit. Frames are unlabelled, or supervised
by beams withheld from the input.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
import threading
from typing import Any, NamedTuple

from depth_kd_ros import extrinsics
from depth_kd_ros.bags import Bag, BagError
from depth_kd_ros.completer import DepthCompleter, MAX_DEPTH_M, MIN_DEPTH_M, NoPointsError
from depth_kd_ros.frames import Frame as Instant
from depth_kd_ros.frames import FrameReader, RECTIFY
from depth_kd_ros.messages import MessageError, stamp_ns
from depth_kd_ros.projection import sparse_depth
from depth_kd_ros.rings import ring_index
from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import check_choice, check_count, Tree
import numpy as np
import torch


@dataclass(frozen=True)
class Config:
    """
    Choose topics ('': by type), matching, lens, extrinsics and depth limits as for completing.

    `withhold` n: the depth of each n-th ring is the truth instead of input; 'none': unlabelled.
    `every` n takes each n-th matched frame.
    """

    root: str
    image: str = ''
    points: str = ''
    camera_info: str = ''
    slop_s: float = 0.05
    offset_s: float = 0.0
    rectify: str = 'auto'
    extrinsics: str = 'bag'
    min_depth_m: float = MIN_DEPTH_M
    max_depth_m: float = MAX_DEPTH_M
    bleed_filter: bool = True
    withhold: int | str = 'none'
    every: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown mode, wrong limits, and counts that are none."""
        check_choice('rectify', self.rectify, RECTIFY)
        if self.withhold != 'none':
            check_count("withhold (or 'none')", self.withhold, 2)
        check_count('every', self.every, 1)
        if not 0 < self.min_depth_m < self.max_depth_m:
            raise ValueError(
                f'min_depth_m = {self.min_depth_m}: must be > 0 and < max_depth_m = '
                f'{self.max_depth_m}'
            )
        if self.slop_s < 0:
            raise ValueError(f'slop_s = {self.slop_s}: must not be negative')


class Place(NamedTuple):
    """Say where a message lies in the bag."""

    topic: str
    stamp_ns: int
    receive_ns: int


Places = tuple[Place, Place, Place]  # image, camera_info, points


class SeekableBag(Bag):
    """A bag that notes when messages were received, and reads one of them again by that time."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._received: dict[int, int] = {}  # of the message alive with an id

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, Any, int]]:
        """Iterate as Bag does, and note the times."""
        for topic, message, receive_ns in super().messages(topics, start_ns, stop_ns):
            self._received[id(message)] = receive_ns
            yield topic, message, receive_ns

    def place(self, topic: str, message: Any) -> Place:
        """Give the place of a message that `messages` gave and that is still alive."""
        return Place(topic, stamp_ns(message.header), self._received[id(message)])

    def message(self, place: Place) -> Any:
        """Read the message of a place again."""
        window = list(self._read([place.topic], place.receive_ns, place.receive_ns + 1))
        for connection, data, _ in window:
            message: Any = self._reader.deserialize(data, connection.msgtype)
            if stamp_ns(message.header) == place.stamp_ns:
                return message
        raise BagError(f'{self.path}: {place} is gone: was the bag changed?')


class Dataset:
    """
    Give the matched frames that can be used; `left_out` tells the others and why.

    Making it reads the bag once, as completing does. Raises DatasetError where nothing remains.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self._open = threading.local()  # bags are read by one thread of one process
        self.left_out: dict[str, str] = {}
        self.frames: list[Places] = []
        try:
            self._index()
        except (ValueError, OSError) as error:
            raise self.tree.error(str(error)) from None
        if not self.frames:
            name, reason = next(iter(self.left_out.items()))
            raise self.tree.error(f'{config.root}: no frame can be used, first {name}: {reason}')

    def _index(self) -> None:
        """Find the extrinsics and the frames that can be used."""
        config, bag = self.config, self._bag()
        image = bag.find_topic('image', config.image or None)
        points = bag.find_topic('points', config.points or None)
        info = bag.find_topic('camera_info', config.camera_info or None, image)
        if config.extrinsics == 'bag':
            rig = extrinsics.from_bag(bag, image, points)
        else:
            rig = extrinsics.from_file(config.extrinsics)
            rig.check_frames(bag.frame_id(image), bag.frame_id(points), config.extrinsics)
        self.T_cam_lidar = rig.T_cam_lidar
        self.reader = FrameReader(config.rectify, image)
        matched = bag.frames(image, points, info, config.slop_s, config.offset_s)
        for number, item in enumerate(matched):
            if number % config.every:
                continue
            try:
                self._frame(self.reader(*item[:3], self.T_cam_lidar))
            except (MessageError, NoPointsError) as error:
                self.left_out[str(stamp_ns(item.image.header))] = str(error)
            else:
                messages = zip((image, info, points), item[:3], strict=True)
                where = [bag.place(topic, message) for topic, message in messages]
                self.frames.append((where[0], where[1], where[2]))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open bag behind."""
        return {key: value for key, value in vars(self).items() if key != '_open'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the bag anew when it is needed."""
        vars(self).update(state, _open=threading.local())

    def _bag(self) -> SeekableBag:
        """Give this thread's open bag."""
        if not hasattr(self._open, 'bag'):
            self._open.bag = SeekableBag(self.config.root).__enter__()
        return self._open.bag

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        bag = self._bag()
        image, info, cloud = (bag.message(place) for place in self.frames[index])
        return self._frame(self.reader(image, info, cloud, self.T_cam_lidar))

    def _frame(self, instant: Instant) -> Frame:
        """Project the points; those of withheld beams become the truth."""
        ring = self._ring(instant)
        beams = None if ring is None or not len(ring) else int(ring.max()) + 1
        kept = np.arange(len(instant.points.xyz))
        depth_gt = None
        if ring is not None and self.config.withhold != 'none':
            step = int(self.config.withhold)
            depth, rings = self._projected(instant, kept, ring)  # all beams hide each other
            withheld = (rings >= 0) & (rings % step == step - 1)
            depth_gt = np.where(withheld, depth, np.float32(0))
            kept = np.flatnonzero(ring % step != step - 1)
        sparse, rings = self._projected(instant, kept, ring)
        K, name = np.array(instant.camera.K), str(instant.stamp_ns)
        known = None if ring is None else rings
        return Frame(name, instant.image, K, sparse, depth_gt, known, beams=beams)

    def _ring(self, instant: Instant) -> np.ndarray | None:
        """Give the beam (N,) of each point, None where the cloud does not show it."""
        points, withhold = instant.points, self.config.withhold
        try:
            ring, _ = ring_index(points.xyz, points.ring, points.row)
        except ValueError as error:
            if withhold == 'none':
                return None
            raise MessageError(f'withhold = {withhold}: {error}') from None
        if withhold != 'none' and len(ring) and ring.max() < int(withhold) - 1:
            raise MessageError(f'withhold = {withhold}: the cloud has {ring.max() + 1} rings only')
        return ring

    def _projected(
        self, instant: Instant, kept: np.ndarray, ring: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Project points as the completer does: depth (H, W) m and ring (H, W), -1 = none."""
        config, xyz = self.config, instant.points.xyz[kept]
        completer = DepthCompleter(
            'nearest', 'cpu', config.min_depth_m, config.max_depth_m, config.bleed_filter
        )
        depth = completer.project(xyz, instant.camera, instant.T_cam_lidar).depth
        rings = np.full(depth.shape, -1, np.int16)
        if ring is not None:
            points = torch.from_numpy(xyz)
            found = sparse_depth(points, instant.T_cam_lidar, instant.camera, config.min_depth_m)
            seen = depth > 0
            rings[seen] = ring[kept][found.index.numpy()[seen]]
        return depth, rings
