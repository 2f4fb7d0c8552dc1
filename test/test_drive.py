"""Simulated drives and their recordings, read back as those of a robot."""

from __future__ import annotations

import math

from depth_kd_ros import clouds, messages
from depth_kd_ros.bags import Bag, BagError
from depth_kd_ros.messages import stamp_ns
from depth_kd_ros.projection import sparse_depth
from depth_kd_training.simulation import bag, drive, scene
from depth_kd_training.simulation.bag import quaternion
from depth_kd_training.simulation.drive import Drive, Stop
from depth_kd_training.simulation.frame import render
from depth_kd_training.simulation.lidar_models import find
from depth_kd_training.simulation.scene import Config, place
from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.world import CLASSES, Solid, WorldBuilder
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import torch

CONFIG = Config('street', (64, 96), 'vlp16', randomised=0.0)
ELEVATION = np.linspace(-15, 15, 16)  # deg, of a VLP-16's rings from the lowest up


def shots_of(plan):
    return [plan.shot(stop) for stop in plan.stops()]


def instants(shots):
    return [bag.Instant.of(shot.frame, shot.scan) for shot in shots]


@pytest.fixture(scope='module')
def street():
    """Take three frames of a street."""
    plan = Drive(CONFIG, 2, 3)
    return plan, shots_of(plan)


@pytest.fixture(scope='module')
def recording(street, tmp_path_factory):
    plan, shots = street
    path = tmp_path_factory.mktemp('drive') / 'bag'
    assert bag.write(path, plan.scene(0).rig, 'vlp16', instants(shots)) == 3
    with Bag(path) as found:
        yield found


def test_frames_come_back_a_tenth_of_a_second_apart(street, recording):
    _, shots = street
    frames = list(recording.frames())
    assert len(frames) == 3
    stamps = [stamp_ns(found.image.header) for found in frames]
    assert np.diff(stamps).tolist() == [100_000_000] * 2
    for found, shot, stamp in zip(frames, shots, stamps, strict=True):
        assert stamp_ns(found.points.header) == stamp_ns(found.camera_info.header) == stamp
        assert found.skew_ns == 0
        np.testing.assert_array_equal(messages.rgb(found.image), shot.frame.image)
        for rectified in (True, False):
            camera = messages.camera(found.camera_info, rectified)
            np.testing.assert_array_equal(camera.K, shot.frame.K)
            assert camera.size == (64, 96)
    topics = {name: info.type for name, info in recording.topics.items()}
    assert topics == {
        '/tf_static': 'tf2_msgs/msg/TFMessage',
        '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
        '/camera/image_rect_color': 'sensor_msgs/msg/Image',
        '/lidar/points': 'sensor_msgs/msg/PointCloud2',
    }  # fmt: skip


def test_extrinsics_are_the_rig_s(street, recording):
    rig = street[0].scene(0).rig
    points, image = (recording.frame_id(recording.find_topic(k)) for k in ('points', 'image'))
    T = recording.extrinsics(image, points)
    np.testing.assert_allclose(T, rig.T_cam_lidar, atol=1e-6)
    np.testing.assert_allclose(recording.T('base_link', image), rig.T_base_cam, atol=1e-6)
    np.testing.assert_allclose(recording.T('base_link', points), rig.T_base_lidar, atol=1e-6)


def test_ring_0_is_the_lowest_beam(recording):
    for found in recording.frames():
        points = clouds.points(found.points)
        x, y, z = points.xyz.astype(float).T
        elevation = np.rad2deg(np.arctan2(z, np.hypot(x, y)))
        np.testing.assert_allclose(elevation, ELEVATION[points.ring], atol=1e-3)
        assert set(points.ring) >= set(range(8))
        azimuth = np.arctan2(y, x)
        assert azimuth.min() < -3 and azimuth.max() > 3  # a whole turn


