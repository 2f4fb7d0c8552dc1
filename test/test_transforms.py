"""Extrinsics at run time; TF through a double that behaves like tf2_ros.Buffer."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace

from builtin_interfaces.msg import Time
from depth_kd_ros.messages import depth
from depth_kd_ros.nodes.completion_node import CompletionNode
from depth_kd_ros.nodes.transforms import MissingTransformError, ParameterExtrinsics, TfExtrinsics
from node_harness import AXES, cloud_message, image_message, info_message, wall
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2


class TransformException(Exception):  # noqa: N818  (tf2's own name)
    pass


class LookupException(TransformException):
    pass


class ExtrapolationException(TransformException):
    pass


ERRORS = SimpleNamespace(
    TransformException=TransformException,
    LookupException=LookupException,
    ExtrapolationException=ExtrapolationException,
)


class Buffer:
    """Hold stamped transforms of one frame pair, as tf2's buffer does; no stamp: static."""

    def __init__(self):
        self.entries = []  # (stamp s or None, x m)
        self.quaternion = (0.0, 0.0, 1.0, 0.0)  # half a turn about z

    def clear(self):
        self.entries = [entry for entry in self.entries if entry[0] is None]  # static ones stay

    def lookup_transform(self, target, source, time):
        if (target, source) != ('cam', 'lidar') or not self.entries:
            raise LookupException(f'"{target}" passed to lookupTransform does not exist')
        wanted = time.nanoseconds / 1e9
        stamps = [stamp for stamp, _ in self.entries if stamp is not None]
        if stamps and wanted > max(stamps):
            raise ExtrapolationException('Lookup would require extrapolation into the future')
        stamp, x = (
            min(self.entries, key=lambda e: abs((e[0] or 0) - wanted))
            if wanted
            else self.entries[-1]
        )
        seconds = int(stamp or 0)
        nanosec = round(((stamp or 0) - seconds) * 1e9)
        return SimpleNamespace(
            header=SimpleNamespace(stamp=Time(sec=seconds, nanosec=nanosec)),
            transform=SimpleNamespace(
                translation=SimpleNamespace(x=x, y=0.0, z=0.0),
                rotation=SimpleNamespace(**dict(zip('xyzw', self.quaternion, strict=True))),
            ),
        )


@pytest.fixture
def tf():
    buffer = Buffer()
    return buffer, TfExtrinsics(buffer, ERRORS)


def test_transform_maps_lidar_to_camera(tf):
    buffer, extrinsics = tf
    buffer.entries = [(None, 2.0)]
    T = extrinsics('cam', 'lidar', Time(sec=9))
    assert T @ [1, 1, 1, 1] == pytest.approx([1, -1, 1, 1])  # -1 + 2, -1, 1


def test_missing_transform_names_both_frames_and_comes_back(tf):
    buffer, extrinsics = tf
    with pytest.raises(MissingTransformError, match="from 'lidar' to 'cam' in TF"):
        extrinsics('cam', 'lidar', Time(sec=9))
    buffer.entries = [(None, 1.0)]
    assert extrinsics('cam', 'lidar', Time(sec=9))[0, 3] == 1.0


def test_changing_transform_is_followed(tf):
    buffer, extrinsics = tf
    buffer.entries = [(1.0, 1.0), (2.0, 5.0)]
    assert extrinsics('cam', 'lidar', Time(sec=1))[0, 3] == 1.0
    assert extrinsics('cam', 'lidar', Time(sec=2))[0, 3] == 5.0


def test_slightly_late_tf_is_used_and_old_tf_is_not(tf):
    buffer, extrinsics = tf
    buffer.entries = [(2.0, 5.0)]
    assert extrinsics('cam', 'lidar', Time(sec=2, nanosec=100_000_000))[0, 3] == 5.0
    with pytest.raises(MissingTransformError, match='extrapolation'):
        extrinsics('cam', 'lidar', Time(sec=3))


def test_parameter_extrinsics_of_other_frames_are_refused():
    extrinsics = ParameterExtrinsics(AXES, 'cam', 'lidar')
    assert extrinsics('cam', '/lidar', Time()).shape == (4, 4)
    with pytest.raises(
        MissingTransformError, match="frame 'lidar', but the messages are of 'os1'"
    ):
        extrinsics('cam', 'os1', Time())


def test_parameter_extrinsics():
    T = ParameterExtrinsics(AXES)('any', 'frames', Time())
    assert T @ [3.0, 0, 0, 1] == pytest.approx([0, 0, 3, 1])
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)


def test_node_drops_frames_without_tf_and_goes_on_with_it(tf, tmp_path):
    """The real node over DDS, with the double in TF's place: counted, told, recovered."""
    buffer, _ = tf
    context = rclpy.Context()
    rclpy.init(context=context)
    settings = {'model': 'nearest', 'extrinsics.source': 'parameter', 'device': 'cpu'}
    settings['extrinsics.T_cam_lidar'] = AXES
    node = CompletionNode(
        context=context,
        namespace='/tf_test',
        parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
    )
    node.trigger_configure()
    node.extrinsics = TfExtrinsics(buffer, ERRORS)
    node.trigger_activate()
    peer = Node('peer', context=context, namespace='/tf_test')
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(peer)
    got = []
    peer.create_subscription(Image, 'depth_registered/image_rect', got.append, 10)
    senders = [
        (peer.create_publisher(Image, 'image', 10), image_message),
        (peer.create_publisher(CameraInfo, 'camera_info', 10), info_message),
        (peer.create_publisher(PointCloud2, 'points', 10), lambda t: cloud_message(t, wall())),
    ]
    stamps = itertools.count(1)

    def until(done):
        end = time.monotonic() + 60
        while not done():
            stamp = next(stamps) * 10**8
            for sender, build in senders:
                message = build(stamp)
                is_cloud = isinstance(message, PointCloud2)
                message.header.frame_id = 'lidar' if is_cloud else 'cam'
                sender.publish(message)
            for _ in range(20):
                executor.spin_once(timeout_sec=0.005)
            assert time.monotonic() < end, node.health.snapshot()

    try:
        until(lambda: node.health.snapshot()['dropped'].get('no_extrinsics', 0) > 1)
        assert not got and "from 'lidar' to 'cam'" in node.why['no_extrinsics']
        buffer.entries = [(None, 0.0)]
        buffer.quaternion = (0.5, -0.5, 0.5, 0.5)  # LiDAR axes to optical axes
        until(lambda: got)
        assert depth(got[0]) == pytest.approx(np.full((24, 32), 5.0), abs=1e-5)
    finally:
        node.trigger_deactivate()
        executor.shutdown()
        node.destroy_node()
        peer.destroy_node()
        rclpy.shutdown(context=context)
