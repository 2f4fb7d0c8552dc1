"""Channel-wise distillation against numbers worked out by hand and a loop over pixels."""

from __future__ import annotations

import functools
import math

from depth_kd_ros import networks
from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation import channel_wise
from depth_kd_training.samples import Batch, Sample
from network_inputs import inputs
import numpy as np
import pytest
import torch

KINDS = [(loss, by) for loss in ('kl', 'mse') for by in ('median', 'mean')]


def maps(*rows):
    """Make (B, 1, 1, W) of rows."""
    return torch.tensor(rows, dtype=torch.float64)[:, None, None]


def depths(*shape, seed=0):
    """Draw two maps of depth in m."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, *shape, generator=generator, dtype=torch.float64) * 20 + 1


def loss(student, teacher, **options):
    """Compare two maps by the method, which looks at neither the networks nor the batch."""
    method = channel_wise.Method(channel_wise.Config(**options), *[relative()] * 2)
    (term,) = method(Prediction(student, {}), Prediction(teacher, {}), None).values()
    return term


@functools.cache
def relative(output='depth'):
    options = {'encoder': 'topformer_tiny', 'output': output}
    with torch.device('meta'):
        return networks.build('relative', options)


# --- by hand


@pytest.mark.parametrize(
    ('by', 'expected'),
    [
        ('median', [-0.4, 0.0, 0.4, 3.2]),  # the lower middle 2, deviations 1, 0, 1, 8: 2.5
        ('mean', [-3 / 12.5**0.5, -2 / 12.5**0.5, -1 / 12.5**0.5, 6 / 12.5**0.5]),  # mean 4
    ],
)
def test_normalised_depth_by_hand(by, expected):
    found = channel_wise.normalise(maps([1, 2, 3, 10], [2, 4, 6, 20]), by)
    assert found.flatten(1).tolist() == [pytest.approx(expected)] * 2


def test_divergence_by_hand():
    teacher, student = maps([0, 2 * math.log(3)]), maps([5, 5])  # T = 2: 1/4, 3/4 and 1/2, 1/2
    one = 2**2 * (1 / 4 * math.log((1 / 4) / (1 / 2)) + 3 / 4 * math.log((3 / 4) / (1 / 2)))
    assert one == pytest.approx(0.523248, abs=1e-6)
    assert channel_wise.divergence(student, teacher, 2.0).item() == pytest.approx(one)
    other = 2**2 * (1 / 2 * math.log(2) + 1 / 2 * math.log((1 / 2) / (3 / 4)))
    assert channel_wise.divergence(teacher, student, 2.0).item() == pytest.approx(other)


def test_divergence_is_the_mean_of_channels_and_images():
    teacher, student = maps([0, 2 * math.log(3)]), maps([5, 5])
    channels = [torch.cat((x, student), 1) for x in (student, teacher)]  # the second one agrees
    images = [torch.cat((x, student), 0) for x in (student, teacher)]
    for pair in (channels, images):
        assert channel_wise.divergence(*pair, 2.0).item() == pytest.approx(0.523248 / 2, abs=1e-6)


def test_mse_by_hand():
    student, teacher = maps([1, 2, 3, 10]), maps([2, 4, 6, 8])  # -0.4 0 0.4 3.2; -1 0 1 2
    found = loss(student, teacher, loss='mse')
    assert found.item() == pytest.approx((0.36 + 0 + 0.36 + 1.44) / 4)


# --- another writing


def looped(student, teacher, temperature, by):
    """Sum the poster's loss over pixels, in plain numbers."""
    images = []
    for d_s, d_t in zip(student.numpy(), teacher.numpy(), strict=True):
        phi = []
        for d in (d_s.ravel(), d_t.ravel()):
            middle = sorted(d)[(d.size - 1) // 2] if by == 'median' else d.mean()
            spread = np.abs(d - middle).mean() if by == 'median' else d.std()
            powers = [math.exp((x - middle) / spread / temperature) for x in d]
            phi.append([power / sum(powers) for power in powers])
        images.append(sum(t * math.log(t / s) for s, t in zip(*phi, strict=True)))
    return temperature**2 * sum(images) / len(images)


@pytest.mark.parametrize('by', ['median', 'mean'])
@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_kl_equals_a_loop(by, temperature):
    student, teacher = depths(3, 1, 5, 6)
    found = loss(student, teacher, temperature=temperature, normalisation=by)
    assert found.item() == pytest.approx(looped(student, teacher, temperature, by), rel=1e-5)


def test_kl_is_half_the_variance_of_the_difference_where_it_is_soft():
    student, teacher = depths(1, 1, 20, 30)
    half = (teacher - student).var(unbiased=False) / 2
    found = channel_wise.divergence(student, teacher, 1000.0)
    assert found.item() == pytest.approx(half.item(), rel=0.02)


# --- gradients, zero, invariances


@pytest.mark.parametrize(('kind', 'by'), KINDS)
def test_gradient_equals_differences(kind, by):
    student, teacher = depths(2, 1, 3, 4)

    def compared(depth):
        d_s, d_t = (channel_wise.normalise(x, by) for x in (depth, teacher))
        if kind == 'mse':
            return (d_s - d_t).square().mean()
        return channel_wise.divergence(d_s, d_t, 1.5)

    assert torch.autograd.gradcheck(compared, student.requires_grad_())


@pytest.mark.parametrize(('kind', 'by'), KINDS)
def test_equal_depth_gives_zero_and_other_depth_does_not(kind, by):
    student, teacher = depths(2, 1, 6, 7)
    assert loss(teacher, teacher, loss=kind, normalisation=by).item() == 0
    assert loss(student, teacher, loss=kind, normalisation=by) > 0.1


@pytest.mark.parametrize(('kind', 'by'), KINDS)
def test_shift_and_scale_of_either_do_not_matter_but_sign_does(kind, by):
    student, teacher = depths(2, 1, 6, 7)
    scale = torch.tensor([0.2, 30.0]).view(2, 1, 1, 1)  # of each image
    shift = torch.tensor([-3.0, 400.0]).view(2, 1, 1, 1)
    options = {'loss': kind, 'normalisation': by}
    expected = loss(student, teacher, **options).item()
    for pair in (
        (student * scale + shift, teacher),
        (student, teacher * scale + shift),
    ):
        assert loss(*pair, **options).item() == pytest.approx(expected, rel=1e-3)
    assert loss(teacher * scale + shift, teacher, **options).item() == pytest.approx(0, abs=1e-6)
    assert loss(-student, teacher, **options).item() != pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(('kind', 'by'), KINDS)
def test_a_constant_map_has_a_gradient_that_is_no_explosion(kind, by):
    _, teacher = depths(1, 1, 6, 7)
    flat = torch.full_like(teacher, 79.3).float().requires_grad_()
    found = loss(flat, teacher, loss=kind, normalisation=by)
    found.backward()
    assert found.isfinite()
    assert 0 < flat.grad.abs().max() < 1
    assert loss(teacher, flat.detach(), loss=kind, normalisation=by).isfinite()


# --- as a method


@pytest.mark.parametrize(
    ('student', 'teacher'), [('lspkd', 'lspkd'), ('mff', 'mff'), ('relative', 'mff')]
)
def test_the_student_learns_and_the_teacher_does_not(student, teacher):
    torch.manual_seed(1)
    options = {
        'lspkd': {'width': 1 / 8, 'blocks': [2, 2, 2, 2]},
        'relative': {'encoder': 'topformer_tiny', 'output': 'depth'},
        'mff': {},
    }
    pair = [networks.build(name, options[name]) for name in (student, teacher)]
    method = distillation.build('channel_wise', {}, *pair)
    image, sparse_depth = inputs(64, 96, batch=2)
    batch = Batch(Sample(image, sparse_depth, *[None] * 5), 2)
    with torch.no_grad():
        teachers = pair[1].eval()(image, sparse_depth)
    terms = method(pair[0](image, sparse_depth), teachers, batch)
    assert list(terms) == ['kl']
    terms['kl'].backward()
    assert sum(p.grad.abs().sum() for p in pair[0].parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in pair[1].parameters())
    assert method.adapters() == []


def test_half_precision_is_compared_in_full():
    student, teacher = (x.bfloat16() for x in depths(1, 1, 40, 60))
    found = loss(student, teacher)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(student.float(), teacher.float()).item())


# --- bad input


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'loss': 'l1'}, "loss = 'l1': give one of kl, mse"),
        ({'normalisation': 'max'}, "normalisation = 'max': give one of median, mean"),
        ({'temperature': 0}, 'temperature = 0: give a positive number'),
        ({'temperature': math.inf}, 'temperature = inf: give a positive'),
        ({'temperature': '4'}, "temperature = '4': give a positive"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"'channel_wise': {message}"):
        distillation.build('channel_wise', options, relative(), relative())


def test_networks_of_different_outputs_are_refused():
    message = 'student predicts inverse_depth, the teacher depth: give networks of the same output'
    with pytest.raises(ValueError, match=message):
        distillation.build('channel_wise', {}, relative('inverse_depth'), relative('depth'))
