"""`depth_kd_training evaluate`: real and made-up data in, table, file and pictures out; errors."""

from __future__ import annotations

import json
import re

import cv2
from depth_kd_training.commands import evaluate as command
import numpy as np
import pytest
from random_checkpoint import write as write_checkpoint
import typer
from typer.testing import CliRunner

SIZE = (24, 40)


def run(*words, code=0):
    """Run the command; give all that was printed, and check the exit status."""
    app = typer.Typer()
    app.command(help=command.HELP)(command.evaluate)
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return ' '.join(result.output.split())


def write_png(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)


@pytest.fixture
def folder(tmp_path):
    """Write three frames: 10 m on the left, 30 m on the right, points on eight rings."""
    root = tmp_path / 'frames'
    depth = np.full(SIZE, 10 * 256, np.uint16)
    depth[:, 20:] = 30 * 256
    on_ring = (np.arange(24) % 3 == 0)[:, None] & np.ones(SIZE, bool)
    for name in ('a', 'b', 'c'):
        write_png(root / f'rgb/{name}.png', np.full((*SIZE, 3), 90, np.uint8))
        write_png(root / f'depth_gt/{name}.png', depth)
        write_png(root / f'sparse/{name}.png', np.where(on_ring, depth, 0))
        ring = np.where(on_ring, np.arange(24)[:, None] // 3 + 1, 0)
        write_png(root / f'ring/{name}.png', ring.astype(np.uint8))
        write_png(root / f'semantic/{name}.png', (1 + (depth > 5000)).astype(np.uint8))
    (root / 'classes.json').write_text('["near", "far"]')
    return root


@pytest.mark.parametrize(
    ('beams', 'truth', 'expected'),
    [
        pytest.param('32', 'heldout_32beam', (0.840, 3.643, 0.474, 2.405), marks=pytest.mark.full),
        ('16', 'heldout_48beam', (1.117, 4.162, 0.757, 3.129)),
        pytest.param('08', 'heldout_56beam', (1.719, 4.956, 1.379, 4.118), marks=pytest.mark.full),
    ],
)
def test_linear_on_real_frames_has_the_errors_of_the_referee(
    shared_data, tmp_path, beams, truth, expected
):
    """The numbers are an independent program's, with SciPy's interpolation."""
    out = tmp_path / 'e.json'
    words = [f'sparse=sparse_{beams}beam', f'depth_gt={truth}', '--max-depth', 80, '--clean']
    frames = shared_data / 'kitti_0926_frames'
    text = run('linear', 'push_pull', frames, *words, '--out', out, '--examples', 0)
    linear, push_pull = json.loads(out.read_text())['rows']
    found = [
        part['metrics'][metric] for part in (linear, linear['clean']) for metric in ('mae', 'rmse')
    ]
    assert found == pytest.approx(expected, abs=0.0025)
    assert f'{found[0]:.3f} [{linear["interval"]["mae"][0]:.3f}, ' in text
    assert push_pull['difference']['mae'][2] < 0  # push-pull is better, certainly
    assert linear['frames'] == 40 and linear['left_out'] == {}


def test_the_table_names_units_and_the_file_holds_all(folder, tmp_path):
    out = tmp_path / 'e.json'
    text = run(
        'nearest', 'linear', folder, '--beams', '8,4,all', '--by', 'distance,class', '--out', out,
        '--metrics', 'mae,irmse,pooled_rmse', '--examples', 2,
    )  # fmt: skip
    assert 'MAE m' in text and 'iRMSE 1/km' in text and 'pooled RMSE m' in text
    assert 'folder, 3 of 3 frames' in text and '20-40 m' in text and 'far' in text
    found = json.loads(out.read_text())
    assert [(row['name'], row['beams']) for row in found['rows']] == [
        (name, beams) for beams in (8, 4, 'all') for name in ('nearest', 'linear')
    ]
    assert found['rows'][0]['metrics']['mae'] == 0  # columns are constant
    assert found['rows'][0]['beams_seen'] == 8 and found['rows'][2]['beams_seen'] == 4
    assert set(found['rows'][0]['by_class']) == {'near', 'far'}
    assert found['dataset']['options'] == {'root': str(folder), 'depth_gt': 'depth_gt'}
    assert [entry['frame'] for entry in found['examples']] == ['a', 'c']
    for entry in found['examples']:
        paths = [entry['image'], entry['sparse'], entry['truth']]
        paths += [path for made in entry['models'].values() for path in made.values()]
        assert len(paths) == 7
        for path in paths:
            assert cv2.imread(str(tmp_path / path)).shape == (*SIZE, 3)


def test_fewer_frames_and_a_checkpoint(folder, tmp_path):
    path = write_checkpoint(tmp_path / 'best.safetensors')
    text = run('nearest', path, folder, '--frames', 2)
    assert '2 of 3 frames' in text
    assert f'{tmp_path.name}/best' in text
    assert re.search(r'\+\d+\.\d % \[', text) is None  # nearest has no error to compare with


def test_a_data_set_by_name_takes_options(folder):
    text = run('nearest', '--dataset', 'folder', f'root={folder}', 'depth_gt=depth_gt')
    assert 'folder, 3 of 3 frames' in text
    text = run('nearest', '--dataset', 'folder', f'root={folder}', 'depht_gt=x', code=2)
    assert "has no option 'depht_gt'" in text


def test_a_submission_is_written_without_truth(tmp_path):
    place = tmp_path / 'kitti/depth_selection/test_depth_completion_anonymous'
    sparse = np.zeros((352, 1216), np.uint16)
    sparse[200, 300] = 25 * 256
    write_png(place / 'image/0000000000.png', np.zeros((352, 1216, 3), np.uint8))
    write_png(place / 'velodyne_raw/0000000000.png', sparse)
    (place / 'intrinsics').mkdir()
    (place / 'intrinsics/0000000000.txt').write_text('700 0 600 0 710 170 0 0 1')
    words = ['--dataset', 'kitti_dc', f'depth={tmp_path}/kitti', 'split=test_anonymous']
    text = run('nearest', *words, '--kitti-submission', tmp_path / 'up')
    assert f'1 PNGs (value / 256 m) in {tmp_path}/up' in text
    written = cv2.imread(str(tmp_path / 'up/0000000000.png'), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16 and (written == 25 * 256).all()
    assert (tmp_path / 'up.zip').is_file()
    text = run('nearest', *words, code=2)
    assert 'frame 0000000000 has no ground truth' in text
    text = run('nearest', 'linear', *words, '--kitti-submission', tmp_path / 'two', code=2)
    assert '--kitti-submission takes one model' in text


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['linear', 'nowhere'], 'nowhere: no such folder. Name the folder of the data last'),
        (['FOLDER'], 'no model is named'),
        (['lineer', 'FOLDER'], "no model 'lineer'; did you mean 'linear'?"),
        (['linear', 'FOLDER', '--beams', '16,x'], "--beams: 'x' is not a number"),
        (['linear', 'FOLDER', '--beams', '0'], '--beams 0: give whole numbers above 0'),
        (
            ['linear', 'FOLDER', '--metrics', 'mea'],
            "unknown 'mea'; did you mean 'mae'?",
        ),
        (['linear', 'FOLDER', '--by', 'beam'], "--by: unknown 'beam'. Known: distance, class"),
        (['linear', 'FOLDER', '--distances', '0,20,b'], "--distances: 'b' is not a number"),
        (['linear', 'FOLDER', '--max-depth', '0.5'], 'min depth 0.9 m, max depth 0.5 m'),
        (['linear', 'FOLDER', '--out', 'no/e.json'], 'there is no folder no'),
        (['linear', 'FOLDER', '--device', 'tpu'], "device 'tpu': one of auto, cpu"),
        (['linear', 'FOLDER', 'depth_gt=none'], 'none: no such folder'),
        (['linear', '--dataset', 'kity'], "unknown dataset 'kity'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(folder, words, message):
    text = run(*[str(folder) if word == 'FOLDER' else word for word in words], code=2)
    assert message in text


def test_a_folder_without_truth_or_rings_says_so(folder):
    for path in (folder / 'ring').iterdir():
        path.unlink()
    (folder / 'ring').rmdir()
    assert 'leave --beams out' in run('linear', folder, '--beams', 4, code=2)
    (folder / 'depth_gt').rename(folder / 'other')
    assert 'has no depth_gt/ to compare with: name the folder' in run('linear', folder, code=2)
    assert '3 of 3 frames' in run('linear', folder, 'depth_gt=other')


def test_help_has_examples_to_copy():
    text = run('--help')
    assert 'depth_kd_training evaluate linear run/best.safetensors frames --beams' in text
