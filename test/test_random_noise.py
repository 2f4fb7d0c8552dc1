"""Distillation on noise: what the images are, and what they are compared by."""

from __future__ import annotations

import math

from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from distillation_inputs import make_batch, pair, predict
import pytest
import torch


@pytest.mark.parametrize(
    ('student', 'teacher'), [('lspkd_s8', 'lspkd_s4'), ('mff_mobilenet_v2', 'fcrn_resnet18')]
)
def test_the_student_learns_from_noise(student, teacher):
    student, teacher = pair(student, teacher)
    method = distillation.build('random_noise', {}, student, teacher)
    batch = make_batch()
    (view,) = method.views(batch, teacher)
    image = view.batch.samples.image
    for key, value in batch.samples._asdict().items():
        assert (getattr(view.batch.samples, key) is value) == (key != 'image')
    variance, mean = torch.var_mean(image, (2, 3))
    assert mean.abs().max() < 0.1
    assert (variance - 1).abs().max() < 0.1
    assert not torch.equal(method.views(batch, teacher)[0].batch.samples.image, image)
    terms = method(predict(student, view.batch), predict(teacher, view.batch), view.batch)
    assert list(terms) == ['depth']
    terms['depth'].backward()
    assert terms['depth'].isfinite()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert list(method.parameters()) == method.adapters() == []


def test_terms_by_hand():
    """Depths 2 m apart: l1 2, structure ln 2.5 + 2 ln 0.5 + 0. Alike: 0 and 3 ln 0.5."""
    depth = 1 + torch.rand(2, 1, 6, 7)
    for loss, apart, alike in (
        ('l1', 2.0, 0.0),
        ('structure', math.log(2.5) + 2 * math.log(0.5), 3 * math.log(0.5)),
    ):
        method = distillation.build('random_noise', {'loss': loss}, *pair())
        for target, expected in ((depth + 2, apart), (depth, alike)):
            term = method(Prediction(depth, {}), Prediction(target, {}), make_batch())['depth']
            assert term.item() == pytest.approx(expected, abs=1e-5)


def test_refuses_a_loss_that_does_not_exist():
    with pytest.raises(ValueError, match="loss = 'kl': give one of l1, l2, structure"):
        distillation.build('random_noise', {'loss': 'kl'}, *pair())


def test_refuses_a_teacher_that_reads_no_image():
    with pytest.raises(ValueError, match='the teacher reads no image'):
        distillation.build('random_noise', {}, *pair(teacher='depth_only'))
