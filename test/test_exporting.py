"""Exported networks: equal to torch in ONNX Runtime, self-describing, and never half written."""

from __future__ import annotations

from dataclasses import asdict
import importlib.util
import json
import os
import warnings

from depth_kd_ros import checkpoint, exporting, latency, networks
from depth_kd_ros.cli import app
from depth_kd_ros.exporting import ExportError
from depth_kd_ros.metadata import KEY, Metadata, Normalisation
from depth_kd_ros.networks import lspkd
from depth_kd_ros.networks.base import DepthNetwork, Prediction
from network_inputs import inputs
import onnx
import onnxruntime
import pytest
import random_checkpoint
from test_networks import quick_and_full
import torch
from torch import nn
from typer.testing import CliRunner

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def _short_measurement(monkeypatch):
    monkeypatch.setattr(latency, 'FEWEST_RUNS', 1)
    monkeypatch.setattr(latency, 'ENOUGH_S', 0)


def calibrated(name, config):
    """Build a network whose batch norms have seen data: untrained, it would hide differences."""
    torch.manual_seed(1)
    network = networks.find(name).Network(config).train()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        network(*inputs(*SIZE, batch=2))
    return network.eval()


def tiny(**options):
    return calibrated('lspkd', lspkd.Config(width=1 / 32, blocks=(1, 1, 1, 1), **options))


def about(network):
    """Describe a network of the package as its checkpoint would."""
    name = type(network).__module__.rpartition('.')[2]
    return Metadata(
        name, asdict(network.config), Normalisation((0.5,) * 3, (0.25,) * 3), (0.5, 80.0)
    )


def onnx_outputs(path, given):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    found = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    return dict(zip(names, map(torch.from_numpy, found), strict=True))


def check_parity(path, network, height, width, batch=1):
    """Compare on other input than the export did, with the network as it was given to it."""
    image, sparse = inputs(height, width, batch)
    given = {'image': image, 'sparse_depth': sparse}
    with torch.inference_mode():
        prediction = network(image, sparse)
    found = onnx_outputs(path, {name: given[name] for name in network.inputs})
    expected = {'depth': prediction.depth, 'confidence': prediction.confidence}
    assert found.keys() == {key for key, tensor in expected.items() if tensor is not None}
    for key, tensor in found.items():
        assert tensor.shape == expected[key].shape
        assert (tensor - expected[key]).abs().max() <= 1e-4 * expected[key].abs().max(), key


# --- parity


def presets_and_forms():
    """Give every preset at any size and at a fixed one; but for lspkd, the latter runs long."""
    for case in quick_and_full():
        (preset,) = case.values
        yield pytest.param(preset, True, id=f'{case.id}-dynamic', marks=case.marks)
        marks = case.marks if preset[0] == 'lspkd' else pytest.mark.full
        yield pytest.param(preset, False, id=f'{case.id}-fixed', marks=marks)


@pytest.mark.parametrize(('preset', 'dynamic'), list(presets_and_forms()))
def test_every_network_is_equal_in_onnx_runtime(preset, dynamic, tmp_path):
    network, path = calibrated(*preset), tmp_path / 'a.onnx'
    exported = exporting.export(network, about(network), path, SIZE, dynamic=dynamic)
    assert list(exported.errors) == [SIZE, (43, 49)] if dynamic else [SIZE]
    assert max(exported.errors.values()) <= 1e-4
    assert exported.latency_ms > 0
    check_parity(path, network, *SIZE)
    if dynamic:
        check_parity(path, network, 97, 131)


@pytest.mark.parametrize('traced', [(64, 96), (97, 131)])
def test_dynamic_lspkd_takes_any_size(tmp_path, traced):
    network, path = tiny(), tmp_path / 'a.onnx'
    exporting.export(network, about(network), path, traced, dynamic=True)
    for size in ((1, 1), (2, 3), (16, 17), (33, 50), (101, 64), (227, 301)):
        check_parity(path, network, *size)


def test_confidence_is_the_second_output(tmp_path):
    network, path = tiny(confidence=True), tmp_path / 'a.onnx'
    exporting.export(network, about(network), path, (33, 50), dynamic=True)
    outputs = onnx.load(path).graph.output
    assert [output.name for output in outputs] == ['depth', 'confidence']
    check_parity(path, network, 64, 96)


