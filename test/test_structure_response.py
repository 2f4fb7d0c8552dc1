"""The teacher's depth on labelled and unlabelled images: weights, sets, validity."""

from __future__ import annotations

import math

from depth_kd_ros import networks
from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation import structure_response
from depth_kd_training.losses import LOSSES
from depth_kd_training.samples import Batch, Sample
from network_inputs import inputs
import pytest
import torch

NARROW = {'width': 1 / 8, 'blocks': [2, 2, 2, 2]}
WIDE = {'width': 1 / 4, 'blocks': [2, 2, 2, 2]}
RELATIVE = {'encoder': 'topformer_tiny'}


def on_meta(name='lspkd', options=NARROW):
    with torch.device('meta'):
        return networks.build(name, options)


def batch_of(labelled, batch=3):
    return Batch(Sample(*inputs(64, 96, batch=batch), *[None] * 5), labelled)


def images(*values):
    """Make 4x5 images of one depth each, in m."""
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 1, 4, 5).clone()


def compare(student, teacher, labelled, networks_=None, **options):
    pair = networks_ or [on_meta(), on_meta()]
    method = structure_response.Method(structure_response.Config(**options), *pair)
    terms = method(Prediction(student, {}), Prediction(teacher, {}), batch_of(labelled))
    assert list(terms) == ['labelled', 'unlabelled']
    return [term.item() for term in terms.values()]


@pytest.mark.parametrize(
    ('loss', 'labelled', 'expected'),
    [
        ('l1', 1, (0.1 * 1, (2 + 6) / 2)),
        ('l1', 2, (0.1 * (1 + 2) / 2, 6)),
        ('l1', 3, (0.1 * (1 + 2 + 6) / 3, 0)),
        ('l1', 0, (0, (1 + 2 + 6) / 3)),
        ('l2', 1, (0.1 * 1, (4 + 36) / 2)),
        # the depth's logarithm, and those of gradients that agree, which are ln 0.5 each
        ('structure', 2, (0.1 * ((math.log(1.5) + math.log(2.5)) / 2 - 2 * math.log(2)),
                          math.log(6.5) - 2 * math.log(2))),
    ],
)  # fmt: skip
def test_each_set_is_averaged_by_itself(loss, labelled, expected):
    student, teacher = images(3, 4, 9), images(2, 6, 3)
    assert compare(student, teacher, labelled, loss=loss) == pytest.approx(expected)


def test_lam_weighs_the_labelled_set_alone():
    student, teacher = images(3, 4, 9), images(2, 6, 3)
    one, other = (compare(student, teacher, 2, lam=lam) for lam in (0.1, 0.7))
    assert other == pytest.approx([7 * one[0], one[1]])
    assert compare(student, teacher, 2) == one
    assert compare(student, teacher, 2, lam=0)[0] == 0


def test_equation_3_is_terms_and_supervision_together():
    """X = {x1, x2}, U = {u}: lam L(s, t) + (1 - lam) L(s, g) over X, and L(s, t) over U."""
    generator = torch.Generator().manual_seed(0)
    student, teacher, truth = torch.rand(3, 3, 1, 6, 7, generator=generator) * 5 + 1
    structure = LOSSES['structure']

    def apart(i, target):
        one = slice(i, i + 1)
        return structure(student[one], target[one], target[one] > 0).item()

    expected = sum(0.1 * apart(i, teacher) + 0.9 * apart(i, truth) for i in (0, 1)) / 2
    expected += apart(2, teacher)
    truth[2] = 0
    supervision = 0.9 * structure(student, truth, truth > 0).item()
    found = sum(compare(student, teacher, 2)) + supervision
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('loss', LOSSES)
def test_equal_depth_is_the_least(loss):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.rand(2, 3, 1, 6, 7, generator=generator) * 5 + 1
    least = 3 * math.log(0.5) if loss == 'structure' else 0
    found = compare(teacher, teacher, 2, loss=loss)
    assert found == pytest.approx([0.1 * least, least], abs=1e-5)
    assert all(a > b for a, b in zip(compare(student, teacher, 2, loss=loss), found, strict=True))


