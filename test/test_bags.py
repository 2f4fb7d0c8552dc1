"""Bags: topics, messages, extrinsics and frames of recordings that the tests write themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
import shutil
import sqlite3
import tracemalloc
from typing import Any

import box_world
from depth_kd_ros.bags import Bag, BagError, BagFrame
from depth_kd_ros.messages import stamp_ns
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

STORE = get_typestore(Stores.ROS2_JAZZY)
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
INFO, CLOUD, TF = (
    'sensor_msgs/msg/CameraInfo',
    'sensor_msgs/msg/PointCloud2',
    'tf2_msgs/msg/TFMessage',
)
STRING = 'std_msgs/msg/String'
SMALL: dict[str, Any] = {'size': (48, 128), 'beams': 8, 'azimuths': 180}
MS = 10**6


def header(stamp: int, frame: str = 'camera_optical') -> Any:
    time = STORE.types['builtin_interfaces/msg/Time'](stamp // 10**9, stamp % 10**9)
    return STORE.types['std_msgs/msg/Header'](time, frame)


def image(stamp: int, encoding: str = 'bgr8', size: int = 12) -> Any:
    return STORE.types[IMAGE](
        header(stamp), 1, size // 3, encoding, 0, size, np.zeros(size, np.uint8)
    )


def compressed(stamp: int, form: str = 'jpeg') -> Any:
    return STORE.types[COMPRESSED](header(stamp), form, np.zeros(3, np.uint8))


def info(stamp: int, focal: float = 1.0) -> Any:
    K = np.diag([focal, focal, 1.0])
    region = STORE.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    return STORE.types[INFO](
        header(stamp), 1, 4, 'plumb_bob', np.zeros(5), K.ravel(), np.eye(3).ravel(),
        np.zeros(12), 0, 0, region,
    )  # fmt: skip


def cloud(stamp: int) -> Any:
    return STORE.types[CLOUD](
        header(stamp, 'lidar'), 1, 0, [], False, 16, 0, np.zeros(0, np.uint8), True
    )


def static(*rows: tuple[str, str, tuple[float, ...], tuple[float, ...]]) -> Any:
    """Build a TFMessage from (parent, child, xyz, quaternion xyzw)."""
    t = STORE.types
    transforms = [
        t['geometry_msgs/msg/TransformStamped'](
            header(0, parent),
            child,
            t['geometry_msgs/msg/Transform'](
                t['geometry_msgs/msg/Vector3'](*xyz), t['geometry_msgs/msg/Quaternion'](*q)
            ),
        )
        for parent, child, xyz, q in rows
    ]
    return t[TF](transforms)


def write(path: Path, *rows: tuple[str, Any, int], empty: dict[str, str] | None = None) -> Path:
    """Write rows (topic, message, receive time ns); `empty` topics get no message."""
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        types = {topic: message.__msgtype__ for topic, message, _ in rows} | (empty or {})
        topics = {t: bag.add_connection(t, kind, typestore=STORE) for t, kind in types.items()}
        for topic, message, receive_ns in rows:
            bag.write(topics[topic], receive_ns, STORE.serialize_cdr(message, types[topic]))
    return path


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the same six frames of the box world as mcap and as sqlite3."""
    folder = tmp_path_factory.mktemp('world')
    for storage in ('mcap', 'sqlite3'):
        box_world.write(folder / storage, 6, storage, **SMALL)
    return {storage: folder / storage for storage in ('mcap', 'sqlite3')}


