"""Drive the real completion node, in its own process, over real DDS."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import itertools
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from depth_kd_ros import messages
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.nodes.diagnostics import nested
from depth_kd_ros.nodes.outputs import TOPICS
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

LIMIT_S = 90.0
_names = itertools.count()


class Harness:
    """
    Start completion_node with parameters, publish to it and collect what it publishes.

    `depth` maps stamps (ns) to depth (H, W) m with 0 = none; `health` is the newest diagnostics.
    """

    def __init__(
        self,
        log: Path,
        outputs: tuple[str, ...] = ('depth',),
        topics: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.log, self.namespace = log, f'/h{next(_names)}'
        self._topics = {name: name for name in ('image', 'camera_info', 'points')} | (topics or {})
        # One thread: with more, a machine where other tests run takes seconds for a frame.
        self._environment = (environment or os.environ) | {'OMP_NUM_THREADS': '1'}
        self.received: dict[str, list[Any]] = {name: [] for name in outputs}
        self.depth: dict[int, np.ndarray] = {}
        self.health: dict[str, Any] = {}
        self.status: Any = None
        self._settings = settings
        self._outputs = outputs

    def __enter__(self) -> Harness:
        words = ['--ros-args', '-r', f'__ns:={self.namespace}']
        for name, value in self._settings.items():
            words += ['-p', f'{name.replace("__", ".")}:={json.dumps(value)}']
        for name, topic in self._topics.items():
            words += ['-r', f'{name}:={topic}']
        self._file = self.log.open('w')
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'depth_kd_ros.nodes.completion_node', *words],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env=self._environment,
        )
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node('harness', context=self.context, namespace=self.namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        reliable = QoSProfile(depth=100)
        for name in self._outputs:
            kind, topic = TOPICS[name]
            self.node.create_subscription(
                kind, topic, lambda m, n=name: self._on_output(n, m), reliable
            )
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_health, 10)
        kinds = {'image': Image, 'camera_info': CameraInfo, 'points': PointCloud2}
        self.senders = {
            name: self.node.create_publisher(kind, self._topics[name], reliable)
            for name, kind in kinds.items()
        }
        try:
            self.until(self._connected)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._file.close()

    def until(self, done: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Spin until `done`; fail with the node's log after a generous limit."""
        end = time.monotonic() + limit_s
        while not done():
            self.executor.spin_once(timeout_sec=0.02)
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(
                    f'node {self.process.poll()}:\n{self.log.read_text()[-3000:]}'
                )

    def send(self, image: Any = None, info: Any = None, cloud: Any = None) -> None:
        """Publish the messages of one instant, CameraInfo first."""
        for name, message in (('camera_info', info), ('image', image), ('points', cloud)):
            if message is not None:
                self.senders[name].publish(message)

    def count(self, *path: str) -> int:
        """Read a counter of the newest diagnostics, 0 where it is not there yet."""
        place: Any = self.health
        for name in path:
            place = place.get(name, {}) if isinstance(place, dict) else {}
        return place if isinstance(place, int) else 0

    def _connected(self) -> bool:
        heard = set(str(self.health.get('outputs_subscribed', '')).split())
        matched = all(s.get_subscription_count() for s in self.senders.values())
        return matched and set(self._outputs) <= heard

    def _on_output(self, name: str, message: Any) -> None:
        self.received[name].append(message)
        if name == 'depth':
            self.depth[stamp_ns(message.header)] = messages.depth(message)

    def _on_health(self, message: Any) -> None:
        for status in message.status:
            if status.name.startswith(self.namespace + '/'):
                self.status = status
                self.health = nested({pair.key: pair.value for pair in status.values})


def image_message(stamp_ns: int, size: tuple[int, int] = (24, 32), grey: int = 90) -> Image:
    """Build a grey rgb8 image."""
    message = Image(height=size[0], width=size[1], encoding='rgb8', step=3 * size[1])
    message.data = messages.buffer(np.full((*size, 3), grey, np.uint8), Image)
    return _stamped(message, stamp_ns, 'camera_optical')


def info_message(
    stamp_ns: int, size: tuple[int, int] = (24, 32), focal_px: float = 20.0
) -> CameraInfo:
    """Build the CameraInfo of a pinhole camera with its centre in the middle."""
    K = [focal_px, 0.0, (size[1] - 1) / 2, 0.0, focal_px, (size[0] - 1) / 2, 0.0, 0.0, 1.0]
    P = [*K[:3], 0.0, *K[3:6], 0.0, *K[6:], 0.0]
    message = CameraInfo(height=size[0], width=size[1], k=K, p=P, distortion_model='plumb_bob')
    message.r, message.d = [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0], [0.0] * 5
    return _stamped(message, stamp_ns, 'camera_optical')


def cloud_message(stamp_ns: int, xyz: np.ndarray, names: str = 'xyz') -> PointCloud2:
    """Build a cloud of float32 points (N, 3) m with the given field names."""
    fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate(names)]
    message = PointCloud2(height=1, width=len(xyz), fields=fields, point_step=12, is_dense=True)
    message.row_step = 12 * len(xyz)
    message.data = messages.buffer(np.asarray(xyz, '<f4'), PointCloud2)
    return _stamped(message, stamp_ns, 'lidar')


def _stamped(message: Any, stamp_ns: int, frame_id: str) -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.header.frame_id = frame_id
    return message


# LiDAR x forward, y left, z up -> camera x right, y down, z forward, at the same place
AXES = [float(v) for v in (0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0, 0, 0, 1)]


def wall(distance_m: float = 5.0, points: int = 400, seed: int = 0) -> np.ndarray:
    """Sample a wall across the view, `distance_m` ahead of the LiDAR: (N, 3) float32 m."""
    rng = np.random.default_rng(seed)
    yz = rng.uniform(-0.5, 0.5, (points, 2)) * distance_m
    return np.c_[np.full(points, distance_m), yz].astype(np.float32)