@pytest.mark.parametrize('loss', LOSSES)
def test_gradient_equals_differences(loss):
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand(2, 3, 1, 4, 5, generator=generator, dtype=torch.float64)
    student, teacher = draw * 5 + 1
    valid = structure_response.within(teacher, 1.5, None)
    assert 0 < (~valid).sum() < 15

    def compared(depth):
        terms = structure_response.compare(depth, teacher, valid, 2, 0.3, loss)
        return tuple(terms.values())

    assert torch.autograd.gradcheck(compared, student.requires_grad_())


# --- where the teacher counts


def test_depth_that_cannot_be_does_not_count():
    student, teacher = images(3, 4, 9), images(2, 6, 3)
    teacher[0, 0, 0, 0], teacher[2, 0, 1] = 0, -50
    assert compare(student, teacher, 2, loss='l1') == pytest.approx([0.1 * 1.5, 6])
    assert compare(student, -teacher, 2, loss='l1')[1] == pytest.approx(50 - 9)


def test_depth_beyond_the_range_does_not_count():
    student, teacher = images(3, 4, 9), images(2, 6, 3)
    found = compare(student, teacher, 2, loss='l1', max_depth_m=5.0)
    assert found == pytest.approx([0.1 * 1, 6])  # the second image has nothing left
    assert compare(student, teacher, 2, loss='l1', max_depth_m=6) == pytest.approx([0.15, 6])


def test_relative_depth_counts_everywhere():
    pair = [on_meta('relative', RELATIVE)] * 2
    student, teacher = images(3, 4, 9), images(-2, 0, 3)
    assert compare(student, teacher, 2, pair, loss='l1') == pytest.approx([0.1 * 4.5, 6])


# --- as a method


@pytest.mark.parametrize('labelled', [0, 1, 2])
@pytest.mark.parametrize(
    ('name', 'student', 'teacher'), [('lspkd', NARROW, WIDE), ('mff', {}, {'encoder': 'resnet34'})]
)
def test_the_student_learns_and_the_teacher_does_not(name, student, teacher, labelled):
    torch.manual_seed(1)
    pair = [networks.build(name, options) for options in (student, teacher)]
    method = distillation.build('structure_response', {}, *pair)
    batch = batch_of(labelled, 2)
    image, sparse_depth = batch.samples[:2]
    with torch.no_grad():
        teachers = pair[1].eval()(image, sparse_depth)
    terms = method(pair[0](image, sparse_depth), teachers, batch)
    assert list(terms) == ['labelled', 'unlabelled']
    sum(terms.values()).backward()
    gradients = [p.grad for p in pair[0].parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0
    assert all(p.grad is None for p in pair[1].parameters())
    assert method.adapters() == []


# --- bad input


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'lam': 1.5}, 'lam = 1.5: give a number from 0 to 1'),
        ({'lam': True}, 'lam = True: give a number'),
        ({'loss': 'kl'}, "loss = 'kl': give one of l1, l2, structure"),
        ({'max_depth_m': 0}, 'max_depth_m = 0: give a positive number, or leave it out'),
        ({'max_depth_m': '80'}, "max_depth_m = '80': give a positive number"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"'structure_response': {message}"):
        distillation.build('structure_response', options, on_meta(), on_meta())


def test_networks_that_cannot_be_compared_are_refused():
    relative, metric = on_meta('relative', {**RELATIVE, 'output': 'depth'}), on_meta('mff', {})
    with pytest.raises(
        ValueError, match='predicts relative depth, the teacher metric depth: give'
    ):
        distillation.build('structure_response', {}, relative, metric)
    with pytest.raises(ValueError, match=r'max_depth_m = 80.0: relative depth has no metres'):
        distillation.build('structure_response', {'max_depth_m': 80.0}, relative, relative)
