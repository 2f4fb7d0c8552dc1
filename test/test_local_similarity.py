"""Local similarity: values by hand and by loops, gradients, borders, memory, real networks."""

from __future__ import annotations

from itertools import product
import math

from depth_kd_training import distillation
from depth_kd_training.distillation.local_similarity import (
    Config,
    feature_difference,
    local_similarity,
    Method,
    similarity_difference,
)
from distillation_inputs import assert_teaches, peak_bytes, predictions, preset, terms_of_twins
from network_inputs import inputs
import numpy as np
import pytest
import torch
import torch.nn.functional as F


def features(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def similarities_by_loops(feature):
    """Write eq. 4 and 5 out for all 8 neighbours: (B, 8, h, w)."""
    f = feature.numpy()
    batch, _, height, width = f.shape
    around = [(p, q) for p, q in product((-1, 0, 1), repeat=2) if (p, q) != (0, 0)]
    s = np.zeros((batch, 8, height, width))
    for b, j, y, x in np.ndindex(s.shape):
        p, q = around[j]
        if 0 <= x + p < width and 0 <= y + q < height:
            first, second = f[b, :, y, x], f[b, :, y + q, x + p]
            s[b, j, y, x] = first @ second / math.sqrt((first @ first) * (second @ second))
    return s


def test_similarities_worked_out_by_hand():
    """The pixels are a = (1, 0), b = (0, 2), below them c = (3, 4), d = (8, 6)."""
    pixels = torch.tensor([[[1.0, 0], [0, 2]], [[3, 4], [8, 6]]])
    right = [[0, 0], [0.96, 0]]  # ab, cd
    down_left = [[0, 0.8], [0, 0]]  # bc
    down = [[0.6, 0.6], [0, 0]]  # ac, bd
    down_right = [[0.8, 0], [0, 0]]  # ad
    expected = torch.tensor([[right, down_left, down, down_right]])
    torch.testing.assert_close(local_similarity(pixels.permute(2, 0, 1)[None]), expected)


def test_terms_worked_out_by_hand():
    """Two pixels: (1, 0) and (0, 1) to the student, (3, 4) and (4, 3) to the teacher."""
    f_s, f_t = torch.tensor([[[[1.0, 0]], [[0, 1]]]]), torch.tensor([[[[3.0, 4]], [[4, 3]]]])
    assert feature_difference(f_s, f_t).item() == (4 + 16 + 16 + 4) / 4
    assert feature_difference(f_s, f_t, 'l2norm').item() == pytest.approx(math.sqrt(40))
    of_two_in_sixteen = 2 * 0.96**2 / 16  # to the right of one, to the left of the other
    assert similarity_difference(f_s, f_t).item() == pytest.approx(of_two_in_sixteen)
    norm = math.sqrt(2 * 0.96**2)
    assert similarity_difference(f_s, f_t, 'l2norm').item() == pytest.approx(norm)


@pytest.mark.parametrize('size', [(4, 5), (3, 1), (1, 3), (1, 1), (2, 2)])
def test_agrees_with_loops(size):
    f_s, f_t = features(2, 3, *size), features(2, 5, *size, seed=1)
    difference = similarities_by_loops(f_s) - similarities_by_loops(f_t)
    mean = similarity_difference(f_s, f_t).item()
    assert mean == pytest.approx((difference**2).mean(), abs=1e-12)
    norms = np.sqrt((difference**2).sum((1, 2, 3)))
    norm = similarity_difference(f_s, f_t, 'l2norm').item()
    assert norm == pytest.approx(norms.mean(), abs=1e-12)
    f_t = f_t[:, :3]
    squares = sum((s - t) ** 2 for s, t in zip(f_s.flatten(), f_t.flatten(), strict=True))
    assert feature_difference(f_s, f_t).item() == pytest.approx(squares.item() / f_s.numel())


def test_four_maps_mirror_the_other_four():
    """S(y, x, -shift) = S(y - down, x - right, shift): nothing is lost by leaving them out."""
    f = features(1, 3, 4, 5)
    by_loops = similarities_by_loops(f)[0]  # ordered by (p, q): right, then down
    around = [(p, q) for p, q in product((-1, 0, 1), repeat=2) if (p, q) != (0, 0)]
    shifts = ((0, 1), (1, -1), (1, 0), (1, 1))
    for s, (down, right) in zip(local_similarity(f)[0], shifts, strict=True):
        torch.testing.assert_close(s.numpy(), by_loops[around.index((right, down))])
        moved = torch.roll(s, (down, right), (0, 1))  # what wraps around is 0
        torch.testing.assert_close(moved.numpy(), by_loops[around.index((-right, -down))])


@pytest.mark.parametrize('size', [(3, 4), (1, 4), (3, 1)])
@pytest.mark.parametrize('reduction', ['mean_square', 'l2norm'])
def test_gradients(size, reduction):
    f_s, f_t = features(2, 3, *size).requires_grad_(), features(2, 3, *size, seed=1)
    assert torch.autograd.gradcheck(local_similarity, f_s)
    for compare in (feature_difference, similarity_difference):
        assert torch.autograd.gradcheck(lambda f, c=compare: c(f, f_t, reduction), f_s)


def test_gradient_is_the_one_of_autograd():
    """A second writing by torch's own operators; the maps are weighted at random."""
    f = features(2, 5, 6, 7, dtype=torch.float32).requires_grad_()
    weights = features(2, 4, 6, 7, seed=1, dtype=torch.float32)
    u = F.pad(F.normalize(f), (1, 1, 0, 1))  # (B, C, 7, 9)
    here = u[:, :, :6, 1:8]
    shifted = (u[:, :, :6, 2:], u[:, :, 1:, :7], u[:, :, 1:, 1:8], u[:, :, 1:, 2:])
    expected = torch.stack([(here * there).sum(1) for there in shifted], 1)
    actual = local_similarity(f)
    torch.testing.assert_close(actual, expected)
    (ours,), (theirs,) = (torch.autograd.grad((s * weights).sum(), f) for s in (actual, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('reduction', ['mean_square', 'l2norm'])
def test_similarity_ignores_the_scale_of_each_pixel(reduction):
    f_s, f_t = features(2, 3, 4, 5), features(2, 3, 4, 5, seed=1)
    expected = similarity_difference(f_s, f_t, reduction)
    scales = 10 ** features(2, 1, 4, 5, seed=2)
    torch.testing.assert_close(similarity_difference(scales * f_s, f_t, reduction), expected)
    torch.testing.assert_close(similarity_difference(f_s, 1e-3 * f_t, reduction), expected)
    assert feature_difference(2 * f_s, f_t) != feature_difference(f_s, f_t)


def test_features_without_direction_are_like_nothing():
    f = features(1, 3, 3, 3)
    f[:, :, 1, 1] = 0
    f.requires_grad_()
    s = local_similarity(f)
    assert s[0, :, 1, 1].tolist() == [0, 0, 0, 0]
    s.sum().backward()
    assert f.grad[0, :, 1, 1].tolist() == [0, 0, 0]
    assert f.grad.isfinite().all()


def test_half_precision_is_compared_in_full():
    f_s, f_t = (features(2, 8, 6, 7, seed=i, dtype=torch.bfloat16) for i in (0, 1))
    f_s.requires_grad_()
    value = similarity_difference(f_s, f_t)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, similarity_difference(f_s.float(), f_t.float()))
    value.backward()
    assert f_s.grad.dtype == torch.bfloat16
    assert feature_difference(f_s, f_t).dtype == torch.float32


@pytest.mark.parametrize('reduction', ['mean_square', 'l2norm'])
def test_twins_differ_in_nothing(reduction):
    terms = terms_of_twins('local_similarity', {'reduction': reduction})
    assert terms == {'feature': 0, 'similarity': 0}


def test_teaches_with_the_papers_taps():
    method = assert_teaches(
        'local_similarity', 'lspkd_s8', 'lspkd_s4', {}, ['feature', 'similarity']
    )
    taps = ['rgb.E1', 'rgb.E2', 'rgb.E3', 'lidar.E1', 'lidar.E2', 'lidar.E3', 'D1', 'D2', 'D3']
    assert method.taps == tuple((tap, tap) for tap in taps)
    shapes = [tuple(p.shape) for p in method.adapters()]  # half as many channels, no bias
    widths = [8, 16, 32, 8, 16, 32, 16, 8, 8]
    assert shapes == [(2 * width, width, 1, 1) for width in widths]


def test_teaches_across_networks():
    """Pairs are named STUDENT:TEACHER; the mono student has 24 and 32 channels, MFF too."""
    options = {'taps': ['E1', 'E2:E2'], 'reduction': 'l2norm'}
    method = assert_teaches(
        'local_similarity', 'mff_mobilenet_v2', 'fcrn_resnet18', options, ['feature', 'similarity']
    )
    assert [tuple(p.shape) for p in method.adapters()] == [(64, 24, 1, 1), (128, 32, 1, 1)]
    alike = preset('mff_mobilenet_v2')
    method = distillation.build('local_similarity', {'taps': ['E1']}, alike, alike)
    assert method.adapters() == []  # none where the numbers of channels are the same


def test_alpha_weighs_the_similarity():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s4', 1)
    compared = predictions(student, teacher)
    torch.manual_seed(0)
    first = Method(Config(), student, teacher)
    second = Method(Config(alpha=0.5), student, teacher)
    second.load_state_dict(first.state_dict())
    whole, half = first(*compared), second(*compared)
    torch.testing.assert_close(half['similarity'], whole['similarity'] / 2)
    torch.testing.assert_close(half['feature'], whole['feature'])


def test_taps_are_summed():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s8', 1)
    compared = predictions(student, teacher)
    both, *alone = (
        Method(Config(taps=taps), student, teacher)(*compared)
        for taps in (('rgb.E1', 'D2'), ('rgb.E1',), ('D2',))
    )
    for term, value in both.items():
        torch.testing.assert_close(value, alone[0][term] + alone[1][term])


@pytest.mark.parametrize('alpha', [-1, float('nan'), float('inf'), '1', None, True])
def test_rejects_what_is_no_weight(alpha):
    with pytest.raises(ValueError, match=r'alpha = .*: give 0 or a positive number'):
        Config(alpha=alpha)


def test_rejects_an_unknown_reduction():
    with pytest.raises(ValueError, match="reduction = 'sum': give one of mean_square, l2norm"):
        Config(reduction='sum')


def test_rejects_taps_that_a_network_lacks():
    mono, fusion = preset('mff_mobilenet_v2'), preset('lspkd_s8')
    with pytest.raises(ValueError, match=r"student has no feature 'rgb.E1'; its features: E1, "):
        distillation.build('local_similarity', {}, mono, fusion)
    with pytest.raises(ValueError, match=r"teacher has no feature 'E1'; .*: rgb.E0, rgb.E1, "):
        distillation.build('local_similarity', {'taps': ['E1']}, mono, fusion)


def test_rejects_features_of_different_sizes():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s4', 1)
    method = Method(Config(taps=('rgb.E1:D2',)), student, teacher)
    with pytest.raises(
        ValueError, match=r"rgb.E1 is 32x48, the teacher's D2 16x24: pair features of"
    ):
        method(*predictions(student, teacher))


def test_memory_does_not_grow_with_channels_times_neighbours():
    """A channel more costs one number per pixel: that of the gradient. A copy for each of 8, 8."""
    height, width = 60, 114
    pixels, peaks = height * width, {}
    for channels in (16, 64):
        f_s, f_t = (features(1, channels, height, width, seed=i).float() for i in (0, 1))
        f_s.requires_grad_()
        peaks[channels] = peak_bytes(lambda a=f_s, b=f_t: slope(a, b, similarity_difference))
    per_channel = (peaks[64] - peaks[16]) / (64 - 16) / pixels / 4
    assert 0.99 < per_channel < 1.1
    assert peaks[64] < 1.5 * 64 * pixels * 4


def slope(f_s, f_t, compare):
    """Give the gradient of a difference, as a training step does."""
    return torch.autograd.grad(compare(f_s, f_t), f_s)[0]


def test_memory_is_a_fraction_of_global_similarity():
    """Even for an image of 120x228: both terms of both methods, six taps of the paper's."""
    student, teacher = preset('lspkd_s8').eval(), preset('lspkd_s8', 1).eval()
    image, sparse_depth = inputs(120, 228)
    with torch.no_grad():
        predicted, target = student(image, sparse_depth), teacher(image, sparse_depth)
    taps = ['rgb.E2', 'rgb.E3', 'rgb.E4', 'D0', 'D1', 'D2']
    tapped = [predicted.features[tap].requires_grad_() for tap in taps]
    peaks = []
    for name in ('global_similarity', 'local_similarity'):
        method = distillation.build(name, {'taps': taps}, student, teacher)

        def learn(method=method):
            torch.autograd.grad(sum(method(predicted, target, None).values()), tapped)

        peaks.append(peak_bytes(learn))
    assert peaks[0] > 10 * peaks[1]
