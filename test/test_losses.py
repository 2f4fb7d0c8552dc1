"""Supervised losses against hand-worked numbers and loops."""

from __future__ import annotations

import math

from depth_kd_training import losses
import numpy as np
import pytest
import torch

RANGE_M = (0.5, 80.0)


def maps(*rows):
    return torch.tensor(rows, dtype=torch.float64)[:, None]


def test_l1_and_l2_average_images_not_pixels():
    depth = maps([[1.0, 2.0]], [[5.0, 5.0]])
    truth = maps([[2.0, 4.0]], [[8.0, 0.0]])
    valid = truth > 0
    assert losses.l1(depth, truth, valid).item() == (1.5 + 3) / 2  # pooled: 2
    assert losses.l2(depth, truth, valid).item() == (2.5 + 9) / 2


@pytest.mark.parametrize('loss', losses.LOSSES.values())
def test_an_image_without_truth_counts_for_nothing(loss):
    torch.manual_seed(0)
    depth, truth = (3 + torch.rand(2, 1, 5, 6, dtype=torch.float64) for _ in range(2))
    truth[1] = 0
    both = loss(depth, truth, truth > 0)
    assert both.item() == pytest.approx(loss(depth[:1], truth[:1], truth[:1] > 0).item())
    assert loss(depth, truth * 0, truth < 0).item() == 0


def looped_structure(d, g, valid):
    """Write the four terms out for one image (H, W), edge pixels repeated."""
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    dp, gp = (np.pad(x, 1, mode='edge') for x in (d, g))
    vp = np.pad(valid, 1)
    terms = ([], [], [], [])
    for i, j in np.ndindex(d.shape):
        if valid[i, j]:
            terms[0].append(math.log(abs(d[i, j] - g[i, j]) + 0.5))
        if vp[i : i + 3, j : j + 3].all():
            dx, gx = ((kernel * x[i : i + 3, j : j + 3]).sum() for x in (dp, gp))
            dy, gy = ((kernel.T * x[i : i + 3, j : j + 3]).sum() for x in (dp, gp))
            terms[1].append(math.log(abs(dx - gx) + 0.5))
            terms[2].append(math.log(abs(dy - gy) + 0.5))
            n, m = np.array([-dx, -dy, 1]), np.array([-gx, -gy, 1])
            terms[3].append(abs(1 - n @ m / np.linalg.norm(n) / np.linalg.norm(m)))
    return sum(np.mean(term) for term in terms if term)


@pytest.mark.parametrize('holes', [0.0, 0.1])
def test_structure_equals_a_loop(holes):
    rng = np.random.default_rng(4)
    d, g = rng.uniform(2, 4, (2, 7, 9))
    valid = rng.random((7, 9)) >= holes
    g = np.where(valid, g, 0)
    found = losses.structure(*(torch.from_numpy(x)[None, None] for x in (d, g, valid)))
    assert found.item() == pytest.approx(looped_structure(d, g, valid))


def test_structure_is_least_for_the_truth():
    truth = 2 + torch.rand(1, 1, 6, 6, dtype=torch.float64)
    valid = torch.ones_like(truth, dtype=torch.bool)
    assert losses.structure(truth, truth, valid).item() == pytest.approx(3 * math.log(0.5))


@pytest.mark.parametrize('name', losses.LOSSES)
def test_gradients_are_right(name):
    torch.manual_seed(1)
    depth = (2 + torch.rand(2, 1, 4, 5, dtype=torch.float64)).requires_grad_()
    truth = 4 + torch.rand(2, 1, 4, 5, dtype=torch.float64)
    truth[0, 0, 3, 4] = 0
    assert torch.autograd.gradcheck(lambda d: losses.LOSSES[name](d, truth, truth > 0), depth)


def test_a_hole_gets_no_gradient():
    depth = torch.full((1, 1, 5, 5), 3.0, requires_grad=True)
    truth = torch.full((1, 1, 5, 5), 4.0)
    truth[0, 0, 2, 2] = 0
    losses.l1(depth, truth, truth > 0).backward()
    assert depth.grad[0, 0, 2, 2] == 0
    assert depth.grad[0, 0, 0, 0] != 0


def test_reconstruction_is_a_mean_square():
    assert losses.reconstruction(maps([[1.0, 5.0]]), maps([[3.0, 5.0]])).item() == 2


def test_supervised_weighs_and_leaves_out_what_is_beyond_the_range():
    depth, truth = maps([[1.0, 1.0, 1.0]]), maps([[3.0, 0.2, 100.0]])
    terms = losses.supervised({'l1': 2.0, 'l2': 0.5}, depth, truth, RANGE_M)
    assert {key: term.item() for key, term in terms.items()} == {'l1': 4, 'l2': 2}


def test_unknown_loss_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown loss 'l3': give one of l1, l2, structure"):
        losses.supervised({'l3': 1.0}, torch.ones(1), torch.ones(1), RANGE_M)
