"""Watch the completion node from outside: what came out, whether it belongs to its image, what the node counts."""

from __future__ import annotations

import time
from typing import Any

from depth_kd_ros import messages
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.nodes.diagnostics import nested
from depth_kd_ros.nodes.outputs import TOPICS
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

WATCHED = ('depth', 'sparse')
STILL_S = 2.5


class Watcher(Node):
    """
    Subscribe to an image topic and the node's depth, sparse depth and diagnostics.

    `shown` keeps image, sparse and depth arrays by stamp of every n-th frame, for pictures.
    """

    def __init__(self, image_topic: str, compressed: bool, every: int) -> None:
        super().__init__('depth_watcher')
        self.every = every
        self.shown: dict[int, dict[str, np.ndarray]] = {}
        self.image_frames: dict[int, str] = {}
        self.depth_frames: dict[int, str] = {}
        self.health: dict[str, Any] = {}
        self._changed_s = time.monotonic()
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        kind = CompressedImage if compressed else Image
        self.create_subscription(kind, image_topic, self._on_image, qos)
        for name in WATCHED:
            topic = TOPICS[name][1]
            self.create_subscription(Image, topic, lambda m, n=name: self._on_output(n, m), qos)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    @property
    def is_heard(self) -> bool:
        """Tell whether the node knows that this watcher listens to its outputs."""
        return set(WATCHED) <= set(str(self.health.get('outputs_subscribed', '')).split())

    def still_since(self, moment_s: float) -> bool:
        """Tell whether the node's counts have stood still for a while after a moment of time.monotonic()."""
        return time.monotonic() - max(self._changed_s, moment_s) > STILL_S

    def report(self) -> dict[str, Any]:
        """Give the node's own figures, and how the outputs compare with the images seen."""
        wrong = [s for s, frame in self.depth_frames.items() if self.image_frames.get(s) != frame]
        return {
            **self.health,
            'depth_received': len(self.depth_frames),
            'stamp_and_frame_id_differ_from_image': len(wrong),
        }

    def _on_image(self, message: Any) -> None:
        stamp = stamp_ns(message.header)
        if len(self.image_frames) % self.every == 0:
            self.shown.setdefault(stamp, {})['image'] = messages.rgb(message)
        self.image_frames[stamp] = message.header.frame_id

    def _on_output(self, name: str, message: Any) -> None:
        stamp = stamp_ns(message.header)
        if name == 'depth':
            self.depth_frames[stamp] = message.header.frame_id
        if stamp in self.shown:
            self.shown[stamp][name] = messages.depth(message)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.hardware_id == 'depth_kd_ros':
                health = nested({pair.key: pair.value for pair in status.values})
                counts = ('frames_in', 'frames_out', 'dropped')
                if any(health.get(c) != self.health.get(c) for c in counts):
                    self._changed_s = time.monotonic()
                self.health = health