@pytest.mark.parametrize('opset', [13, 20])
def test_operator_set_and_batch(tmp_path, opset):
    network, path = tiny(), tmp_path / 'a.onnx'
    exporting.export(network, about(network), path, (32, 48), opset=opset, batch=3)
    assert onnx.load(path).opset_import[0].version == opset
    check_parity(path, network, 32, 48, batch=3)


# --- the file


@pytest.mark.parametrize('dynamic', [False, True])
def test_file_says_what_it_is(tmp_path, dynamic):
    network, path = tiny(), tmp_path / 'a.onnx'
    exporting.export(network, about(network), path, (32, 48), dynamic=dynamic)
    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties == {
        KEY: about(network).to_header()[KEY],
        'depth_kd_ros.size': 'HxW' if dynamic else '32x48',
        'depth_kd_ros.output': 'metric depth',
    }
    assert json.loads(properties[KEY])['options']['width'] == 1 / 32
    size = ['height', 'width'] if dynamic else [32, 48]
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes['image'] == [1, 3, *size]
    assert shapes['sparse_depth'] == shapes['depth'] == [1, 1, *size]


def test_file_of_a_relative_network_says_so(tmp_path):
    network = networks.build(*networks.presets()['relative_topformer_tiny']).eval()
    exporting.export(network, about(network), tmp_path / 'a.onnx', (32, 48))
    properties = {p.key: p.value for p in onnx.load(tmp_path / 'a.onnx').metadata_props}
    assert properties['depth_kd_ros.output'] == f'relative {network.output}'


def test_graph_has_only_the_inputs_that_the_network_reads(tmp_path):
    for name, read in (('depth_only', 'sparse_depth'), ('mff', 'image')):
        network, path = networks.build(name).eval(), tmp_path / f'{name}.onnx'
        exporting.export(network, about(network), path, (32, 48))
        assert [value.name for value in onnx.load(path).graph.input] == [read]


def test_exporter_is_quiet_and_global_state_stays(tmp_path, capfd):
    network = tiny()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        exporting.export(network, about(network), tmp_path / 'a.onnx', (32, 48), dynamic=True)
    assert capfd.readouterr() == ('', '')
    assert not network.training


# --- what fails leaves nothing behind


class Faulty(DepthNetwork):
    """Predict what `fault` makes of the image: depth, or depth and confidence."""

    inputs = ('image',)

    def __init__(self, fault):
        super().__init__()
        self.fault, self.weight = fault, nn.Parameter(torch.ones(1))
        self.config = None

    def forward(self, image, sparse_depth=None, features=True):
        made = self.fault(image)
        depth, confidence = made if isinstance(made, tuple) else (made, None)
        return Prediction(depth * self.weight, {}, confidence)


def test_the_deployable_network_is_exported(tmp_path):
    network, path = Faulty(lambda image: image[:, :1]), tmp_path / 'a.onnx'
    network.deployable = lambda: Faulty(lambda image: 2 * image[:, :1])
    exporting.export(network, about(tiny()), path, (32, 48))
    image, _ = inputs(32, 48)
    assert torch.equal(onnx_outputs(path, {'image': image})['depth'], 2 * image[:, :1])


