"""Two processes train as one with their batch: weights, losses, scores, each sample once."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
import subprocess
import sys

from depth_kd_training import config, state
from depth_kd_training.batch_norm import synchronise
from depth_kd_training.feed import Feed
from depth_kd_training.opening import open_network
import pytest
import random_checkpoint
import street_folder
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
TORCHRUN = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']

# Adam turns rounding errors of the smallest gradients into steps of the rate's size.
SMALL_STEPS = {'rate': 3e-5, 'schedule': 'constant', 'warmup': 0}


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    """Write frames, every third without ground truth, and a recipe with both kinds of sources."""
    folder = tmp_path_factory.mktemp('street')
    frames = street_folder.write(folder / 'a', 9)
    for index in range(0, 9, 3):
        street_folder.save_depth(frames / 'depth_gt' / f'{index:04d}.png', torch.zeros(48, 96))
    unlabelled = street_folder.write(folder / 'u', 5, seed=1)
    data = {'unlabelled': [street_folder.source(unlabelled)], 'unlabelled_share': 0.5, 'batch': 8}
    random_checkpoint.write(folder / 'teacher.safetensors')
    return street_folder.write_recipe(
        folder / 'r.yaml', frames, data=data, steps=4,
        teacher={'checkpoint': str(folder / 'teacher.safetensors')},
        methods=[{'name': 'response'}],
        optimisation={'accumulate': 2, 'clip': 5.0, **SMALL_STEPS},
        supervision={'losses': {'l1': 1.0, 'l2': 0.1}}, save_every_s=1e9,
    )  # fmt: skip


def run(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=os.environ | {'OMP_NUM_THREADS': '1'}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def rows(path: Path) -> list[list[float]]:
    with path.open() as file:
        return [list(map(float, row)) for row in list(csv.reader(file))[1:]]


@pytest.fixture(scope='module')
def alone(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp('alone')
    run('-m', 'depth_kd_training', 'train', recipe, '--out', out, '--device', 'cpu')
    return out


@pytest.mark.parametrize(
    'launcher', ['torchrun', pytest.param('fabric run', marks=pytest.mark.full)]
)
def test_two_processes_equal_one(recipe, alone, tmp_path, launcher):
    words = ['train', recipe, '--out', tmp_path / 'two']
    if launcher == 'torchrun':
        text = run(*TORCHRUN, '-m', 'depth_kd_training', *words, '--device', 'cpu')
    else:
        script = ROOT / 'training' / 'depth_kd_training' / '__main__.py'
        pytest.importorskip('click', reason='`fabric run` needs click')
        start = ['--accelerator=cpu', '--devices=2', f'--main-port={free_port()}']
        text = run('-m', 'lightning_fabric.cli', *start, script, *words)
    assert text.count('the run is complete') == 1  # one process speaks
    saved = [state.load(out / 'state.safetensors') for out in (alone, tmp_path / 'two')]
    for part in ('network', 'average'):
        one, two = (s[part]['tensors'] if part == 'average' else s[part] for s in saved)
        for name, tensor in one.items():
            scale = max(1.0, float(tensor.abs().max()))  # of running variances
            assert (tensor - two[name]).abs().max() <= 1e-5 * scale, name
    torch.manual_seed(0)
    begun = open_network(config.load(recipe)).dec0.weight
    assert (saved[1]['network']['dec0.weight'] - begun).abs().max() > 1e-4
    for one, two in zip(rows(alone / 'log.csv'), rows(tmp_path / 'two/log.csv'), strict=True):
        assert two[:-2] == pytest.approx(one[:-2], rel=1e-4)
    for one, two in zip(
        rows(alone / 'validation.csv'), rows(tmp_path / 'two/validation.csv'), strict=True
    ):
        assert two == pytest.approx(one, rel=1e-4)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize('world', [2, 4])
def test_no_sample_is_lost_or_repeated(recipe, world):
    wanted = config.load(recipe)
    parts = [Feed(wanted, rank, world).parts for rank in range(world)]
    whole = Feed(wanted).parts
    assert len(whole) == 2
    for kind, loader in enumerate(whole):
        for step in range(20):
            split = [key for part in parts for key in part[kind].keys(step)]
            assert split == loader.keys(step) and len(set(split)) == 4
    positions = [key[2] for step in range(20) for key in whole[0].keys(step)]
    assert positions == list(range(80))


def test_a_batch_that_does_not_split_is_refused(recipe):
    with pytest.raises(config.ConfigError, match=r'data: batch = 4: must be a multiple of the 3'):
        Feed(config.load(recipe), 0, 3)


def test_the_norm_of_one_process_is_torch_s(tmp_path):
    """In a world of one the formula and its gradients are those of nn.BatchNorm2d."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        x = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)) * 3 + 20
        found = []
        for swapped in (False, True):
            norm = nn.BatchNorm2d(4)
            nn.init.uniform_(norm.weight, 0.5, 2.0, torch.Generator().manual_seed(1))
            nn.init.uniform_(norm.bias, -1, 1, torch.Generator().manual_seed(2))
            if swapped:
                synchronise(norm, cuda=False)
                assert type(norm) is not nn.BatchNorm2d
            given = x.clone().requires_grad_()
            norm(given).square().mul(torch.arange(6.0)).sum().backward()
            values = norm.state_dict() | {'dx': given.grad, 'dw': norm.weight.grad}
            found.append(values | {'eval': norm.eval()(x).detach()})
        assert list(found[0]) == list(found[1])
        for name, expected in found[0].items():
            scale = max(1.0, float(expected.float().abs().max()))
            assert (found[1][name] - expected).abs().max() < 1e-5 * scale, name
        assert math.isclose(found[1]['num_batches_tracked'].item(), 1)
    finally:
        torch.distributed.destroy_process_group()
