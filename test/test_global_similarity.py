"""Global similarity: values by hand and by loops, gradients, invariances, real networks."""

from __future__ import annotations

import math

from depth_kd_training import distillation
from depth_kd_training.distillation.global_similarity import (
    batch_difference,
    channel_difference,
    Config,
    Method,
    spatial_difference,
)
from distillation_inputs import assert_teaches, peak_bytes, predictions, preset, terms_of_twins
import pytest
import torch

PRODUCTS = ('pixels', 'channels')


def features(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cosine(a, b):
    dot, aa, bb = (
        sum(float(x) * float(y) for x, y in zip(c, d, strict=True))
        for c, d in ((a, b), (a, a), (b, b))
    )
    return dot / math.sqrt(aa * bb)


def by_loops(f_s, f_t, columns):
    """Average the squared differences of the cosines of all pairs of columns or rows (C, hw)."""
    total = count = 0
    for image_s, image_t in zip(f_s.flatten(2), f_t.flatten(2), strict=True):
        first, second = (image_s.T, image_t.T) if columns else (image_s, image_t)
        for i in range(len(first)):
            for j in range(len(first)):
                total += (cosine(first[i], first[j]) - cosine(second[i], second[j])) ** 2
                count += 1
    return total / count


@pytest.mark.parametrize('product', PRODUCTS)
def test_worked_out_by_hand(product):
    """
    Two pixels: (1, 0) and (0, 1) to the student, (1, 0) and (3, 4) to the teacher.

    The pixels' cosines are 0 and 3/5. The student's channels are (1, 0) and (0, 1), the teacher's
    (1, 3) and (0, 4), with the cosine 12 / (4 sqrt 10), whose square is 9/10.
    """
    f_s, f_t = torch.tensor([[[[1.0, 0]], [[0, 1]]]]), torch.tensor([[[[1.0, 3]], [[0, 4]]]])
    assert spatial_difference(f_s, f_t, product).item() == pytest.approx(2 * 0.36 / 4, abs=1e-6)
    assert channel_difference(f_s, f_t).item() == pytest.approx(2 * 0.9 / 4, abs=1e-6)


def test_batch_worked_out_by_hand():
    """The products (1, 0; 0, 4) and (1, 3; 3, 25) have rows of length 1, 4, sqrt 10, sqrt 634."""
    f_s, f_t = (
        torch.tensor(x)[:, :, None, None] for x in ([[1.0, 0], [0, 2]], [[1.0, 0], [3, 4]])
    )
    first = (1 - 1 / math.sqrt(10)) ** 2 + 9 / 10
    second = 9 / 634 + (1 - 25 / math.sqrt(634)) ** 2
    assert batch_difference(f_s, f_t).item() == pytest.approx((first + second) / 4)


@pytest.mark.parametrize('product', PRODUCTS)
def test_agrees_with_loops(product):
    f_s, f_t = features(2, 3, 3, 4), features(2, 5, 3, 4, seed=1)
    expected = by_loops(f_s, f_t, columns=True)
    assert spatial_difference(f_s, f_t, product).item() == pytest.approx(expected, rel=1e-6)
    expected = by_loops(f_s, f_t[:, :3], columns=False)
    assert channel_difference(f_s, f_t[:, :3]).item() == pytest.approx(expected, rel=1e-6)


def test_batch_agrees_with_loops():
    f_s, f_t = features(3, 2, 3, 4), features(3, 5, 2, 2, seed=1)
    total = 0.0
    for i in range(3):
        rows = []
        for f in (f_s, f_t):
            row = [sum((f[i] * f[j]).flatten().tolist()) for j in range(3)]
            rows.append([x / math.sqrt(sum(y * y for y in row)) for x in row])
        total += sum((a - b) ** 2 for a, b in zip(*rows, strict=True))
    assert batch_difference(f_s, f_t).item() == pytest.approx(total / 9, rel=1e-6)


@pytest.mark.parametrize(
    'compare',
    [
        spatial_difference,
        lambda f_s, f_t: spatial_difference(f_s, f_t, 'channels'),
        channel_difference,
        batch_difference,
    ],
)
def test_gradients_and_scale(compare):
    f_s, f_t = features(2, 3, 3, 4).requires_grad_(), features(2, 3, 3, 4, seed=1)
    assert torch.autograd.gradcheck(lambda f: compare(f, f_t), f_s)
    expected = compare(f_s, f_t)
    torch.testing.assert_close(compare(100 * f_s, f_t), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(compare(f_s, 0.1 * f_t), expected, rtol=1e-5, atol=0)
    order = torch.tensor([1, 0])
    torch.testing.assert_close(compare(f_s[order], f_t[order]), expected)


def test_order_of_pixels_and_channels_does_not_matter():
    f_s, f_t = features(2, 3, 3, 4), features(2, 3, 3, 4, seed=1)
    shuffled = [f.flatten(2)[:, :, torch.randperm(12)].view(f.shape) for f in (f_s, f_t)]
    assert spatial_difference(*shuffled) != spatial_difference(f_s, f_t)
    torch.testing.assert_close(spatial_difference(f_s.flip(1), f_t), spatial_difference(f_s, f_t))
    torch.testing.assert_close(
        channel_difference(f_s.flip(3), f_t.flip(3)), channel_difference(f_s, f_t)
    )


def test_products_of_channels_are_accurate_to_rounding():
    """In float32, on similarities that differ by a thousandth of what they are."""
    f_t = features(1, 16, 20, 30, dtype=torch.float32)
    f_s = (f_t + 1e-2 * features(1, 16, 20, 30, seed=1, dtype=torch.float32)).requires_grad_()
    exact = spatial_difference(f_s.double(), f_t.double())
    (slope,) = torch.autograd.grad(exact, f_s)
    for product, tolerance in (('pixels', 1e-5), ('channels', 1e-2)):
        value = spatial_difference(f_s, f_t, product)
        assert value.item() == pytest.approx(exact.item(), rel=tolerance)
        (gradient,) = torch.autograd.grad(value, f_s)
        torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-2 * slope.abs().max().item())


@pytest.mark.parametrize('product', PRODUCTS)
def test_twins_differ_in_nothing(product):
    terms = terms_of_twins('global_similarity', {'batch': 1.0, 'product': product})
    assert list(terms) == ['spatial', 'channel', 'batch']
    assert terms['channel'] == terms['batch'] == 0
    assert terms['spatial'] == pytest.approx(0, abs=0 if product == 'pixels' else 1e-5)


def test_teaches_with_the_papers_taps():
    method = assert_teaches(
        'global_similarity', 'lspkd_s8', 'lspkd_s4', {}, ['spatial', 'channel']
    )
    taps = ['rgb.E2', 'rgb.E3', 'rgb.E4', 'lidar.E2', 'lidar.E3', 'lidar.E4', 'D0', 'D1', 'D2']
    assert method.taps == tuple((tap, tap) for tap in taps)
    widths = [16, 32, 64, 16, 32, 64, 32, 16, 8]
    shapes = [tuple(p.shape) for p in method.adapters()]
    assert shapes == [(2 * width, width, 1, 1) for width in widths]


def test_teaches_across_networks():
    """Between images, features of any sizes can be compared."""
    options = {'taps': ['E1:D4', 'D1:E4'], 'spatial': 0, 'channel': 0, 'batch': 1}
    method = assert_teaches(
        'global_similarity', 'mff_mobilenet_v2', 'fcrn_resnet18', options, ['batch']
    )
    assert method.adapters() == []


def test_weights_and_sums():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s8', 1)
    compared = predictions(student, teacher)
    weighted, *alone = (
        Method(Config(taps, *weights), student, teacher)(*compared)
        for taps, *weights in (
            (('rgb.E3', 'D1'), 2.0, 3.0, 4.0),
            (('rgb.E3',), 1.0, 1.0, 1.0),
            (('D1',), 1.0, 1.0, 1.0),
        )
    )
    for weight, (term, value) in zip((2, 3, 4), weighted.items(), strict=True):
        torch.testing.assert_close(value, weight * (alone[0][term] + alone[1][term]))


def test_autocast_does_not_round_the_products():
    student, teacher = preset('lspkd_s8'), preset('lspkd_s8', 1)
    compared = predictions(student, teacher)
    method = Method(Config(batch=1.0), student, teacher)
    expected = method(*compared)
    with torch.autocast('cpu', torch.bfloat16):
        actual = method(*compared)
    assert actual == expected


@pytest.mark.parametrize('key', ['spatial', 'channel', 'batch'])
@pytest.mark.parametrize('value', [-1, float('nan'), float('inf'), '1', None, True])
def test_rejects_what_is_no_weight(key, value):
    with pytest.raises(ValueError, match=rf'{key} = .*: give 0 or a positive number'):
        Config(**{key: value})


def test_rejects_nothing_to_compare():
    with pytest.raises(ValueError, match='spatial = channel = batch = 0: give one of them'):
        Config(spatial=0, channel=0)


def test_rejects_an_unknown_product():
    with pytest.raises(ValueError, match="product = 'all': give one of pixels, channels"):
        Config(product='all')


def test_rejects_taps_that_a_network_lacks():
    network = preset('mff_mobilenet_v2')
    with pytest.raises(ValueError, match=r"student has no feature 'rgb.E2'; its features: E1, "):
        distillation.build('global_similarity', {}, network, network)


@pytest.mark.parametrize('weights', [{'spatial': 0}, {'channel': 0}])
def test_rejects_features_of_different_sizes(weights):
    student, teacher = preset('lspkd_s8'), preset('lspkd_s4', 1)
    method = Method(Config(('rgb.E2:D1',), **weights), student, teacher)
    with pytest.raises(ValueError, match=r"rgb.E2 is 16x24, the teacher's D1 8x12: pair"):
        method(*predictions(student, teacher))


def test_rejects_a_batch_of_one_image():
    with pytest.raises(ValueError, match='compares images: give batches of 2 or more'):
        batch_difference(features(1, 2, 3, 4), features(1, 2, 3, 4))


def test_memory_is_that_of_one_difference_per_map():
    """The gradient needs one map of all pairs for each tap, one more lives at a time; or none."""
    f_s, f_t = (features(1, 16, 20, 50, seed=i, dtype=torch.float32) for i in (0, 1))
    f_s.requires_grad_()

    def step(product):
        first, second = (spatial_difference(f_s, f_t, product) for _ in range(2))
        torch.autograd.grad(first + second, f_s)

    pairs = 1000**2 * 4
    assert 3 * pairs <= peak_bytes(lambda: step('pixels')) < 3.2 * pairs
    assert peak_bytes(lambda: step('channels')) < 0.2 * pairs
