"""Data-free distillation: what is mixed, what is learnt from what, and each switch."""

from __future__ import annotations

import copy
from dataclasses import replace
import math

from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation.data_free import kept_half, mixed
from depth_kd_training.samples import Batch
import distillation_inputs
from distillation_inputs import pair, predict
import pytest
import torch
from torch import nn

SMALL = {'transformation': 'small'}
MONO = ('mff_mobilenet_v2', 'fcrn_resnet18')
PAIRS = [('lspkd_s8', 'lspkd_s4'), MONO, ('lspkd_s8', 'two_stage')]


def make_batch(size=(64, 96), count=2):
    """Add labels: three classes in each image."""
    batch = distillation_inputs.make_batch(size, count)
    semantic = torch.zeros(count, *size, dtype=torch.long)
    semantic[:, : size[0] // 2] = 3
    semantic[:, :, : size[1] // 3] = 7
    samples = batch.samples._replace(semantic=semantic, instance=semantic + 5)
    return batch._replace(samples=samples)


def changes(before, module):
    return [k for k, value in module.state_dict().items() if not torch.equal(value, before[k])]


def copied(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


# --- what is mixed


def test_half_of_the_classes_is_kept_by_hand():
    """Of 4 classes two, of 3 two, of 1 it, of none but unknown ones all; whole classes."""
    labels = torch.tensor([[[1, 2, 2], [9, 5, 1]], [[4, 4, -1], [8, 6, -1]]])
    labels = torch.cat((labels, torch.full((1, 2, 3), 2), torch.full((1, 2, 3), -1)))
    for seed in range(20):
        torch.manual_seed(seed)
        kept = kept_half(labels)
        assert kept.shape == (4, 1, 2, 3)
        for image, mask, count in zip(labels, kept[:, 0], (2, 2, 1, 0), strict=True):
            inside, outside = set(image[mask].tolist()), set(image[~mask].tolist())
            assert not inside & outside
            assert len(inside - {-1}) == count
            assert -1 not in outside


def test_every_half_is_kept_equally_often():
    """Six pairs of four classes: 100 of 600 each, within five standard deviations (of 9)."""
    torch.manual_seed(0)
    labels = torch.tensor([3, 11, 0, 70000]).view(1, 2, 2).expand(600, 2, 2)
    pairs = kept_half(labels).view(600, 4) * torch.tensor([1, 2, 4, 8])
    found, counts = pairs.sum(1).unique(return_counts=True)
    assert found.tolist() == [3, 5, 6, 9, 10, 12]
    assert all(abs(count - 100) < 46 for count in counts.tolist())


def test_images_are_filled_up_from_others_of_the_batch():
    torch.manual_seed(0)
    image, kept = torch.randn(5, 3, 4, 6), torch.rand(5, 1, 4, 6) < 0.5
    torch.manual_seed(7)
    found, share = mixed(image, kept)
    torch.manual_seed(7)
    order = torch.randperm(5).tolist()
    foreign = 0
    for i, j in enumerate(order):
        for y in range(4):
            for x in range(6):
                source = image[i] if kept[i, 0, y, x] else image[j]
                assert torch.equal(found[i, :, y, x], source[:, y, x])
                foreign += i != j and not kept[i, 0, y, x]
    assert order != list(range(5))
    assert share.item() == pytest.approx(foreign / (5 * 4 * 6))


@pytest.mark.parametrize('mixing', ['classes', 'instances', 'none'])
def test_depth_is_never_mixed(mixing):
    student, teacher = pair()
    batch = make_batch(count=4)
    method = distillation.build('data_free', {**SMALL, 'mixing': mixing}, student, teacher)
    plain, made = method.views(batch, teacher)
    assert plain.batch is batch
    assert made.batch.labelled == batch.labelled
    for key, value in batch.samples._asdict().items():
        assert (getattr(made.batch.samples, key) is value) == (key != 'image')


def test_instances_are_mixed_where_they_are_asked_for():
    """All of one class, two objects: by class nothing changes, by instance one object does."""
    batch = make_batch(count=6)
    objects = torch.zeros_like(batch.samples.instance)
    objects[:, :, 48:] = 1
    samples = batch.samples._replace(instance=objects, semantic=objects * 0)
    student, teacher = pair()
    shares = {}
    for mixing in ('classes', 'instances'):
        options = {'transformation': 'none', 'mixing': mixing}
        method = distillation.build('data_free', options, student, teacher)
        torch.manual_seed(3)
        shares[mixing] = method.views(Batch(samples, 6), teacher)[1].told['mixed'].item()
    assert shares['classes'] == 0
    assert 0 < shares['instances'] <= 0.5


def test_an_image_alone_is_not_mixed():
    student, teacher = pair()
    batch = make_batch(count=1)
    method = distillation.build('data_free', {'transformation': 'none'}, student, teacher)
    _, view = method.views(batch, teacher)
    assert torch.equal(view.batch.samples.image, batch.samples.image)
    assert view.told['mixed'] == 0


# --- who learns from what


@pytest.mark.parametrize(('student', 'teacher'), PAIRS)
def test_student_and_transformation_learn_apart(student, teacher):
    student, teacher = pair(student, teacher)
    method = distillation.build('data_free', SMALL, student, teacher)
    batch, frozen, untrained = make_batch(), copied(teacher), copied(method.transformation)
    student_before = copied(student)

    views = method.views(batch, teacher)

    learnt = changes(untrained, method.transformation)
    assert 'output.weight' in learnt
    assert changes(student_before, student) == []
    assert all(p.grad is None for p in student.parameters())
    untrained = copied(method.transformation)
    total = 0
    for view in views:
        target = view.teacher or predict(teacher, view.batch)
        assert not target.depth.requires_grad
        assert not view.batch.samples.image.requires_grad
        assert not any(value.requires_grad for value in view.told.values())
        terms = method(predict(student, view.batch), target, view.batch)
        assert list(terms) == ['depth']
        total = total + terms['depth']
    total.backward()
    assert total.isfinite()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in method.parameters())
    assert changes(untrained, method.transformation) == []
    assert changes(frozen, teacher) == []
    assert all(p.grad is None for p in teacher.parameters())
    assert not teacher.training
    assert method.adapters() == []


def statistics(teacher, image, depth):
    """Write eq. 6 out anew: inputs of all batch norms, numpy's mean and variance, square roots."""
    seen = []
    hooks = [
        module.register_forward_hook(lambda m, x, y: seen.append((m, x[0])))
        for module in teacher.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    prediction = teacher(image, depth)
    for hook in hooks:
        hook.remove()
    total = 0
    for norm, x in seen:
        channels = x.transpose(0, 1).flatten(1)
        total = total + (channels.mean(1) - norm.running_mean).pow(2).sum().sqrt()
        total = total + (channels.var(1, correction=0) - norm.running_var).pow(2).sum().sqrt()
    return prediction, total


@pytest.mark.parametrize(('alpha', 'beta'), [(0.001, 0.001), (0.5, 0.0), (0.0, 2.0)])
def test_transformation_makes_the_step_of_equation_9(alpha, beta):
    student, teacher = pair()
    options = {**SMALL, 'bn_weight': alpha, 'reconstruction_weight': beta, 'rate': 0.01}
    method = distillation.build('data_free', options, student, teacher)
    nn.init.normal_(method.transformation.output.weight, std=0.01)
    nn.init.normal_(method.transformation.output.bias)
    own, batch = copy.deepcopy(method.transformation), make_batch()

    torch.manual_seed(5)
    _, made = method.views(batch, teacher)

    torch.manual_seed(5)
    image, _ = mixed(batch.samples.image, kept_half(batch.samples.semantic))
    changed = own(image)
    prediction, bn = statistics(teacher, changed, batch.samples.sparse_depth)
    reconstruction = (changed - image).abs().sum() / image.numel()
    torch.testing.assert_close(made.batch.samples.image, changed.detach())
    torch.testing.assert_close(made.teacher.depth, prediction.depth.detach())
    assert made.told['bn'].item() == pytest.approx(bn.item(), rel=1e-4)
    assert made.told['reconstruction'].item() == pytest.approx(reconstruction.item(), rel=1e-4)
    optimiser = torch.optim.Adam(own.parameters(), lr=0.01, weight_decay=1e-4)
    (alpha * bn + beta * reconstruction).backward()
    optimiser.step()
    key = 'output.weight'  # Adam's first step is the gradient's sign: compare it where it is clear
    clear = own.output.weight.grad.abs() > 1e-3 * own.output.weight.grad.abs().max()
    found, expected = method.transformation.state_dict()[key], own.state_dict()[key]
    torch.testing.assert_close(found[clear], expected[clear], atol=1e-4, rtol=1e-3)


def test_the_paper_s_network_and_optimiser_are_the_default():
    method = distillation.build('data_free', {}, *pair())
    (optimiser,) = method.optimisers
    (group,) = optimiser.param_groups
    assert type(optimiser) is torch.optim.Adam
    assert (group['lr'], group['weight_decay']) == (1e-4, 1e-4)
    assert sum(p.numel() for p in group['params']) == 25_283_315
    assert set(group['params']) == set(method.parameters())
    options = {**SMALL, 'rate': 0.5, 'weight_decay': 0}
    (group,) = distillation.build('data_free', options, *pair()).optimisers[0].param_groups
    assert (group['lr'], group['weight_decay']) == (0.5, 0)


def test_the_teacher_sees_the_made_images_once():
    student, teacher = pair()
    passes = []
    teacher.register_forward_hook(lambda *_: passes.append(1))
    method = distillation.build('data_free', SMALL, student, teacher)
    plain, made = method.views(make_batch(), teacher)
    assert passes == [1]
    assert plain.teacher is None
    assert made.teacher is not None


def test_transformation_brings_images_nearer_to_what_the_teacher_knows():
    student, teacher = pair(*MONO)
    options = {**SMALL, 'rate': 3e-3, 'mixing': 'none'}
    method = distillation.build('data_free', options, student, teacher)
    batch = make_batch((32, 48), 4)
    losses = [method.views(batch, teacher)[1].told['bn'].item() for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_same_seed_makes_the_same_images():
    student, teacher = pair()
    method = distillation.build('data_free', {'transformation': 'none'}, student, teacher)
    batch, found = make_batch(count=6), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(method.views(batch, teacher)[1].batch.samples.image)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_half_precision_reaches_networks_in_the_type_they_take():
    student, teacher = pair()
    method = distillation.build('data_free', SMALL, student, teacher)
    assert method.transformation.config.residual  # without, what it gives is in bf16
    method.transformation.config = replace(method.transformation.config, residual=False)
    with torch.autocast('cpu', torch.bfloat16):
        _, made = method.views(make_batch(), teacher)
        terms = method(predict(student, made.batch), made.teacher, made.batch)
    assert made.batch.samples.image.dtype == terms['depth'].dtype == torch.float32


# --- the comparison


@pytest.mark.parametrize(('loss', 'least'), [('structure', 3 * math.log(0.5)), ('l1', 0)])
def test_the_least_term_is_for_equal_predictions(loss, least):
    student, teacher = pair()
    method = distillation.build('data_free', {**SMALL, 'loss': loss}, student, teacher)
    depth = (1 + torch.rand(2, 1, 8, 9)).requires_grad_()
    target = Prediction(depth.detach().clone(), {})
    term = method(Prediction(depth, {}), target, make_batch())['depth']
    term.backward()
    assert term.item() == pytest.approx(least, abs=1e-5)
    assert depth.grad.abs().max() < 1e-6
    other = method(Prediction(depth + 1, {}), target, make_batch())['depth']
    assert other > term


def test_difference_by_hand():
    """Mean of |1 - 2|, |4 - 2|, and of |0 - 0|, |5 - 2|: all pixels count, 0 m too."""
    student, teacher = pair()
    method = distillation.build('data_free', {**SMALL, 'loss': 'l1'}, student, teacher)
    depth, target = torch.tensor([[1.0, 4], [0, 5]]), torch.tensor([[2.0, 2], [0, 2]])
    predictions = (Prediction(x.view(2, 1, 1, 2), {}) for x in (depth, target))
    assert method(*predictions, make_batch())['depth'].item() == 1.5


# --- the switches of Table V, and what is refused


def views(batch, **options):
    student, teacher = pair()
    method = distillation.build('data_free', options, student, teacher)
    if method.transformation:  # adds 1 instead of nothing
        nn.init.ones_(method.transformation.output.bias)
    torch.manual_seed(2)
    return method.views(batch, teacher)


def test_the_plain_baseline_compares_on_the_batch_alone():
    batch = make_batch(count=4)
    (view,) = views(batch, transformation='none', mixing='none')
    assert view.batch is batch


def test_without_transformation_mixed_images_are_compared_as_they_are():
    batch = make_batch(count=4)
    plain, view = views(batch, transformation='none')
    torch.manual_seed(2)
    expected, _ = mixed(batch.samples.image, kept_half(batch.samples.semantic))
    assert plain.batch is batch
    assert view.teacher is None
    assert list(view.told) == ['mixed']
    assert torch.equal(view.batch.samples.image, expected)
    assert not torch.equal(expected, batch.samples.image)


def test_without_mixing_each_image_itself_is_transformed():
    batch = make_batch(count=4)
    plain, view = views(batch, transformation='small', mixing='none')
    assert plain.batch is batch
    assert torch.equal(view.batch.samples.image, batch.samples.image + 1)
    assert list(view.told) == ['bn', 'reconstruction']
    assert view.told['reconstruction'].item() == pytest.approx(1)


def test_unmixed_images_can_be_transformed_too():
    batch = make_batch(count=4)
    first, second = views(batch, transformation='small', transform_unmixed=True)
    assert torch.equal(first.batch.samples.image, batch.samples.image + 1)
    assert first.teacher is None
    assert not torch.equal(second.batch.samples.image, first.batch.samples.image)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'loss': 'l3'}, "loss = 'l3': give one of l1, l2, structure"),
        ({'mixing': 'objects'}, "mixing = 'objects': give one of classes, instances, none"),
        ({'transformation': 'big'}, "transformation = 'big': give one of paper, small, none"),
        ({'bn_weight': -1}, 'bn_weight = -1: give a number from 0 on'),
        ({'reconstruction_weight': True}, 'reconstruction_weight = True: give a number'),
        ({'rate': '1e-4'}, "rate = '1e-4': give a number"),
        ({'weight_decay': float('nan')}, 'weight_decay = nan: give a number'),
        ({'transform_unmixed': 1}, 'transform_unmixed = 1: give true or false'),
        ({'transform_unmixed': True, 'mixing': 'none'}, 'needs both mixing and transformation'),
        ({'transform_unmixed': True, 'transformation': 'none'}, 'needs both mixing and'),
    ],
)
def test_refuses_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        distillation.build('data_free', options, *pair())


def test_refuses_a_teacher_without_batch_norms():
    student, teacher = pair()
    plain = copy.deepcopy(teacher)
    for module in plain.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    with pytest.raises(ValueError, match="'data_free': the teacher has no batch norm"):
        distillation.build('data_free', SMALL, student, plain)
    distillation.build('data_free', {'transformation': 'none'}, student, plain)


def test_refuses_a_teacher_that_reads_no_image():
    with pytest.raises(ValueError, match='the teacher reads no image'):
        distillation.build('data_free', SMALL, *pair(teacher='depth_only'))


@pytest.mark.parametrize(('mixing', 'other'), [('classes', 'instances'), ('instances', 'classes')])
def test_says_what_to_do_where_nothing_is_known_to_mix(mixing, other):
    student, teacher = pair()
    batch = make_batch()
    nothing = torch.full_like(batch.samples.semantic, -1)
    samples = batch.samples._replace(semantic=nothing, instance=nothing)
    method = distillation.build('data_free', {**SMALL, 'mixing': mixing}, student, teacher)
    with pytest.raises(ValueError, match=f'mixing = .{mixing}.* have no {mixing}.*mixing={other}'):
        method.views(Batch(samples, 2), teacher)
