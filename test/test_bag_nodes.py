"""Bag player and recorder over real DDS: processes of their own, and a subscriber here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any, IO

import box_world
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from depth_kd_ros.bag_reader import TopicInfo
from depth_kd_ros.bag_writer import BagWriter
from depth_kd_ros.bags import Bag
from depth_kd_ros.nodes import bag_player_node, bag_recorder_node
from depth_kd_ros.nodes.bag_topics import publisher_qos, subscription_qos, without_padding
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.typesys import get_typestore, Stores
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 60.0
CLASSES = {
    box_world.IMAGE: Image,
    box_world.INFO: CameraInfo,
    box_world.POINTS: PointCloud2,
}
STORE = get_typestore(Stores.ROS2_JAZZY)
NEVER = QosTime(2147483647, 4294967295)
RELIABLE = QoSProfile(depth=1000)


class Process:
    """A node in a process of its own; its output is kept for the assertions."""

    def __init__(self, log: Path, name: str, **parameters: object) -> None:
        command = [sys.executable, '-m', f'depth_kd_ros.nodes.{name}', '--ros-args']
        for key, value in parameters.items():
            command += ['-p', f'{key}:={value}']
        self._log: IO[bytes] = log.open('wb')
        self._path = log
        self.popen = subprocess.Popen(
            command,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        return self._path.read_text()

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self._log.close()

    def stop(self, number: int = signal.SIGINT) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(LIMIT_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Give a function that starts a node in a process; what still runs at the end is killed."""
    running: list[Process] = []

    def run(name: str, **parameters: object) -> Process:
        running.append(Process(tmp_path / f'log_{len(running)}', name, **parameters))
        return running[-1]

    yield run
    for process in running:
        process.close()


class Ears:
    """A node in this process that keeps what it hears, as raw bytes by topic."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('ears', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.heard: dict[str, list[bytes]] = {}

    def listen(self, topic: str, kind: Any, qos: QoSProfile = RELIABLE) -> None:
        self.heard[topic] = []
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos, raw=True)

    def wait(self, condition: Callable[[], object], what: Callable[[], object] = str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f'waited in vain: {self.counts} {what()}'
            self._executor.spin_once(timeout_sec=0.05)

    @property
    def counts(self) -> dict[str, int]:
        return {topic: len(messages) for topic, messages in self.heard.items()}

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def ears() -> Iterator[Ears]:
    ears = Ears()
    yield ears
    ears.close()


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write eight frames of the box world, 0.73 s; points and images a few hundred kB each."""
    path = tmp_path_factory.mktemp('nodes') / 'bag'
    box_world.write(path, 8, size=(240, 320), beams=16)
    return path


def recorded(path: Path) -> dict[str, list[bytes]]:
    """Read the sensor topics' messages as bytes."""
    with Bag(path) as opened:
        return {t: [data for _, data, _ in opened.raw_messages([t])] for t in CLASSES}


def stamps(messages: list[bytes]) -> list[int]:
    """Read header stamps, in ns; seconds and nanoseconds follow 4 bytes of encapsulation."""
    numbers = [
        (int.from_bytes(m[4:8], 'little'), int.from_bytes(m[8:12], 'little')) for m in messages
    ]
    return [sec * 10**9 + nanosec for sec, nanosec in numbers]


def test_every_message_arrives_in_order_as_recorded(
    bag: Path, start: Callable[..., Process], ears: Ears
) -> None:
    original = recorded(bag)
    for topic, kind in CLASSES.items():
        ears.listen(topic, kind)
    player = start('bag_player_node', bag=bag, rate=2.0)
    ears.wait(lambda: player.popen.poll() is not None, lambda: player.output)
    ears.wait(lambda: all(count == 8 for count in ears.counts.values()), lambda: player.output)
    assert player.popen.returncode == 0
    for topic, messages in original.items():
        kind = f'sensor_msgs/msg/{CLASSES[topic].__name__}'
        assert [without_padding(STORE, kind, data) for data in ears.heard[topic]] == messages
    assert 'played 24 messages' in player.output
    assert f'{box_world.IMAGE} 8' in player.output
    if find_spec('tf2_msgs') is None:
        assert 'not played without tf2_msgs: /tf_static' in player.output