def test_points_come_in_the_order_of_their_time(recording):
    """A spinning LiDAR looks along +x at the stamp, and turns clockwise once in 0.1 s."""
    cloud = next(iter(recording.frames())).points
    names = {field.name: field.offset for field in cloud.fields}
    assert list(names) == ['x', 'y', 'z', 'intensity', 'ring', 'time'] and cloud.point_step == 32
    floats = np.frombuffer(cloud.data, '<f4').reshape(-1, 8)
    assert cloud.width == len(floats) > 5000 and cloud.height == 1
    time, intensity = floats[:, names['time'] // 4], floats[:, names['intensity'] // 4]
    assert (np.diff(time) >= 0).all() and -0.051 < time[0] < -0.04 and 0.04 < time[-1] < 0.051
    azimuth = np.arctan2(floats[:, 1], floats[:, 0])
    np.testing.assert_allclose(azimuth, -time * 2 * math.pi / 0.1, atol=1e-3)
    assert 0 <= intensity.min() < intensity.max() <= 255 and intensity.max() > 30


def test_the_recorded_cloud_gives_the_sparse_depth_of_the_frames(street, recording):
    plan, shots = street
    T = recording.extrinsics('camera_optical', 'lidar')
    for found, shot, stop in zip(recording.frames(), shots, plan.stops(), strict=True):
        camera = messages.camera(found.camera_info, rectified=True)
        cloud = clouds.points(found.points)
        again = sparse_depth(torch.from_numpy(cloud.xyz), T, camera)
        depth = again.depth.numpy()
        written = shot.frame.sparse_depth
        assert (written > 0).sum() > 200
        assert ((depth > 0) == (written > 0)).mean() > 0.999  # pixels' borders may be rounded
        both = (depth > 0) & (written > 0)
        assert (np.abs(depth - written)[both] < 1e-4).mean() > 0.999
        rings = 15 - cloud.ring[again.index.numpy()[both]]  # a frame counts from the top
        assert (rings == shot.frame.ring[both]).mean() > 0.999
        # As a single picture of the same moment, which scans no more than it sees.
        part = render([plan.scene(0)], [stop.along], seconds=stop.seconds)[0]
        single = part.frame.sparse_depth
        both = (depth > 0) & (single > 0)
        assert both.sum() > 0.9 * (single > 0).sum()
        assert np.median(np.abs(depth - single)[both]) < 0.1
        assert len(part.scan.points) < 0.6 * len(shot.scan.points)


def test_the_platform_moves_on_by_its_speed(street, monkeypatch):
    """At 5 m/s a wall 30 m ahead is 0.5 m nearer in the next frame, for camera and LiDAR."""
    plan, _ = street
    stops = plan.stops()
    assert [stop.seconds for stop in stops] == [0, 0.1, 0.2]
    at = [place(plan.scene(0).builder, stop.along)[:2, 3] for stop in stops]
    np.testing.assert_allclose(np.linalg.norm(np.diff(at, axis=0), axis=1), 0.5, atol=0.01)

    wall = Solid(Kind.FRUSTUM, (31, 0, 0), (1, 90, 90), 'wall')
    path = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (9.0, 0.0, 0.0)]  # poses 1 m and 8 m apart
    monkeypatch.setitem(scene.WORLDS, 'street', lambda rng: WorldBuilder([wall], path))
    shots = shots_of(Drive(Config('street', (64, 96), 'os1_64', 'kitti', 0.0), 0, 4))
    first = shots[0].frame.depth_gt
    on_wall = shots[0].frame.semantic == CLASSES.index('wall')
    assert on_wall.sum() > 1000
    for number, shot in enumerate(shots):
        ratio = shot.frame.depth_gt[on_wall] / first[on_wall]
        np.testing.assert_allclose(ratio, (30 - 0.5 * number) / 30, rtol=1e-5)
        ahead = (shot.scan.time_s.abs() < 0.003) & (shot.scan.solid == 0)
        x = shot.scan.points[ahead, 0].mean()  # the LiDAR is 0.27 m behind the platform's origin
        assert ahead.sum() > 300 and x == pytest.approx(30.27 - 0.5 * number, abs=0.01)
        early = (shot.scan.time_s < -0.01) & (shot.scan.solid == 0) & (shot.scan.time_s > -0.015)
        moved = (shot.scan.points[early, 0] - x).mean()
        assert moved == pytest.approx(0.0125 * 5, abs=0.01)  # seen earlier, from farther away


def short(rng):
    return WorldBuilder(path=[(0.0, 0.0, 0.0), (0.6, 0.8, 0.1)])


