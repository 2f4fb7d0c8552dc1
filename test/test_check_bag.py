"""`depth_kd check-bag` on real bags, damaged copies and simulated drives."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
from typing import Any

import bag_copies
import box_world
from depth_kd_ros.bag_check.faults import WEIGHTS
from depth_kd_ros.bag_writer import BagWriter
from depth_kd_ros.bags import Bag
from depth_kd_ros.cli import app
from depth_kd_ros.messages import stamp_ns
from depth_kd_training.simulation.production import write_bag
from depth_kd_training.simulation.scene import Config
import numpy as np
import pytest
from rosbags.interfaces import Qos, QosReliability
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from typer.testing import CliRunner
import yaml

CAMERA, INFO, CLOUDS = '/camera/image_rect_color', '/camera/camera_info', '/velodyne_points'
LIDAR = '/lidar/points'
SMALL = {'size': (48, 128), 'beams': 8, 'azimuths': 180}


def run(bag: Path, *words: object) -> tuple[int, str]:
    """Run the command and give exit code and everything printed, in one line."""
    result = CliRunner().invoke(app, ['check-bag', str(bag), *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, ' '.join(result.output.split())


def checked(bag: Path, out: Path, *words: object) -> tuple[int, str, dict]:
    """Run with --out; give exit code, text and report."""
    code, text = run(bag, '--out', out, *words)
    return code, text, json.loads((out / 'report.json').read_text())


def faults(report: dict) -> dict[str, dict]:
    return {fault['name']: fault for fault in report['faults']}


@pytest.fixture(scope='module')
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six small frames whose edges are too few to align by."""
    path = tmp_path_factory.mktemp('still') / 'bag'
    box_world.write(path, 6, **SMALL)
    return path


