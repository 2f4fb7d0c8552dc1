"""Adversarial distillation: who learns what and when, and what stays untouched."""

from __future__ import annotations

import copy

from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation.adversarial import discrepancy, untouched
from distillation_inputs import make_batch, pair, predict
import pytest
import torch

TINY = {'noise': 16, 'width': 4}
PAIRS = [('lspkd_s8', 'lspkd_s4'), ('mff_mobilenet_v2', 'fcrn_resnet18')]


def copied(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(module, before):
    return all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_discrepancy_by_hand():
    depth, target = torch.tensor([1.0, 4, 0, 5]), torch.tensor([2.0, 2, 0, 2])
    assert discrepancy(depth, target).item() == (1 + 2 + 0 + 3) / 4
    assert discrepancy(depth, depth) == 0
    assert discrepancy(depth.bfloat16(), target).dtype == torch.float32


def test_gradients_of_both_sides_are_right():
    torch.manual_seed(0)
    depth, target = (torch.rand(2, 1, 3, 4, dtype=torch.float64) for _ in range(2))
    depth.requires_grad_()
    target.requires_grad_()
    (discrepancy(depth, target) * depth.numel()).backward()
    sign = torch.sign(depth - target).detach()
    torch.testing.assert_close(depth.grad, sign)
    torch.testing.assert_close(target.grad, -sign)


@pytest.mark.parametrize(('student', 'teacher'), PAIRS)
def test_the_student_alone_learns_from_the_views(student, teacher):
    student, teacher = pair(student, teacher)
    method = distillation.build('adversarial', TINY, student, teacher)
    batch, frozen = make_batch(), copied(teacher)
    (view,) = method.views(batch, teacher)
    assert view.teacher is None
    assert not view.batch.samples.image.requires_grad
    for key, value in batch.samples._asdict().items():
        assert (getattr(view.batch.samples, key) is value) == (key != 'image')
    terms = method(predict(student, view.batch), predict(teacher, view.batch), view.batch)
    assert list(terms) == ['depth']
    terms['depth'].backward()
    assert terms['depth'].isfinite()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in [*teacher.parameters(), *method.parameters()])
    assert same(teacher, frozen)
    assert method.adapters() == []


@pytest.mark.parametrize('size', [(64, 96), (97, 51)])
def test_images_have_the_batch_s_size_and_are_new_each_time(size):
    student, teacher = pair()
    method = distillation.build('adversarial', TINY, student, teacher)
    batch = make_batch(size, 3)
    first, second = (method.views(batch, teacher)[0].batch.samples.image for _ in range(2))
    assert first.shape == second.shape == (3, 3, *size)
    assert not torch.equal(first, second)
    again = []
    for _ in range(2):
        torch.manual_seed(4)
        again.append(method.views(batch, teacher)[0].batch.samples.image)
    assert torch.equal(*again)


@pytest.mark.parametrize(('student', 'teacher'), PAIRS)
@pytest.mark.parametrize('training', [True, False])
def test_the_generator_alone_learns_after_the_step(student, teacher, training):
    student, teacher = pair(student, teacher)
    student.train(training)
    method = distillation.build('adversarial', TINY, student, teacher)
    before = [copied(network) for network in (student, teacher, method.generator)]
    method.after_step(5, make_batch(), student, teacher)
    assert same(student, before[0])
    assert same(teacher, before[1])
    own = dict(method.generator.named_parameters())
    moved = {key for key, p in own.items() if not torch.equal(p, before[2][key])}
    assert {'project.weight', 'layers.3.0.weight', 'output.weight'} <= moved
    for network in (student, teacher, method):
        assert all(p.grad is None for p in network.parameters())
    assert all(p.requires_grad for p in student.parameters())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert student.training == training
    assert not teacher.training


def test_the_generator_makes_one_step_after_so_many_of_the_student():
    student, teacher = pair()
    method = distillation.build('adversarial', {**TINY, 'student_steps': 3}, student, teacher)
    batch, steps = make_batch((32, 32)), []
    for step in range(1, 10):
        before = copied(method.generator)
        method.after_step(step, batch, student, teacher)
        if not same(method.generator, before):
            steps.append(step)
    assert steps == [3, 6, 9]


def test_the_generator_makes_adam_s_step_uphill():
    student, teacher = pair()
    student.eval()
    method = distillation.build('adversarial', {**TINY, 'rate': 0.01}, student, teacher)
    own, batch = copy.deepcopy(method.generator), make_batch()
    torch.manual_seed(5)
    method.after_step(5, batch, student, teacher)

    torch.manual_seed(5)
    image = own(torch.randn(2, 16), (64, 96))
    depth, target = (n(image, batch.samples.sparse_depth).depth for n in (student, teacher))
    (depth - target).abs().mean().backward()
    gradient, start = own.output.weight.grad, own.output.weight.detach()
    clear = gradient.abs() > 1e-4 * gradient.abs().max()  # Adam's first step: rate x sign
    found = method.generator.output.weight.detach()
    assert clear.sum() > 50
    torch.testing.assert_close(found[clear], (start + 0.01 * gradient.sign())[clear], atol=1e-4,
                               rtol=0)  # fmt: skip


def test_images_become_harder():
    student, teacher = pair('mff_mobilenet_v2', 'fcrn_resnet18')
    student.eval()
    options = {**TINY, 'student_steps': 1}
    method = distillation.build('adversarial', options, student, teacher)
    batch, noise = make_batch((32, 48)), torch.randn(8, 16)

    @torch.no_grad()
    def hardness():
        image = method.generator(noise, (32, 48))
        return discrepancy(student(image).depth, teacher(image).depth).item()

    before = hardness()
    for step in range(1, 21):
        method.after_step(step, batch, student, teacher)
    assert hardness() > 1.1 * before


def test_a_network_is_left_as_it_is_even_after_an_error():
    student, _ = pair()
    next(student.parameters()).requires_grad_(False)
    before, learning = copied(student), [p.requires_grad for p in student.parameters()]
    with pytest.raises(RuntimeError), untouched(student):
        assert not any(p.requires_grad for p in student.parameters())
        predict(student, make_batch())
        assert not same(student, before)
        raise RuntimeError
    assert same(student, before)
    assert [p.requires_grad for p in student.parameters()] == learning


def test_half_precision_reaches_networks_in_the_type_they_take():
    student, teacher = pair()
    method = distillation.build('adversarial', TINY, student, teacher)
    with torch.autocast('cpu', torch.bfloat16):
        (view,) = method.views(make_batch(), teacher)
        method.after_step(5, make_batch(), student, teacher)
    assert view.batch.samples.image.dtype == torch.float32


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'student_steps': 0}, 'student_steps = 0: give a whole number from 1 on'),
        ({'noise': 2.0}, r'noise = 2\.0: give a whole number'),
        ({'width': True}, 'width = True: give a whole number'),
        ({'rate': -1e-3}, r'rate = -0\.001: give a number from 0 on'),
        ({'rate': '1e-3'}, "rate = '1e-3': give a number from 0 on"),
    ],
)
def test_refuses_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        distillation.build('adversarial', options, *pair())


def test_refuses_a_teacher_that_reads_no_image():
    with pytest.raises(ValueError, match='the teacher reads no image'):
        distillation.build('adversarial', TINY, *pair(teacher='depth_only'))


def test_the_term_is_the_discrepancy():
    method = distillation.build('adversarial', TINY, *pair())
    ones = torch.ones(2, 1, 4, 5)
    found = method(Prediction(ones, {}), Prediction(3.5 * ones, {}), make_batch())
    assert found['depth'].item() == 2.5