FAULTS = {
    'differs': (
        lambda x: x[:, :1] + (0.001 if torch.jit.is_tracing() else 0),
        r'at 32x48 ONNX Runtime differs from torch by \d\.\de-04 of the largest value; 1e-04 is',
    ),
    'nan': (lambda x: x[:, :1] / 0 * 0, r'differs from torch by nan of the largest value'),
    'nan confidence': (lambda x: (x[:, :1], x[:, :1] / 0 * 0), r'differs from torch by nan'),
    'shape': (
        lambda x: x[:, :1, : 30 if torch.jit.is_tracing() else 32],
        r'at 32x48 ONNX Runtime differs from torch by inf',
    ),
    'size baked in': (
        lambda x: x[:, :1] + torch.ones(1, 1, int(x.shape[2]), int(x.shape[3])),
        r'not exported: at 21x25 ONNX Runtime fails: ',
    ),
    'no operator': (lambda x: torch.linalg.svdvals(x)[..., None], r'torch cannot write this netw'),
}


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('older', [False, True], ids=['new', 'replacing'])
def test_failure_leaves_no_file_or_the_older_one(tmp_path, capfd, fault, older):
    function, message = FAULTS[fault]
    path, metadata = tmp_path / 'a.onnx', about(tiny())
    if older:
        path.write_bytes(b'older')
    with pytest.raises(ExportError, match=message):
        exporting.export(Faulty(function), metadata, path, (32, 48), dynamic=True, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == (['a.onnx'] if older else [])
    assert not older or path.read_bytes() == b'older'
    assert capfd.readouterr() == ('', '')


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', stop)
    network = tiny()
    with pytest.raises(KeyboardInterrupt):
        exporting.export(network, about(network), tmp_path / 'a.onnx', (32, 48))
    assert list(tmp_path.iterdir()) == []


# --- the command


def run(*words):
    result = CliRunner().invoke(app, ['export', *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, ' '.join(result.stdout.split()), ' '.join(result.stderr.split())


def test_command_exports_a_checkpoint(tmp_path):
    source, out = random_checkpoint.write(tmp_path / 'student.safetensors'), tmp_path / 'b.onnx'
    code, text, err = run(source, '--to', 'onnx', '--out', out, '--size', '33x50')
    assert (code, err) == (0, '')
    assert f'{out}: 2.0 MB, 1 x 33x50, opset 17, reads image and sparse_depth' in text
    assert 'at 33x50 ONNX Runtime differs from torch by' in text
    assert 'ms per call at 33x50 in ONNX Runtime on this CPU' in text
    loaded = checkpoint.load(source)
    properties = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert json.loads(properties[KEY]) == json.loads(loaded.metadata.to_header()[KEY])
    check_parity(out, loaded.model, 33, 50)


def test_command_exports_bundled_weights_rather_than_a_network_of_their_name(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint, 'WEIGHTS', tmp_path)
    monkeypatch.chdir(tmp_path)
    path = random_checkpoint.write(tmp_path / 'lspkd_s8.safetensors')
    code, text, err = run('lspkd_s8', '--dynamic', '--size', '32x48')
    assert (code, err) == (0, '')
    assert 'lspkd_s8.onnx: 2.0 MB, 1 x any size' in text
    assert 'at 32x48 ONNX' in text and 'at 21x25 ONNX' in text
    check_parity(tmp_path / 'lspkd_s8.onnx', checkpoint.load(path).model, 9, 8)


def test_command_says_loudly_that_a_network_has_random_weights(tmp_path):
    out = tmp_path / 'a.onnx'
    code, text, err = run('lspkd_s8', '--out', out, '--size', '32x48')
    assert code == 0 and 'RANDOM WEIGHTS' not in text
    assert err.startswith('RANDOM WEIGHTS: lspkd_s8 is an untrained network.')
    assert 'none: random weights' in onnx.load(out).metadata_props[0].value
    code, _, err = run('lspkd_s8', '--out', out)
    assert code == 2 and f'{out} exists: give --overwrite or another name' in err
    assert run('lspkd_s8', '--out', out, '--size', '32x48', '--overwrite')[0] == 0


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('lspdk_s8',), "no model 'lspdk_s8'; did you mean 'lspkd_s8'?"),
        (('lspkd_s8', '--to', 'tensorrt'), "--to 'tensorrt': onnx is the only format"),
        (('lspkd_s8', '--size', 'big'), "--size 'big': give height x width in pixels"),
        (('lspkd_s8', '--out', 'a.pt'), 'a.pt: an ONNX file is named *.onnx'),
        (('lspkd_s8', '--out', 'none/a.onnx'), 'none: no such folder'),
        (('lspkd_s8', '--opset', '12'), 'opset 12: give 13 to 20'),
        (('lspkd_s8', '--opset', '21'), 'opset 21: give 13 to 20'),
        (('lspkd_s8', '--batch', '0'), 'greater than or equal to 1'),
    ],
)
def test_bad_request_is_one_clear_sentence(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, text, err = run(*words)
    assert code == 2 and text == '' and message in err
    assert list(tmp_path.iterdir()) == []


def test_absent_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    code, _, err = run('lspkd_s8')
    assert code == 2
    assert 'onnx and onnxruntime not installed: pip install "depth_kd_ros[export]"' in err


def test_failed_parity_is_exit_code_2(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, 'MOST_ERROR', 0.0)
    code, text, err = run('lspkd_s8', '--out', tmp_path / 'a.onnx', '--size', '32x48')
    assert code == 2 and text == '' and 'ONNX Runtime differs from torch by' in err
    assert list(tmp_path.iterdir()) == []
