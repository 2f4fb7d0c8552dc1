"""The command line, as its own process and inside this one."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
import subprocess
import sys

import box_world
import cv2
from depth_kd_ros.bags import Bag
from depth_kd_ros.cli import app
import numpy as np
import pytest
from random_checkpoint import write as write_checkpoint
from typer.testing import CliRunner


def run(*words):
    """Run the command and give (exit code, everything printed)."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, ' '.join(result.output.split())


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp('cli') / 'bag'
    box_world.write(path, count=3)
    return path


@pytest.fixture
def folder(tmp_path):
    """Write two 4 x 6 frames: grey images, and one point of 2 m (PNG, 512) each."""
    for name in ('rgb', 'sparse'):
        (tmp_path / 'frames' / name).mkdir(parents=True)
    sparse = np.zeros((4, 6), np.uint16)
    sparse[1, 2] = 512
    for name in ('a', 'b'):
        cv2.imwrite(str(tmp_path / f'frames/rgb/{name}.png'), np.full((4, 6, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f'frames/sparse/{name}.png'), sparse)
    return tmp_path / 'frames'


@pytest.mark.parametrize(
    ('command', 'example'),
    [
        ('complete', 'depth_kd complete my_bag --out depth'),
        ('check-bag', 'depth_kd check-bag my_bag --out checked'),
        ('models', 'depth_kd models lspkd_s8 mff_mobilenet_v2 --measure'),
        ('export', 'depth_kd export student.safetensors --out student.onnx'),
    ],
)
def test_help_has_examples_to_copy(command, example):
    code, text = run(command, '--help')
    assert code == 0 and example in text


def test_help_and_version_as_a_process():
    command = [sys.executable, '-m', 'depth_kd_ros.cli']
    text = subprocess.run([*command, '--help'], capture_output=True, text=True).stdout
    assert all(f' {name} ' in text for name in ('complete', 'models', 'export'))
    assert subprocess.run([*command, '--version'], capture_output=True).returncode == 0


def test_folder_to_png_by_frame_name(folder, tmp_path):
    code, text = run('complete', folder, '--out', tmp_path / 'out', '--model', 'nearest')
    assert code == 0 and '2 of 2 frames written' in text
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['a.png', 'b.png']
    depth = cv2.imread(str(tmp_path / 'out/a.png'), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and (depth == 512).all()


def test_depth_scale_and_npy(folder, tmp_path):
    words = ('--format', 'npy', '--depth-scale', '1000', '--model', 'nearest')
    code, _ = run('complete', folder, '--out', tmp_path / 'out', *words)
    assert code == 0
    assert np.load(tmp_path / 'out/b.npy') == pytest.approx(np.full((4, 6), 0.512))


def test_bag_to_png_by_stamp_and_sheets(bag, tmp_path):
    out = tmp_path / 'out'
    code, text = run('complete', bag, '--out', out, '--model', 'nearest', '--sheets', '2')
    assert code == 0, text
    with Bag(bag) as opened:
        stamps = [f.image.header.stamp for f in opened.frames()]
    names = {f'{s.sec * 10**9 + s.nanosec}.png' for s in stamps}
    assert {p.name for p in out.iterdir()} == names and len(names) == 3
    assert len(list((tmp_path / 'out_sheets').iterdir())) == 2


def test_bag_to_mcap_that_reads_back(bag, tmp_path):
    out = tmp_path / 'depth'
    code, text = run('complete', bag, '--out', out, '--format', 'mcap', '--model', 'nearest')
    assert code == 0, text
    with Bag(out) as opened:
        topics = {name: info.count for name, info in opened.topics.items()}
        assert topics == {
            '/depth_registered/image_rect': 3,
            '/depth_registered/camera_info': 3,
        }
        _, message, _ = next(iter(opened.messages(['/depth_registered/image_rect'])))
    assert (message.encoding, message.header.frame_id) == ('32FC1', 'camera_optical')


def test_checkpoint_as_model(folder, tmp_path):
    path = write_checkpoint(tmp_path / 'student.safetensors')
    code, text = run('complete', folder, '--out', tmp_path / 'out', '--model', path)
    assert code == 0 and 'by student on cpu' in text


def test_frame_without_points_is_left_out_and_named(folder, tmp_path):
    cv2.imwrite(str(folder / 'sparse/a.png'), np.zeros((4, 6), np.uint16))
    code, text = run('complete', folder, '--out', tmp_path / 'out', '--model', 'nearest')
    assert code == 0
    assert '1 of 2 frames written' in text and 'left out a: none of' in text


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (('--model', 'linaer'), "no model 'linaer'; did you mean 'linear'?"),
        (('--device', 'cuda:7'), 'CUDA devices here'),
        (('--format', 'exr'), "format 'exr': one of png, npy, mcap expected"),
        (('--sparse', 'lidar'), 'no such folder (there are: rgb, sparse)'),
        (('--depth-scale', '0'), 'must be positive'),
        (('--depth-scale', 'inf'), 'must be positive'),
        (('--max-depth', '300'), 'png holds up to 255.0 m'),
        (('--sheets', '-1'), 'greater than or equal to 0'),
        (('--format', 'mcap'), 'choose png or npy'),
        (('--min-depth', '9', '--max-depth', '3'), 'must be > 0 and < max_depth_m'),
    ],
)
def test_bad_option_is_one_clear_sentence(folder, tmp_path, words, text):
    code, printed = run('complete', folder, '--out', tmp_path / 'out', *words)
    assert code == 2 and text in printed and 'Traceback' not in printed


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (('--image', '/none'), '/none'),
        (('--extrinsics', 'missing.yaml'), 'missing.yaml'),
        (('--rectify', 'maybe'), "rectify 'maybe': one of auto, none, image, points expected"),
    ],
)
def test_bad_bag_option(bag, tmp_path, words, text):
    code, printed = run('complete', bag, '--out', tmp_path / 'out', *words)
    assert code == 2 and text in printed


