"""Extrinsics at run time; TF through a double that behaves like tf2_ros.Buffer."""

from __future__ import annotations

from types import SimpleNamespace

from builtin_interfaces.msg import Time
from depth_kd_ros.nodes.transforms import MissingTransformError, ParameterExtrinsics, TfExtrinsics
from node_harness import AXES
import numpy as np
import pytest


class LookupException(Exception):  # noqa: N818  (tf2's own name)
    pass


class ConnectivityException(Exception):  # noqa: N818
    pass


class ExtrapolationException(Exception):  # noqa: N818
    pass


ERRORS = SimpleNamespace(
    LookupException=LookupException,
    ConnectivityException=ConnectivityException,
    ExtrapolationException=ExtrapolationException,
)


class Buffer:
    """Hold stamped transforms of one frame pair, as tf2's buffer does; no stamp: static."""

    def __init__(self):
        self.entries = []  # (stamp s or None, x m)

    def lookup_transform(self, target, source, time):
        if (target, source) != ('cam', 'lidar') or not self.entries:
            raise LookupException(f'"{target}" passed to lookupTransform does not exist')
        wanted = time.nanoseconds / 1e9
        stamps = [stamp for stamp, _ in self.entries if stamp is not None]
        if stamps and wanted > max(stamps):
            raise ExtrapolationException('Lookup would require extrapolation into the future')
        stamp, x = min(self.entries, key=lambda e: abs((e[0] or 0) - wanted)) if wanted else self.entries[-1]
        seconds = int(stamp or 0)
        nanosec = round(((stamp or 0) - seconds) * 1e9)
        return SimpleNamespace(
            header=SimpleNamespace(stamp=Time(sec=seconds, nanosec=nanosec)),
            transform=SimpleNamespace(
                translation=SimpleNamespace(x=x, y=0.0, z=0.0),
                rotation=SimpleNamespace(x=0.0, y=0.0, z=1.0, w=0.0),  # half a turn about z
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


def test_parameter_extrinsics():
    T = ParameterExtrinsics(AXES)('any', 'frames', Time())
    assert T @ [3.0, 0, 0, 1] == pytest.approx([0, 0, 3, 1])
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
