"""Publishers of the completion node; nothing is computed for a topic that nobody subscribes to."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from depth_kd_ros import clouds, messages, pictures
from depth_kd_ros.completer import Completion
from depth_kd_ros.frames import Frame
from depth_kd_ros.geometry import Camera
from depth_kd_ros.nodes.parameters import Settings
from depth_kd_ros.projection import rays
import numpy as np
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField, RegionOfInterest

TOPICS = {
    'depth': (Image, 'depth_registered/image_rect'),
    'camera_info': (CameraInfo, 'depth_registered/camera_info'),
    'confidence': (Image, 'depth_registered/confidence'),
    'points': (PointCloud2, 'depth_registered/points'),
    'sparse': (Image, 'sparse_depth/image_rect'),
    'color': (Image, 'depth_registered/image_color'),
}

MEASURED = {'camera_info', 'sparse'}  # outputs that need no model


def output_qos() -> QoSProfile:
    """Give a QoS of its own to each publisher: rclpy writes qos_overrides into it."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=5
    )


class Outputs:
    """Publish a completed frame with the stamp and frame id of its image."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node, self._settings = node, settings
        options = QoSOverridingOptions.with_default_policies()
        self._publishers = {
            name: node.create_publisher(kind, topic, output_qos(), qos_overriding_options=options)
            for name, (kind, topic) in TOPICS.items()
        }
        self._rays: tuple[Camera, np.ndarray] | None = None

    def close(self) -> None:
        """Withdraw the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def wanted(self) -> frozenset[str]:
        """Name the outputs that somebody subscribes to now."""
        return frozenset(n for n, p in self._publishers.items() if p.get_subscription_count())

    def publish(
        self, frame: Frame, done: Completion, header: Any, settings: Settings, wanted: Set[str]
    ) -> None:
        """Publish the outputs named in `wanted`, which `done` was computed for."""
        depth, sparse = done.depth, done.sparse_depth
        if settings.min_confidence > 0 and done.confidence is not None:
            depth = np.where(done.confidence < settings.min_confidence, np.float32(0), depth)
        build: dict[str, Callable[[], Any]] = {
            'depth': lambda: messages.depth_image(depth, header, Image),
            'camera_info': lambda: messages.camera_info(
                frame.camera, header, CameraInfo, RegionOfInterest
            ),
            'sparse': lambda: messages.depth_image(sparse, header, Image),
            'color': lambda: messages.rgb_image(self._coloured(depth, sparse), header, Image),
            'points': lambda: self._cloud(frame, depth, header, settings.points_stride),
        }
        if done.confidence is not None:
            confidence = done.confidence
            build['confidence'] = lambda: messages.float_image(confidence, header, Image)
        for name in wanted & build.keys():
            self._publishers[name].publish(build[name]())

    def _coloured(self, depth: np.ndarray, sparse: np.ndarray) -> np.ndarray:
        near, far = self._settings.color_min_m, self._settings.color_max_m
        return pictures.overlay(pictures.colour(depth, near, far), sparse, near, far)

    def _cloud(self, frame: Frame, depth: np.ndarray, header: Any, stride: int) -> Any:
        """Lift every stride-th pixel with depth to a coloured point of the camera frame."""
        if self._rays is None or self._rays[0] is not frame.camera:
            self._rays = frame.camera, rays(frame.camera).numpy()
        z = depth[::stride, ::stride]  # (h, w)
        keep = z > 0
        xyz = np.empty((int(keep.sum()), 3), np.float32)
        xyz[:, 2] = z[keep]
        xyz[:, :2] = self._rays[1][::stride, ::stride][keep] * xyz[:, 2:]
        rgb = frame.image[::stride, ::stride][keep]
        return clouds.xyzrgb_cloud(xyz, rgb, header, PointCloud2, PointField)