def test_a_loop_repeats_the_stamps_until_a_signal(
    bag: Path, start: Callable[..., Process], ears: Ears
) -> None:
    ears.listen(box_world.INFO, CameraInfo)
    topics = f'[{box_world.INFO}]'
    player = start('bag_player_node', bag=bag, rate=10, loop=True, topics=topics)
    ears.wait(lambda: ears.counts[box_world.INFO] >= 20, lambda: player.output)
    assert player.stop() == 0
    one_pass = [box_world.START_NS + i * box_world.PERIOD_NS for i in range(8)]
    assert stamps(ears.heard[box_world.INFO])[:20] == (one_pass * 3)[:20]
    assert 'pass 1 done; pass 2: stamps jump back' in player.output


def test_the_clock_runs_with_the_bag(bag: Path, start: Callable[..., Process], ears: Ears) -> None:
    times: list[int] = []
    ears.node.create_subscription(
        Clock, '/clock', lambda m: times.append(m.clock.sec * 10**9 + m.clock.nanosec), 100
    )
    ears.listen(box_world.INFO, CameraInfo)
    player = start(
        'bag_player_node', bag=bag, clock=True, start_offset_s=0.3, topics=box_world.INFO
    )
    ears.wait(lambda: player.popen.poll() is not None, lambda: player.output)
    assert player.popen.returncode == 0
    first = box_world.START_NS + 300 * 10**6
    assert times == sorted(times)
    assert first <= times[0] and times[-1] <= box_world.START_NS + 730 * 10**6
    assert len(times) > 10
    # Infos are received 30 ms after their stamps, so those from 0.3 s on are played.
    ears.wait(lambda: ears.counts[box_world.INFO] == 5)
    assert stamps(ears.heard[box_world.INFO])[0] == box_world.START_NS + 300 * 10**6


def test_latched_messages_reach_late_subscribers(
    tmp_path: Path, start: Callable[..., Process], ears: Ears
) -> None:
    latched = QoSProfile(
        depth=10,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        reliability=ReliabilityPolicy.RELIABLE,
    )
    with BagWriter(tmp_path / 'bag') as writer:
        writer.declare('/latched', 'std_msgs/msg/String', [offer(QosReliability.RELIABLE, True)])
        text = STORE.types['std_msgs/msg/String']
        for i, words in enumerate(['first', 'second']):
            writer.add('/latched', text(words), i)
        for i in range(600):
            writer.add('/talk', text(str(i)), 10**8 * (i + 1))
    player = start('bag_player_node', bag=tmp_path / 'bag', start_offset_s=1.0)
    ears.listen('/talk', String)
    ears.wait(lambda: ears.counts['/talk'], lambda: player.output)
    ears.listen('/latched', String, latched)
    ears.wait(lambda: ears.counts['/latched'] == 2, lambda: player.output)
    assert [b'first' in data for data in ears.heard['/latched']] == [True, False]
    assert player.stop(signal.SIGTERM) == 0


