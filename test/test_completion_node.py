"""The real node in its own process: what it publishes, survives and counts."""

from __future__ import annotations

import itertools
import time

from depth_kd_ros.messages import stamp_ns
from node_harness import AXES, cloud_message, Harness, image_message, info_message, wall
import numpy as np
import pytest

SETTINGS = {
    'model': 'nearest', 'device': 'cpu', 'extrinsics.source': 'parameter',
    'extrinsics.T_cam_lidar': AXES,
}  # fmt: skip
ALL = ('depth', 'camera_info', 'sparse', 'color', 'points')


@pytest.fixture(scope='module')
def harness(tmp_path_factory):
    with Harness(tmp_path_factory.mktemp('node') / 'log', ALL, **SETTINGS) as running:
        stamps = itertools.count(1)

        def arrived():  # DDS matches each direction by itself: the first messages may be lost
            send_good(running, next(stamps) * 10**8)
            return running.depth

        running.until(arrived)
        yield running


def send_good(harness, stamp, **changes):
    messages = {
        'image': image_message(stamp),
        'info': info_message(stamp),
        'cloud': cloud_message(stamp, wall()),
    }
    harness.send(**(messages | changes))


def test_depth_of_a_wall_with_stamp_and_frame_of_its_image(harness):
    stamp = 50_000_000_001
    send_good(harness, stamp)
    harness.until(
        lambda: all(m and stamp_ns(m[-1].header) == stamp for m in harness.received.values())
    )
    for name in ALL:
        header = harness.received[name][-1].header
        assert (stamp_ns(header), header.frame_id) == (stamp, 'camera_optical'), name
    assert harness.depth[stamp] == pytest.approx(np.full((24, 32), 5.0))
    info = harness.received['camera_info'][-1]
    assert (info.k[0], info.k[2], info.width) == (20.0, 15.5, 32)
    cloud = harness.received['points'][-1]
    assert cloud.width == 12 * 16  # every second pixel of 24 x 32
    xyz = np.frombuffer(cloud.data, '<f4').reshape(-1, 4)[:, :3]
    assert xyz[0] == pytest.approx([-15.5 / 20 * 5, -11.5 / 20 * 5, 5.0])


def bad(stamp):
    """List what a driver may get wrong: the message, and the reason the node counts."""
    unknown, short, grown = (
        image_message(stamp),
        image_message(stamp),
        image_message(stamp, (48, 32)),
    )
    unknown.encoding = 'bayer_rggb8'
    short.data = short.data[:100]
    zeros = info_message(stamp)
    zeros.k, zeros.p = [0.0] * 9, [0.0] * 12
    return [
        ('unknown encoding', {'image': unknown}, 'bad_message', 'bayer_rggb8'),
        ('data too short', {'image': short}, 'bad_message', 'shorter than step'),
        ('size unlike CameraInfo', {'image': grown}, 'bad_message', 'its CameraInfo says 24x32'),
        (
            'no x y z',
            {'cloud': cloud_message(stamp, wall(), 'abc')},
            'bad_message',
            'no field x, y, z',
        ),
        ('empty cloud', {'cloud': cloud_message(stamp, wall()[:0])}, 'no_points', 'empty cloud'),
        ('all behind', {'cloud': cloud_message(stamp, -wall())}, 'no_points', 'falls into the'),
        ('NaN', {'cloud': cloud_message(stamp, wall() * np.nan)}, 'no_points', 'falls into the'),
        ('CameraInfo of zeros', {'info': zeros}, 'bad_message', 'P is all zeros'),
    ]


def send_until(harness, done, stamp, **message):
    """
    Send an instant until `done`, again only after long: topics have no order among each other.

    So a changed CameraInfo may come after the pair that it was sent with.
    """
    again = [time.monotonic()]
    stamps = itertools.count(stamp, 10**8)

    def check():
        if done():
            return True
        if time.monotonic() >= again[0]:
            again[0] = time.monotonic() + 5
            now = next(stamps)
            send_good(harness, now, **{name: restamped(m, now) for name, m in message.items()})
        return False

    harness.until(check)


def restamped(message, stamp):
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    return message


@pytest.mark.parametrize('case', range(8), ids=[entry[0] for entry in bad(0)])
def test_bad_message_is_counted_with_its_reason_and_survived(harness, case):
    stamp = (100 + 10 * case) * 10**9
    _, message, reason, text = bad(stamp)[case]
    before = harness.count('dropped', reason)
    send_until(harness, lambda: harness.count('dropped', reason) > before, stamp, **message)
    assert text in harness.health['why_dropped'][reason]
    good = stamp + 5 * 10**9
    send_until(harness, lambda: max(harness.depth) >= good, good)
    if 'info' not in message:
        assert not [each for each in harness.depth if stamp <= each < good]
