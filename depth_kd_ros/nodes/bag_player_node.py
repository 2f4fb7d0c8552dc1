"""
Play a rosbag2 over ROS topics where `ros2 bag` is not installed.

    bag_player_node --ros-args -p bag:=FOLDER [-p rate:=1.0] [-p loop:=true] [-p clock:=true]

Messages are published as the bytes that were recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math
import sys
import time

from builtin_interfaces.msg import Time
from depth_kd_ros.bags import Bag, TYPES
from depth_kd_ros.nodes.bag_topics import is_latched, message_class, publisher_qos, RELIABILITIES
from depth_kd_ros.nodes.command import Job, run
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

CLOCK_PERIOD_S, REPORT_PERIOD_S, FLUSH_S = 0.01, 5.0, 5
LATE_S = 0.1  # falling behind by more is worth a warning
LITTLE_ENDIAN_CDR = b'\x00\x01'
SENSOR_TYPES = {msgtype for msgtypes in TYPES.values() for msgtype in msgtypes}


@dataclass(frozen=True)
class Settings:
    """The player's parameters."""

    bag: str
    topics: list[str]
    rate: float
    loop: bool
    start_offset_s: float
    clock: bool
    reliability: str
    wait_for_subscribers: int
    wait_for: list[str]
    wait_s: float


def settings_of(job: Job) -> Settings:
    """Declare and check the parameters; raise ValueError naming the one that is wrong."""
    settings = Settings(
        bag=job.setting('bag', '', 'Folder of the rosbag2 to play.'),
        topics=job.setting('topics', [], 'Topics to play; empty: all whose type is installed.'),
        rate=job.setting('rate', 1.0, 'Speed: 2.0 plays twice as fast.'),
        loop=job.setting('loop', False, 'Start again at the end; stamps jump back.'),
        start_offset_s=job.setting('start_offset_s', 0.0, 'Seconds of the bag to leave out.'),
        clock=job.setting('clock', False, 'Publish /clock at 100 Hz from the receive times.'),
        reliability=job.setting(
            'reliability', 'recorded', 'recorded (reliable if unknown), reliable or best_effort.'
        ),
        wait_for_subscribers=job.setting(
            'wait_for_subscribers',
            1,
            'Subscribers each camera and LiDAR topic waits for; 0: none.',
        ),
        wait_for=job.setting(
            'wait_for',
            [],
            'Topics that wait for subscribers; empty: all of cameras and LiDARs.',
        ),
        wait_s=job.setting('wait_s', 30.0, 'Longest wait for subscribers in seconds.'),
    )
    if not settings.bag:
        raise ValueError('give the bag: bag_player_node --ros-args -p bag:=FOLDER')
    if settings.reliability not in RELIABILITIES:
        known = ', '.join(RELIABILITIES)
        raise ValueError(f'parameter reliability = {settings.reliability!r}: one of {known}')
    if not 0 < settings.rate < math.inf:
        raise ValueError(f'parameter rate = {settings.rate}: a positive number expected')
    for name in ('start_offset_s', 'wait_for_subscribers', 'wait_s'):
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise ValueError(f'parameter {name} = {value}: 0 or more expected')
    return settings


