"""Distillation on perturbed images: how far colours move, what for, and what stays untouched."""

from __future__ import annotations

import math

from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation.base import with_images
from depth_kd_training.distillation.perturbation import Config, perturbed
from distillation_inputs import make_batch, pair, predict
import pytest
import torch

MEAN, STD = (torch.tensor(x).view(3, 1, 1) for x in (Config.mean, Config.std))


class Ramp(torch.nn.Module):
    """Depth that grows with the first colour and falls with the second."""

    def forward(self, image, sparse_depth, features):
        red, green, _ = image.split(1, 1)
        return Prediction(3 * red - green, {})


def inside(batch, low=60, high=190):
    """Give colours that may move either way: `low` to `high` of 255 grey levels."""
    grey = low + (high - low) * torch.rand_like(batch.samples.image)
    return with_images(batch, (grey / 255 - MEAN) / STD)


def levels(image):
    """Give grey levels, 0..255, of normalised images."""
    return 255 * (image * STD + MEAN)


def test_each_colour_goes_as_far_as_it_may_where_it_counts():
    """Of a linear teacher: red up and green down by epsilon, or the other way; blue rests."""
    batch = inside(make_batch(count=4))
    for steps in (1, 2, 7, 20):
        image, before = perturbed(batch, Ramp(), Config(epsilon=4.0, steps=steps))
        assert torch.equal(before, predict(Ramp(), batch).depth)
        change = levels(image) - levels(batch.samples.image)
        red, green, blue = change.unbind(1)
        reach = min(4.0, 5.0 / steps + 0.04) if steps == 1 else 4.0
        for colour in (red, green):
            assert colour.abs().min().item() == pytest.approx(reach, abs=0.05)
            assert colour.abs().max().item() == pytest.approx(reach, abs=0.05)
        assert (red * green).max() < 0  # apart, in all pixels
        assert blue.abs().max().item() == pytest.approx(0.04, abs=1e-3)  # the random offset


def test_colours_stay_colours():
    batch = inside(make_batch(), 0, 255)
    image, _ = perturbed(batch, Ramp(), Config(epsilon=50.0))
    found = levels(image)
    assert found.min() > -1e-3 and found.max() < 255 + 1e-3
    padding = with_images(batch, torch.full_like(batch.samples.image, -9.0))  # no colour
    image, _ = perturbed(padding, Ramp(), Config(epsilon=4.0))
    assert (levels(image) - levels(padding.samples.image)).abs().max() < 4.0 + 1e-3


@pytest.mark.parametrize(
    ('student', 'teacher'), [('lspkd_s8', 'lspkd_s4'), ('mff_mobilenet_v2', 'fcrn_resnet18')]
)
def test_a_teacher_is_led_astray_by_what_nobody_sees(student, teacher):
    student, teacher = pair(student, teacher)
    batch = inside(make_batch())
    clean = batch.samples.image
    state = {key: value.clone() for key, value in teacher.state_dict().items()}
    method = distillation.build('perturbation', {'epsilon': 8}, student, teacher)
    (view,) = method.views(batch, teacher)
    samples = view.batch.samples
    for key, value in batch.samples._asdict().items():
        assert (getattr(samples, key) is value) == (key != 'image')
    assert not samples.image.requires_grad and not view.teacher.depth.requires_grad
    assert 4 < (levels(samples.image) - levels(clean)).abs().max() <= 8 + 1e-3
    assert torch.equal(view.teacher.depth, predict(teacher, view.batch).depth)
    depth = predict(teacher, batch).depth
    astray = (view.teacher.depth - depth).abs().mean()
    assert view.told['moved'].item() == pytest.approx(astray.item())
    noisy = with_images(batch, clean + 8 / 255 / STD * torch.randn_like(clean).sign())
    assert astray > 2 * (predict(teacher, noisy).depth - depth).abs().mean()
    terms = method(predict(student, view.batch), view.teacher, view.batch)
    assert list(terms) == ['depth']
    terms['depth'].backward()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, state[key]) for key, value in teacher.state_dict().items())
    assert list(method.parameters()) == method.adapters() == []


def test_farther_with_a_larger_epsilon_and_nowhere_with_none():
    student, teacher = pair()
    batch, moved = inside(make_batch()), []
    for epsilon in (0.0, 2.0, 4.0, 8.0):
        method = distillation.build('perturbation', {'epsilon': epsilon}, student, teacher)
        moved.append(method.views(batch, teacher)[0].told['moved'].item())
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
        ({'std': (0.2, 0.2, 0.0)}, 'give three positive numbers'),
        ({'loss': 'kl'}, "loss = 'kl': give one of l1, l2, structure"),
    ],
)
def test_refuses_options_that_mean_nothing(options, text):
    with pytest.raises(ValueError, match=text):
        distillation.build('perturbation', options, *pair())
