"""`depth_kd_training simulate`: the files it writes, its report, and each error."""

from __future__ import annotations

from dataclasses import replace
import json
import subprocess
import sys

import cv2
from depth_kd_ros.bags import Bag
from depth_kd_training import data
from depth_kd_training.cli import app
from depth_kd_training.simulation import folder
from depth_kd_training.simulation.lidar_models import MODELS
from depth_kd_training.simulation.production import Summary
from depth_kd_training.simulation.scene import Config, draw
from depth_kd_training.simulation.world import CLASSES
import numpy as np
import pytest
from typer.testing import CliRunner

SMALL = ('--size', '48x64', '--sensor', 'vlp16')


def run(*words):
    """Run the command here and give (exit code, everything printed)."""
    result = CliRunner().invoke(app, ['simulate', *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, ' '.join(result.output.split())


def simulate(out, *words):
    return run('--out', out, '--workers', 0, *SMALL, *words)


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """Write three frames in this process."""
    out = tmp_path_factory.mktemp('simulate') / 'frames'
    code, text = simulate(out, '--frames', 3, '--seed', 5)
    assert code == 0 and f'{out}: 3 frames' in text
    return out


def test_a_folder_has_every_part_of_every_frame(written):
    names = [f'{i:06d}' for i in range(3)]
    for part in ('rgb', 'sparse', 'depth_gt', 'ring', 'semantic', 'instance'):
        assert sorted(p.name for p in (written / part).iterdir()) == [f'{n}.png' for n in names]
        for name in names:
            assert read(written / part / f'{name}.png').shape[:2] == (48, 64)
    assert sorted(p.name for p in (written / 'K').iterdir()) == [f'{n}.txt' for n in names]
    assert json.loads((written / 'classes.json').read_text()) == list(CLASSES)
    about = json.loads((written / 'about' / f'{names[0]}.json').read_text())
    assert (about['sensor'], about['beams']) == ('vlp16', 16) and len(about['T_cam_lidar']) == 4
    assert read(written / 'depth_gt/000000.png').dtype == np.uint16


def test_the_data_set_folder_reads_the_frames_of_the_data_set_simulation(written):
    """Depth is rounded to 1/256 m, all else comes back as it was."""
    options = {'size': [48, 64], 'sensor': 'vlp16', 'frames': 3, 'seed': 5}
    worlds = data.build('simulation', options)
    stored = data.build('folder', {'root': str(written), 'depth_gt': 'depth_gt'})
    assert len(stored) == 3 and stored.classes == worlds.classes == CLASSES
    for found, expected in zip((stored[i] for i in range(3)), worlds, strict=True):
        for key in ('image', 'ring', 'semantic', 'instance'):
            first, second = getattr(found, key), getattr(expected, key)
            np.testing.assert_array_equal(first, second)
            assert first.dtype == second.dtype
        for key in ('sparse_depth', 'depth_gt'):
            first, second = getattr(found, key), getattr(expected, key)
            np.testing.assert_allclose(first, second, atol=0.5 / 256 + 1e-5)
            np.testing.assert_array_equal(first > 0, second > 0)
        np.testing.assert_allclose(found.K, expected.K, rtol=1e-8)
        assert found.beams == expected.beams == 16


def test_the_report_tells_what_the_files_hold(written):
    report = json.loads((written / 'report.json').read_text())
    assert report['frames'] == 3 and report['workers'] == 0 and report['device'] == 'cpu'
    assert report['frames_per_second'] > 0
    assert report['frames_per_second'] >= 2 / report['seconds']  # without the start
    assert report['options'] == {
        'world': 'street', 'size': '48x64', 'sensor': 'vlp16', 'rig': 'random', 'randomised': 0.2,
        'seed': 5, 'format': 'folder',
    }  # fmt: skip
    sparse, ring, semantic = (
        np.stack([read(path) for path in sorted((written / part).iterdir())])
        for part in ('sparse', 'ring', 'semantic')
    )
    assert report['points_per_frame'] == pytest.approx((sparse > 0).sum() / 3)
    per_beam = np.bincount(ring[ring > 0] - 1)
    np.testing.assert_allclose(report['points_per_beam'], per_beam / 3, atol=0.006)
    shares = report['points_by_depth_m']
    assert list(shares) == ['0-5', '5-10', '10-20', '20-40', '40-80', '80-200']
    metres = sparse[sparse > 0] / 256
    assert shares['5-10'] == pytest.approx(((metres >= 5) & (metres < 10)).mean(), abs=1e-3)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    classes = report['pixels_by_class']
    road = semantic == 1 + CLASSES.index('road')
    assert classes['road'] == pytest.approx(road.mean(), abs=1e-4)
    assert sum(classes.values()) == pytest.approx(1, abs=1e-3) and min(classes.values()) > 0
    assert 0 <= report['see_through_share'] < 0.3


def test_the_contact_sheet_shows_image_points_and_truth(written):
    sheet = read(written / 'contact_sheet.png')
    assert sheet.shape == (3 * 48 + 40, 3 * 64, 3)  # and the scale
    for number in range(3):
        row = sheet[48 * number : 48 * (number + 1)]
        np.testing.assert_array_equal(row[:, :64], read(written / f'rgb/{number:06d}.png'))
        none = read(written / f'depth_gt/{number:06d}.png') == 0
        assert not row[:, 128:][none].any() and row[:, 128:][~none].any(-1).all()


def test_of_many_frames_twelve_are_shown_from_first_to_last():
    shown = Summary(1000).shown
    assert len(shown) == 12 and {0, 999} <= shown and max(np.diff(sorted(shown))) < 92
    assert Summary(5).shown == {0, 1, 2, 3, 4} and Summary(1).shown == {0}


def test_processes_change_nothing(written, tmp_path):
    """Two processes with one thread each, started as a program, write the same bytes."""
    command = [sys.executable, '-m', 'depth_kd_training', 'simulate', '--out', tmp_path / 'two']
    command += [*SMALL, '--frames', '3', '--seed', '5', '--workers', '2']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = [p for p in written.rglob('*.*') if p.name != 'report.json']
    files = sorted(p.relative_to(written) for p in files)
    assert len(files) == 3 * 8 + 2
    for path in files:
        assert (tmp_path / 'two' / path).read_bytes() == (written / path).read_bytes(), path
    assert json.loads((tmp_path / 'two/report.json').read_text())['workers'] == 2


def test_another_seed_gives_other_frames_and_the_first_do_not_depend_on_the_number(
    written, tmp_path
):
    assert simulate(tmp_path / 'a', '--frames', 1, '--seed', 5)[0] == 0
    assert simulate(tmp_path / 'b', '--frames', 1, '--seed', 6)[0] == 0
    first = (written / 'rgb/000000.png').read_bytes()
    assert (tmp_path / 'a/rgb/000000.png').read_bytes() == first
    assert (tmp_path / 'b/rgb/000000.png').read_bytes() != first


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_recording(tmp_path, storage):
    out = tmp_path / 'bag'
    words = ('--format', 'rosbag2', '--storage', storage, '--frames', 2, '--world', 'indoor')
    code, text = simulate(out, *words)
    assert code == 0 and '2 frames' in text
    assert len(list(out.glob('*.mcap' if storage == 'mcap' else '*.db3'))) == 1
    with Bag(out) as bag:
        assert len(list(bag.frames())) == 2
    report = json.loads((out / 'report.json').read_text())
    assert report['frames'] == 2 and len(report['points_per_beam']) <= 16
    assert report['options']['format'] == 'rosbag2' and report['points_per_frame'] > 50
    assert read(out / 'contact_sheet.png').shape == (2 * 48 + 40, 3 * 64, 3)


@pytest.mark.parametrize('sensor', ['none', 'rgbd'])
def test_frames_without_a_lidar(tmp_path, sensor):
    words = ('--world', 'indoor', '--frames', 1, '--sensor', sensor)
    assert simulate(tmp_path / 'out', *words)[0] == 0
    frame = data.build('folder', {'root': str(tmp_path / 'out'), 'depth_gt': 'depth_gt'})[0]
    assert (frame.ring == -1).all() and frame.beams is None
    assert (
        (frame.sparse_depth > 0).mean() > 0.2 if sensor == 'rgbd' else not frame.sparse_depth.any()
    )
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert report['points_per_beam'] == []
    assert (report['points_per_frame'] > 0) == (sensor == 'rgbd')


def test_lidars_are_listed():
    code, text = run('--list')
    assert code == 0 and all(f'{name} ' in text for name in MODELS)
    assert 'vlp16 16 beams, 15 to -15 deg, 100 m' in text


def test_help_has_examples_to_copy():
    code, text = run('--help')
    assert code == 0
    assert 'depth_kd_training simulate --world street --frames 200 --out street' in text


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--world', 'sea'), "world = 'sea': give one of street, "),
        (('--sensor', 'sonar'), "sensor = 'sonar': give one of random, rgbd, none, hdl64e"),
        (('--rig', 'tank'), "rig = 'tank': give one of random, kitti"),
        (('--format', 'zip'), "--format 'zip': give folder or rosbag2"),
        (('--size', '48'), "--size '48': give HEIGHTxWIDTH in pixels, as in 240x608"),
        (('--size', '48x-4'), "--size '48x-4': give HEIGHTxWIDTH"),
        (('--size', '8x64'), 'size = (8, 64): (height, width) from 16 px on expected'),
        (('--randomised', '2'), 'randomised = 2.0: a share from 0 to 1 expected'),
        (('--device', 'tpu'), "device 'tpu': one of auto, cpu, cuda, cuda:N expected"),
        (('--device', 'cuda:99'), "device 'cuda:99': torch"),
        (('--frames', '0'), 'Invalid value'),
        (('--workers', '-1'), 'Invalid value'),
        (('--storage', 'tape', '--format', 'rosbag2'), "storage 'tape': choose one of mcap"),
    ],
)
def test_errors_say_what_to_give(tmp_path, words, message):
    code, text = simulate(tmp_path / 'out', '--frames', 1, *words)
    assert code == 2 and message in text.replace('│ ', '')
    assert not (tmp_path / 'out').exists()


