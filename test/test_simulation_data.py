"""The data set `simulation`: frames on demand, the same in any process."""

from __future__ import annotations

import pickle

from depth_kd_training import data
from depth_kd_training.augment import Augmentation, Config
from depth_kd_training.data.base import Frame
from depth_kd_training.data.loading import as_tensors, Loader
from depth_kd_training.simulation.world import CLASSES
import numpy as np
import pytest
import torch

OPTIONS = {'size': [48, 64], 'sensor': 'os1_32', 'frames': 5, 'seed': 3}


def build(**changes):
    return data.build('simulation', OPTIONS | changes)


def same(first: Frame, second: Frame):
    keys = ('image', 'sparse_depth', 'depth_gt', 'ring', 'semantic', 'instance', 'K')
    return all(np.array_equal(getattr(first, k), getattr(second, k)) for k in keys)


def test_it_is_a_sequence_of_frames():
    worlds = build()
    assert 'simulation' in data.available()
    assert len(worlds) == 5 and worlds.classes == CLASSES
    frames = list(worlds)  # until IndexError
    assert [frame.name for frame in frames] == [f'street_{i:06d}' for i in range(5)]
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)
    assert not any(same(frames[0], other) for other in frames[1:])
    with pytest.raises(IndexError):
        worlds[5]
    assert same(worlds[-1], frames[4]) and worlds[-1].name == 'street_000004'


def test_any_order_and_process_gives_the_same_frame():
    worlds = build()
    late = worlds[2]
    copy = pickle.loads(pickle.dumps(worlds))
    assert same(copy[2], late) and same(build(frames=3)[2], late) and same(worlds[2], late)
    assert not same(build(seed=4)[2], late)


def test_sets_of_two_seeds_do_not_overlap():
    """Frame 1 of seed 0 is not frame 0 of seed 1."""
    first, second = ([build(seed=s, sensor='none')[i] for i in range(3)] for s in (0, 1))
    assert not any(np.array_equal(a.image, b.image) for a in first for b in second)


def test_options_of_the_worlds_and_how_many_there_are_by_default():
    everything = data.build('simulation')
    assert len(everything) == 10_000 and everything.config.size == (240, 608)
    assert build(world='indoor')[0].name == 'indoor_000000'
    assert build(sensor='none')[0].sparse_depth is None


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'world': 'sea'}, "dataset 'simulation': world = 'sea': give one of street"),
        ({'frames': 0}, 'frames = 0: a whole number from 1 on expected'),
        ({'seed': -1}, 'seed = -1: a whole number from 0 on expected'),
        ({'size': [4, 4]}, r'size = \(4, 4\)'),
        ({'root': 'x'}, "dataset 'simulation' has no option 'root'; its options: world, size"),
    ],
)
def test_options_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_batches_of_fewer_beams():
    """Of 32 beams every fourth remains; all else of the sample is the frame's own."""
    worlds = build()
    to_sample = as_tensors((0.5,) * 3, (0.25,) * 3)
    augment = Augmentation(Config(beams=(8,)))
    (batch,) = Loader([worlds], [1.0], augment, to_sample, batch=4, seed=0).batches(0, 1)
    assert batch.image.shape == (4, 3, 48, 64) and batch.sparse_depth.shape == (4, 1, 48, 64)
    assert len(set(batch.index.tolist())) == 4
    for number, index in enumerate(batch.index.tolist()):
        frame = worlds[index]
        pixels = (batch.image[number] * 0.25 + 0.5).permute(1, 2, 0) * 255
        np.testing.assert_allclose(pixels, frame.image, atol=1e-3)
        np.testing.assert_array_equal(batch.depth_gt[number, 0], frame.depth_gt)
        np.testing.assert_array_equal(batch.semantic[number], frame.semantic)
        np.testing.assert_allclose(batch.K[number], frame.K, rtol=1e-6)
        kept = batch.sparse_depth[number, 0].numpy()
        np.testing.assert_array_equal(kept[kept > 0], frame.sparse_depth[kept > 0])
        seen, left = (set(frame.ring[mask]) for mask in (frame.ring >= 0, kept > 0))
        assert frame.beams == 32 and max(seen) < 32
        (first,) = {ring % 4 for ring in left}
        assert left == {ring for ring in seen if ring % 4 == first} < seen
        assert torch.isfinite(batch.image[number]).all()
