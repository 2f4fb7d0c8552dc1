"""Checkpoints: round trip, provenance, and one clear error for each way a file can be wrong."""

from __future__ import annotations

import copy
from dataclasses import asdict
import hashlib
import json
import os
from pathlib import Path
import subprocess
import sys

from depth_kd_ros import checkpoint, networks
from depth_kd_ros.checkpoint import CheckpointError, Metadata, Normalisation
from depth_kd_ros.metadata import KEY
from depth_kd_ros.networks import lspkd
from network_inputs import smallest
import pytest
import random_checkpoint
import safetensors
from safetensors.torch import load_file, save_file
import torch

SETTINGS = {
    'normalisation': ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
    'depth_range_m': (0.5, 80),
}


def tiny(seed=0):
    torch.manual_seed(seed)
    return lspkd.Network(lspkd.Config(width=1 / 32, blocks=(1, 1, 1, 1)))


@pytest.fixture
def path(tmp_path):
    """Write a small checkpoint."""
    path = tmp_path / 'tiny.safetensors'
    checkpoint.save(path, tiny(), **SETTINGS)
    return path


def rewrite(path, tensors=None, **changes):
    """Write the file again with other tensors and metadata, as a foreign program might."""
    with safetensors.safe_open(path, 'pt') as file:
        metadata = json.loads(file.metadata()[KEY])
    metadata = {k: v for k, v in {**metadata, **changes}.items() if v is not ...}
    save_file(load_file(path) if tensors is None else tensors, path, {KEY: json.dumps(metadata)})


# --- round trip


@pytest.mark.parametrize('name', networks.available())
def test_every_network_round_trips(name, tmp_path):
    network = networks.find(name).Network(smallest(name))
    path = tmp_path / 'net.safetensors'
    checkpoint.save(path, network, **SETTINGS)
    loaded = checkpoint.load(path)
    assert type(loaded.model) is type(network)
    assert loaded.model.config == network.config
    assert not loaded.model.training
    assert loaded.model.state_dict().keys() == network.state_dict().keys()
    for key, tensor in network.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], tensor), key
    tensors = [*loaded.model.parameters(), *loaded.model.buffers()]
    assert all(t.device.type == 'cpu' for t in tensors)  # none left on meta
    assert all(p.requires_grad for p in loaded.model.parameters())


def test_header_of_any_length_is_no_pickle(tmp_path):
    """The file begins with the header's length, whose first byte may be that of a pickle."""
    network, first_bytes = tiny(), set()
    for length in range(0, 256, 8):  # safetensors pads the header to 8 bytes
        path = tmp_path / f'{length}.safetensors'
        checkpoint.save(path, network, **SETTINGS, licence='x' * length)
        first_bytes.add(path.read_bytes()[0])
        assert checkpoint.load(path).metadata.licence == 'x' * length
    assert 0x80 in first_bytes


def test_metadata_round_trips(tmp_path):
    path = tmp_path / 'a.safetensors'
    training = {'data': ['kitti', 'my_bag'], 'recipe': {'epochs': 20, 'rate': 1e-3}}
    metrics = {'rmse_mm': 893.0, 'note': 'validation'}
    checkpoint.save(
        path, tiny(), **SETTINGS, training=training, metrics=metrics, licence='Apache-2.0'
    )
    metadata = checkpoint.read_metadata(path)
    assert metadata == checkpoint.load(path).metadata
    assert metadata.network == 'lspkd'
    assert metadata.options == asdict(tiny().config) | {'blocks': [1, 1, 1, 1]}
    assert metadata.options['width'] == 1 / 32
    assert metadata.normalisation == Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert metadata.depth_range_m == (0.5, 80.0)
    assert (metadata.training, metadata.metrics) == (training, metrics)
    assert metadata.licence == 'Apache-2.0'
    assert metadata.package_version
    assert metadata.format_version == 1


