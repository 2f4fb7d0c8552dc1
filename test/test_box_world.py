"""The synthetic world that other tests compare with: its LiDAR and its true depth must agree."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys
from typing import Any

import box_world
from depth_kd_ros.bags import Bag
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

SCRIPT = Path(box_world.__file__)


def test_the_lidar_sees_the_surfaces_that_the_camera_sees() -> None:
    frame = list(box_world.frames(3, noise_m=0.0))[2]
    T, K = box_world.T_cam_lidar(), box_world.intrinsics()
    x, y, z = T[:3, :3] @ frame.points.T + T[:3, 3:]
    with np.errstate(divide='ignore', invalid='ignore'):
        u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
    height, width = frame.depth.shape
    inside = (z > 0.5) & (u > 0) & (u < width - 1) & (v > 0) & (v < height - 1)
    depth = frame.depth[np.round(v[inside]).astype(int), np.round(u[inside]).astype(int)]
    error = np.abs(depth - z[inside])
    assert inside.sum() > 4000
    assert np.median(error) < 0.02  # half a pixel beside the ray, on slanted surfaces
    assert np.mean(error < 0.02 * depth + 0.05) > 0.85  # the others are hidden from the camera


def test_depth_of_the_road_is_what_the_geometry_says() -> None:
    depth = next(box_world.frames(1)).depth
    K = box_world.intrinsics()
    v, u = depth.shape[0] - 1, depth.shape[1] // 2
    # A camera 1.5 m above the road that looks down 2 degrees.
    below = np.arctan((v - K[1, 2]) / K[1, 1]) + np.deg2rad(2.0)
    along_ray = 1.5 / np.sin(below)
    assert depth[v, u] == pytest.approx(along_ray * np.cos(below - np.deg2rad(2.0)), rel=1e-6)


def test_frames_depend_on_the_seed_alone() -> None:
    small: dict[str, Any] = {'size': (24, 64), 'beams': 4, 'azimuths': 90}
    first, again, other = (list(box_world.frames(2, seed=s, **small)) for s in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ('image', 'points'))
    assert not np.array_equal(first[0].depth, other[0].depth)
    assert not np.array_equal(first[0].depth, first[1].depth)  # the car moves


def test_ring_and_padding_of_the_cloud(tmp_path: Path) -> None:
    truth = box_world.write(tmp_path / 'bag', 1, size=(24, 64), beams=16, azimuths=90)
    assert truth.shape == (1, 24, 64)
    with AnyReader([tmp_path / 'bag']) as reader:
        topic = next(c for c in reader.connections if c.topic == '/lidar/points')
        _, _, data = next(reader.messages([topic]))
        cloud: Any = reader.deserialize(data, topic.msgtype)
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 16, 7), ('ring', 20, 4),
    ]  # fmt: skip
    assert (cloud.point_step, cloud.row_step) == (32, 32 * cloud.width)
    rows = cloud.data.reshape(-1, 32)
    x, y, z = np.ascontiguousarray(rows[:, :12]).view('<f4').T
    ring = np.ascontiguousarray(rows[:, 20:22]).view('<u2').ravel()
    elevation = np.rad2deg(np.arctan2(z, np.hypot(x, y)))
    assert np.allclose(elevation, -24 + 32 / 15 * ring, atol=1e-3)


def test_it_runs_as_a_script(tmp_path: Path) -> None:
    out, truth = tmp_path / 'bag', tmp_path / 'truth'
    command = [sys.executable, str(SCRIPT), str(out), '--frames', '2', '--storage', 'sqlite3']
    command += ['--size', '24x64', '--beams', '4', '--truth', str(truth)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '2 frames of 24x64, 4 beams, sqlite3' in done.stdout
    assert np.load(truth / '000001.npy').shape == (24, 64)
    with Bag(out) as bag:
        assert len(list(bag.frames())) == 2
