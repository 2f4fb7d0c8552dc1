"""Watch the completion node from outside: what comes out, and what the node counts."""

from __future__ import annotations

from collections.abc import Collection
import time
from typing import Any

from depth_kd_ros import messages
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.nodes.diagnostics import nested
from depth_kd_ros.nodes.outputs import TOPICS
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

WATCHED = ('depth', 'sparse')
STILL_S = 2.5


class Watcher(Node):
    """
    Subscribe to the node's depth, sparse depth and diagnostics.

    `frame_ids` are those of all depth by stamp (ns); `shown` keeps the arrays of some stamps.
    """

    def __init__(self, show: Collection[int]) -> None:
        super().__init__('depth_watcher')
        self.shown: dict[int, dict[str, np.ndarray]] = {stamp: {} for stamp in show}
        self.frame_ids: dict[int, str] = {}
        self.health: dict[str, Any] = {}
        self._changed_s = time.monotonic()
        for name in WATCHED:
            self.create_subscription(
                Image,
                TOPICS[name][1],
                lambda m, n=name: self._on_output(n, m),
                QoSProfile(depth=50),
            )
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    @property
    def is_heard(self) -> bool:
        """Tell whether the node knows that this watcher listens to its outputs."""
        return set(WATCHED) <= set(str(self.health.get('outputs_subscribed', '')).split())

    def still_since(self, moment_s: float) -> bool:
        """Tell whether the node's counts stand still for a while, after a time.monotonic()."""
        return time.monotonic() - max(self._changed_s, moment_s) > STILL_S

    def _on_output(self, name: str, message: Any) -> None:
        stamp = stamp_ns(message.header)
        if name == 'depth':
            self.frame_ids[stamp] = message.header.frame_id
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
