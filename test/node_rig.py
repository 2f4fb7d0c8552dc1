"""Drive the completion node over DDS within the test's process, where a double can go in."""

from __future__ import annotations

from collections.abc import Callable
import itertools
import threading
import time
from typing import Any

from depth_kd_ros import messages
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.nodes.completion_node import CompletionNode
from depth_kd_ros.nodes.diagnostics import nested
from depth_kd_ros.nodes.outputs import TOPICS
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import AXES, cloud_message, image_message, info_message, wall
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

LIMIT_S = 90.0
RETRY_S = 1.0
FIXED = {
    'model': 'nearest', 'device': 'cpu', 'extrinsics.source': 'parameter',
    'extrinsics.T_cam_lidar': AXES,
}  # fmt: skip
INPUTS = {
    'camera_info': CameraInfo, 'image': Image, 'image/compressed': CompressedImage,
    'points': PointCloud2,
}  # fmt: skip
RAW = ('camera_info', 'image', 'points')
_names = itertools.count()


class Double:
    """Stand in for the completer: counts its calls, waits at a gate, fails or adds confidence."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0
        self.error: Exception | None = None
        self.confidence: np.ndarray | None = None

    def __call__(self, *frame: Any) -> Any:
        self.calls += 1
        assert self.gate.wait(LIMIT_S)
        if self.error:
            raise self.error
        return self._real(*frame)._replace(confidence=self.confidence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Rig:
    """
    A node with a completer double `model`, and a peer that publishes `inputs` and hears `outputs`.

    `got` holds the outputs by name and stamp (ns); in names of settings `{ns}` is the namespace.
    """

    def __init__(
        self,
        outputs: tuple[str, ...] = ('depth',),
        settings: dict[str, Any] | None = None,
        inputs: tuple[str, ...] = RAW,
    ) -> None:
        self.namespace = f'/rig{next(_names)}'
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        given = FIXED | {n.format(ns=self.namespace): v for n, v in (settings or {}).items()}
        self.node = CompletionNode(
            context=self.context,
            namespace=self.namespace,
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        )
        self.peer = Node('peer', context=self.context, namespace=self.namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)
        self.node.trigger_configure()
        assert not self.node.failure
        self.model = self.node.completer = Double(self.node.completer)
        self.node.trigger_activate()
        assert not self.node.failure
        self.got: dict[str, dict[int, Any]] = {}
        self.senders = {name: self.sender(name) for name in inputs}
        for name in outputs:
            self.hear(name)
        self.status: Any = None
        self.peer.create_subscription(DiagnosticArray, '/diagnostics', self._on_health, 10)
        self.stamps = itertools.count(10**9, 10**8)

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *exception: object) -> None:
        self.model.gate.set()
        self.node.trigger_shutdown()
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()
        rclpy.shutdown(context=self.context)

    def hear(self, name: str) -> None:
        """Subscribe to an output."""
        kept = self.got[name] = {}
        self.peer.create_subscription(
            *TOPICS[name], lambda m: kept.update({stamp_ns(m.header): m}), QoSProfile(depth=100)
        )

    def sender(self, name: str) -> Any:
        """Give a publisher for an input."""
        return self.peer.create_publisher(INPUTS[name], name, QoSProfile(depth=100))

    def until(self, done: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
        """Spin until `done`; fail with the node's counters after a generous limit."""
        end = time.monotonic() + limit_s
        while not done():
            self.executor.spin_once(timeout_sec=0.01)
            assert time.monotonic() < end, (self.node.health.snapshot(), self.node.why)

    def send(self, **changes: Any) -> int:
        """Publish a good instant, but for the messages given; return its stamp (ns)."""
        stamp = next(self.stamps)
        given = {
            'camera_info': info_message(stamp),
            'image': image_message(stamp),
            'points': cloud_message(stamp, wall()),
        } | {name.replace('compressed', 'image/compressed'): m for name, m in changes.items()}
        for name, message in given.items():
            if name in self.senders:
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
                self.senders[name].publish(message)
        return stamp

    def flow(self, name: str = 'depth', **changes: Any) -> int:
        """Send until an instant came through whole: everything sent before is decided, too."""
        end = time.monotonic() + LIMIT_S
        while True:  # DDS matches each direction by itself: the first messages may be lost
            stamp, retry = self.send(**changes), time.monotonic() + RETRY_S
            self.until(lambda r=retry, s=stamp: s in self.got[name] or time.monotonic() > r)
            if stamp in self.got[name]:
                return stamp
            assert time.monotonic() < end, (self.node.health.snapshot(), self.node.why)

    def depth(self, stamp: int) -> np.ndarray:
        """Give the depth image (H, W) m, 0 = none, that came out for a stamp."""
        return messages.depth(self.got['depth'][stamp])

    def send_until(self, done: Callable[[], Any]) -> None:
        """Send ten instants per second until `done`."""
        next_s = 0.0

        def sent() -> Any:
            nonlocal next_s
            if time.monotonic() > next_s:
                self.send()
                next_s = time.monotonic() + 0.1
            return done()

        self.until(sent)

    def count(self, reason: str) -> int:
        """Count the frames dropped for a reason."""
        return self.node.health.snapshot()['dropped'].get(reason, 0)

    def total(self, name: str) -> Any:
        """Give a figure of the node: frames_in, frames_matched, frames_out."""
        return self.node.health.snapshot()[name]

    @property
    def health(self) -> dict[str, Any]:
        """Give the values of the newest diagnostics."""
        return nested({pair.key: pair.value for pair in self.status.values}) if self.status else {}

    def _on_health(self, message: Any) -> None:
        for status in message.status:
            if status.name.startswith(self.namespace + '/'):
                self.status = status