@pytest.fixture(scope='module')
def kitti(shared_data: Path) -> Path:
    return shared_data / 'kitti_0926_bag'


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulate 1 s at 5 m/s through a street."""
    path = tmp_path_factory.mktemp('drive') / 'bag'
    config = Config('street', (160, 400), 'hdl64e', 'kitti', 0.0)
    write_bag(config, 31, 10, path, 0, 'mcap', lambda: None)
    return path


def test_the_kitti_bag_is_good(kitti: Path, tmp_path: Path) -> None:
    code, text, report = checked(kitti, tmp_path / 'out', '--frames', 8)
    assert code == 0 and text.count('usable') == 1 and 'not usable' not in text
    assert report['usable'] and report['faults'] == []
    assert 'alignment good: score' in text
    assert 'median +0.0 ms' in text and '100% of the clouds matched' in text
    assert {name: round(s['hz'], 3) for name, s in report['streams'].items()} == {
        CAMERA: 10.0, CLOUDS: 10.0, INFO: 10.0,
    }  # fmt: skip
    found = report['alignment']
    assert found['found'] and found['moving']
    assert abs(found['offset_s']['best']) < 0.005
    assert max(abs(found[f'{axis}_deg']['best']) for axis in ('yaw', 'pitch', 'roll')) < 0.3
    assert found['score'] > 2 * 0.02 and found['frames'] == 8
    assert len(report['points_in_view']) == 8 and min(report['points_in_view']) > 14_000
    names = {'worst.png', 'median.png', 'stamps.png', 'alignment.png', 'report.json'}
    assert {path.name for path in (tmp_path / 'out').iterdir()} == names


def test_a_yaw_of_one_degree_is_found_and_mended(kitti: Path, tmp_path: Path) -> None:
    # The camera turned left by 1 degree: its points lie 1 degree too far right.
    bag = bag_copies.copy(kitti, tmp_path / 'bag', bag_copies.turned('camera_optical', 1.0))
    code, text, report = checked(bag, tmp_path / 'out', '--frames', 8)
    assert code == 1 and 'not usable as it is: 1 error(s)' in text
    assert 'alignment off: score' in text
    assert list(faults(report)) == ['rotation']
    assert abs(report['alignment']['yaw_deg']['best'] + 1) < 0.3
    assert abs(report['alignment']['offset_s']['best']) < 0.01
    mended = tmp_path / 'out' / 'extrinsics.yaml'
    assert f'use {mended}' in faults(report)['rotation']['remedy']
    code, _, report = checked(bag, tmp_path / 'again', '--frames', 4, '--extrinsics', mended)
    assert code == 0 and report['faults'] == []
    assert abs(report['alignment']['yaw_deg']['best']) < 0.1


def test_stamps_80_ms_late_are_found_and_mended(kitti: Path, tmp_path: Path) -> None:
    bag = bag_copies.copy(kitti, tmp_path / 'bag', bag_copies.stamped_later(CLOUDS, 0.08))
    code, text, report = checked(bag, tmp_path / 'out', '--frames', 8)
    assert code == 1
    # The nearest image is the next one, 20 ms later by its stamp and 100 ms later in truth.
    assert report['skew']['median_s'] == pytest.approx(0.02, abs=1e-9)
    assert list(faults(report)) == ['offset', 'skew']
    assert abs(report['alignment']['offset_s']['best'] + 0.08) < 0.006
    assert '--offset -0.0' in text and 'sync.offset_s' in text
    code, _, report = checked(bag, tmp_path / 'again', '--frames', 4, '--offset', -0.08)
    assert code == 0 and report['faults'] == [] and report['skew']['median_s'] == 0


@pytest.mark.parametrize('late_s', [0.03, -0.08])
def test_the_offset_of_a_simulated_drive(drive: Path, tmp_path: Path, late_s: float) -> None:
    bag = bag_copies.copy(drive, tmp_path / 'bag', bag_copies.stamped_later(LIDAR, late_s))
    code, _, report = checked(bag, tmp_path / 'out', '--frames', 10)
    assert abs(report['alignment']['offset_s']['best'] + late_s) < 0.005
    assert report['alignment']['moving'] and code == (1 if abs(late_s) > 0.05 else 0)
    assert faults(report)['offset']['weight'] == ('error' if abs(late_s) > 0.05 else 'warning')


@pytest.mark.full
@pytest.mark.parametrize('seed', [3, 12, 32])
@pytest.mark.parametrize('late_s', [-0.08, 0.0, 0.02, 0.08])
def test_the_offset_of_more_drives(tmp_path: Path, seed: int, late_s: float) -> None:
    config = Config('street', (240, 608), 'hdl64e', 'kitti', 0.0)
    write_bag(config, seed, 20, tmp_path / 'drive', 0, 'mcap', lambda: None)
    bag_copies.copy(tmp_path / 'drive', tmp_path / 'b', bag_copies.stamped_later(LIDAR, late_s))
    _, _, report = checked(tmp_path / 'b', tmp_path / 'out')
    assert abs(report['alignment']['offset_s']['best'] + late_s) < 0.005


def test_no_motion_no_offset(drive: Path, tmp_path: Path) -> None:
    """Show the first frame again and again."""
    kept: dict = {}

    def stand(topic: str, message: Any, number: int) -> Any:
        first = kept.setdefault(topic, message)
        if topic in (CAMERA, LIDAR):
            message.data, message.width = first.data, first.width
            message.fields = getattr(first, 'fields', None)
            message.row_step = getattr(first, 'row_step', 0)
        return message

    bag = bag_copies.copy(drive, tmp_path / 'bag', stand, first=5)
    code, text, report = checked(bag, tmp_path / 'out')
    assert code == 0 and 'no motion: cannot tell' in text
    assert list(faults(report)) == ['no_motion']
    assert 'record 3 s of driving' in faults(report)['no_motion']['remedy']


@pytest.mark.parametrize(
    ('topic', 'name', 'what'),
    [
        (CAMERA, 'no_image', 'no camera images'),
        (LIDAR, 'no_points', 'no clouds'),
        (INFO, 'no_camera_info', 'no CameraInfo'),
    ],
)
def test_a_missing_topic(still: Path, tmp_path: Path, topic: str, name: str, what: str) -> None:
    bag = bag_copies.copy(still, tmp_path / 'bag', bag_copies.without(topic))
    code, text, report = checked(bag, tmp_path / 'out')
    assert code == 1 and f'error {what}: no messages of type sensor_msgs' in text
    assert report['faults'][0]['name'] == name
    assert 'record.launch.py' in report['faults'][0]['remedy']


def test_missing_extrinsics(still: Path, tmp_path: Path) -> None:
    bag = bag_copies.copy(still, tmp_path / 'bag', bag_copies.without('/tf_static'))
    code, text = run(bag)
    assert code == 1 and 'not connected' in text and '--extrinsics FILE' in text


def test_gaps_are_counted_and_placed(still: Path, tmp_path: Path) -> None:
    # Of frames 0..5 images 2 and 3 are gone: one gap, of 0.3 s, 0.1 s after the first image.
    bag = bag_copies.copy(still, tmp_path / 'bag', bag_copies.without_numbers(CAMERA, 2, 3))
    code, text, report = checked(bag, tmp_path / 'out')
    stream = report['streams'][CAMERA]
    assert code == 0 and stream['lost'] == 2
    assert np.allclose(stream['gaps'], [[0.1, 0.3]])
    assert report['skew']['matched_share'] == pytest.approx(4 / 6)
    found = faults(report)
    assert found['gaps']['weight'] == found['unmatched']['weight'] == 'warning'
    assert 'about 2 messages lost (33.3%); the longest is 0.30 s, 0.1 s after' in text
    assert 'fastdds_shared_memory.xml' in found['gaps']['remedy']


def test_volatile_tf_static(still: Path, tmp_path: Path) -> None:
    bag = bag_copies.copy(still, tmp_path / 'bag', bag_copies.same, volatile=True)
    _, text, report = checked(bag, tmp_path / 'out')
    assert faults(report)['qos_tf_static']['weight'] == 'warning'
    assert '/tf_static was offered volatile, not transient local' in text
    _, _, report = checked(still, tmp_path / 'fine')
    assert 'qos_tf_static' not in faults(report)


def test_publishers_of_different_reliability(still: Path, tmp_path: Path) -> None:
    def best_effort(qos: Qos) -> Qos:
        return qos._replace(reliability=QosReliability.BEST_EFFORT)

    with Bag(still) as bag:
        [offered] = bag.topics['/tf_static'].offered_qos
        with BagWriter(tmp_path / 'bag') as writer:
            writer.declare(LIDAR, bag.topics[LIDAR].type, [offered, best_effort(offered)])
            for topic, message, at in bag.messages(list(bag.topics)):
                writer.add(topic, message, at)
    _, text, report = checked(tmp_path / 'bag', tmp_path / 'out')
    assert f'{LIDAR} was offered with reliability best_effort, reliable' in text
    assert faults(report)['qos_reliability']['weight'] == 'warning'


def test_a_looped_source(still: Path, tmp_path: Path) -> None:
    """Stamp cloud 3 as cloud 0 was: one stamp repeated, one jump backwards."""

    def loop(topic: str, message: Any, number: int) -> Any:
        if topic == LIDAR and number == 3:
            second, nanosecond = divmod(stamp_ns(message.header) - 300_000_000, 10**9)
            message.header.stamp.sec, message.header.stamp.nanosec = second, nanosecond
        return message

    _, text = run(bag_copies.copy(still, tmp_path / 'bag', loop))
    assert f'{LIDAR}: 1 stamps repeated and 1 stamps jumping backwards' in text


def test_errors_come_first(still: Path, tmp_path: Path) -> None:
    bag = bag_copies.copy(still, tmp_path / 'bag', bag_copies.without_numbers(CAMERA, 2, 3))
    bag = bag_copies.copy(bag, tmp_path / 'both', bag_copies.without('/tf_static'))
    _, _, report = checked(bag, tmp_path / 'out')
    weights = [fault['weight'] for fault in report['faults']]
    assert weights[0] == 'error' and weights == sorted(weights, key=list(WEIGHTS).index)
    assert all(fault[key] for fault in report['faults'] for key in ('found', 'why', 'remedy'))


def test_clocks_a_minute_apart(still: Path, tmp_path: Path) -> None:
    bag = bag_copies.copy(still, tmp_path / 'bag', bag_copies.stamped_later(LIDAR, 60.0))
    code, text, report = checked(bag, tmp_path / 'out')
    # Received 10 ms after the stamp, now 59.99 s before it; images 30 ms after theirs.
    assert code == 1 and report['clock_s'] == pytest.approx(-60.02)
    assert report['skew']['matched_share'] == 0
    assert faults(report)['unmatched']['weight'] == 'error'
    assert '0% of the clouds have an image within 0.05 s' in text and '--offset -60.02' in text


def test_sizes_and_frames_that_change(still: Path, tmp_path: Path) -> None:
    def change(topic: str, message: Any, number: int) -> Any:
        if topic == CAMERA and number > 3:
            message.height, message.header.frame_id = 24, 'other'
        return message

    code, text = run(bag_copies.copy(still, tmp_path / 'bag', change))
    assert code == 1
    assert 'its sizes change: 48x128 (4 messages), 24x128 (2 messages)' in text
    assert 'its frame ids change: camera_optical (4 messages), other (2 messages)' in text


def test_several_image_topics_need_a_choice(still: Path, tmp_path: Path) -> None:
    second = bag_copies.copy(still, tmp_path / 'bag', bag_copies.same)
    with Bag(second) as bag, BagWriter(tmp_path / 'two') as writer:
        for topic, message, at in bag.messages(list(bag.topics)):
            writer.add(topic, message, at)
            if topic == CAMERA:
                writer.add('/rear/image_rect', message, at)
    code, text = run(tmp_path / 'two')
    assert code == 2 and 'several image topics' in text and '--image TOPIC' in text
    assert run(tmp_path / 'two', '--image', CAMERA)[0] == 0


def test_an_image_that_cannot_be_read(still: Path, tmp_path: Path) -> None:
    def bayer(topic: str, message: Any, number: int) -> Any:
        if topic == CAMERA:
            message.encoding = 'bayer_rggb8'
        return message

    code, text = run(bag_copies.copy(still, tmp_path / 'bag', bayer))
    assert code == 1 and f"{CAMERA}: encoding 'bayer_rggb8' needs" in text


def test_an_empty_bag(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        bag.add_connection('/image', 'sensor_msgs/msg/Image', typestore=store)
    code, text = run(tmp_path / 'bag')
    assert code == 2 and 'holds no messages: record it again' in text


def test_a_bag_still_being_written(still: Path, tmp_path: Path) -> None:
    bag = Path(shutil.copytree(still, tmp_path / 'bag'))
    (bag / 'metadata.yaml').unlink()
    [file] = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:-1000])
    code, text = run(bag)
    assert code == 2 and 'still being written, or its recorder was killed' in text
    assert 'Ctrl-C' in text and f'mcap recover {file.name}' in text


def test_an_unknown_compression(still: Path, tmp_path: Path) -> None:
    bag = Path(shutil.copytree(still, tmp_path / 'bag'))
    metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())
    metadata['rosbag2_bagfile_information'] |= {
        'compression_format': 'lz4', 'compression_mode': 'message',
    }  # fmt: skip
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    code, text = run(bag)
    assert code == 2 and "compression_format 'lz4'" in text and 'only zstd' in text


def test_bad_usage(still: Path, tmp_path: Path) -> None:
    code, text = run(tmp_path / 'nowhere')
    assert code == 2 and 'no such bag' in text
    code, text = run(still, '--points', '/none')
    assert code == 2 and "no topic '/none'" in text
    code, text = run(still, '--out', still / 'out')
    assert code == 2 and 'lies in the bag' in text
    code, text = run(still, '--rectify', 'yes')
    assert code == 2 and "rectify 'yes'" in text