@pytest.fixture
def mcap(world: dict[str, Path], tmp_path: Path) -> Path:
    """Give a copy of the mcap bag that a test may damage."""
    return Path(shutil.copytree(world['mcap'], tmp_path / 'copy'))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_topics_are_found_by_type(world: dict[str, Path], storage: str) -> None:
    with Bag(world[storage]) as bag:
        assert {name: (t.type, t.count) for name, t in bag.topics.items()} == {
            '/camera/image_rect_color': (IMAGE, 6),
            '/camera/camera_info': (INFO, 6),
            '/lidar/points': (CLOUD, 6),
            '/tf_static': (TF, 1),
        }
        assert bag.topics['/lidar/points'].offered_qos == ()
        assert bag.topics['/tf_static'].offered_qos[0].durability.name == 'TRANSIENT_LOCAL'
        assert bag.find_topic('image') == '/camera/image_rect_color'
        assert bag.find_topic('points') == '/lidar/points'
        assert bag.find_topic('camera_info') == '/camera/camera_info'
        assert bag.find_topic('points', '/lidar/points') == '/lidar/points'
        assert bag.frame_id('/lidar/points') == 'lidar'
        assert bag.start_ns == box_world.START_NS
        assert bag.end_ns == box_world.START_NS + 530 * MS  # the last image comes 30 ms late


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_frames_pair_by_header_stamps(world: dict[str, Path], storage: str) -> None:
    expected = list(box_world.frames(6, **SMALL))
    with Bag(world[storage]) as bag:
        frames = list(bag.frames())
    assert len(frames) == 6
    for frame, truth in zip(frames, expected, strict=True):
        for message in (frame.image, frame.camera_info, frame.points):
            assert stamp_ns(message.header) == truth.stamp_ns
        assert frame.skew_ns == 0
        assert np.array_equal(frame.image.data, truth.image.ravel())
        assert frame.points.width == len(truth.points)


def test_messages_come_in_receive_order_with_their_bytes(world: dict[str, Path]) -> None:
    topics = ['/camera/image_rect_color', '/lidar/points']
    with Bag(world['mcap']) as bag:
        decoded, raw = list(bag.messages(topics)), list(bag.raw_messages(topics))
        later = list(bag.raw_messages(topics, bag.start_ns + 130 * MS, bag.start_ns + 330 * MS))
    assert [topic for topic, _, _ in decoded] == ['/lidar/points', '/camera/image_rect_color'] * 6
    delay = {'/lidar/points': 10 * MS, '/camera/image_rect_color': 30 * MS}
    for (topic, message, receive_ns), (raw_topic, data, raw_ns) in zip(decoded, raw, strict=True):
        assert (topic, receive_ns) == (raw_topic, raw_ns)
        assert receive_ns - stamp_ns(message.header) == delay[topic]
        assert bytes(STORE.serialize_cdr(message, message.__msgtype__)) == data
    assert [ns - box_world.START_NS for _, _, ns in later] == [
        130 * MS,
        210 * MS,
        230 * MS,
        310 * MS,
    ]


def test_a_storage_file_or_its_metadata_stand_for_the_folder(world: dict[str, Path]) -> None:
    for path in (
        world['mcap'] / 'mcap.mcap',
        world['sqlite3'] / 'sqlite3.db3',
        str(world['mcap']),
        f'{world["mcap"]}/',
    ):
        with Bag(path) as bag:
            assert len(bag.topics) == 4


def test_extrinsics_of_the_box_world(world: dict[str, Path]) -> None:
    with Bag(world['mcap']) as bag:
        T = bag.extrinsics('camera_optical', 'lidar')
        assert np.allclose(T, box_world.T_cam_lidar(), atol=1e-12)
        assert np.allclose(T @ bag.T('lidar', 'camera_optical'), np.eye(4), atol=1e-12)
        assert bag.static_transforms().keys() == {
            ('base_link', 'camera_optical'),
            ('base_link', 'lidar'),
        }


