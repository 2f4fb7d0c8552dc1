"""Rates, gaps and skew of stamps worked out by hand; headers read from bytes."""

from __future__ import annotations

import struct

from depth_kd_ros.bag_check.headers import Stream
from depth_kd_ros.bag_check.timing import nearest, rhythm, skew
import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores

MS = 10**6


def ns(*milliseconds: float) -> np.ndarray:
    return np.array([round(m * MS) for m in milliseconds], np.int64)


def test_a_regular_stream() -> None:
    found = rhythm(ns(0, 50, 100, 150), ns(7, 57, 107, 157))
    assert (found.count, found.lost, found.gaps_s) == (4, 0, ())
    assert found.hz == pytest.approx(20)
    assert found.jitter_s == pytest.approx(0, abs=1e-12)
    assert found.delay_s == pytest.approx(0.007)


def test_gaps_the_longest_first() -> None:
    # 100 ms apart, but 200 after 100 and 500 after 500: 1 and 4 messages are missing.
    found = rhythm(stamps := ns(0, 100, 300, 400, 500, 1000, 1100, 1200), stamps)
    assert np.allclose(found.gaps_s, [(0.5, 0.5), (0.1, 0.2)])
    assert found.lost == 5
    assert found.lost_share == pytest.approx(5 / 13)


def test_stamps_repeated_and_backwards() -> None:
    found = rhythm(stamps := ns(0, 100, 100, 200, 0, 300), stamps)
    assert (found.repeated, found.backwards, found.lost) == (2, 1, 0)


def test_one_message_has_no_rate() -> None:
    assert rhythm(ns(5), ns(5)).hz == 0


def test_the_nearest_image() -> None:
    assert nearest(ns(0, 33, 66), ns(-9, 16, 17, 60, 99)).tolist() == [0, 0, 1, 2, 2]
    assert nearest(ns(5), ns(0, 9)).tolist() == [0, 0]


def test_skew_is_image_minus_cloud_and_offset() -> None:
    clouds, images = ns(0, 100, 200, 300), ns(12, 112, 212, 400)
    found = skew(clouds, images, slop_s=0.05, offset_s=0.0)
    assert found.median_s == pytest.approx(0.012)
    assert found.largest_s == pytest.approx(0.088)  # 212 - 300, not 400 - 300
    assert (found.matched, found.matched_share) == (3, 0.75)


def test_the_offset_is_added_to_clouds() -> None:
    found = skew(ns(80, 180, 280), ns(0, 100, 200), slop_s=0.01, offset_s=-0.08)
    assert (found.median_s, found.matched) == (0, 3)


@pytest.mark.parametrize('name', ['', 'a', 'abc', 'camera_optical'])
def test_headers_are_read_from_bytes(name: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    t, kind = store.types, 'sensor_msgs/msg/Image'
    header = t['std_msgs/msg/Header'](t['builtin_interfaces/msg/Time'](17, 5), name)
    image = t[kind](header, 375, 1242, 'mono8', 0, 1242, np.zeros(9, np.uint8))
    size = len(name) + 1
    swapped = struct.pack('>4xiII', 17, 5, size) + name.encode() + bytes(1 + -size % 4)
    swapped += struct.pack('>2I', 375, 1242)
    for data in (bytes(store.serialize_cdr(image, kind)), swapped):
        stream = Stream('/image', kind)
        stream.add(data, 99)
        assert stream.stamps == [17 * 10**9 + 5] and stream.received == [99]
        assert stream.frame_ids == {name: 1} and stream.sizes == {(375, 1242): 1}
    for cut in (3, 9, 15):
        with pytest.raises((struct.error, IndexError)):
            Stream('/image', kind).add(data[:cut], 99)