def test_it_plays_without_subscribers_after_a_while(
    bag: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ['--ros-args', '-p', f'bag:={bag}', '-p', 'wait_s:=0.1', '-p', 'rate:=50']
    assert bag_player_node.main(arguments) == 0
    output = capfd.readouterr().err
    assert f'fewer than 1 subscribers of {box_world.INFO}, ' in output
    assert 'played 24 messages' in output


@pytest.mark.parametrize(
    ('parameters', 'text'),
    [
        ({}, 'give the bag: bag_player_node --ros-args -p bag:=FOLDER'),
        ({'bag': '/no/where'}, '/no/where: no such bag: give a rosbag2 folder'),
        ({'bag': 'BAG', 'rate': 0}, 'parameter rate = 0.0: a positive number'),
        ({'bag': 'BAG', 'rate': '.nan'}, 'parameter rate = nan: a positive number'),
        ({'bag': 'BAG', 'rate': 'fast'}, "parameter rate = 'fast': float expected; Speed"),
        ({'bag': 'BAG', 'loop': 1}, 'parameter loop = 1: bool expected'),
        ({'bag': 'BAG', 'topics': '[1, 2]'}, 'parameter topics = '),
        ({'bag': 'BAG', 'start_offset_s': -1}, 'parameter start_offset_s = -1.0: 0 or more'),
        ({'bag': 'BAG', 'start_offset_s': 9}, 'start_offset_s = 9.0: BAG ends after 0.730 s'),
        ({'bag': 'BAG', 'wait_s': -1.0}, 'parameter wait_s = -1.0'),
        ({'bag': 'BAG', 'wait_for_subscribers': -1}, 'parameter wait_for_subscribers = -1'),
        ({'bag': 'BAG', 'reliability': 'good'}, "'good': one of recorded, reliable, best_effort"),
        ({'bag': 'BAG', 'topics': '/x'}, f"no topic '/x'; topics: {box_world.INFO} (sensor_msgs"),
    ],
)
def test_player_errors_are_one_sentence(
    bag: Path, capfd: pytest.CaptureFixture[str], parameters: dict[str, Any], text: str
) -> None:
    fails(bag_player_node.main, 'bag_player_node', bag, capfd, parameters, text)


def fails(
    main: Callable[[list[str]], int],
    name: str,
    bag: Path,
    capfd: pytest.CaptureFixture[str],
    parameters: dict[str, Any],
    text: str,
) -> None:
    """Run a node that must fail: exit code 2, and one line with `text`."""
    arguments = ['--ros-args']
    for key, value in parameters.items():
        arguments += ['-p', f'{key}:={value}'.replace('BAG', str(bag))]
    assert main(arguments) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith(name)]
    assert len(lines) == 1
    assert text.replace('BAG', str(bag)) in lines[0]


def test_arguments_that_ros_cannot_parse(capfd: pytest.CaptureFixture[str]) -> None:
    assert bag_player_node.main(['--ros-args', '-p', 'bag']) == 2
    assert 'bag_player_node: ROS did not start: ' in capfd.readouterr().err


def test_types_that_are_not_installed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if find_spec('stereo_msgs') is not None:
        pytest.skip('stereo_msgs is installed; the test needs a package that is not')
    path = tmp_path / 'bag'
    disparity = 'stereo_msgs/msg/DisparityImage'
    with BagWriter(path) as writer:
        writer.add_serialized('/disparity', disparity, b'\x00\x01\x00\x00', 1)
        writer.add('/talk', STORE.types['std_msgs/msg/String']('words'), 2)
    arguments = ['--ros-args', '-p', f'bag:={path}']
    assert bag_player_node.main(arguments) == 0
    output = capfd.readouterr().err
    assert f'not played, package missing: /disparity ({disparity}: No module' in output
    assert 'played 1 messages: /talk 1' in output
    text = 'cannot play /disparity (stereo_msgs'
    fails(
        bag_player_node.main, 'bag_player_node', path, capfd,
        {'bag': 'BAG', 'topics': '/disparity'}, text,
    )  # fmt: skip


def test_big_endian_messages_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        data = b'\x00\x00\x00\x00\x00\x00\x00\x02a\x00'
        writer.add_serialized('/talk', 'std_msgs/msg/String', data, 1)
    fails(
        bag_player_node.main, 'bag_player_node', tmp_path / 'bag', capfd, {'bag': 'BAG'},
        'BAG: /talk: messages start with 0000, little-endian CDR (0001) is expected',
    )  # fmt: skip


