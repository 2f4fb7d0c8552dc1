"""The state of a run: it comes back equal, and a bad file is named."""

from __future__ import annotations

import os

from depth_kd_training import state
import pytest
import torch


def example():
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return {
        'network': network.state_dict(),
        'optimiser': optimiser.state_dict(),
        'rng': torch.get_rng_state(),
        'step': 17,
        'best': float('inf'),
        'none': None,
        'names': ['a', ('b', 2.5, True)],
    }


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def test_round_trip(tmp_path):
    saved = example()
    state.save(tmp_path / 'a.safetensors', saved)
    loaded = state.load(tmp_path / 'a.safetensors')
    loaded['network'] = type(saved['network'])(loaded['network'])
    assert equal(dict(saved), dict(loaded) | {'network': saved['network']})
    assert equal(dict(saved['network']), dict(loaded['network']))
    optimiser = torch.optim.Adam(torch.nn.Linear(3, 2).parameters(), 1e-3)
    optimiser.load_state_dict(loaded['optimiser'])


def test_shared_tensors_are_saved_twice(tmp_path):
    weight = torch.rand(4)
    state.save(tmp_path / 'a', {'x': weight, 'y': weight[:2]})
    assert equal(state.load(tmp_path / 'a'), {'x': weight, 'y': weight[:2]})


def test_what_is_no_plain_value_is_refused(tmp_path):
    with pytest.raises(TypeError, match='/a/0: a set cannot be saved'):
        state.save(tmp_path / 'a', {'a': [{1, 2}]})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / 'a.safetensors'
    state.save(path, {'step': 1})

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        state.save(path, {'step': 2})
    assert state.load(path) == {'step': 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('data', [b'', b'x' * 100])
def test_other_files_are_named(tmp_path, data):
    path = tmp_path / 'a.safetensors'
    path.write_bytes(data)
    with pytest.raises(state.StateError, match=r'a\.safetensors: damaged or no safetensors'):
        state.load(path)


def test_missing_truncated_and_foreign_files(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / 'a.safetensors'
    with pytest.raises(state.StateError, match=r'a\.safetensors: cannot read'):
        state.load(path)
    state.save(path, example())
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(state.StateError, match='damaged'):
        state.load(path)
    save_file({'x': torch.ones(1)}, path)
    with pytest.raises(state.StateError, match='not the state of a training run'):
        state.load(path)
    save_file({}, path, {state.KEY: '{"format_version": 9}'})
    with pytest.raises(state.StateError, match=r'format_version 9, this package reads \d'):
        state.load(path)
