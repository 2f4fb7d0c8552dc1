"""A run that is killed, or stopped, goes on exactly: weights, scores and curves are the same."""

from __future__ import annotations

import csv
import itertools
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time

from depth_kd_training import state
import pytest
import street_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import torch

STEPS = 60
PATIENCE_S = 120


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return street_folder.write(tmp_path_factory.mktemp('street'), 10)


def start(recipe: Path, out: Path) -> subprocess.Popen:
    """Start a run as a user does, in a process of its own with one thread."""
    return subprocess.Popen(
        [sys.executable, '-m', 'depth_kd_training', 'train', recipe, '--out', out],
        env=os.environ | {'OMP_NUM_THREADS': '1'}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for_saves(process: subprocess.Popen, out: Path, count: int) -> None:
    """Wait until the run has saved its state so many times."""
    path, seen = out / 'state.safetensors', set()
    before = path.stat().st_mtime_ns if path.exists() else None
    deadline = time.monotonic() + PATIENCE_S
    while len(seen) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        if path.exists() and path.stat().st_mtime_ns != before:
            seen.add(path.stat().st_mtime_ns)
        time.sleep(0.001)


def events(out: Path) -> dict[str, list]:
    """Read the scalars that TensorBoard shows."""
    reader = EventAccumulator(str(out / 'tensorboard'), size_guidance={'scalars': 0})
    reader.Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()['scalars']
        if not tag.endswith(('samples_per_s', 'waiting'))
    }


def learnt(out: Path) -> list[list[str]]:
    """Read log.csv without the columns that measure time."""
    with (out / 'log.csv').open() as file:
        return [row[:-2] for row in csv.reader(file)]


def same(one: Path, other: Path) -> None:
    """Compare all that two runs left."""
    for name in ('last.safetensors', 'best.safetensors', 'validation.csv', 'recipe.yaml'):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert learnt(one) == learnt(other)
    assert events(one) == events(other)
    states = [state.load(out / 'state.safetensors') for out in (one, other)]
    for part in ('network', 'average', 'optimiser'):
        found, expected = (dict(tensors(saved[part])) for saved in states)
        assert found.keys() == expected.keys() and found
        assert all(torch.equal(found[name], expected[name]) for name in found)
    assert [saved['step'] for saved in states] == [states[0]['step']] * 2


def tensors(tree, name=''):
    if isinstance(tree, torch.Tensor):
        yield name, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from tensors(value, f'{name}/{key}')


@pytest.mark.parametrize('kills', [3, pytest.param(10, marks=pytest.mark.full)])
def test_kills_change_nothing(frames, tmp_path, kills):
    recipe = street_folder.write_recipe(tmp_path / 'r.yaml', frames, steps=STEPS, validate_every=7)
    whole = start(recipe, tmp_path / 'whole')
    out, moment, reached = tmp_path / 'killed', random.Random(7), [0]
    for _ in range(kills):
        process = start(recipe, out)
        wait_for_saves(process, out, moment.randint(1, 4))
        time.sleep(moment.uniform(0, 0.03))  # not only right after a save
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL
        reached.append(state.load(out / 'state.safetensors')['step'])
    assert all(a < b for a, b in itertools.pairwise(reached)), reached
    assert reached[-1] < STEPS
    last = start(recipe, out)
    for process in (last, whole):
        text, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, text
    assert len(learnt(out)) == 1 + STEPS
    same(out, tmp_path / 'whole')
    assert not list(out.glob('.*'))  # nothing half-written stays
