"""The optional ROS packages: the official ones where installed, and stand-ins for two."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

from builtin_interfaces.msg import Time
from depth_kd_ros import clouds, messages
from depth_kd_ros.messages import MessageError
from depth_kd_ros.nodes.decoding import decoder
from depth_kd_ros.nodes.filters import FilterMatcher
from depth_kd_ros.nodes.transforms import MissingTransformError, TfExtrinsics
from node_rig import Rig
import numpy as np
import pytest
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

ABSENT = 'the ROS package {} is not installed (it is not on PyPI)'
S = 10**9


class SimpleFilter:
    """Stand in for message_filters.SimpleFilter."""

    def __init__(self):
        self.callbacks = []

    def registerCallback(self, callback, *given):  # noqa: N802  (the package's own name)
        self.callbacks.append((callback, given))

    def signalMessage(self, *message):  # noqa: N802
        for callback, given in self.callbacks:
            callback(*message, *given)


class ApproximateTimeSynchronizer(SimpleFilter):
    """Stand in for the official one: the first pair less than `slop` seconds apart."""

    def __init__(self, fs, queue_size, slop):
        super().__init__()
        self.queues, self.queue_size, self.slop_ns = ({}, {}), queue_size, round(slop * 1e9)
        for index, each in enumerate(fs):
            each.registerCallback(self.add, index)

    def add(self, message, index):
        stamp = messages.stamp_ns(message.header)
        mine, other = self.queues[index], self.queues[1 - index]
        mine[stamp] = message
        while len(mine) > self.queue_size:
            del mine[min(mine)]
        gap, found = min(((abs(each - stamp), each) for each in other), default=(S, 0))
        if gap < self.slop_ns:
            pair = mine.pop(stamp), other.pop(found)
            self.signalMessage(*(pair if index == 0 else pair[::-1]))


class TimeSynchronizer(ApproximateTimeSynchronizer):
    """Stand in for the official one: equal stamps."""

    def __init__(self, fs, queue_size):
        super().__init__(fs, queue_size, 1e-9)


@pytest.fixture(params=['stand-in', 'real'])
def filters(request, monkeypatch):
    """Make message_filters importable: a stand-in, and the real one where it is installed."""
    name = 'message_filters'
    if request.param == 'real':
        return pytest.importorskip(name, reason=ABSENT.format(name))
    module = ModuleType(name)
    for kind in (SimpleFilter, TimeSynchronizer, ApproximateTimeSynchronizer):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def item(stamp_ns, name=''):
    stamp = Time(sec=stamp_ns // S, nanosec=stamp_ns % S)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), name=name)


def feed(matcher, cloud_ns=None, image_ns=None):
    """Add a cloud, then an image, and give the pairs."""
    pairs = []
    if cloud_ns is not None:
        pairs += matcher.add_reference(cloud_ns, item(cloud_ns, 'cloud'), 0.0)
    if image_ns is not None:
        pairs += matcher.add_partner(image_ns, item(image_ns, 'image'), 0.0)
    return pairs


def test_approximate_pairs_within_slop(filters):
    matcher = FilterMatcher('approximate', 0.05, 10)
    assert feed(matcher, cloud_ns=S) == []
    assert feed(matcher, image_ns=S + 60_000_000) == []  # too far
    (pair,) = feed(matcher, image_ns=S + 20_000_000)
    assert (pair.reference.name, pair.partner.name) == ('cloud', 'image')
    assert (pair.reference_ns, pair.partner_ns, pair.skew_ns) == (S, S + 20_000_000, 20_000_000)
    (pair,) = feed(matcher, cloud_ns=S + 50_000_000)  # the image that was too far waits for it
    assert (pair.partner_ns, pair.skew_ns) == (S + 60_000_000, 10_000_000)
    assert matcher.poll(1e9) == [] and matcher.counters == {}


def test_exact_pairs_equal_stamps_only(filters):
    matcher = FilterMatcher('exact', 0.05, 10)
    assert feed(matcher, cloud_ns=S, image_ns=S + 1) == []
    (pair,) = feed(matcher, image_ns=S)
    assert (pair.reference_ns, pair.partner_ns, pair.skew_ns) == (S, S, 0)


@pytest.mark.parametrize('policy', ['approximate', 'exact'])
def test_queue_size_is_kept(filters, policy):
    matcher = FilterMatcher(policy, 0.05, 3)
    for step in range(4):
        assert feed(matcher, cloud_ns=(1 + step) * S) == []
    assert feed(matcher, image_ns=S) == []  # its cloud was pushed out
    assert len(feed(matcher, image_ns=2 * S)) == 1


@pytest.mark.parametrize('policy', ['approximate', 'exact'])
def test_jump_back_starts_anew_and_loses_nothing_of_the_new_pass(filters, policy):
    matcher = FilterMatcher(policy, 0.05, 3)
    for step in range(5):  # clouds of the first pass wait in vain and fill the queue
        feed(matcher, cloud_ns=(100 + step) * S)
    matched = [len(feed(matcher, cloud_ns=k * S, image_ns=k * S)) for k in range(1, 6)]
    assert matched == [1] * 5
    assert feed(matcher, image_ns=104 * S) == []  # the old pass is forgotten


def test_reset_forgets_what_waits(filters):
    matcher = FilterMatcher('approximate', 0.05, 10)
    feed(matcher, cloud_ns=S)
    matcher.reset()
    assert feed(matcher, image_ns=S) == []
    assert len(feed(matcher, cloud_ns=S)) == 1


def test_exception_of_the_consumer_does_not_get_into_the_synchroniser(filters):
    """The official one keeps its lock when its callback raises, and hangs at the next message."""
    matcher = FilterMatcher('exact', 0.05, 10)

    def consume(pairs):
        if pairs:
            raise RuntimeError('consumer')

    with pytest.raises(RuntimeError, match='consumer'):
        consume(feed(matcher, cloud_ns=S, image_ns=S))
    assert len(feed(matcher, cloud_ns=2 * S, image_ns=2 * S)) == 1


@pytest.mark.parametrize('policy', ['approximate', 'exact'])
def test_node_matches_by_message_filters(filters, policy):
    with Rig(settings={'sync.policy': policy}) as run:
        assert run.depth(run.flow()) == pytest.approx(np.full((24, 32), 5.0))


def bayer(colour):
    """Build a bayer_rggb8 image of one colour."""
    tile = np.array([[colour[0], colour[1]], [colour[1], colour[2]]], np.uint8)
    values = np.tile(tile, (12, 16))  # (24, 32)
    message = Image(height=24, width=32, encoding='bayer_rggb8', step=32)
    message.data = messages.buffer(values, Image)
    return message


def test_bayer_image_through_cv_bridge():
    pytest.importorskip('cv_bridge', reason=ABSENT.format('cv_bridge'))
    rgb = messages.rgb(bayer((200, 100, 50)), decoder())
    assert rgb.shape == (24, 32, 3) and rgb.dtype == np.uint8
    assert (rgb[2:-2, 2:-2] == (200, 100, 50)).all()
    unknown = bayer((1, 1, 1))
    unknown.encoding = 'nonsense'
    with pytest.raises(MessageError, match="encoding 'nonsense': cv_bridge cannot decode it"):
        messages.rgb(unknown, decoder())


def test_decoder_asks_cv_bridge_for_rgb_and_names_what_it_cannot_decode(monkeypatch):
    class CvBridgeError(TypeError):
        pass

    class CvBridge:
        def imgmsg_to_cv2(self, message, desired_encoding):
            if message.encoding != 'bayer_rggb8':
                raise CvBridgeError(f'[{message.encoding}] is not a color format')
            assert desired_encoding == 'rgb8'
            return np.full((message.height, message.width, 3), 7, np.uint8)

    module = ModuleType('cv_bridge')
    module.CvBridge, module.CvBridgeError = CvBridge, CvBridgeError
    monkeypatch.setitem(sys.modules, 'cv_bridge', module)
    message = bayer((1, 2, 3))
    assert messages.rgb(message, decoder()).tolist() == np.full((24, 32, 3), 7).tolist()
    message.encoding = 'yuv999'
    with pytest.raises(MessageError, match=r"'yuv999': cv_bridge cannot decode it: \[yuv999\]"):
        messages.rgb(message, decoder())
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    assert decoder() is None


def test_static_transform_through_the_real_tf_buffer():
    tf2_ros = pytest.importorskip('tf2_ros', reason=ABSENT.format('tf2_ros'))
    from geometry_msgs.msg import TransformStamped

    buffer = tf2_ros.Buffer()
    extrinsics = TfExtrinsics(buffer, tf2_ros)
    with pytest.raises(MissingTransformError, match="from 'lidar' to 'camera' in TF"):
        extrinsics('camera', 'lidar', Time(sec=5))
    lidar = TransformStamped()  # at (1, 2, 3) m in the camera's frame, half a turn about z
    lidar.header.frame_id, lidar.child_frame_id = 'camera', 'lidar'
    place, turn = lidar.transform.translation, lidar.transform.rotation
    (place.x, place.y, place.z), (turn.z, turn.w) = (1.0, 2.0, 3.0), (1.0, 0.0)
    buffer.set_transform_static(lidar, 'test')
    for _ in range(2):
        T = extrinsics('camera', 'lidar', Time(sec=5))
        assert T @ [1, 1, 1, 1] == pytest.approx([0, 1, 4, 1])
        extrinsics.reset()  # static transforms stay


@pytest.mark.parametrize('is_bigendian', [False, True])
def test_points_equal_those_of_sensor_msgs_py(is_bigendian):
    point_cloud2 = pytest.importorskip(
        'sensor_msgs_py.point_cloud2', reason=ABSENT.format('sensor_msgs_py')
    )
    layout = [('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 16, 7), ('ring', 20, 4)]
    fields = [PointField(name=n, offset=o, datatype=t, count=1) for n, o, t in layout]
    dtype = point_cloud2.dtype_from_fields(fields, point_step=32)
    values = np.zeros(50, dtype)
    rng = np.random.default_rng(0)
    for name in 'xyz':
        values[name] = rng.normal(0, 20, 50)
    values['ring'] = rng.integers(0, 64, 50)
    values['y'][7] = np.nan
    cloud = PointCloud2(header=Header(frame_id='lidar'), height=1, width=50, fields=fields)
    cloud.point_step, cloud.row_step, cloud.is_bigendian = 32, 1600, is_bigendian
    cloud.data = messages.buffer(values.byteswap() if is_bigendian else values, PointCloud2)
    ours = clouds.points(cloud)  # first: theirs swaps the bytes in place
    theirs = point_cloud2.read_points(cloud, ['x', 'y', 'z', 'ring'], skip_nans=True)
    assert len(ours.xyz) == len(theirs) == 49
    for axis, name in enumerate('xyz'):
        assert (ours.xyz[:, axis] == theirs[name]).all()
    assert (ours.ring == theirs['ring']).all()
