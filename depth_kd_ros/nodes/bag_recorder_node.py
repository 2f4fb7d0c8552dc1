"""
Record ROS topics as a rosbag2 where `ros2 bag` is not installed.

    bag_recorder_node --ros-args -p out:=FOLDER -p image:=/camera/image -p points:=/points ...

Messages are stored as the bytes that arrive; Ctrl-C ends the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import shutil
import sys
import time

from depth_kd_ros.bag_writer import BagWriter
from depth_kd_ros.bags import TYPES
from depth_kd_ros.nodes.bag_topics import (
    message_class,
    recorded_qos,
    subscription_qos,
    without_padding,
)
from depth_kd_ros.nodes.command import Job, run

TRANSFORMS = ('tf2_msgs/msg/TFMessage',)
ROLES = {**TYPES, 'tf': TRANSFORMS, 'tf_static': TRANSFORMS}
FIRST_REPORT_S, REPORT_PERIOD_S = 3.0, 10.0
MEGABYTE = 10**6


@dataclass(frozen=True)
class Settings:
    """The recorder's parameters; `topics` maps each topic to the types that its role allows."""

    out: str
    topics: dict[str, tuple[str, ...]]
    storage: str
    compression: str
    split_size_mb: int
    wait_s: float


def settings_of(job: Job) -> Settings:
    """Declare and check the parameters; raise ValueError naming the one that is wrong."""
    names = job.setting('topics', [], 'Topics to record.')
    topics: dict[str, tuple[str, ...]] = {_resolved(job, 'topics', n): () for n in names}
    for role, msgtypes in ROLES.items():
        name = job.setting(role, '', f'Topic of type {" or ".join(msgtypes)}; empty: none.')
        if name:
            topics[_resolved(job, role, name)] = msgtypes
    settings = Settings(
        out=job.setting('out', '', 'Folder of the new bag; must not exist.'),
        topics=topics,
        storage=job.setting('storage', 'mcap', 'mcap or sqlite3.'),
        compression=job.setting('compression', 'none', 'zstd: none, message, or chunk (mcap).'),
        split_size_mb=job.setting(
            'split_size_mb', 0, 'Start a new file after so many MB; 0: never.'
        ),
        wait_s=job.setting('wait_s', 10.0, 'Longest wait in seconds for the topics to appear.'),
    )
    if not settings.out or not settings.topics:
        raise ValueError(
            'give the bag and its topics: bag_recorder_node --ros-args -p out:=FOLDER '
            '-p image:=/camera/image -p points:=/points -p camera_info:=/camera/camera_info'
        )
    if not settings.wait_s >= 0:
        raise ValueError(f'parameter wait_s = {settings.wait_s}: 0 or more seconds expected')
    return settings


def _resolved(job: Job, parameter: str, name: str) -> str:
    try:
        return str(job.node.resolve_topic_name(name))
    except RuntimeError as error:
        raise ValueError(f'parameter {parameter} = {name!r}: not a topic name: {error}') from error


class Recorder:
    """Subscriptions that put every message's bytes into a bag."""

    def __init__(self, job: Job, writer: BagWriter, topics: dict[str, str]) -> None:
        self._job, self._writer, self._types = job, writer, topics
        self._first_s: float | None = None
        self._next_report_s = time.monotonic() + REPORT_PERIOD_S
        self._subscriptions = [self._subscribe(topic) for topic in topics]

    def record(self) -> None:
        """Record until a signal; report the size after the first seconds, then the counts."""
        while not self._job.stopped:
            self._job.spin(0.1)
            now_s = time.monotonic()
            if now_s >= self._next_report_s:
                self._report(now_s)
                self._next_report_s = now_s + REPORT_PERIOD_S

    def _subscribe(self, topic: str) -> object:
        node, msgtype = self._job.node, self._types[topic]
        offered = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
        self._writer.declare(topic, msgtype, [recorded_qos(qos) for qos in offered])
        return node.create_subscription(
            message_class(msgtype), topic, self._store(topic), subscription_qos(offered), raw=True
        )

    def _store(self, topic: str) -> Callable[[bytes], None]:
        msgtype = self._types[topic]

        def store(data: bytes) -> None:
            if self._first_s is None:
                self._first_s = time.monotonic()
                self._next_report_s = self._first_s + FIRST_REPORT_S
            stamp_ns = self._job.node.get_clock().now().nanoseconds
            data = without_padding(self._writer.types, msgtype, data)
            self._writer.add_serialized(topic, msgtype, data, stamp_ns)

        return store

    def _report(self, now_s: float) -> None:
        counts = self._writer.counts
        silent = [topic for topic, count in counts.items() if not count]
        if silent:
            self._job.log.warning(
                f'nothing received yet from {", ".join(silent)}: is its driver publishing? Large '
                f'messages need the shared-memory profile on the publisher, see the README'
            )
        if self._first_s is None:
            return
        per_minute = self._writer.bytes / (now_s - self._first_s) * 60
        free = shutil.disk_usage(self._writer.path).free
        listing = ', '.join(f'{topic} {count}' for topic, count in counts.items())
        self._job.log.info(
            f'{per_minute / MEGABYTE:.0f} MB per minute before compression, disk full in '
            f'{free / max(per_minute, 1):.0f} minutes; {listing}'
        )