class Player:
    """Publishers for the topics of an open bag, paced by its receive times."""

    def __init__(self, job: Job, bag: Bag, settings: Settings) -> None:
        self._job, self._bag, self._settings = job, bag, settings
        self._start_ns = bag.start_ns + round(settings.start_offset_s * 1e9)
        if self._start_ns > bag.end_ns:
            length = (bag.end_ns - bag.start_ns) * 1e-9
            raise ValueError(
                f'parameter start_offset_s = {settings.start_offset_s}: {bag.path} ends after '
                f'{length:.3f} s'
            )
        self._publishers = {topic: self._publisher(topic) for topic in self._playable()}
        self._clock = (
            job.node.create_publisher(Clock, '/clock', QoSProfile(depth=1))
            if settings.clock
            else None
        )
        self.counts = dict.fromkeys(self._publishers, 0)
        self._zero_s = self._next_tick_s = self._next_report_s = self._behind_s = 0.0

    def wait_for_subscribers(self) -> None:
        """Wait `wait_s` at most until `wait_for`, else all sensor topics, have subscribers."""
        wanted = self._settings.wait_for_subscribers
        deadline = time.monotonic() + self._settings.wait_s
        sensors = [t for t in self._publishers if self._bag.topics[t].type in SENSOR_TYPES]
        topics = [t for t in self._publishers if t in self._settings.wait_for] or sensors
        lonely = topics
        while not self._job.stopped:
            lonely = [t for t in lonely if self._publishers[t].get_subscription_count() < wanted]
            if not lonely or time.monotonic() > deadline:
                break
            if self._clock:  # nodes with use_sim_time may need a time to come up
                self._clock.publish(Clock(clock=self._bag_time(0.0)))
            self._job.spin(0.05)
        if lonely and not self._job.stopped:
            self._job.log.warning(
                f'fewer than {wanted} subscribers of {", ".join(lonely)} after '
                f'{self._settings.wait_s} s; playing all the same'
            )

    def play(self) -> None:
        """Play the bag, again and again if it loops, until its end or a signal."""
        passes = 0
        while not self._job.stopped:
            before = sum(self.counts.values())
            self._play_once()
            passes += 1
            if not self._settings.loop or sum(self.counts.values()) == before:
                break
            self._job.log.info(f'pass {passes} done; pass {passes + 1}: stamps jump back')
        reliable = ReliabilityPolicy.RELIABLE
        for topic, publisher in self._publishers.items():
            waits = publisher.qos_profile.reliability == reliable and not self._job.stopped
            if waits and not publisher.wait_for_all_acked(Duration(seconds=FLUSH_S)):
                self._job.log.warning(f'{topic}: not every subscriber took every message')
        if self._behind_s > LATE_S:
            self._job.log.warning(f'fell behind by up to {self._behind_s:.2f} s: lower the rate')
        counts = ', '.join(f'{topic} {count}' for topic, count in self.counts.items())
        self._job.log.info(f'played {sum(self.counts.values())} messages: {counts}')

    def _play_once(self) -> None:
        latched = [t for t in self._publishers if is_latched(t, self._bag.topics[t])]
        for topic, data, _ in self._bag.raw_messages(latched, stop_ns=self._start_ns):
            self._publish(topic, data)
        self._zero_s = self._next_tick_s = time.monotonic()
        self._next_report_s = self._zero_s + REPORT_PERIOD_S
        for topic, data, receive_ns in self._bag.raw_messages(self._publishers, self._start_ns):
            self._wait((receive_ns - self._start_ns) * 1e-9 / self._settings.rate)
            if self._job.stopped:
                return
            self._publish(topic, data)

    def _publish(self, topic: str, data: bytes) -> None:
        if data[:2] != LITTLE_ENDIAN_CDR:
            raise ValueError(
                f'{self._bag.path}: {topic}: messages start with {data[:2].hex()}, little-endian '
                f'CDR (0001) is expected: rewrite the bag with `ros2 bag convert`'
            )
        self._publishers[topic].publish(data)
        self.counts[topic] += 1

    def _wait(self, elapsed_s: float) -> None:
        """Serve the node and the clock until `elapsed_s` after the start of the pass."""
        due_s = self._zero_s + elapsed_s
        self._behind_s = max(self._behind_s, time.monotonic() - due_s)
        while not self._job.stopped:
            now_s = time.monotonic()
            if self._clock and now_s >= self._next_tick_s:
                played_s = min(now_s - self._zero_s, elapsed_s)  # never past the next message
                self._clock.publish(Clock(clock=self._bag_time(played_s)))
                self._next_tick_s = now_s + CLOCK_PERIOD_S
            if now_s >= self._next_report_s:
                self._report(now_s - self._zero_s)
                self._next_report_s = now_s + REPORT_PERIOD_S
            if now_s >= due_s:
                return
            self._job.spin(min(due_s, self._next_tick_s if self._clock else due_s) - now_s)

    def _bag_time(self, elapsed_s: float) -> Time:
        ns = self._start_ns + round(elapsed_s * self._settings.rate * 1e9)
        return Time(sec=ns // 10**9, nanosec=ns % 10**9)

    def _report(self, elapsed_s: float) -> None:
        length = (self._bag.end_ns - self._start_ns) * 1e-9
        self._job.log.info(
            f'{elapsed_s * self._settings.rate:.1f} of {length:.1f} s, '
            f'{sum(self.counts.values())} messages'
        )

    def _playable(self) -> list[str]:
        """Choose the topics whose message package is installed; name those left out."""
        chosen, absent = [], {}
        for topic in self._settings.topics or self._bag.topics:
            if topic not in self._bag.topics:
                self._bag.raw_messages([topic])  # raises, listing the topics there are
            msgtype = self._bag.topics[topic].type
            try:
                message_class(msgtype)
                chosen.append(topic)
            except ImportError as error:
                absent[topic] = f'{topic} ({msgtype}: {error})'
        if absent and (self._settings.topics or not chosen):
            raise ValueError(
                f'{self._bag.path}: cannot play {", ".join(absent.values())}: install the message '
                f'package, or leave the topic out'
            )
        transforms = [text for text in absent.values() if 'tf2_msgs' in text]
        others = [text for text in absent.values() if text not in transforms]
        if transforms:
            self._job.log.info(f'not played without tf2_msgs: {", ".join(transforms)}')
        if others:
            self._job.log.warning(f'not played, package missing: {", ".join(others)}')
        return chosen

    def _publisher(self, topic: str) -> Publisher:
        info = self._bag.topics[topic]
        qos = publisher_qos(topic, info, self._settings.reliability)
        return self._job.node.create_publisher(message_class(info.type), topic, qos)


def work(job: Job) -> None:
    settings = settings_of(job)
    with Bag(settings.bag) as bag:
        player = Player(job, bag, settings)
        player.wait_for_subscribers()
        job.log.info(
            f'playing {bag.path}, {(bag.end_ns - bag.start_ns) * 1e-9:.1f} s, at rate '
            f'{settings.rate}: {", ".join(player.counts)}'
        )
        player.play()


def main(args: Sequence[str] | None = None) -> int:
    """Play a bag; exit code 0 at its end or a signal, 2 after an error."""
    return run('bag_player_node', work, args)


if __name__ == '__main__':
    sys.exit(main())