def test_a_loaded_network_can_be_trained_further(path):
    model = checkpoint.load(path).model.train()
    before = model.dec0.bias.clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.randn(2, 3, 32, 32), torch.rand(2, 1, 32, 32)).depth.sum().backward()
    optimizer.step()
    assert not torch.equal(model.dec0.bias, before)
    assert model.dec1[1].num_batches_tracked == 1


def test_loading_draws_no_random_numbers(path):
    state = torch.get_rng_state()
    checkpoint.load(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_hash_is_of_the_file_and_equal_for_equal_content(path, tmp_path):
    again = tmp_path / 'again.safetensors'
    checkpoint.save(again, tiny(), **SETTINGS)
    other = tmp_path / 'other.safetensors'
    checkpoint.save(other, tiny(seed=1), **SETTINGS)
    loaded = checkpoint.load(path)
    assert loaded.path == path
    assert loaded.hash == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert loaded.hash == checkpoint.load(again).hash
    assert loaded.hash != checkpoint.load(other).hash


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_stored_and_read_as_float32(tmp_path, dtype):
    path = tmp_path / 'half.safetensors'
    network = tiny()
    checkpoint.save(path, copy.deepcopy(network).to(dtype), **SETTINGS)
    assert load_file(path)['dec0.weight'].dtype == dtype
    loaded = checkpoint.load(path).model
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert loaded.dec1[1].running_var.dtype == torch.float32
    assert loaded.dec1[1].num_batches_tracked.dtype == torch.int64
    assert torch.equal(loaded.dec0.weight, network.dec0.weight.to(dtype).float())


def test_channels_last_is_saved(tmp_path):
    path = tmp_path / 'last.safetensors'
    network = tiny()
    checkpoint.save(path, copy.deepcopy(network).to(memory_format=torch.channels_last), **SETTINGS)
    assert torch.equal(checkpoint.load(path).model.dec3[0].weight, network.dec3[0].weight)


def test_metadata_is_read_without_torch(path):
    code = (
        'import sys; from depth_kd_ros import checkpoint, networks; '
        f'print(checkpoint.read_metadata({str(path)!r}).network, networks.available()[0]); '
        'checkpoint.bundled(); assert "torch" not in sys.modules'
    )
    root = str(Path(checkpoint.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': root},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] == 'lspkd'


def test_random_checkpoint_is_reproducible_and_predicts_about_10_m(tmp_path):
    first, second = (random_checkpoint.write(tmp_path / f'{n}.safetensors') for n in 'ab')
    assert first.read_bytes() == second.read_bytes()
    loaded = checkpoint.load(first)
    assert loaded.model.config == lspkd.PRESETS['lspkd_s8']
    with torch.inference_mode():
        depth = loaded.model(torch.randn(1, 3, 64, 96), 20 * torch.rand(1, 1, 64, 96)).depth
    assert 5 < depth.min() < depth.max() < 20


# --- saving


def test_an_interrupted_save_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match='disk full'):
        checkpoint.save(path, tiny(seed=1), **SETTINGS)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_save_replaces_and_leaves_nothing_else(path):
    before = path.read_bytes()
    checkpoint.save(path, tiny(seed=1), **SETTINGS)
    assert path.read_bytes() != before
    assert list(path.parent.iterdir()) == [path]


def test_save_wants_the_suffix(tmp_path):
    with pytest.raises(CheckpointError, match=r'a\.pth: a checkpoint is named \*\.safetensors'):
        checkpoint.save(tmp_path / 'a.pth', tiny(), **SETTINGS)


def test_save_wants_one_of_our_networks(tmp_path):
    path = tmp_path / 'a.safetensors'
    for module in (torch.nn.Linear(1, 1), torch.nn.DataParallel(tiny()), lspkd.Encoder):
        with pytest.raises(CheckpointError, match=r'cannot save a .* give a network of .*lspkd'):
            checkpoint.save(path, module, **SETTINGS)
    assert not path.exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'normalisation': ((0.5, 0.5), (1, 1, 1))}, r'normalisation\.mean = \(0\.5, 0\.5\)'),
        ({'normalisation': ((0, 0, 0), (1, 1, float('nan')))}, r'normalisation\.std = .*nan'),
        ({'normalisation': ((0, 0, 0), (1, 0, 1))}, r'normalisation\.std = .* positive'),
        ({'normalisation': ((0, 0, 0),)}, 'cannot write this metadata'),
        ({'depth_range_m': (80, 0.5)}, r'depth_range_m = \(80\.0, 0\.5\): give 0 <= min < max'),
        ({'depth_range_m': (0, float('inf'))}, r'depth_range_m = .*2 finite numbers'),
        ({'depth_range_m': '08'}, r'depth_range_m = .08.: give 2 finite numbers'),
        ({'training': {'folder': Path('x')}}, 'PosixPath is not JSON serializable'),
        ({'metrics': {'rmse': float('nan')}}, 'not JSON compliant'),
        ({'licence': None}, 'licence = None: give a string'),
    ],
)
def test_save_rejects_bad_metadata(tmp_path, change, message):
    path = tmp_path / 'a.safetensors'
    with pytest.raises(CheckpointError, match=r'a\.safetensors: .*' + message):
        checkpoint.save(path, tiny(), **{**SETTINGS, **change})
    assert not path.exists()


