"""Learning rates and averaged weights, by hand."""

from __future__ import annotations

from depth_kd_training.averaging import Average
from depth_kd_training.recipe import Optimisation
from depth_kd_training.schedule import factor
import pytest
import torch


def test_constant():
    assert [factor(Optimisation(), step, 10) for step in (0, 9)] == [1, 1]


def test_staircase_falls_after_so_many_steps():
    wanted = Optimisation(schedule='staircase', decay=0.1, decay_every=5)
    assert [factor(wanted, step, 20) for step in (0, 4, 5, 10)] == pytest.approx([1, 1, 0.1, 0.01])


def test_cosine_goes_from_one_to_nearly_zero():
    wanted = Optimisation(schedule='cosine')
    assert [factor(wanted, step, 100) for step in (0, 50, 100)] == pytest.approx([1, 0.5, 0])


def test_warmup_rises_in_equal_steps():
    wanted = Optimisation(warmup=4)
    assert [factor(wanted, step, 10) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def test_average_follows_the_weights_and_copies_the_buffers():
    network = torch.nn.BatchNorm1d(1)
    average = Average(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(7.0)
    average.update(network)  # decay (1 + 1) / (10 + 1)
    weights = average.weights()
    assert weights['weight'].item() == pytest.approx(2 / 11 * 1 + 9 / 11 * 3)
    assert weights['running_mean'].item() == 7
    for _ in range(200):
        average.update(network)
    before = weights['weight'].item()
    with torch.no_grad():
        network.weight.fill_(4.0)
    average.update(network)
    assert weights['weight'].item() == pytest.approx(0.9 * before + 0.1 * 4)


def test_average_goes_on_from_its_state():
    network = torch.nn.Linear(2, 2)
    first, second = Average(network, 0.9), Average(torch.nn.Linear(2, 2), 0.9)
    first.update(network)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        network.weight.add_(1)
    first.update(network)
    second.update(network)
    assert all(torch.equal(first.weights()[k], second.weights()[k]) for k in ('weight', 'bias'))
