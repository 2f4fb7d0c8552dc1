"""Distillation on perturbed images: how far colours move, what for, and what stays untouched."""

from __future__ import annotations

import math

from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation.base import with_images
from depth_kd_training.distillation.perturbation import perturbed
from distillation_inputs import make_batch, pair, predict
import pytest
import torch


class Ramp(torch.nn.Module):
    """Depth that grows with the first colour and falls with the second."""

    def forward(self, image, sparse_depth, features):
        red, green, _ = image.split(1, 1)
        return Prediction(3 * red - green, {})


def test_each_colour_goes_as_far_as_it_may_where_it_counts():
    """Of a linear teacher: red and green apart by epsilon each, so that depth moves by 4 of it."""
    batch, epsilon = make_batch(count=4), 0.1
    clean = batch.samples.image
    image, _ = perturbed(batch, Ramp(), epsilon, steps=40)
    change = image - clean
    assert change.abs().max().item() == pytest.approx(epsilon, abs=1e-5)
    red, green, blue = change.unbind(1)
    assert (red * green).max() < 0  # all pixels, apart
    before, after = (predict(Ramp(), b).depth for b in (batch, with_images(batch, image)))
    assert (after - before).abs().mean().item() == pytest.approx(4 * epsilon, rel=0.02)
    assert blue.abs().max() < epsilon  # has no part in it: stays where the first step left it


@pytest.mark.parametrize(
    ('student', 'teacher'), [('lspkd_s8', 'lspkd_s4'), ('mff_mobilenet_v2', 'fcrn_resnet18')]
)
def test_a_teacher_is_led_astray_by_what_nobody_sees(student, teacher):
    student, teacher = pair(student, teacher)
    batch = make_batch()
    clean = batch.samples.image
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    method = distillation.build('perturbation', {'epsilon': 0.2}, student, teacher)
    (view,) = method.views(batch, teacher)
    samples = view.batch.samples
    for key, value in batch.samples._asdict().items():
        assert (getattr(samples, key) is value) == (key != 'image')
    assert not samples.image.requires_grad
    assert 0.1 < (samples.image - clean).abs().max() <= 0.2 + 1e-5
    depth = predict(teacher, batch).depth
    astray = (predict(teacher, view.batch).depth - depth).abs().mean()
    noisy = with_images(batch, clean + 0.2 * torch.randn_like(clean).sign())
    assert astray > 2 * (predict(teacher, noisy).depth - depth).abs().mean()
    assert view.told['moved'] == pytest.approx(astray.item(), rel=0.3)
    terms = method(predict(student, view.batch), predict(teacher, view.batch), view.batch)
    assert list(terms) == ['depth']
    terms['depth'].backward()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert list(method.parameters()) == method.adapters() == []


def test_farther_with_a_larger_epsilon_and_nowhere_with_none():
    student, teacher = pair()
    batch = make_batch()
    depth = predict(teacher, batch).depth
    moved = []
    for epsilon in (0.0, 0.05, 0.1, 0.2):
        method = distillation.build('perturbation', {'epsilon': epsilon}, student, teacher)
        (view,) = method.views(batch, teacher)
        moved.append((predict(teacher, view.batch).depth - depth).abs().mean().item())
    assert moved[0] == 0
    assert moved == sorted(moved) and len(set(moved)) == 4


def test_terms_by_hand():
    """Depths 2 m apart: l1 2, structure ln 2.5 + 2 ln 0.5 + 0."""
    depth = 1 + torch.rand(2, 1, 6, 7)
    for loss, expected in (('l1', 2.0), ('structure', math.log(2.5) + 2 * math.log(0.5))):
        method = distillation.build('perturbation', {'loss': loss}, *pair())
        term = method(Prediction(depth, {}), Prediction(depth + 2, {}), make_batch())['depth']
        assert term.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'epsilon': -0.1}, 'epsilon = -0.1: give a number from 0 on'),
        ({'epsilon': float('nan')}, 'epsilon = nan: give a number from 0 on'),
        ({'steps': 0}, 'steps = 0: give a whole number from 1 on'),
        ({'loss': 'kl'}, "loss = 'kl': give one of l1, l2, structure"),
    ],
)
def test_refuses_options_that_mean_nothing(options, text):
    with pytest.raises(ValueError, match=text):
        distillation.build('perturbation', options, *pair())