def test_save_rejects_a_diverged_network(tmp_path):
    network = tiny()
    network.dec0.bias.data.fill_(float('nan'))
    with pytest.raises(CheckpointError, match=r'not finite: dec0\.bias; take a state from before'):
        checkpoint.save(tmp_path / 'a.safetensors', network, **SETTINGS)


# --- loading what is not a checkpoint

READERS = [checkpoint.read_metadata, checkpoint.load]


@pytest.mark.parametrize('read', READERS)
def test_missing_file(read, tmp_path):
    with pytest.raises(CheckpointError, match=r'none\.safetensors: cannot read: No such file'):
        read(tmp_path / 'none.safetensors')


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('zipped', [True, False])
def test_pickles_are_named_and_not_loaded(read, zipped, tmp_path):
    path = tmp_path / 'model.pth'
    torch.save(tiny().state_dict(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r'model\.pth: a pickle .* will not be loaded'):
        read(path)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize(
    'data',
    [b'', b'x', b'version https://git-lfs.github.com/spec/v1', bytes(100), b'\2' + bytes(9)],
)
def test_other_files(read, data, tmp_path):
    path = tmp_path / 'a.safetensors'
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r'a\.safetensors: not a safetensors file'):
        read(path)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('metadata', [None, {'format': 'pt'}])
def test_safetensors_of_others(read, metadata, tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file({'weight': torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match=r"without 'depth_kd_ros\.checkpoint' in its meta"):
        read(path)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('text', ['no json', '[1]', '{}', '3', '"text"'])
def test_unreadable_metadata(read, text, tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file({'weight': torch.zeros(1)}, path, {KEY: text})
    with pytest.raises(CheckpointError, match='has no readable format_version'):
        read(path)


def test_header_cut_off(path):
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match='not a safetensors file, or cut off'):
        checkpoint.load(path)


def test_tensors_cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r'tiny\.safetensors: damaged, fetch it again'):
        checkpoint.load(path)


# --- loading a checkpoint that does not fit


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'format_version': 2, 'package_version': '9.1', 'new': 1},
            r'format_version 2, written by depth_kd_ros 9\.1; this package reads 1: update it',
        ),
        ({'licence': ...}, r"metadata lacks \['licence'\], has unknown \[\]"),
        ({'colour': 'bgr'}, r"metadata lacks \[\], has unknown \['colour'\]"),
        ({'normalisation': {'mean': [0, 0, 0]}}, r'normalisation = .* needs mean and std'),
        ({'depth_range_m': [1]}, r'depth_range_m = \[1\]: give 2 finite numbers'),
        ({'options': []}, r'options = \[\]: give a mapping'),
        ({'network': 5}, 'network = 5: give a string'),
    ],
)
def test_metadata_that_does_not_fit(read, path, change, message):
    rewrite(path, **change)
    with pytest.raises(CheckpointError, match=r'tiny\.safetensors: ' + message):
        read(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'network': 'lspdk'}, r"unknown network 'lspdk'; did you mean 'lspkd'\? Available netw"),
        ({'options': {'wide': 1}}, r"network 'lspkd' has no option 'wide'; its options: width, b"),
        ({'options': {'width': 0.001}}, r"network 'lspkd': width = 0\.001: give a positive"),
    ],
)
def test_network_that_this_package_does_not_have(path, change, message):
    rewrite(path, **change)
    with pytest.raises(CheckpointError, match=r'tiny\.safetensors: ' + message):
        checkpoint.load(path)


