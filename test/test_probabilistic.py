"""Probabilistic transfer: values by hand and by loops, gradients, invariances, real networks."""

from __future__ import annotations

import math

from depth_kd_training import distillation
from depth_kd_training.distillation.probabilistic import (
    Config,
    divergence,
    Method,
    probabilities,
    vectors,
)
from distillation_inputs import assert_teaches, predictions, preset, terms_of_twins
import pytest
import torch


def features(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def divergence_by_loops(x_s, x_t, eps=1e-7):
    """Write the authors' formula out."""
    images, p = range(len(x_s)), {}
    for who, x in (('s', x_s.tolist()), ('t', x_t.tolist())):
        unit = []
        for row in x:
            length = math.sqrt(sum(v * v for v in row)) + eps
            unit.append([v / length for v in row])
        for i in images:
            similar = [
                (sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) + 1) / 2 for j in images
            ]
            for j in images:
                p[who, i, j] = similar[j] / sum(similar)
    pairs = [(p['t', i, j], p['s', i, j]) for i in images for j in images]
    return sum(t * math.log((t + eps) / (s + eps)) for t, s in pairs) / len(pairs)


def test_worked_out_by_hand():
    """
    Orthogonal to the student, opposite to the teacher: cosines 0 and -1, similarities 1/2 and 0.

    Rows that sum up to 1 are (2/3, 1/3) and (1, 0); of four numbers two are 1 ln(1 / (2/3)).
    """
    x_s, x_t = torch.tensor([[1.0, 0], [0, 5]]), torch.tensor([[2.0, 0], [-3, 0]])
    expected = torch.tensor([[2, 1], [1, 2]], dtype=torch.float64) / 3
    torch.testing.assert_close(probabilities(x_s), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(probabilities(x_t), torch.eye(2).double(), atol=1e-6, rtol=0)
    assert divergence(x_s, x_t).item() == pytest.approx(2 * math.log(1.5) / 4, abs=1e-6)


def test_agrees_with_loops():
    x_s, x_t = features(4, 3), features(4, 7, seed=1)
    torch.testing.assert_close(probabilities(x_s).sum(1), torch.ones(4, dtype=torch.float64))
    assert divergence(x_s, x_t).item() == pytest.approx(divergence_by_loops(x_s, x_t))


def test_vectors():
    f = torch.arange(16.0).view(2, 2, 1, 4)
    assert vectors(f, 'pooled').tolist() == [[1.5, 5.5], [9.5, 13.5]]
    assert vectors(f, 'flattened').tolist() == [list(range(8)), list(range(8, 16))]
    assert vectors(f.bfloat16(), 'flattened').dtype == torch.float32


def test_gradients_and_invariances():
    """Neither the images' order nor the lengths of their vectors matter; their company does."""
    x_s, x_t = features(4, 5).requires_grad_(), features(4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda x: divergence(x, x_t), x_s)
    expected = divergence(x_s, x_t)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(divergence(x_s[order], x_t[order]), expected)
    assert divergence(x_s[order], x_t) != expected
    lengths = torch.tensor([1e-2, 10.0, 1e3, 1e2])[:, None]
    torch.testing.assert_close(divergence(lengths * x_s, x_t), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(divergence(x_s, lengths * x_t), expected, rtol=1e-4, atol=0)
    halves = [divergence(x_s[part], x_t[part]) for part in (slice(2), slice(2, 4))]
    assert abs(sum(halves) / 2 - expected) > 1e-3


def test_vectors_that_are_nothing_give_finite_gradients():
    x = features(3, 4)
    x[1] = 0
    x.requires_grad_()
    divergence(x, features(3, 4, seed=1)).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('vector', ['pooled', 'flattened'])
def test_twins_differ_in_nothing(vector):
    assert terms_of_twins('probabilistic', {'vector': vector}) == {'probability': 0}


@pytest.mark.parametrize('vector', ['pooled', 'flattened'])
def test_teaches_with_the_papers_taps(vector):
    options = {'vector': vector}
    method = assert_teaches('probabilistic', 'lspkd_s8', 'lspkd_s4', options, ['probability'])
    taps = ['rgb.E1', 'rgb.E2', 'rgb.E3', 'lidar.E1', 'lidar.E2', 'lidar.E3', 'D1', 'D2', 'D3']
    assert method.taps == tuple((tap, tap) for tap in taps)
    assert method.adapters() == []


def test_teaches_across_networks():
    """Features of any sizes can be compared: only the images are."""
    options = {'taps': ['E1:D4', 'D1:E4']}
    assert_teaches('probabilistic', 'mff_mobilenet_v2', 'fcrn_resnet18', options, ['probability'])


def test_pooled_and_flattened_are_two_things():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s8', 1)
    compared = predictions(student, teacher)
    for vector in ('pooled', 'flattened'):
        method = Method(Config(('rgb.E1', 'D2'), vector), student, teacher)
        expected = sum(
            divergence_by_loops(*(vectors(p.features[tap], vector).detach() for p in compared[:2]))
            for tap in ('rgb.E1', 'D2')
        )
        value = method(*compared)['probability'].item()
        assert value == pytest.approx(expected, rel=1e-2)


def test_autocast_does_not_round_the_products():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s8', 1)
    compared = predictions(student, teacher)
    method = Method(Config(), student, teacher)
    expected = method(*compared)
    with torch.autocast('cpu', torch.bfloat16):
        assert method(*compared) == expected


def test_rejects_a_batch_of_one_image():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s8', 1)
    with pytest.raises(ValueError, match='a batch of 1 has no probabilities: give batches of 2'):
        Method(Config(), student, teacher)(*predictions(student.eval(), teacher, count=1))


def test_rejects_an_unknown_vector():
    with pytest.raises(ValueError, match="vector = 'mean': give one of pooled, flattened"):
        Config(vector='mean')


def test_rejects_taps_that_a_network_lacks():
    network = preset('mff_mobilenet_v2')
    with pytest.raises(ValueError, match=r"student has no feature 'rgb.E1'; its features: E1, "):
        distillation.build('probabilistic', {}, network, network)
