"""`make demo`'s program, as a newcomer starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import box_world
import cv2
import pytest

KEYS = {
    'frames_in', 'frames_matched', 'frames_out', 'dropped', 'latency_ms', 'skew_ms', 'model',
    'points_per_frame',
}  # fmt: skip


def demo(*words):
    words = [*words, '--rate', 0.2]  # slow, and in one thread: other tests run beside this one
    command = [sys.executable, '-m', 'depth_kd_ros.nodes.demo', *map(str, words)]
    env = os.environ | {'OMP_NUM_THREADS': '1'}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)


def check(out, result, least):
    assert result.returncode == 0, result.stderr + result.stdout
    report = json.loads((out / 'report.json').read_text())
    assert set(report) >= KEYS
    assert report['frames_out'] >= least and report['depth_received'] == report['frames_out']
    assert report['stamp_or_frame_id_unlike_image'] == 0
    for stage in ('wait', 'decode', 'project', 'infer', 'publish', 'total'):
        times = report['latency_ms'][stage]
        assert 0 < times['p50'] <= times['p99']
    sheets = list(out.glob('*.png'))
    assert len(sheets) >= 3
    assert all(cv2.imread(str(sheet)).shape[1] >= 640 for sheet in sheets)


def test_demo_on_a_synthetic_bag(tmp_path):
    box_world.write(tmp_path / 'bag', count=8)
    check(tmp_path / 'out', demo(tmp_path / 'bag', '--out', tmp_path / 'out'), least=7)


def test_demo_on_real_data(shared_data, tmp_path):
    bag = shared_data / 'kitti_0926_bag'
    check(tmp_path / 'out', demo(bag, '--out', tmp_path / 'out'), least=19)


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (('missing_bag',), 'missing_bag'),
        (('BAG', 'image:=/none'), '/none'),
        (('BAG', 'model:=linaer'), 'the node ended with code 2'),
    ],
)
def test_demo_says_what_is_wrong(tmp_path, words, text):
    box_world.write(tmp_path / 'BAG', count=2)
    words = [tmp_path / w if w == 'BAG' else w for w in words]
    result = demo(*words, '--out', tmp_path / 'out')
    assert result.returncode == 1 and text in result.stderr and 'Traceback' not in result.stderr
