"""Complete a bag or a folder without ROS, through the same path as the node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from depth_kd_ros import extrinsics, messages, pictures
from depth_kd_ros.bag_writer import BagWriter
from depth_kd_ros.bags import Bag, BagFrame
from depth_kd_ros.completer import Completion, DepthCompleter, NoPointsError
from depth_kd_ros.folders import Folder, FolderError, write_depth
from depth_kd_ros.frames import FrameReader
from depth_kd_ros.geometry import Camera
from depth_kd_ros.messages import MessageError, stamp_ns
import numpy as np

FORMATS = ('png', 'npy', 'mcap')


class Done(NamedTuple):
    """A completed frame; `camera` and `header` where the source is a bag."""

    image: np.ndarray
    completion: Completion
    camera: Camera | None = None
    header: Any = None


Job = tuple[str, Callable[[], Done]]
Decode = Callable[[Any], np.ndarray]


class Sink(Protocol):
    """Where completed frames go."""

    def __call__(self, name: str, done: Done) -> None: ...


@dataclass(frozen=True)
class BagOptions:
    """Topics of a bag (None: found by type), matching, lens, extrinsics (`bag` or a YAML file)."""

    image: str | None = None
    points: str | None = None
    camera_info: str | None = None
    slop_s: float = 0.05
    offset_s: float = 0.0
    rectify: str = 'auto'
    extrinsics: str = 'bag'


@dataclass
class Result:
    """Frames written, those left out by name with the reason, and caveats of the written ones."""

    written: int = 0
    caveats: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def bag_jobs(
    bag: Bag, options: BagOptions, completer: DepthCompleter, decode: Decode | None = None
) -> Iterator[Job]:
    """
    Give one job per matched pair of an open bag, named by the image's stamp in ns.

    `decode` reads image encodings beyond the native table, as in messages.rgb.
    """
    image = bag.find_topic('image', options.image)
    points = bag.find_topic('points', options.points)
    info = bag.find_topic('camera_info', options.camera_info, image)
    if options.extrinsics == 'bag':
        rig = extrinsics.from_bag(bag, image, points)
    else:
        rig = extrinsics.from_file(options.extrinsics)
        rig.check_frames(bag.frame_id(image), bag.frame_id(points), options.extrinsics)
    reader = FrameReader(options.rectify, image, decode)

    def job(item: BagFrame) -> Done:
        frame = reader(item.image, item.camera_info, item.points, rig.T_cam_lidar)
        done = completer(frame.image, frame.points.xyz, frame.camera, frame.T_cam_lidar)
        return Done(frame.image, done, frame.camera, item.image.header)

    matched = bag.frames(image, points, info, options.slop_s, options.offset_s)
    return ((str(stamp_ns(item.image.header)), partial(job, item)) for item in matched)


def folder_jobs(folder: Folder, completer: DepthCompleter) -> Iterator[Job]:
    """Give one job per frame of a folder, by the frame's name."""

    def job(name: str) -> Done:
        frame = folder[name]
        return Done(frame.image, completer.from_sparse(frame.image, frame.sparse))

    return ((name, partial(job, name)) for name in folder.names)


def complete(jobs: Iterator[Job], sinks: list[Sink], steps: Iterator[int], result: Result) -> None:
    """Run jobs one by one into the sinks, taking a step per job; an unusable frame is left out."""
    for name, job in jobs:
        try:
            done = job()
        except (MessageError, NoPointsError, FolderError) as error:
            result.left_out[name] = str(error)
        else:
            for sink in sinks:
                sink(name, done)
            result.written += 1
            if done.completion.caveat:
                result.caveats[name] = done.completion.caveat
        next(steps, None)
    for _ in steps:  # clouds without an image: the bar ends full
        pass


def check_output(source: Path, out: Path, form: str, overwrite: bool) -> None:
    """Raise ValueError where writing to `out` could replace what the user has."""
    if form not in FORMATS:
        raise ValueError(f'format {form!r}: one of {", ".join(FORMATS)} expected')
    there, here = out.resolve(), source.resolve()
    if there == here or here in there.parents:
        raise ValueError(f'--out {out} lies in the input {source}: choose another folder')
    old = sorted(out.glob(f'*.{form}')) if form != 'mcap' and out.is_dir() else []
    if old and not overwrite:
        raise ValueError(
            f'--out {out} holds {len(old)} .{form} files already, first {old[0].name}: choose '
            'another folder, or give --overwrite'
        )


@contextmanager
def depth_sink(out: Path, form: str) -> Iterator[Sink]:
    """Write depth to OUT/NAME.png (16 bit, value / 256 m) or .npy (float32 m), or to a bag OUT."""
    if form == 'mcap':
        with BagWriter(out) as writer:
            yield lambda name, done: _record(writer, done)
    else:
        out.mkdir(parents=True, exist_ok=True)
        yield lambda name, done: write_depth(out / f'{name}.{form}', done.completion.depth)


def _record(writer: BagWriter, done: Done) -> None:
    """Add depth and its CameraInfo to a bag, under the names of the live node."""
    if done.header is None or done.camera is None:
        raise ValueError(
            'format mcap needs stamps: a folder of images has none, choose png or npy'
        )
    types = writer.types.types
    Image, CameraInfo, Roi = (
        types[f'sensor_msgs/msg/{n}'] for n in ('Image', 'CameraInfo', 'RegionOfInterest')
    )
    depth = messages.depth_image(done.completion.depth, done.header, Image)
    info = messages.camera_info(done.camera, done.header, CameraInfo, Roi)
    for topic, message in (('image_rect', depth), ('camera_info', info)):
        writer.add(f'/depth_registered/{topic}', message, stamp_ns(done.header))


def contact_sheets(out: Path, every: int, model: str) -> Sink:
    """Write a contact sheet of every n-th frame to OUT/NAME.jpg."""
    out.mkdir(parents=True, exist_ok=True)
    frame = count()

    def write(name: str, done: Done) -> None:
        if next(frame) % every == 0:
            sparse, depth = done.completion.sparse_depth, done.completion.depth
            sheet = pictures.contact_sheet(done.image, sparse, depth, f'{name}, model {model}')
            pictures.write(str(out / f'{name}.jpg'), sheet)

    return write
