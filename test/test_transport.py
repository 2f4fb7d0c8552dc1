"""Large messages over real DDS, with and without the shipped shared-memory profile."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
import select
import subprocess
import sys
import time

from node_harness import AXES, cloud_message, Harness, image_message, info_message, wall
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from transport_peer import COUNT

PEER = [sys.executable, str(Path(__file__).with_name('transport_peer.py'))]
LIMIT_S = 90.0


@pytest.fixture
def receiver():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node('receiver', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_every_large_best_effort_message_arrives(receiver):
    """50 of 50 images (1.4 MB) and clouds (1.8 MB); without the profile it was 0 of 50."""
    assert os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'].endswith('fastdds_shared_memory.xml')
    node, executor = receiver
    qos = QoSProfile(
        depth=COUNT, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT
    )
    got = {'transport_image': [], 'transport_cloud': []}
    for topic, kind in (('transport_image', Image), ('transport_cloud', PointCloud2)):
        node.create_subscription(
            kind, topic, lambda m, t=topic: got[t].append(m.header.stamp.sec), qos
        )
    sender = subprocess.Popen([*PEER, 'send'], stdin=subprocess.PIPE)
    try:
        end = time.monotonic() + LIMIT_S
        while not all(node.count_publishers(topic) for topic in got):
            executor.spin_once(timeout_sec=0.05)
            assert time.monotonic() < end
        sender.stdin.write(b'go\n')
        sender.stdin.flush()
        while sender.poll() is None or executor_has_work(executor, got):
            executor.spin_once(timeout_sec=0.05)
            assert time.monotonic() < end
    finally:
        sender.kill()
        sender.wait()
    assert got == {topic: list(range(COUNT)) for topic in got}


def executor_has_work(executor, got):
    """Spin once more, and tell whether that brought a message."""
    before = sum(map(len, got.values()))
    executor.spin_once(timeout_sec=0.5)
    return sum(map(len, got.values())) > before


def test_participant_without_the_profile_gets_depth(tmp_path):
    """A subscriber with default settings, as rviz2 on the same machine, gets every depth image."""
    count, size = 5, (375, 1242)
    plain = {k: v for k, v in os.environ.items() if not k.endswith('DEFAULT_PROFILES_FILE')}
    settings = {
        'model': 'nearest', 'extrinsics.source': 'parameter', 'extrinsics.T_cam_lidar': AXES
    }  # fmt: skip
    with Harness(tmp_path / 'log', **settings) as node:
        depth = f'{node.namespace}/depth_registered/image_rect'
        listener = subprocess.Popen(
            [*PEER, 'listen', depth, str(count)], env=plain, stdout=subprocess.PIPE, text=True
        )

        def send(stamp):
            cloud = cloud_message(stamp, wall())
            node.send(image_message(stamp, size), info_message(stamp, size, 700.0), cloud)

        try:
            assert listener.stdout.readline() == 'ready\n'
            seconds = itertools.count(1)

            def heard():  # DDS matches every two participants by themselves
                send(next(seconds) * 10**9)
                return bool(select.select([listener.stdout], [], [], 0.2)[0])

            node.until(heard)
            assert listener.stdout.readline() == 'heard\n'
            for stamp in range(10**18, 10**18 + count * 10**8, 10**8):
                send(stamp)
                node.until(lambda now=stamp: now in node.depth)
            node.until(lambda: listener.poll() is not None)
        finally:
            listener.kill()
    assert int(listener.stdout.read()) == count