def test_nothing_is_written_over(written, tmp_path):
    before = sorted(p.name for p in written.iterdir())
    code, text = simulate(written, '--frames', 1)
    assert code == 2 and f'{written} is not empty: choose another folder, or remove it' in text
    assert sorted(p.name for p in written.iterdir()) == before
    code, text = simulate(written, '--frames', 1, '--format', 'rosbag2')
    assert code == 2 and f'{written}: exists already: choose another name, or remove it' in text
    (tmp_path / 'new').mkdir()
    assert simulate(tmp_path / 'new', '--frames', 1)[0] == 0


@pytest.mark.parametrize('format', ['folder', 'rosbag2'])
def test_a_folder_that_cannot_be_made(tmp_path, format):
    (tmp_path / 'file').write_text('in the way')
    code, text = simulate(tmp_path / 'file/out', '--frames', 1, '--format', format)
    assert code == 2 and 'Not a directory' in text and str(tmp_path / 'file/out') in text


def test_a_picture_that_cannot_be_written(written, tmp_path):
    frame = data.build('folder', {'root': str(written), 'depth_gt': 'depth_gt'})[0]
    folder.prepare(tmp_path)
    (tmp_path / 'rgb').rmdir()
    with pytest.raises(FileNotFoundError, match=r'rgb/000000\.png'):
        folder.write(tmp_path, frame, draw(Config(size=(48, 64)), 0))


def test_labels_of_any_size_come_back(tmp_path):
    """255 does not fit into 8 bits as 256; nor does -1 need a place of its own."""
    values = np.arange(-1, 3071, dtype=np.int32).reshape(48, 64)
    image = np.zeros((48, 64, 3), np.uint8)
    frame = data.build('simulation', {'size': [48, 64], 'sensor': 'none', 'frames': 1})[0]
    folder.prepare(tmp_path)
    many = replace(frame, image=image, instance=values, ring=(values % 255 - 1).astype(np.int16))
    folder.write(tmp_path, many, draw(Config(size=(48, 64)), 0))
    found = data.build('folder', {'root': str(tmp_path)})[0]
    np.testing.assert_array_equal(found.instance, values)
    np.testing.assert_array_equal(found.ring, values % 255 - 1)
    assert read(tmp_path / f'instance/{frame.name}.png').dtype == np.uint16
    assert read(tmp_path / f'ring/{frame.name}.png').dtype == np.uint8
    assert found.depth_gt is None and not found.sparse_depth.any()