def test_tensors_that_do_not_fit_are_named(path):
    tensors = load_file(path)
    del tensors['dec0.bias']
    tensors['extra'] = torch.zeros(1)
    tensors['dec0.weight'] = torch.zeros(2, 1, 3, 5)
    tensors['dec1.1.num_batches_tracked'] = torch.tensor(0.5)
    rewrite(path, tensors)
    with pytest.raises(CheckpointError, match='tensors do not fit the network') as error:
        checkpoint.load(path)
    message = str(error.value)
    assert 'missing dec0.bias; unexpected extra' in message
    assert 'dec0.weight is (2, 1, 3, 5), expected (2, 1, 3, 3)' in message
    assert 'num_batches_tracked is torch.float32, expected torch.int64' in message


def test_many_faults_are_counted(path):
    tensors = {k: v for k, v in load_file(path).items() if not k.startswith('rgb.layer1')}
    rewrite(path, tensors)
    with pytest.raises(CheckpointError, match=r'missing rgb\.layer1\.0\.conv1\.weight.*; and 4 m'):
        checkpoint.load(path)


def test_not_finite_tensors_are_refused(path):
    tensors = load_file(path)
    tensors['dec1.1.running_var'][0] = float('inf')
    rewrite(path, tensors)
    with pytest.raises(CheckpointError, match=r'not finite: dec1\.1\.running_var'):
        checkpoint.load(path)


# --- names


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Use a folder with two bundled models."""
    folder = tmp_path / 'weights'
    folder.mkdir()
    for name in ('student_8.safetensors', 'student_2.safetensors', 'student_8.md'):
        (folder / name).touch()
    monkeypatch.setattr(checkpoint, 'WEIGHTS', folder)
    return folder


def test_bundled_names(weights):
    assert checkpoint.bundled() == {
        'student_2': weights / 'student_2.safetensors',
        'student_8': weights / 'student_8.safetensors',
    }
    assert checkpoint.resolve('student_8') == weights / 'student_8.safetensors'


def test_every_bundled_checkpoint_loads_and_has_a_model_card():
    for name, path in checkpoint.bundled().items():
        loaded = checkpoint.load(path)
        assert loaded.metadata.licence, name
        assert loaded.metadata.training, name
        assert path.with_suffix('.md').is_file(), name


def test_resolve_takes_a_path(weights, path, monkeypatch):
    assert checkpoint.resolve(path) == path
    assert checkpoint.resolve(str(path)) == path
    monkeypatch.setenv('HOME', str(path.parent))
    assert checkpoint.resolve('~/tiny.safetensors') == path


def test_resolve_suggests_a_name(weights):
    message = (
        r"no model 'studnet_8'; did you mean 'student_8'\? Give one of student_2, student_8, "
        r'linear or the path of a \.safetensors file'
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoint.resolve('studnet_8', also=['linear'])


def test_resolve_without_bundled_models(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, 'WEIGHTS', tmp_path)
    with pytest.raises(CheckpointError, match=r"no model 'x'\. Give one of \(none bundled\) or"):
        checkpoint.resolve('x')


def test_metadata_is_frozen():
    metadata = Metadata('lspkd', {}, Normalisation((0, 0, 0), (1, 1, 1)), (0, 1))
    with pytest.raises(AttributeError):
        metadata.network = 'other'