def offer(reliability: QosReliability, latched: bool = False, depth: int = 5) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    return Qos(
        QosHistory.KEEP_LAST, depth, reliability, durability,
        NEVER, NEVER, QosLiveliness.AUTOMATIC, NEVER, False,
    )  # fmt: skip


def test_qos_to_play_with() -> None:
    def played(topic: str, *offers: Qos, reliability: str = 'recorded') -> tuple[str, str, int]:
        qos = publisher_qos(topic, TopicInfo('', 30, offers), reliability)
        return qos.reliability.name, qos.durability.name, qos.depth

    strong, weak = offer(QosReliability.RELIABLE), offer(QosReliability.BEST_EFFORT, depth=50)
    assert played('/image') == ('RELIABLE', 'VOLATILE', 10)
    assert played('/image', weak) == ('BEST_EFFORT', 'VOLATILE', 50)
    assert played('/image', weak, strong) == ('RELIABLE', 'VOLATILE', 50)
    assert played('/image', weak, reliability='reliable')[0] == 'RELIABLE'
    assert played('/image', strong, reliability='best_effort')[0] == 'BEST_EFFORT'
    assert played('/tf_static') == ('RELIABLE', 'TRANSIENT_LOCAL', 30)
    assert played('/map', offer(QosReliability.RELIABLE, True))[1] == 'TRANSIENT_LOCAL'


def test_qos_to_record_with() -> None:
    def chosen(*offers: tuple[str, str]) -> tuple[str, str]:
        qos = subscription_qos(
            [
                QoSProfile(
                    depth=1, reliability=ReliabilityPolicy[r], durability=DurabilityPolicy[d]
                )
                for r, d in offers
            ]
        )
        return qos.reliability.name, qos.durability.name

    latched, plain = ('RELIABLE', 'TRANSIENT_LOCAL'), ('RELIABLE', 'VOLATILE')
    weak = ('BEST_EFFORT', 'VOLATILE')
    assert chosen(latched) == latched
    assert chosen(latched, plain) == plain
    assert chosen(latched, weak) == weak


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_the_recorder_keeps_what_the_player_plays(
    bag: Path, tmp_path: Path, start: Callable[..., Process], ears: Ears, storage: str
) -> None:
    out = tmp_path / 'out'
    recorder = start(
        'bag_recorder_node',
        out=out,
        image=box_world.IMAGE,
        points=box_world.POINTS,
        topics=box_world.INFO,
        storage=storage,
        split_size_mb=1,
        wait_s=LIMIT_S,
    )
    player = start('bag_player_node', bag=bag, wait_s=LIMIT_S)
    ears.wait(lambda: player.popen.poll() is not None, lambda: recorder.output + player.output)
    assert player.popen.returncode == 0
    ears.wait(lambda: 'MB per minute' in recorder.output, lambda: recorder.output)
    assert recorder.stop() == 0
    assert recorded(out) == recorded(bag)
    with Bag(out) as opened:
        assert len(list(opened.frames())) == 8
        offered = opened.topics[box_world.IMAGE].offered_qos
        assert [q.reliability for q in offered] == [QosReliability.RELIABLE]
    # 8 x (240 x 320 x 3 + about 240 kB of points) are about 4 MB.
    suffix = {'mcap': 'mcap', 'sqlite3': 'db3'}[storage]
    names = sorted(path.name for path in out.iterdir())
    assert len(names) >= 4 and names[:2] == ['metadata.yaml', f'out_0.{suffix}']
    assert f'{box_world.POINTS} 8' in recorder.output.splitlines()[-1]


