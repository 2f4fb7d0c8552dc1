"""The student predicts what the teacher predicts: by hand, its gradient, what is refused."""

from __future__ import annotations

import copy

from depth_kd_training import distillation
from depth_kd_training.distillation.response import difference
from distillation_inputs import IMAGES, predictions, preset, terms_of_twins
import pytest
import torch


def test_a_difference_by_hand():
    depth = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])
    target = torch.tensor([[[[1.5, 2.0], [1.0, 9.0]]]])
    assert difference(depth, target).item() == pytest.approx((0.5 + 0 + 3 + 1) / 4)
    assert difference(depth, target, 'l2').item() == pytest.approx((0.25 + 0 + 9 + 1) / 4)


@pytest.mark.parametrize('loss', ['l1', 'l2'])
def test_gradients(loss):
    depth, target = torch.rand(2, 2, 1, 3, 4, dtype=torch.float64).unbind()
    depth.requires_grad_()
    (found,) = torch.autograd.grad(difference(depth, target, loss), depth)
    sign = torch.sign(depth - target) if loss == 'l1' else 2 * (depth - target)
    assert torch.allclose(found.double(), sign.detach() / depth.numel(), atol=1e-7)


def test_real_networks_are_taught():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s4', 1)
    predicted, target, batch = predictions(student, teacher)
    (term,) = distillation.build('response', {}, student, teacher)(
        predicted, target, batch
    ).values()
    term.backward()
    assert term > 0 and all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_twins_agree():
    assert terms_of_twins('response') == {'depth': 0.0}


def test_what_cannot_be_compared_is_told():
    with pytest.raises(ValueError, match=r"loss = 'l3': give one of l1, l2"):
        distillation.build('response', {'loss': 'l3'}, preset('lspkd_s8'), preset('lspkd_s8'))
    camera, relative = preset('mff_mobilenet_v2'), preset('relative_topformer_tiny')
    for name in ('response', 'structure_response', *IMAGES):
        with pytest.raises(ValueError, match=r'predicts relative .*, the teacher metric depth'):
            distillation.build(name, {}, relative, camera)
    blind = preset('depth_only_b')
    for name in IMAGES:
        for pair, who in (((blind, camera), 'student'), ((camera, blind), 'teacher')):
            with pytest.raises(ValueError, match=rf'the {who} reads no image'):
                distillation.build(name, {}, *map(copy.deepcopy, pair))
