"""Subscriptions of the completion node, matched into pairs of image and cloud."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any, NamedTuple

from depth_kd_ros.health import Health
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.nodes.parameters import Settings
from depth_kd_ros.sync import Matcher, Pair
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

POLL_S = 0.01
NOT_LOST = ('_received', '_matched', '_waiting', '_unused')  # unused: another was nearer


class Instant(NamedTuple):
    """The messages of one instant; `arrived_s`: when the last came, `skew_ns`: of stamps."""

    image: Any
    camera_info: Any
    cloud: Any
    skew_ns: int
    arrived_s: float


def sensor_qos(depth: int) -> QoSProfile:
    """Give SensorDataQoS (REP 2003): best effort, keep the last `depth`."""
    return QoSProfile(
        reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=depth
    )


class Inputs:
    """
    Subscribe to image, camera_info and points, and hand each matched Instant to `on_instant`.

    Callbacks only put messages into the matcher; `on_instant` must not block.
    """

    def __init__(
        self, node: Node, settings: Settings, health: Health, on_instant: Callable[[Instant], None]
    ) -> None:
        self._node, self._health, self._on_instant = node, health, on_instant
        self._info: Any = None
        self._held: tuple[Any, Any, int] | None = None
        self._heard_s: dict[str, float] = {}
        compressed = settings.image_transport == 'compressed'
        image = (CompressedImage, 'image/compressed') if compressed else (Image, 'image')
        self._subscriptions: dict[str, Any] = {
            'camera_info': self._subscribe(CameraInfo, 'camera_info', self._on_info)
        }
        if settings.sync_policy == 'nearest':
            self._matcher: Matcher | None = Matcher(
                settings.sync_slop_s, offset_s=settings.sync_offset_s,
                max_wait_s=settings.sync_max_wait_s, queue_size=settings.sync_queue_size,
            )  # fmt: skip
            self._subscriptions['image'] = self._subscribe(*image, self._on_image)
            self._subscriptions['points'] = self._subscribe(PointCloud2, 'points', self._on_cloud)
            clock = Clock(clock_type=ClockType.STEADY_TIME)  # also while a bag's clock stands
            self._timer = node.create_timer(POLL_S, self._on_poll, clock=clock)
        else:
            self._matcher, self._timer = None, None
            self._synchronise(settings, image)

    def close(self) -> None:
        """Unsubscribe."""
        if self._timer:
            self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    @property
    def lost(self) -> dict[str, int]:
        """Count the clouds and images that the matcher lost, by reason."""
        counters = self._matcher.counters if self._matcher else {}
        fates = {
            name.replace('reference', 'cloud').replace('partner_', 'image_'): count
            for name, count in counters.items()
        }
        return {name: n for name, n in fates.items() if n and not name.endswith(NOT_LOST)}

    def silent(self, after_s: float) -> list[str]:
        """Name the topics that have publishers, but from which nothing has come for `after_s`."""
        now = time.monotonic()
        return [
            subscription.topic_name
            for name, subscription in self._subscriptions.items()
            if now - self._heard_s.setdefault(name, now) > after_s
            and self._node.count_publishers(subscription.topic_name)
        ]

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None]) -> Any:
        return self._node.create_subscription(
            kind, topic, callback, sensor_qos(10),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip

    def _on_info(self, message: Any) -> None:
        self._heard('camera_info')
        self._info = message
        if self._held:
            self._pass_on(*self._held)

    def _on_image(self, message: Any) -> None:
        self._heard('image')
        assert self._matcher
        self._emit(self._matcher.add_partner(stamp_ns(message.header), message, time.monotonic()))

    def _on_cloud(self, message: Any) -> None:
        self._heard('points')
        assert self._matcher
        self._emit(
            self._matcher.add_reference(stamp_ns(message.header), message, time.monotonic())
        )

    def _on_poll(self) -> None:
        assert self._matcher
        self._emit(self._matcher.poll(time.monotonic()))

    def _heard(self, name: str) -> None:
        self._heard_s[name] = now = time.monotonic()
        if name != 'camera_info':
            self._health.received(name, now)

    def _emit(self, pairs: list[Any]) -> None:
        for pair in pairs:
            self._health.matched(pair.skew_ns)
            self._pass_on(pair.partner, pair.reference, pair.skew_ns)

    def _pass_on(self, image: Any, cloud: Any, skew_ns: int) -> None:
        """Complete a pair with the newest CameraInfo; the newest pair waits for the first one."""
        if self._info is None:
            if self._held:
                self._health.dropped('no_camera_info')
            self._held = image, cloud, skew_ns
            self._node.get_logger().warning(
                f'no CameraInfo on {self._subscriptions["camera_info"].topic_name} yet: '
                'frames wait for it',
                throttle_duration_sec=5.0,
            )
            return
        self._held = None
        self._on_instant(Instant(image, self._info, cloud, skew_ns, time.monotonic()))

    def _synchronise(self, settings: Settings, image: tuple[type, str]) -> None:
        """Leave matching to message_filters; ValueError where it is not installed."""
        try:
            import message_filters
        except ImportError:
            raise ValueError(
                f'sync.policy {settings.sync_policy!r} needs the ROS package message_filters, '
                'which is not installed; sync.policy nearest is built in'
            ) from None
        qos, size = sensor_qos(10), settings.sync_queue_size
        filters = [
            message_filters.Subscriber(self._node, kind, topic, qos_profile=qos)
            for kind, topic in (image, (PointCloud2, 'points'))
        ]
        for name, each in zip(('image', 'points'), filters, strict=True):
            self._subscriptions[name] = each.sub
            each.registerCallback(lambda message, n=name: self._heard(n))
        if settings.sync_policy == 'exact':
            self._synchroniser = message_filters.TimeSynchronizer(filters, size)
        else:
            self._synchroniser = message_filters.ApproximateTimeSynchronizer(
                filters, size, slop=settings.sync_slop_s
            )
        self._synchroniser.registerCallback(lambda image, cloud: self._emit([_pair(image, cloud)]))


def _pair(image: Any, cloud: Any) -> Pair:
    """Build the Pair of two messages that message_filters has matched."""
    image_ns, cloud_ns = stamp_ns(image.header), stamp_ns(cloud.header)
    return Pair(cloud, image, cloud_ns, image_ns, image_ns - cloud_ns)
