"""Attention transfer: values by hand and by loops, gradients, invariances, real networks."""

from __future__ import annotations

import math

from depth_kd_training import distillation
from depth_kd_training.distillation.attention import attention, Config, difference, Method
from distillation_inputs import assert_teaches, predictions, preset, terms_of_twins
import pytest
import torch

REDUCTIONS = ('code', 'paper')


def features(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def difference_by_loops(f_s, f_t, reduction):
    """Write the authors' formulas out, with sums over the channels: the factor 1/C cancels."""
    squares = []  # of the differences, per image
    for image_s, image_t in zip(f_s.tolist(), f_t.tolist(), strict=True):
        maps = []
        for image in (image_s, image_t):
            rows, columns = len(image[0]), len(image[0][0])
            energy = [
                sum(abs(channel[y][x]) ** 2 for channel in image)
                for y in range(rows)
                for x in range(columns)
            ]
            length = math.sqrt(sum(e * e for e in energy))
            maps.append([e / length for e in energy])
        squares.append([(a - b) ** 2 for a, b in zip(*maps, strict=True)])
    if reduction == 'code':
        return sum(map(sum, squares)) / sum(map(len, squares))
    return sum(math.sqrt(sum(image)) for image in squares) / len(squares)


def test_worked_out_by_hand():
    """
    The teacher's pixels (1, 1) and (0, 2) have the mean squares 1 and 2, the student's 2 and 2.

    Of length 1 these are (1, 2) / sqrt 5 and (1, 1) / sqrt 2, with the cosine 3 / sqrt 10.
    """
    f_s, f_t = torch.tensor([[[[2.0, 0]], [[0, 2]]]]), torch.tensor([[[[1.0, 0]], [[-1, 2]]]])
    torch.testing.assert_close(attention(f_t), torch.tensor([[1.0, 2]]) / math.sqrt(5))
    square = 2 - 2 * 3 / math.sqrt(10)
    assert difference(f_s, f_t, 'paper').item() == pytest.approx(math.sqrt(square))
    assert difference(f_s, f_t).item() == pytest.approx(square / 2)  # two pixels


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_agrees_with_loops(reduction):
    f_s, f_t = features(2, 3, 4, 5), features(2, 7, 4, 5, seed=1)
    expected = difference_by_loops(f_s, f_t, reduction)
    assert difference(f_s, f_t, reduction).item() == pytest.approx(expected)


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_gradients_and_invariances(reduction):
    """Neither the scale of an image's features nor their signs matter, nor the channels' order."""
    f_s, f_t = features(2, 3, 3, 4).requires_grad_(), features(2, 5, 3, 4, seed=1)
    assert torch.autograd.gradcheck(lambda f: difference(f, f_t, reduction), f_s)
    expected = difference(f_s, f_t, reduction)
    scales = torch.tensor([1e3, 1e-3])[:, None, None, None]
    for like_student, like_teacher in (
        (scales * f_s, f_t),
        (f_s, scales * f_t),
        (-f_s, f_t),
        (f_s.flip(1), f_t),
        (f_s.flip(0), f_t.flip(0)),
        (f_s.flip(3), f_t.flip(3)),
    ):
        torch.testing.assert_close(difference(like_student, like_teacher, reduction), expected)
    assert difference(f_s.flip(3), f_t, reduction) != expected


def test_features_that_are_nothing_learn_nothing():
    f = torch.zeros(1, 3, 2, 2, requires_grad=True)
    difference(f, torch.ones(1, 3, 2, 2)).backward()
    assert not f.grad.any()


def test_half_precision_is_compared_in_full():
    f_s, f_t = (features(2, 3, 4, 5, seed=i).bfloat16() for i in (0, 1))
    value = difference(f_s, f_t)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, difference(f_s.float(), f_t.float()))


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_twins_differ_in_nothing(reduction):
    assert terms_of_twins('attention', {'reduction': reduction}) == {'attention': 0}


def test_teaches_with_the_papers_taps():
    method = assert_teaches('attention', 'lspkd_s8', 'lspkd_s4', {}, ['attention'])
    taps = ['rgb.E1', 'rgb.E2', 'rgb.E3', 'lidar.E1', 'lidar.E2', 'lidar.E3', 'D1', 'D2', 'D3']
    assert method.taps == tuple((tap, tap) for tap in taps)
    assert method.adapters() == []


def test_teaches_across_networks():
    options = {'taps': ['E1', 'E4:D0'], 'reduction': 'paper'}
    assert_teaches('attention', 'mff_mobilenet_v2', 'fcrn_resnet18', options, ['attention'])


def test_taps_are_summed():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s8', 1)
    compared = predictions(student, teacher)
    both, first, second = (
        Method(Config(taps), student, teacher)(*compared)['attention']
        for taps in (('rgb.E1', 'D2'), ('rgb.E1',), ('D2',))
    )
    torch.testing.assert_close(both, first + second)


def test_rejects_an_unknown_reduction():
    with pytest.raises(ValueError, match="reduction = 'mean': give one of code, paper"):
        Config(reduction='mean')


def test_rejects_taps_that_a_network_lacks():
    network = preset('mff_mobilenet_v2')
    with pytest.raises(ValueError, match=r"student has no feature 'rgb.E1'; its features: E1, "):
        distillation.build('attention', {}, network, network)


def test_rejects_features_of_different_sizes():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s4', 1)
    method = Method(Config(('rgb.E2:D1',)), student, teacher)
    with pytest.raises(ValueError, match=r"rgb.E2 is 16x24, the teacher's D1 8x12: pair"):
        method(*predictions(student, teacher))