def test_where_a_path_ends_the_next_world_begins(monkeypatch):
    """A path of 1 m is driven in 0.2 s: three frames."""
    monkeypatch.setitem(scene.WORLDS, 'street', short)
    stops = Drive(CONFIG, 0, 8).stops()
    assert [stop.world for stop in stops] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [stop.seconds for stop in stops[:4]] == [0, 0.1, 0.2, 0]
    np.testing.assert_allclose([stop.along for stop in stops[:4]], [0, 0.5, 1, 0])
    assert Drive(CONFIG, 0, 1).stops() == [Stop(0, 0.0, 0.0)]


def test_one_rig_and_sensor_drive_through_all_worlds():
    plan = Drive(Config('mixed', (64, 96)), 4, 1)
    first, *others = (plan.scene(world) for world in range(8))
    assert {other.builder.indoor for other in others} == {first.builder.indoor}
    for other in others:
        assert other.sensor == first.sensor
        for key in ('K', 'T_base_cam', 'T_base_lidar'):
            np.testing.assert_array_equal(getattr(other.rig, key), getattr(first.rig, key))
        assert other.rig.speed == (
            drive.INDOOR_SPEED_M_S if other.builder.indoor else drive.SPEED_M_S
        )
    assert plan.scene(1).builder.solids != plan.scene(2).builder.solids


def test_a_drive_is_its_seed_s():
    first, again, other = (shots_of(Drive(CONFIG, seed, 1))[0] for seed in (2, 2, 3))
    np.testing.assert_array_equal(first.frame.image, again.frame.image)
    assert torch.equal(first.scan.points, again.scan.points)
    assert first.frame.image.tobytes() != other.frame.image.tobytes()


def test_frames_have_their_own_noise(street):
    """Between two frames of a scene that stands still only the noise is new."""
    plan, _ = street
    scene_ = plan.scene(0)._replace(builder=WorldBuilder())
    first, second = (render([scene_], [0.0], seconds=s)[0] for s in (0.0, 0.1))
    assert np.array_equal(first.frame.depth_gt, second.frame.depth_gt)
    assert (first.frame.image != second.frame.image).mean() > 0.1
    assert not torch.equal(first.scan.points, second.scan.points)


def test_a_drive_without_lidar_records_the_camera(tmp_path):
    plan = Drive(Config('indoor', (32, 48), 'none'), 0, 1)
    bag.write(tmp_path / 'bag', plan.scene(0).rig, 'none', instants(shots_of(plan)))
    with Bag(tmp_path / 'bag') as found:
        assert found.topics['/camera/image_rect_color'].count == 1
        assert '/lidar/points' not in found.topics
        with pytest.raises(BagError, match='no messages of type sensor_msgs/msg/PointCloud2'):
            found.find_topic('points')


def test_sqlite3_and_paths_that_exist(street, tmp_path):
    plan, shots = street
    rig, taken = plan.scene(0).rig, instants(shots[:1])
    assert bag.write(tmp_path / 'bag', rig, 'vlp16', taken, 'sqlite3') == 1
    assert list((tmp_path / 'bag').glob('*.db3'))
    with Bag(tmp_path / 'bag') as found:
        assert len(list(found.frames())) == 1
    with pytest.raises(BagError, match='exists already: choose another name'):
        bag.write(tmp_path / 'bag', rig, 'vlp16', taken)
    with pytest.raises(BagError, match="storage 'tape': choose one of mcap, sqlite3"):
        bag.write(tmp_path / 'other', rig, 'vlp16', taken, 'tape')


def test_a_quaternion_by_hand():
    """A quarter turn to the left: w = z = cos 45 deg; half a turn about x: x = 1."""
    half = math.sqrt(0.5)
    turned = quaternion(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(turned, [0, 0, half, half], atol=1e-12)
    np.testing.assert_allclose(quaternion(np.eye(3)), [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(np.abs(quaternion(np.diag([1.0, -1, -1]))), [1, 0, 0, 0], atol=1e-9)


def test_quaternions_as_scipy_s():
    for rotation in Rotation.random(200, random_state=0):
        x, y, z, w = quaternion(rotation.as_matrix())
        assert w >= 0
        np.testing.assert_allclose([x, y, z, w], rotation.as_quat(canonical=True), atol=1e-9)


def test_beams_of_the_lidar_are_the_table_s():
    assert np.allclose(find('vlp16').elevation_deg, ELEVATION[::-1], atol=1e-4)
