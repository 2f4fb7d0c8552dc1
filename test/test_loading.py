"""The order of samples: a pure function of seed and position, whatever runs it."""

from __future__ import annotations

import collections

from depth_kd_training.data.base import Frame
from depth_kd_training.data.loading import as_tensors, Loader, Order
import numpy as np
import pytest
import torch


class Numbers:
    """Frames whose sparse depth is their number."""

    def __init__(self, count, first=0):
        self.count, self.first = count, first

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        value = np.full((2, 3), self.first + index, np.float32)
        return Frame(f'{index}', np.full((2, 3, 3), index, np.uint8), sparse_depth=value)


def noisy(frame, rng):
    return Frame(frame.name, frame.image, depth_gt=rng.random((2, 3), np.float32),
                 sparse_depth=frame.sparse_depth)  # fmt: skip


def loader(**changes):
    settings = {
        'sources': [Numbers(7), Numbers(5, 100)], 'shares': [0.7, 0.3], 'augment': noisy,
        'to_sample': as_tensors((0,) * 3, (1,) * 3), 'batch': 4, 'seed': 3,
    }  # fmt: skip
    return Loader(**settings | changes)


def values(batches):
    return [
        (batch.sparse_depth[:, 0, 0, 0].tolist(), batch.depth_gt[:, 0, 0, 0].tolist())
        for batch in batches
    ]


def test_every_frame_comes_once_per_turn_in_a_new_order():
    order = Order([50], [1.0], seed=0)
    turns = [[order.at(50 * t + i)[1] for i in range(50)] for t in range(3)]
    assert all(sorted(turn) == list(range(50)) for turn in turns)
    assert turns[0] != turns[1] != turns[2] and turns[0] != list(range(50))
    other = Order([50], [1.0], seed=1)
    assert [other.at(i)[1] for i in range(50)] != turns[0]


def test_shares_come_out_and_no_source_comes_in_a_lump():
    order = Order([11, 3, 40], [2, 1, 7], seed=0)
    keys = [order.at(p) for p in range(2000)]
    assert collections.Counter(key[0] for key in keys) == {0: 400, 1: 200, 2: 1400}
    for start in range(0, 2000, 100):
        part = collections.Counter(key[0] for key in keys[start : start + 100])
        assert abs(part[0] - 20) <= 1 and abs(part[1] - 10) <= 1
    # Each source by itself passes through all of its frames before it begins again.
    seen = [key[1] for key in keys if key[0] == 0][:22]
    assert sorted(seen) == sorted([*range(11), *range(11)])
    assert sorted(seen[:11]) == list(range(11))


def test_a_position_does_not_depend_on_the_way_to_it():
    order = Order([7, 5], [0.5, 0.5], seed=2)
    forward = [order.at(p) for p in range(40)]
    fresh = Order([7, 5], [0.5, 0.5], seed=2)
    assert [fresh.at(p) for p in reversed(range(40))] == forward[::-1]


def test_going_on_from_a_step_gives_the_same_batches():
    whole = values(loader().batches(0, 9))
    assert values(loader().batches(4, 9)) == whole[4:]
    assert values(loader(seed=4).batches(0, 9)) != whole


def test_workers_change_nothing():
    alone = values(loader().batches(0, 6))
    assert values(loader(workers=2).batches(0, 6)) == alone


@pytest.mark.parametrize('world', [2, 4])
def test_processes_share_the_batch_without_loss_or_repetition(world):
    alone = list(loader().batches(0, 6))
    parts = [list(loader(rank=r, world=world).batches(0, 6)) for r in range(world)]
    for step, batch in enumerate(alone):
        for found, expected in zip(
            zip(*(p[step] for p in parts), strict=True), batch, strict=True
        ):
            assert torch.equal(torch.cat(found), expected)


def test_a_batch_that_does_not_split_is_refused():
    with pytest.raises(ValueError, match='batch = 4: must be a multiple of the 3 processes'):
        loader(world=3)


def test_an_empty_source_is_refused():
    with pytest.raises(ValueError, match=r'frames per source = \[7, 0\]: every source needs'):
        loader(sources=[Numbers(7), Numbers(0)])


def test_sample_of_a_frame():
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    sparse = np.array([[0, 1, 2], [3, 4, 5]], np.float32)
    frame = Frame('a', image, np.diag([2.0, 3, 1]), sparse, semantic=np.eye(2, 3, dtype=np.int16))
    sample = as_tensors((0.5, 0.25, 0), (0.1, 1, 2))(frame, 6)
    assert sample.image.shape == (3, 2, 3)
    assert sample.image[0, 1, 2].item() == pytest.approx((15 / 255 - 0.5) / 0.1)
    assert sample.image[2, 0, 1].item() == pytest.approx(5 / 255 / 2)
    assert torch.equal(sample.sparse_depth[0], torch.from_numpy(sparse))
    assert not sample.depth_gt.any() and sample.depth_gt.shape == (1, 2, 3)
    assert sample.K.diag().tolist() == [2, 3, 1] and sample.index == 6
    assert sample.semantic.dtype == torch.int64 and sample.semantic.sum() == 2
    bare = as_tensors((0,) * 3, (1,) * 3)(Frame('b', image), 0)
    assert not bare.K.any() and (bare.semantic == -1).all() and not bare.sparse_depth.any()


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'image': np.zeros((2, 3, 3))}, r'frame a: image is float64 \(2, 3, 3\), uint8'),
        ({'image': np.zeros((2, 3), np.uint8)}, r'image is uint8 \(2, 3\)'),
        ({'depth_gt': np.zeros((3, 2), np.float32)}, r'depth_gt is \(3, 2\), the image \(2, 3\)'),
    ],
)
def test_a_frame_whose_maps_do_not_fit_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Frame('a', **{'image': np.zeros((2, 3, 3), np.uint8)} | values)
