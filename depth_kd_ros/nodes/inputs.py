"""Subscriptions of the completion node, matched into pairs of image and cloud."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any, NamedTuple

from depth_kd_ros.bag_frames import info_of
from depth_kd_ros.health import Health
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.nodes.filters import FilterMatcher
from depth_kd_ros.nodes.parameters import Settings
from depth_kd_ros.sync import Matcher, Pair
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

POLL_S = 0.01
INFOS = 100  # CameraInfo messages kept
NOT_LOST = ('_received', '_matched', '_waiting', '_unused')  # unused: another was nearer


class Instant(NamedTuple):
    """The messages of one instant; `arrived_s`: when the last came, `matched_s`: when paired."""

    image: Any
    camera_info: Any
    cloud: Any
    skew_ns: int
    arrived_s: float
    matched_s: float


class Heard(NamedTuple):
    """A message and when it came, on time.monotonic()."""

    message: Any
    arrived_s: float

    @property
    def header(self) -> Any:
        """Give the message's header."""
        return self.message.header


def sensor_qos(depth: int) -> QoSProfile:
    """Give SensorDataQoS (REP 2003): best effort, keep the last `depth`."""
    return QoSProfile(
        reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=depth
    )


def matcher(settings: Settings) -> Matcher | FilterMatcher:
    """Make the matcher of sync.policy; ValueError where it cannot do what is set."""
    s = settings
    if s.sync_policy == 'nearest':
        return Matcher(s.sync_slop_s, s.sync_offset_s, s.sync_max_wait_s, s.sync_queue_size)
    if s.sync_offset_s:
        raise ValueError(
            f'sync.offset_s = {s.sync_offset_s}: message_filters has no offset; set it to 0, or '
            'sync.policy to nearest'
        )
    if s.sync_policy == 'approximate' and s.sync_slop_s == 0:
        raise ValueError(
            'sync.slop_s = 0.0: approximate never pairs then; set sync.policy to exact or nearest'
        )
    return FilterMatcher(s.sync_policy, s.sync_slop_s, s.sync_queue_size)


class Inputs:
    """
    Subscribe to image, camera_info and points, and hand each matched Instant to `on_instant`.

    Callbacks only put messages into the matcher; `on_instant` must not block.
    """

    def __init__(
        self, node: Node, settings: Settings, health: Health, on_instant: Callable[[Instant], None]
    ) -> None:
        self._node, self._health, self._on_instant = node, health, on_instant
        self._matcher = matcher(settings)
        self._infos: list[Any] = []
        self._held: Pair | None = None  # waits for the first CameraInfo
        self._heard_s: dict[str, float] = {}
        compressed = settings.image_transport == 'compressed'
        image = (CompressedImage, 'image/compressed') if compressed else (Image, 'image')
        self._subscriptions = {  # served in this order where several have a message
            'camera_info': self._subscribe(CameraInfo, 'camera_info', self._on_info),  # goes first
            'image': self._subscribe(*image, self._on_image),
            'points': self._subscribe(PointCloud2, 'points', self._on_cloud),
        }
        clock = Clock(clock_type=ClockType.STEADY_TIME)  # also while a bag's clock stands
        self._timer = node.create_timer(POLL_S, self._on_poll, clock=clock)

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)

    def reset(self) -> None:
        """Start anew after a jump of the clock; the built-in matcher sees it by the stamps."""
        self._held = None
        if isinstance(self._matcher, FilterMatcher):
            self._matcher.reset()

    @property
    def topics(self) -> list[str]:
        """Name the topics that are subscribed to."""
        return [subscription.topic_name for subscription in self._subscriptions.values()]

    @property
    def lost(self) -> dict[str, int]:
        """Count the clouds and images that the matcher lost, by reason."""
        fates = {
            name.replace('reference', 'cloud').replace('partner_', 'image_'): count
            for name, count in self._matcher.counters.items()
        }
        return {name: n for name, n in fates.items() if n and not name.endswith(NOT_LOST)}

    def silent(self, after_s: float) -> dict[str, int]:
        """Count the publishers of each topic from which nothing has come for `after_s`."""
        now = time.monotonic()
        quiet = (
            subscription.topic_name
            for name, subscription in self._subscriptions.items()
            if now - self._heard_s.setdefault(name, now) > after_s
        )
        return {topic: self._node.count_publishers(topic) for topic in quiet}

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None]) -> Any:
        return self._node.create_subscription(
            kind, topic, callback, sensor_qos(10),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip

    def _on_info(self, message: Any) -> None:
        self._heard_s['camera_info'] = time.monotonic()
        self._infos = [*self._infos[-INFOS:], message]
        if self._held:
            self._pass_on(self._held)

    def _on_image(self, message: Any) -> None:
        now_s = self._heard('image')
        stamp = stamp_ns(message.header)
        self._emit(self._matcher.add_partner(stamp, Heard(message, now_s), now_s))

    def _on_cloud(self, message: Any) -> None:
        now_s = self._heard('points')
        stamp = stamp_ns(message.header)
        self._emit(self._matcher.add_reference(stamp, Heard(message, now_s), now_s))

    def _on_poll(self) -> None:
        self._emit(self._matcher.poll(time.monotonic()))

    def _heard(self, name: str) -> float:
        self._heard_s[name] = now_s = time.monotonic()
        self._health.received(name, now_s)
        return now_s

    def _emit(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            self._health.matched(pair.skew_ns)
            self._pass_on(pair)

    def _pass_on(self, pair: Pair) -> None:
        """Complete a pair with its CameraInfo; the newest pair waits for the first one."""
        if not self._infos:
            if self._held:
                self._health.dropped('no_camera_info')
            self._held = pair
            self._node.get_logger().warning(
                f'no CameraInfo on {self._subscriptions["camera_info"].topic_name} yet: '
                'frames wait for it',
                throttle_duration_sec=5.0,
                skip_first=True,
            )
            return
        self._held = None
        image, cloud = pair.partner, pair.reference
        info = info_of(pair.partner_ns, self._infos)
        arrived_s, now_s = max(image.arrived_s, cloud.arrived_s), time.monotonic()
        self._on_instant(
            Instant(image.message, info, cloud.message, pair.skew_ns, arrived_s, now_s)
        )
