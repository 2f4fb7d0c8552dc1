"""`depth_kd models`: what it lists, counts and measures, and checkpoints that lie."""

from __future__ import annotations

import json

from depth_kd_ros import catalogue, checkpoint, classical, latency, networks
from depth_kd_ros.checkpoint import CheckpointError
from depth_kd_ros.cli import app
from depth_kd_ros.metadata import KEY
from depth_kd_ros.networks import lspkd
import pytest
import random_checkpoint
import safetensors
from safetensors.torch import load_file, save_file
import torch
from typer.testing import CliRunner

PRESETS = {
    'lspkd_teacher',
    'lspkd_s2',
    'lspkd_s4',
    'lspkd_s8',
    'mff_mobilenet_v2',
    'mff_resnet34',
    'fcrn_resnet50',
    'fcrn_resnet18',
    'multibranch_resnet50',
    'multibranch_resnet18',
    'residual_pyramid_senet154',
    'residual_pyramid_resnet34',
    'relative_topformer_tiny',
    'relative_topformer_small',
    'relative_topformer_base',
    'relative_teacher',
    'two_stage',
    'depth_only',
}


def run(*words, code=0):
    """Run `depth_kd models`, which must exit with the code, and give its stdout and stderr."""
    result = CliRunner().invoke(app, ['models', *map(str, words)])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def listed(*words, code=0):
    return {entry['name']: entry for entry in json.loads(run('--json', *words, code=code)[0])}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Bundle a student of 495,817 parameters alone."""
    folder = tmp_path / 'weights'
    folder.mkdir()
    random_checkpoint.write(folder / 'student_8.safetensors')
    monkeypatch.setattr(checkpoint, 'WEIGHTS', folder)
    return folder


# --- the list


def test_json_has_every_preset_with_exact_counts():
    found = listed('--size', '228x304')
    assert set(found) >= PRESETS | set(networks.presets())
    for entry in found.values():
        assert list(entry)[:5] == ['name', 'kind', 'params', 'gflops', 'size']
        assert entry['size'] == [228, 304]
        assert entry['params'] > 0 and entry['gflops'] > 0
    assert found['lspkd_s2']['kind'] == 'network'
    assert found['lspkd_s2']['params'] == 7_895_329
    assert found['lspkd_s2']['gflops'] == pytest.approx(12.39, abs=0.005)
    assert found['depth_only']['params'] == 3_248_369  # without what training alone needs


def test_names_choose_and_the_default_size_is_352x1216():
    found = listed('lspkd_s8', 'mff_mobilenet_v2')
    assert list(found) == ['lspkd_s8', 'mff_mobilenet_v2']
    assert found['lspkd_s8']['size'] == [352, 1216]
    assert found['lspkd_s8']['gflops'] == pytest.approx(4.787, abs=0.0005)


def test_table_fits_eighty_columns(weights):
    out, err = run('lspkd_s2', 'residual_pyramid_resnet34', 'student_8', '--size', '64x96')
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    words = out.split()
    assert '7.895' in words and 'image,' in words and '2.0' in words
    assert err == ''


def test_classical_models_are_listed_with_all_and_not_with_named_ones(monkeypatch):
    monkeypatch.setattr(networks, 'presets', lambda: {})
    out, _ = run()
    assert all(name in out for name in classical.available())
    monkeypatch.undo()
    assert 'push_pull' not in run('lspkd_s8')[0]


def test_progress_is_shown_on_stderr_alone(monkeypatch):
    monkeypatch.setenv('FORCE_COLOR', '1')  # as if both were terminals
    out, err = run('lspkd_s8', '--size', '16x24', '--json')
    assert json.loads(out)[0]['name'] == 'lspkd_s8'
    assert 'counting' in err


# --- weights


def test_bundled_weights_have_a_hash(weights):
    path = weights / 'student_8.safetensors'
    (entry,) = listed('student_8', '--size', '64x96').values()
    assert entry['kind'] == 'weights'
    assert entry['hash'] == checkpoint.load(path).hash
    assert entry['params'] == 495_817
    assert entry['gflops'] == listed('lspkd_s8', '--size', '64x96')['lspkd_s8']['gflops']


def test_a_checkpoint_can_be_given_by_its_path(tmp_path):
    path = random_checkpoint.write(tmp_path / 'mine.safetensors')
    assert listed(path)[str(path)]['params'] == 495_817


def test_a_name_of_both_stands_for_both(weights):
    (weights / 'student_8.safetensors').rename(weights / 'lspkd_s8.safetensors')
    assert [entry.kind for entry in catalogue.entries(['lspkd_s8'])] == ['network', 'weights']


def test_a_damaged_file_is_listed_with_its_error(weights, monkeypatch):
    data = (weights / 'student_8.safetensors').read_bytes()
    (weights / 'cut.safetensors').write_bytes(data[:-1])
    (weights / 'empty.safetensors').touch()
    out, err = run('student_8', 'cut', 'empty', code=2)
    assert out.count('unusable') == 2 and '0.496' in out
    assert 'cut.safetensors: damaged, fetch it again' in err
    found = listed('student_8', 'cut', 'empty', code=2)
    assert 'not a safetensors file, or cut off' in found['empty']['error']
    assert found['cut']['params'] is None and found['cut']['gflops'] is None
    assert 'error' not in found['student_8']
    monkeypatch.setattr(networks, 'presets', lambda: {})
    assert listed()['cut']['error'] == found['cut']['error']  # not named: no failure


# --- latency


def test_measured_latency_is_in_the_table_and_in_json(weights, monkeypatch):
    monkeypatch.setattr(latency, 'ENOUGH_S', 0)
    words = ('student_8', 'lspkd_s8', '--measure', '--device', 'cpu', '--size', '16x24')
    found = listed(*words)
    assert all(0 < found[name]['latency_ms'] < 10_000 for name in ('student_8', 'lspkd_s8'))
    out, _ = run(*words)
    assert 'on cpu' in out and ' ms' in out
    assert 'latency_ms' not in listed('lspkd_s8', '--size', '16x24')['lspkd_s8']


# --- bad requests


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('lspdk_s8',), "no model 'lspdk_s8'; did you mean 'lspkd_s8'?"),
        (('--size', '352'), "--size '352': give height x width in pixels, as in 352x1216"),
        (('--size', '0x8'), "--size '0x8': give height x width"),
        (('--size', '8X8'), "--size '8X8': give height x width"),
        (('--measure', '--device', 'tpu'), "device 'tpu': one of auto, cpu, cuda"),
    ],
)
def test_bad_request_is_one_clear_sentence(words, message):
    result = CliRunner().invoke(app, ['models', *words])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ''


# --- opening


def test_random_weights_are_equal_at_every_call_and_leave_the_generator_alone():
    (entry,) = catalogue.entries(['lspkd_s8'])
    state = torch.get_rng_state()
    first, metadata = entry.open()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    second, _ = entry.open()
    assert torch.equal(first.dec0.weight, second.dec0.weight)
    assert not first.training
    assert 'random weights' in metadata.training['recipe']
    assert networks.build(metadata.network, metadata.options).config == first.config


# --- checkpoints whose metadata lies


def lying(path, **lies):
    """Save a small lspkd and write other metadata over its own."""
    network = lspkd.Network(lspkd.Config(width=1 / 32, blocks=(1, 1, 1, 1)))
    checkpoint.save(path, network, normalisation=((0,) * 3, (1,) * 3), depth_range_m=(0.5, 80))
    with safetensors.safe_open(path, 'pt') as file:
        metadata = json.loads(file.metadata()[KEY])
    save_file(load_file(path), path, {KEY: json.dumps(metadata | lies)})
    return path


LIES = [
    (
        {'options': {'width': 1 / 16, 'blocks': [1, 1, 1, 1]}},
        r'rgb\.conv1\.0\.weight is \(2, 3, 3, 3\), expected \(4, 3, 3, 3\)',
    ),
    (
        {'options': {'width': 1 / 32, 'blocks': [1, 2, 1, 1]}},
        r'missing rgb\.layer2\.1\.conv1\.weight',
    ),
    ({'options': {}}, r'missing rgb\.layer1\.1\.conv1\.weight'),  # the defaults are the teacher's
    ({'network': 'mff', 'options': {}}, r'missing encoder\.\S+; .*; and \d+ more'),
    ({'network': 'depth_only', 'options': {}}, r'missing \S+; .*; and \d+ more'),
]


@pytest.mark.parametrize(('lies', 'message'), LIES)
def test_metadata_that_lies_is_refused_and_listed(tmp_path, lies, message):
    path = lying(tmp_path / 'liar.safetensors', **lies)
    with pytest.raises(
        CheckpointError, match=r'liar\.safetensors: tensors do not fit.*' + message
    ):
        checkpoint.load(path)
    _, err = run(path, code=2)
    assert 'tensors do not fit the network' in err