def test_input_and_earlier_results_are_never_overwritten(folder, tmp_path):
    for inside in (folder, folder / 'sparse', folder / 'rgb' / 'deep'):
        code, text = run('complete', folder, '--out', inside, '--model', 'nearest')
        assert code == 2 and 'lies in the input' in text
    words = ('complete', folder, '--out', tmp_path / 'out', '--model', 'nearest')
    assert run(*words)[0] == 0
    code, text = run(*words)
    assert code == 2 and 'holds 2 .png files already, first a.png' in text
    assert run(*words, '--overwrite')[0] == 0


def test_unreadable_frame_is_left_out_and_the_others_written(folder, tmp_path):
    (folder / 'rgb/a.png').write_bytes(b'no picture')
    code, text = run('complete', folder, '--out', tmp_path / 'out', '--model', 'nearest')
    assert code == 0 and '1 of 2 frames written' in text and 'left out a:' in text


def test_clouds_without_an_image_are_told(bag, tmp_path):
    words = ('--out', tmp_path / 'out', '--offset', '0.1', '--slop', '0.01', '--model', 'nearest')
    code, text = run('complete', bag, *words)
    assert code == 0 and '2 of 3 frames written' in text
    assert '1 clouds have no image within 0.01 s: see --slop and --offset' in text


def test_extrinsics_of_another_rig_are_refused(bag, tmp_path):
    path = tmp_path / 'rig.yaml'
    path.write_text(
        '{parent: camera_optical, child: velodyne, xyz: [0, 0, 0], quaternion: [0, 0, 0, 1]}'
    )
    code, text = run('complete', bag, '--out', tmp_path / 'out', '--extrinsics', path)
    assert code == 2 and "LiDAR frame 'velodyne', but the messages are of 'lidar'" in text


def test_missing_source_and_missing_metadata(bag, tmp_path):
    code, printed = run('complete', tmp_path / 'none', '--out', tmp_path / 'out')
    assert code == 2 and 'none' in printed
    copy = tmp_path / 'copy'
    shutil.copytree(bag, copy)
    (copy / 'metadata.yaml').unlink()
    code, printed = run('complete', copy, '--out', tmp_path / 'out')
    assert code == 2 and 'metadata.yaml' in printed and 'reindex' in printed


def test_intrinsics_in_each_form(folder):
    from depth_kd_ros.folders import Folder, FolderError

    frames = Folder(folder)
    with pytest.raises(FolderError, match=r'none of calib\.json'):
        frames.K()
    (folder / 'K.txt').write_text('7 0 3 0 8 2 0 0 1')
    assert frames.K()[1, 1] == 8
    (folder / 'calib.json').write_text(json.dumps({'K': [[9, 0, 3], [0, 9, 2], [0, 0, 1]]}))
    assert frames.K()[0, 0] == 9


def test_score_of_linear_on_real_frames(shared_data, tmp_path):
    """Score with the referee, which shares no code with us: scipy's linear gives 1.117 / 4.162."""
    referee = shared_data.parent / 'tools' / 'score_depth.py'
    frames = shared_data / 'kitti_0926_frames'
    words = ('--sparse', 'sparse_16beam', '--model', 'linear')
    code, text = run('complete', frames, *words, '--out', tmp_path)
    assert code == 0 and '40 of 40 frames written' in text
    command = [sys.executable, referee, tmp_path, frames / 'heldout_48beam']
    score = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert float(score[score.index('MAE') + 1]) <= 1.13, score
    assert float(score[score.index('RMSE') + 1]) <= 4.20, score
    assert Path(tmp_path / '0000000039.png').exists()