def wait_for_topics(job: Job, settings: Settings) -> dict[str, str]:
    """
    Wait until every topic has a publisher; give the types by topic.

    Raises ValueError after `wait_s`, listing the absent topics and what is there instead, and
    where a topic has another type than its role, or its message package is missing.
    """
    deadline = time.monotonic() + settings.wait_s
    while True:
        found = {
            topic: infos[0].topic_type
            for topic in settings.topics
            if (infos := job.node.get_publishers_info_by_topic(topic))
        }
        absent = [topic for topic in settings.topics if topic not in found]
        if not absent or job.stopped:
            break
        if time.monotonic() > deadline:
            there = _alternatives(job, settings, absent)
            raise ValueError(
                f'nobody publishes {", ".join(absent)} after {settings.wait_s} s; '
                f'there are: {there}'
            )
        job.spin(0.05)
    for topic, msgtype in found.items():
        allowed = settings.topics[topic]
        if allowed and msgtype not in allowed:
            raise ValueError(f'{topic} is {msgtype}, {" or ".join(allowed)} is expected')
        try:
            message_class(msgtype)
        except ImportError as error:
            raise ValueError(
                f'{topic} ({msgtype}): {error}: install its message package, or leave it out'
            ) from error
    return found


def wait_for_clock(job: Job, wait_s: float) -> None:
    """With use_sim_time, wait until /clock runs; raise ValueError after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while not job.node.get_clock().now().nanoseconds and not job.stopped:
        if time.monotonic() > deadline:
            raise ValueError(f'use_sim_time is true, but there is no /clock after {wait_s} s')
        job.spin(0.05)


def _alternatives(job: Job, settings: Settings, absent: list[str]) -> str:
    """List published topics of the types that the absent ones should have; of any if unknown."""
    wanted = {msgtype for topic in absent for msgtype in settings.topics[topic]}
    open_end = any(not settings.topics[topic] for topic in absent)
    there = [
        f'{name} ({", ".join(msgtypes)})'
        for name, msgtypes in job.node.get_topic_names_and_types()
        if (open_end or wanted & {*msgtypes}) and job.node.count_publishers(name)
    ]
    return ', '.join(there) or 'none of that type'


def work(job: Job) -> None:
    settings = settings_of(job)
    split_bytes = settings.split_size_mb * MEGABYTE
    with BagWriter(settings.out, settings.storage, settings.compression, split_bytes) as writer:
        names = ', '.join(settings.topics)
        job.log.info(f'waiting {settings.wait_s} s at most for publishers of {names}')
        wait_for_clock(job, settings.wait_s)
        topics = wait_for_topics(job, settings)
        if job.stopped:
            raise ValueError('interrupted before the topics were there: nothing was recorded')
        recorder = Recorder(job, writer, topics)
        job.log.info(f'recording {", ".join(topics)} to {writer.path}; Ctrl-C ends it')
        recorder.record()
    if not writer.bytes:
        raise ValueError(f'{writer.path}: not written, no message arrived')
    listing = ', '.join(f'{topic} {count}' for topic, count in writer.counts.items())
    job.log.info(f'recorded {writer.bytes / MEGABYTE:.1f} MB to {writer.path}: {listing}')


def main(args: Sequence[str] | None = None) -> int:
    """Record until a signal; exit code 0, or 2 after an error."""
    return run('bag_recorder_node', work, args)


if __name__ == '__main__':
    sys.exit(main())