def test_transforms_chain_up_and_down_the_tree(tmp_path: Path) -> None:
    half = 0.5**0.5
    rows = (
        ('base', 'lidar', (1.0, 2.0, 3.0), (0.0, 0.0, half, half)),  # 90 degrees about z
        ('base', 'camera', (1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
        ('/camera', 'optical', (0.0, 0.0, 0.0), (-0.5, 0.5, -0.5, 0.5)),
    )
    messages = [('/tf_static', static(row), 1) for row in rows]  # as three nodes would publish
    repeated = [('/tf_static', static(rows[0]), 2), ('/image', image(0), 3)]
    with Bag(write(tmp_path / 'bag', *messages, *repeated)) as bag:
        point = np.array([1.0, 0.0, 0.0, 1.0])
        assert np.allclose(bag.T('base', 'lidar') @ point, [1, 3, 3, 1])
        assert np.allclose(bag.T('lidar', 'base') @ [1, 3, 3, 1], point)
        # From (1, 3, 3) in base to (0, 3, 3) in camera; optical is (-y, -z, x).
        assert np.allclose(bag.T('optical', 'lidar') @ point, [-3, -3, 0, 1])
        assert np.allclose(bag.extrinsics('/optical', '/lidar') @ point, [-3, -3, 0, 1])
        assert np.allclose(bag.T('lidar', 'optical') @ [-3, -3, 0, 1], point)
        assert np.array_equal(bag.T('radar', 'radar'), np.eye(4))
        with pytest.raises(
            BagError, match=r"'radar'.*not connected.*base, camera, lidar, optical"
        ):
            bag.T('optical', 'radar')


TURNED = (0.0, 0.0, 1.0, 0.0)
UPRIGHT = (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ('rows', 'text'),
    [
        ([('a', 'b', (1, 0, 0), UPRIGHT), ('a', 'b', (1.001, 0, 0), UPRIGHT)], 'given twice'),
        ([('a', 'b', (1, 0, 0), UPRIGHT), ('a', 'b', (1, 0, 0), TURNED)], 'given twice'),
        (
            [('a', 'b', (0, 0, 0), UPRIGHT), ('c', 'b', (0, 0, 0), UPRIGHT)],
            "two parents, 'a' and 'c'",
        ),
        ([('a', 'b', (0, 0, 0), UPRIGHT), ('b', 'a', (0, 0, 0), UPRIGHT)], 'closes a loop'),
        ([('a', 'b', (0, 0, 0), (0, 0, 0, 0))], 'norm'),
    ],
)
def test_contradicting_transforms_are_refused(tmp_path: Path, rows: list[Any], text: str) -> None:
    path = write(tmp_path / 'bag', ('/robot/tf_static', static(*rows), 1))
    with Bag(path) as bag, pytest.raises(BagError, match=f'robot/tf_static.*{text}.*in a file'):
        bag.static_transforms()


def test_no_tf_static(tmp_path: Path) -> None:
    with Bag(write(tmp_path / 'bag', ('/image', image(0), 1))) as bag:
        assert bag.static_transforms() == {}
        with pytest.raises(
            BagError, match=r"'camera' and 'lidar'.*frames: none.*record /tf_static"
        ):
            bag.T('camera', 'lidar')


@pytest.mark.parametrize(
    ('topics', 'chosen'),
    [
        ({'/cam/image': image(0), '/cam/image/compressed': compressed(0)}, '/cam/image'),
        ({'/cam/image/compressed': compressed(0)}, '/cam/image/compressed'),
        ({'/depth/image': image(0, '16UC1'), '/rgb/image': image(0)}, '/rgb/image'),
        ({'/a_depth': image(0, '32FC1'), '/b': compressed(0)}, '/b'),
        ({'/depth/image': image(0, '32FC1')}, '/depth/image'),
        ({'/c/compressedDepth': compressed(0, '16UC1; compressedDepth'), '/c': image(0)}, '/c'),
        ({'/x/compressed': compressed(0, '16UC1; compressedDepth png'), '/y': image(0)}, '/y'),
    ],
)
def test_the_colour_image_is_chosen(tmp_path: Path, topics: dict[str, Any], chosen: str) -> None:
    path = write(tmp_path / 'bag', *((topic, m, 1) for topic, m in topics.items()))
    with Bag(path) as bag:
        assert bag.find_topic('image') == chosen


def test_the_camera_info_beside_the_image_is_chosen(tmp_path: Path) -> None:
    names = ('/left/image_raw', '/left/camera_info', '/right/image_raw', '/right/camera_info')
    rows = [(name, info(0) if name.endswith('info') else image(0), 1) for name in names]
    with Bag(write(tmp_path / 'bag', *rows)) as bag:
        assert bag.find_topic('camera_info', image='/right/image_raw') == '/right/camera_info'
        assert bag.find_topic('camera_info', image='/left/image_raw/compressed') == names[1]
        with pytest.raises(BagError, match=r'/left/image_raw, /right/image_raw.*--image TOPIC'):
            bag.find_topic('image')
        with pytest.raises(BagError, match='--camera-info TOPIC'):
            bag.find_topic('camera_info', image='/top/image_raw')
        with pytest.raises(BagError, match='--image TOPIC'):
            bag.find_topic('camera_info')


def test_errors_about_topics_list_what_there_is(tmp_path: Path) -> None:
    rows = [('/front', cloud(0), 1), ('/rear', cloud(0), 1), ('/image', image(0), 1)]
    path = write(tmp_path / 'bag', *rows, empty={'/silent': INFO})
    with Bag(path) as bag:
        listing = r'topics: .*/front \(sensor_msgs/msg/PointCloud2, 1 messages\)'
        with pytest.raises(BagError, match=f"no topic '/points'; {listing}"):
            bag.find_topic('points', '/points')
        with pytest.raises(BagError, match=f"'/image' holds 1 messages of {IMAGE}.*{CLOUD} is"):
            bag.find_topic('points', '/image')
        with pytest.raises(BagError, match=f"'/silent' holds 0 messages of {INFO}"):
            bag.find_topic('camera_info', '/silent')
        with pytest.raises(BagError, match=f'no messages of type {INFO}.*{listing}'):
            bag.find_topic('camera_info')
        with pytest.raises(BagError, match=r'points topics, /front, /rear: .*--points TOPIC'):
            bag.find_topic('points')
        for read in (bag.messages, bag.raw_messages):
            with pytest.raises(BagError, match=f"bag: no topic '/nowhere'; {listing}"):
                read(['/image', '/nowhere'])
        assert list(bag.messages([])) == []
        with pytest.raises(BagError, match="'/silent' holds no messages; topics"):
            bag.frame_id('/silent')


def pairs(frames: Iterator[BagFrame]) -> list[tuple[int, int, int]]:
    """Give (cloud, image, focal length) in ms, ms and as in CameraInfo."""
    return [
        (
            stamp_ns(f.points.header) // MS,
            stamp_ns(f.image.header) // MS,
            int(f.camera_info.k[0]),
        )
        for f in frames
    ]


def recording(
    path: Path, clouds: list[int], images: list[int], infos: list[tuple[int, int, int]]
) -> Path:
    """Write clouds and images, received at once, and infos (stamp, receive time, focal); ms."""
    rows = [('/points', cloud(t * MS), t * MS) for t in clouds]
    rows += [('/cam/image', image(t * MS), t * MS) for t in images]
    rows += [('/cam/camera_info', info(t * MS, f), r * MS) for t, r, f in infos]
    return write(path, *sorted(rows, key=lambda row: row[2]))


def test_every_cloud_gets_the_nearest_image(tmp_path: Path) -> None:
    images = list(range(1000, 1400, 33))  # 1000, 1033, 1066, 1099, 1132, 1165, 1198, ...
    path = recording(tmp_path / 'bag', [1007, 1107, 1207, 2000], images, [(1000, 1000, 7)])
    with Bag(path) as bag:
        frames = list(bag.frames(slop_s=0.02))
        assert pairs(iter(frames)) == [(1007, 1000, 7), (1107, 1099, 7), (1207, 1198, 7)]
        assert [f.skew_ns for f in frames] == [-7 * MS, -8 * MS, -9 * MS]
        # The camera's clock is 60 ms ahead of the LiDAR's: 1067, 1167, 1267 on the camera's.
        shifted = list(bag.frames(slop_s=0.02, offset_s=0.06))
        assert pairs(iter(shifted)) == [(1007, 1066, 7), (1107, 1165, 7), (1207, 1264, 7)]
        assert [f.skew_ns for f in shifted] == [-1 * MS, -2 * MS, -3 * MS]


def test_nothing_matches(tmp_path: Path) -> None:
    path = recording(tmp_path / 'bag', [1000, 1100], [5040, 5140], [(5000, 5000, 1)])
    text = r'/points.*/cam/image within 0.02 s .*5.040 s, the first cloud 1.000 s.*offset'
    with Bag(path) as bag, pytest.raises(BagError, match=text):
        list(bag.frames(slop_s=0.02))


@pytest.mark.parametrize(
    ('infos', 'focals'),
    [
        ([(1000, 1001, 1), (1100, 1101, 2), (1200, 1201, 3)], [1, 2, 3]),  # just after the image
        ([(1000, 999, 1), (1100, 1099, 2), (1200, 1199, 3)], [1, 2, 3]),  # just before it
        ([(1000, 1150, 1), (1100, 1250, 2), (1200, 1350, 3)], [1, 2, 3]),  # a frame late
        ([(900, 900, 1), (1150, 1150, 2)], [1, 1, 2]),  # now and then
        ([(900, 900, 1)], [1, 1, 1]),  # once
        ([(1190, 1190, 5), (1300, 1300, 6)], [5, 5, 5]),  # only later: the first
        ([(1000, 1000, 1), (1000, 1010, 2), (1100, 1100, 3)], [2, 3, 3]),  # the newest counts
    ],
)
def test_camera_info_of_the_stamp_or_before(
    tmp_path: Path, infos: list[tuple[int, int, int]], focals: list[int]
) -> None:
    stamps = [1000, 1100, 1200]
    with Bag(recording(tmp_path / 'bag', stamps, stamps, infos)) as bag:
        assert [focal for _, _, focal in pairs(bag.frames())] == focals


def test_paths_that_are_no_bag(tmp_path: Path, mcap: Path) -> None:
    with pytest.raises(BagError, match=r'nowhere: no such bag: give a rosbag2 folder'):
        Bag(tmp_path / 'nowhere')
    with pytest.raises(BagError, match=r'not a rosbag2: no .mcap or .db3 file'):
        Bag(tmp_path)
    (tmp_path / 'old.bag').touch()
    with pytest.raises(BagError, match=r'old.bag: a ROS 1 bag: rosbags-convert --src .*old.bag'):
        Bag(tmp_path / 'old.bag')
    (mcap / 'stray.mcap').touch()
    with pytest.raises(BagError, match=r'stray.mcap: not listed in .*metadata.yaml'):
        Bag(mcap / 'stray.mcap')
    (mcap / 'metadata.yaml').unlink()
    for path in (mcap, mcap / 'mcap.mcap'):
        with pytest.raises(BagError, match=f'no metadata.yaml; .*ros2 bag reindex {mcap}$'):
            Bag(path)


def test_a_bag_without_messages(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', empty={'/image': IMAGE})
    with pytest.raises(BagError, match='bag: holds no messages: record it again'), Bag(path):
        pass


@pytest.mark.parametrize('rest', [0, 5, 20, 1000, -1, -8, -30, -4000])
def test_a_truncated_mcap(mcap: Path, rest: int) -> None:
    file = mcap / 'mcap.mcap'
    file.write_bytes(file.read_bytes()[:rest])
    with pytest.raises(BagError, match=r'copy: cannot be opened \(.*mcap recover'), Bag(mcap):
        pass


def test_an_mcap_damaged_in_the_middle(mcap: Path) -> None:
    file = mcap / 'mcap.mcap'
    data = bytearray(file.read_bytes())
    second = data.index(b'lidar\0', data.index(b'lidar\0', data.index(b'bgr8')) + 1)
    data[second - 47 : second - 38] = b'\xff' * 9  # the record's opcode and length
    file.write_bytes(data)
    with Bag(mcap) as bag, pytest.raises(BagError, match='copy: cannot be read further'):
        list(bag.messages(['/lidar/points']))


def test_a_truncated_sqlite3(world: dict[str, Path], tmp_path: Path) -> None:
    path = shutil.copytree(world['sqlite3'], tmp_path / 'copy')
    file = path / 'sqlite3.db3'
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match=r'copy: cannot be (opened|read further)'), Bag(path) as bag:
        list(bag.messages(['/lidar/points']))


def test_a_missing_storage_file(mcap: Path) -> None:
    (mcap / 'mcap.mcap').rename(mcap / 'other.mcap')
    with pytest.raises(BagError, match=r'cannot be opened .*missing.*mcap.mcap'), Bag(mcap):
        pass


def test_bytes_that_are_not_the_message(tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        topic = bag.add_connection('/points', CLOUD, typestore=STORE)
        bag.write(topic, 17, b'\x00\x01\x00\x00\x01\x02\x03')
    text = f'/points, received at 17 ns: not a {CLOUD}'
    with Bag(path) as opened, pytest.raises(BagError, match=text):
        list(opened.messages(['/points']))


def test_a_second_reading_does_not_disturb_the_first(mcap: Path) -> None:
    file = mcap / 'mcap.mcap'
    data = bytearray(file.read_bytes())
    data[-28:-20] = bytes(8)  # the footer's summary_start: no index, as after fastwrite
    file.write_bytes(data)
    with Bag(mcap) as bag:
        stamps = []
        for frame in bag.frames():
            assert bag.extrinsics('camera_optical', 'lidar').shape == (4, 4)
            assert len(list(bag.messages(['/lidar/points']))) == 6
            stamps.append(stamp_ns(frame.points.header))
    assert stamps == [box_world.START_NS + i * 100 * MS for i in range(6)]


def test_a_bag_without_message_definitions(world: dict[str, Path], tmp_path: Path) -> None:
    path = shutil.copytree(world['sqlite3'], tmp_path / 'humble')
    with closing(sqlite3.connect(path / 'sqlite3.db3')) as base:
        base.executescript('UPDATE schema SET schema_version = 3; DROP TABLE message_definitions;')
    with Bag(path) as bag:
        assert len(list(bag.frames())) == 6


def test_a_bag_is_not_held_in_memory(tmp_path: Path) -> None:
    rows = [('/image', image(i * MS, size=2**20), i * MS) for i in range(1, 41)]
    with Bag(write(tmp_path / 'bag', *rows)) as bag:
        tracemalloc.start()
        count = sum(1 for _ in bag.messages(['/image']))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 40
    assert peak < 12 * 2**20


def test_the_kitti_bag(shared_data: Path) -> None:
    with Bag(shared_data / 'kitti_0926_bag') as bag:
        frames = [(f.skew_ns, f.camera_info.width, f.points.width) for f in bag.frames()]
        T = bag.extrinsics('camera_optical', 'velodyne')
        assert bag.find_topic('points') == '/velodyne_points'
    assert len(frames) == 20
    assert {(skew, width) for skew, width, _ in frames} == {(0, 1242)}
    assert all(100_000 < points < 125_000 for _, _, points in frames)
    # The LiDAR sits 8 cm above and 27 cm behind the camera, and looks along its optical axis.
    assert np.allclose(T[:3, 3], [0.06, -0.08, -0.27], atol=0.02)
    assert np.allclose(T[:3, :3] @ [1, 0, 0], [0, 0, 1], atol=0.02)
