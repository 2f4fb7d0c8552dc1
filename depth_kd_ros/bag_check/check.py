"""Check a bag: topics, stamps, extrinsics, alignment. The steps, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from depth_kd_ros import extrinsics
from depth_kd_ros.bag_check import headers, recording, sampling, verdicts
from depth_kd_ros.bag_check.alignment import align, Alignment, FINE_WIDTH
from depth_kd_ros.bag_check.edge_score import rotation
from depth_kd_ros.bag_check.faults import by_weight, ERROR, Fault
from depth_kd_ros.bag_check.headers import Stream
from depth_kd_ros.bag_check.sampling import Sample, Sources
from depth_kd_ros.bag_check.timing import Rhythm, rhythm, Skew, skew
from depth_kd_ros.bags import Bag, BagError, TopicInfo
from depth_kd_ros.extrinsics import Extrinsics
from depth_kd_ros.frames import FrameReader
from depth_kd_ros.messages import MessageError
from depth_kd_ros.projection import sparse_depth
import numpy as np
import torch

Progress = Callable[[str, float], None]  # what is done, and the share of it that is


@dataclass(frozen=True)
class Options:
    """Topics (None: found by type), matching, lens, extrinsics and how many frames to look at."""

    image: str | None = None
    points: str | None = None
    camera_info: str | None = None
    slop_s: float = 0.05
    offset_s: float = 0.0
    rectify: str = 'auto'
    extrinsics: str = 'bag'
    frames: int = 20


@dataclass
class Check:
    """What was found; parts that could not be measured stay empty or None."""

    topics: dict[str, TopicInfo]
    chosen: dict[str, str] = field(default_factory=dict)  # kind: topic
    streams: dict[str, Stream] = field(default_factory=dict)
    rhythms: dict[str, Rhythm] = field(default_factory=dict)
    skew: Skew | None = None
    clock_s: float | None = None
    rig: Extrinsics | None = None
    samples: list[Sample] = field(default_factory=list)
    points_in_view: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # (F,)
    alignment: Alignment | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """Tell whether nothing found makes the bag unusable."""
        return all(fault.weight != ERROR for fault in self.faults)


def check(bag: Bag, options: Options, out: str, progress: Progress) -> Check:
    """
    Check an open bag; `out` names the file of better extrinsics in remedies.

    Raises BagError for damaged storage and a choice of topics that is missing, ValueError for
    options that cannot be used.
    """
    done = Check(bag.topics)
    faults = done.faults
    faults += recording.missing(bag)
    absent = {fault.name.removeprefix('no_') for fault in faults}
    for kind in ('image', 'points', 'camera_info'):
        if kind not in absent and not (kind == 'camera_info' and 'image' in absent):
            beside = (done.chosen['image'],) if kind == 'camera_info' else ()
            done.chosen[kind] = bag.find_topic(kind, getattr(options, kind), *beside)
    _read_headers(bag, done, progress)
    faults += recording.of_qos(bag)
    faults += recording.of_compression(bag, done.streams)
    if not absent & {'image', 'points'}:
        _compare_stamps(done, options)
        _find_extrinsics(bag, done, options)
    if not absent and done.rig and not any(f.name == 'mixed_sizes' for f in faults):
        try:
            _look(bag, done, options, out, progress)
        except MessageError as error:
            faults.append(
                Fault(
                    ERROR,
                    'unreadable',
                    str(error),
                    'such frames give no depth',
                    'mend what it names and record again; see also --rectify and --camera-info',
                )
            )
    done.faults = by_weight(faults)
    return done


def _read_headers(bag: Bag, done: Check, progress: Progress) -> None:
    """Read all stamps and judge each stream."""
    total = sum(done.topics[topic].count for topic in done.chosen.values())
    for count, streams in enumerate(headers.read(bag, list(done.chosen.values())), 1):
        done.streams = streams
        if count % 64 == 0 or count == total:
            progress('reading stamps', count / total)
    for topic, stream in done.streams.items():
        found = rhythm(stream.stamps_ns, np.array(stream.received, np.int64))
        done.rhythms[topic] = found
        done.faults += recording.of_stream(stream, found)


def _compare_stamps(done: Check, options: Options) -> None:
    image, cloud = (done.streams[done.chosen[kind]] for kind in ('image', 'points'))
    done.clock_s = verdicts.clock_offset(*(done.rhythms[s.topic] for s in (image, cloud)))
    done.skew = skew(cloud.stamps_ns, image.stamps_ns, options.slop_s, options.offset_s)
    done.faults += verdicts.of_skew(done.skew, options.slop_s, options.offset_s, done.clock_s)


def _find_extrinsics(bag: Bag, done: Check, options: Options) -> None:
    image, cloud = done.chosen['image'], done.chosen['points']
    if options.extrinsics != 'bag':
        rig = extrinsics.from_file(options.extrinsics)
        rig.check_frames(bag.frame_id(image), bag.frame_id(cloud), options.extrinsics)
        done.rig = rig
        return
    try:
        done.rig = extrinsics.from_bag(bag, image, cloud)
    except BagError as error:
        done.faults.append(
            Fault(
                ERROR,
                'no_extrinsics',
                str(error),
                'points cannot be projected into the image',
                'record /tf_static (record.launch.py does), or give --extrinsics FILE: see '
                'config/extrinsics.example.yaml',
            )
        )


def _look(bag: Bag, done: Check, options: Options, out: str, progress: Progress) -> None:
    """Read frames, count the points in view and align."""
    assert done.rig is not None and done.clock_s is not None
    rectify = 'image' if options.rectify == 'points' else options.rectify
    image, cloud = (done.streams[done.chosen[kind]] for kind in ('image', 'points'))
    reader = FrameReader(rectify, image.topic)
    sources = Sources(bag, image, cloud, done.chosen['camera_info'], reader)

    def read(shift_s: float, reach_s: float, width: int, frames: int) -> Sequence[Sample]:
        chosen = sampling.evenly(len(cloud.stamps), frames or options.frames)
        samples = []
        for sample in sampling.read(sources.with_clouds(chosen), shift_s, reach_s, width):
            samples.append(sample)
            progress('reading frames', len(samples) / len(chosen))
        return samples

    T = done.rig.T_cam_lidar
    done.samples = list(read(options.offset_s, 0.0, FINE_WIDTH, 0))
    done.points_in_view = np.array([in_view(s, T) for s in done.samples])
    done.faults += verdicts.of_view(done.points_in_view)
    other_clock = abs(done.clock_s - options.offset_s) > verdicts.CLOCKS_S
    base_s = done.clock_s if other_clock else options.offset_s
    if len(image.stamps) > 1:
        progress('aligning', 0.0)
        done.alignment = align(read, T, base_s)
        progress('aligning', 1.0)
    done.faults += verdicts.of_alignment(done.alignment, options.offset_s, out)


def in_view(sample: Sample, T_cam_lidar: np.ndarray) -> int:
    """Count the pixels of a sample that a point falls on."""
    points = torch.from_numpy(np.ascontiguousarray(sample.points))
    return int((sparse_depth(points, T_cam_lidar, sample.camera).depth > 0).sum())


def turned(rig: Extrinsics, alignment: Alignment) -> Extrinsics:
    """Turn extrinsics by what aligns better."""
    T = rig.T_cam_lidar.copy()
    T[:3] = rotation(*alignment.best[:3]) @ T[:3]
    return rig._replace(T_cam_lidar=T)
