"""Complete a bag or a folder without ROS, through the same path as the node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from depth_kd_ros import extrinsics, pictures
from depth_kd_ros.bags import Bag
from depth_kd_ros.completer import Completion, DepthCompleter, NoPointsError
from depth_kd_ros.folders import Folder, write_depth
from depth_kd_ros.frames import FrameReader
from depth_kd_ros.geometry import Camera
from depth_kd_ros.messages import MessageError, stamp_ns
import numpy as np


class Done(NamedTuple):
    """A completed frame; `camera` and `header` where the source is a bag."""

    image: np.ndarray
    completion: Completion
    camera: Camera | None = None
    header: Any = None


Job = tuple[str, Callable[[], Done]]


class Sink(Protocol):
    """Where completed frames go."""

    def __call__(self, name: str, done: Done) -> None: ...


@dataclass(frozen=True)
class BagOptions:
    """Topics of a bag (None: found by type), matching, lens and extrinsics (`bag` or a YAML file)."""

    image: str | None = None
    points: str | None = None
    camera_info: str | None = None
    slop_s: float = 0.05
    offset_s: float = 0.0
    rectify: str = 'auto'
    extrinsics: str = 'bag'


@dataclass
class Result:
    """Frames written, and those left out by name with the reason."""

    written: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def bag_jobs(bag: Bag, options: BagOptions, completer: DepthCompleter) -> Iterator[Job]:
    """Give one job per matched pair of an open bag, named by the image's stamp in ns."""
    image = bag.find_topic('image', options.image)
    points = bag.find_topic('points', options.points)
    info = bag.find_topic('camera_info', options.camera_info, image)
    if options.extrinsics == 'bag':
        T_cam_lidar = bag.extrinsics(bag.frame_id(image), bag.frame_id(points))
    else:
        T_cam_lidar = extrinsics.from_file(options.extrinsics).T_cam_lidar
    reader = FrameReader(options.rectify, image)

    def job(item: Any) -> Done:
        frame = reader(item.image, item.camera_info, item.points, T_cam_lidar)
        done = completer(frame.image, frame.points.xyz, frame.camera, frame.T_cam_lidar)
        return Done(frame.image, done, frame.camera, item.image.header)

    matched = bag.frames(image, points, info, options.slop_s, options.offset_s)
    return ((str(stamp_ns(item.image.header)), lambda i=item: job(i)) for item in matched)


def folder_jobs(folder: Folder, completer: DepthCompleter) -> Iterator[Job]:
    """Give one job per frame of a folder, by the frame's name."""

    def job(name: str) -> Done:
        frame = folder[name]
        return Done(frame.image, completer.from_sparse(frame.image, frame.sparse))

    return ((name, lambda n=name: job(n)) for name in folder.names)


def complete(jobs: Iterator[Job], sinks: list[Sink], tick: Callable[[], None]) -> Result:
    """Run jobs one by one into the sinks; a frame with a bad message or without points is left out."""
    result = Result()
    for name, job in jobs:
        try:
            done = job()
        except (MessageError, NoPointsError) as error:
            result.left_out[name] = str(error)
        else:
            for sink in sinks:
                sink(name, done)
            result.written += 1
        tick()
    return result


def depth_files(out: Path, suffix: str) -> Sink:
    """Write each frame's depth to OUT/NAME.png (16 bit, value / 256 m) or OUT/NAME.npy (float32 m)."""
    out.mkdir(parents=True, exist_ok=True)
    return lambda name, done: write_depth(out / f'{name}.{suffix}', done.completion.depth)


def contact_sheets(out: Path, every: int) -> Sink:
    """Write a contact sheet of every n-th frame to OUT/NAME.jpg."""
    out.mkdir(parents=True, exist_ok=True)
    count = iter(range(10**9))

    def write(name: str, done: Done) -> None:
        if next(count) % every == 0:
            sparse, depth = done.completion.sparse_depth, done.completion.depth
            sheet = pictures.contact_sheet(done.image, sparse, depth, name)
            pictures.write(str(out / f'{name}.jpg'), sheet)

    return write