def test_the_recorder_gets_latched_messages_and_ends_with_sigterm(
    tmp_path: Path, start: Callable[..., Process], ears: Ears
) -> None:
    latched = QoSProfile(depth=3, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = ears.node.create_publisher(String, '/latched', latched)
    for words in ('one', 'two', 'three'):
        publisher.publish(String(data=words))
    out = tmp_path / 'out'
    recorder = start(
        'bag_recorder_node', out=out, topics='[/latched]', compression='message', wait_s=LIMIT_S
    )
    ears.wait(lambda: 'latched 3' in recorder.output, lambda: recorder.output)
    assert recorder.stop(signal.SIGTERM) == 0
    with Bag(out) as opened:
        assert [m.data for _, m, _ in opened.messages(['/latched'])] == ['one', 'two', 'three']
        offered = opened.topics['/latched'].offered_qos[0]
        assert offered.durability is QosDurability.TRANSIENT_LOCAL
        spread = Counter(ns // 10**18 for _, _, ns in opened.raw_messages(['/latched']))
    assert set(spread) == {time.time_ns() // 10**18}  # receive times are today's


@pytest.mark.parametrize(
    ('parameters', 'text'),
    [
        ({}, 'give the bag and its topics: bag_recorder_node --ros-args -p out:=FOLDER'),
        ({'out': 'BAG', 'image': '/a'}, 'BAG: exists already: choose another name'),
        ({'out': 'BAG2', 'image': '/a', 'storage': 'tape'}, "storage 'tape': choose one of mcap"),
        ({'out': 'BAG2', 'image': '/a', 'split_size_mb': 0.5}, 'parameter split_size_mb = 0.5'),
        ({'out': 'BAG2', 'image': '/a', 'wait_s': -1}, 'parameter wait_s = -1.0: 0 or more'),
        ({'out': 'BAG2', 'topics': '[/a b]'}, "parameter topics = '/a b': not a topic name"),
        ({'out': 'BAG2', 'tf': '//'}, "parameter tf = '//': not a topic name"),
    ],
)
def test_recorder_errors_are_one_sentence(
    bag: Path, capfd: pytest.CaptureFixture[str], parameters: dict[str, Any], text: str
) -> None:
    fails(bag_recorder_node.main, 'bag_recorder_node', bag, capfd, parameters, text)
    assert not Path(f'{bag}2').exists()


def test_topics_that_nobody_publishes(
    bag: Path, ears: Ears, start: Callable[..., Process], tmp_path: Path
) -> None:
    ears.node.create_publisher(Image, '/cam/image', 1)
    ears.node.create_publisher(String, '/talk', 1)
    out = tmp_path / 'out'

    def refused(**parameters: object) -> str:
        recorder = start('bag_recorder_node', out=out, **parameters)
        ears.wait(lambda: recorder.popen.poll() is not None, lambda: recorder.output)
        assert recorder.popen.returncode == 2
        assert not out.exists()
        return recorder.output.splitlines()[-1]

    absent = refused(image='/cam/imag', points='/lidar', wait_s=10.0)
    assert 'nobody publishes /cam/imag, /lidar after 10.0 s' in absent
    assert '/cam/image (sensor_msgs/msg/Image)' in absent
    assert '/talk' not in absent
    wrong = refused(image='/talk', wait_s=LIMIT_S)
    assert '/talk is std_msgs/msg/String, sensor_msgs/msg/Image or' in wrong


def test_a_recording_without_messages(
    ears: Ears, start: Callable[..., Process], tmp_path: Path
) -> None:
    ears.node.create_publisher(String, '/talk', 1)
    recorder = start('bag_recorder_node', out=tmp_path / 'out', topics='/talk', wait_s=LIMIT_S)
    ears.wait(lambda: 'recording /talk' in recorder.output, lambda: recorder.output)
    assert recorder.stop() == 2
    assert 'out: not written, no message arrived' in recorder.output
    assert not (tmp_path / 'out').exists()


def test_simulated_time_without_a_clock(
    ears: Ears, start: Callable[..., Process], tmp_path: Path
) -> None:
    recorder = start(
        'bag_recorder_node', out=tmp_path / 'out', topics='/talk', use_sim_time=True, wait_s=1.0
    )
    ears.wait(lambda: recorder.popen.poll() is not None, lambda: recorder.output)
    assert recorder.popen.returncode == 2
    assert 'use_sim_time is true, but there is no /clock after 1.0 s' in recorder.output
