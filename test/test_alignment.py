"""Scale and shift of relative depth: exact where they can be, outliers or not."""

from __future__ import annotations

from depth_kd_ros.networks.parts import alignment
from depth_kd_ros.networks.parts.alignment import (
    align,
    FARTHEST_M,
    fit,
    line,
    NEAREST_M,
    POINTS,
    Way,
)
import numpy as np
import pytest
import torch

SEEDS = 200
SPACES = pytest.mark.parametrize('inverse', [False, True], ids=['depth', 'inverse'])


def picture(values):
    """Shape one value per pixel (N,) or (B, N) as (B, 1, 1, N)."""
    values = torch.as_tensor(values)
    return values.reshape(-1, 1, 1, values.shape[-1])


def scenes(inverse, count=SEEDS, points=1000, noise=0.005):
    """Draw depths (B, N) m, their relative values, and the measured ones with relative noise."""
    rng = np.random.default_rng(7)
    near = 2 + 78 * rng.random((count, points))
    depth = np.where(rng.random((count, 1)) < 0.5, near, 2 * 40 ** rng.random((count, points)))
    target = 1 / depth if inverse else depth
    scale = 10 ** rng.uniform(-1, 1, (count, 1))
    shift = rng.uniform(-1, 1, (count, 1)) * target.mean()
    measured = depth * (1 + noise * rng.standard_normal(depth.shape))
    return rng, depth, (target - shift) / scale, measured, scale, shift


def outliers(kind, rng, depth):
    """Draw wrong depths (B, N) m."""
    if kind == 'uniform':
        return rng.uniform(0.5, 120, depth.shape)
    if kind == 'far behind':
        return depth + rng.uniform(10, 100, depth.shape)
    if kind == 'a little behind':
        return depth * rng.uniform(1.3, 2, depth.shape)
    if kind == 'in front':
        return depth * rng.uniform(0.1, 0.7, depth.shape)
    if kind == 'on one wall':
        return np.full_like(depth, 60)
    assert kind == 'on a second line'
    return depth * 1.5


KINDS = ('uniform', 'far behind', 'a little behind', 'in front', 'on one wall', 'on a second line')


# --- least squares


def test_line_by_hand():
    """Points (0, 1), (1, 2), (2, 4): slope 3/2, intercept 5/6; the last twice: 17/11, 9/11."""
    x, y = torch.tensor([[0.0, 1, 2]] * 2), torch.tensor([[1.0, 2, 4]] * 2)
    scale, shift = line(x, y, torch.tensor([[1.0, 1, 1], [1, 1, 2]]))
    torch.testing.assert_close(scale[:, 0], torch.tensor([3 / 2, 17 / 11]))
    torch.testing.assert_close(shift[:, 0], torch.tensor([5 / 6, 9 / 11]))


def test_clean_points_by_hand():
    """2 * (1, 2, 3, 4) + 1, and 1 / (0.1 * (9, 4, 1) + 0.1) m."""
    found = fit(picture([1.0, 2, 3, 4]), picture([3.0, 5, 7, 9]))
    assert [x.item() for x in found] == pytest.approx([2, 1, Way.FITTED])
    found = fit(picture([9.0, 4, 1]), picture([1.0, 2, 5]), inverse=True)
    assert [x.item() for x in found] == pytest.approx([0.1, 0.1, Way.FITTED])


@pytest.mark.parametrize('wrong', range(5))
def test_one_of_five_points_may_be_anything(wrong):
    for depth in (0.01, 20, 90, 1e4):
        given = torch.tensor([0, 3.0, 5, 7, 9, 11])
        given[1 + wrong] = depth
        found = fit(picture([99.0, 1, 2, 3, 4, 5]), picture(given))
        assert [x.item() for x in found] == pytest.approx([2, 1, Way.FITTED], rel=1e-5)


@SPACES
@pytest.mark.parametrize('points', [2, 3, 50, 5000])
def test_clean_points_as_numpy_least_squares(inverse, points):
    _, _, relative, measured, scale, shift = scenes(inverse, 20, points, noise=0)
    found = fit(picture(relative).float(), picture(measured).float(), inverse)
    target = 1 / measured if inverse else measured
    for i in range(20):
        matrix = np.stack([relative[i], np.ones(points)], 1)
        expected = np.linalg.lstsq(matrix, target[i], rcond=None)[0]
        value = expected[0] * relative[i] + expected[1]
        ours = found.scale[i].item() * relative[i] + found.shift[i].item()
        assert expected == pytest.approx([scale[i, 0], shift[i, 0]], rel=1e-6, abs=1e-9)
        assert ours == pytest.approx(value, rel=2e-4 if points < 4 else 2e-5)
    assert (found.way == Way.FITTED).all()


@SPACES
def test_a_large_offset_costs_no_more_than_its_rounding(inverse):
    _, depth, relative, measured, _, _ = scenes(inverse, 20, noise=0)
    given = picture(relative / relative.std(1, keepdims=True) + 100).float()
    target = 1 / depth if inverse else depth
    found = fit(given, picture(measured).float(), inverse)
    value = found.scale[:, None] * given[:, 0, 0] + found.shift[:, None]
    spread = target.std(1, keepdims=True)
    assert (np.abs(value.numpy() - target) / spread).max() < 1e-4  # float32 at 100: 8e-6


# --- outliers


@SPACES
@pytest.mark.parametrize('kind', KINDS)
def test_a_fifth_of_outliers_moves_nothing_by_a_percent(kind, inverse):
    rng, depth, relative, measured, scale, _ = scenes(inverse)
    bad = rng.permuted(np.tile(np.arange(1000) < 200, (SEEDS, 1)), axis=1)
    measured = np.where(bad, outliers(kind, rng, depth), measured)
    output = 'inverse_depth' if inverse else 'depth'
    aligned, found = align(picture(relative).float(), picture(measured).float(), output)
    assert (found.way == Way.FITTED).all()
    assert np.abs(found.scale.numpy() / scale[:, 0] - 1).max() < 0.01
    assert np.abs(aligned[:, 0, 0].numpy() / depth - 1).max() < 0.01


@SPACES
@pytest.mark.parametrize('where', ['nearest', 'farthest', 'middle', 'both ends'])
@pytest.mark.parametrize('kind', ['far behind', 'in front', 'on a second line'])
def test_just_below_a_quarter_of_outliers_in_the_worst_place_is_ignored(where, kind, inverse):
    """Where least squares, and every robust method that begins with it, would follow them."""
    rng, depth, relative, measured, _, _ = scenes(inverse, 50, noise=0)
    rank = depth.argsort(1).argsort(1)
    bad = {
        'nearest': rank < 249,
        'farthest': rank >= 751,
        'middle': (rank >= 400) & (rank < 649),
        'both ends': (rank < 125) | (rank >= 876),
    }[where]
    measured = np.where(bad, outliers(kind, rng, depth), measured)
    output = 'inverse_depth' if inverse else 'depth'
    aligned, _ = align(picture(relative).float(), picture(measured).float(), output)
    assert np.abs(aligned[:, 0, 0].numpy() / depth - 1).max() < 1e-4


@SPACES
def test_noise_with_outliers_as_least_squares_that_knows_them(inverse):
    rng, depth, relative, measured, _, _ = scenes(inverse, 50, noise=0.03)
    bad = rng.random(depth.shape) < 0.2
    measured = np.where(bad, outliers('far behind', rng, depth), measured)
    found = fit(picture(relative), picture(measured), inverse)
    target = 1 / measured if inverse else measured
    for i in range(50):
        good, weight = ~bad[i], 1 / (1 / depth[i] if inverse else depth[i])
        matrix = np.stack([relative[i], np.ones(1000)], 1) * weight[:, None]
        line = np.linalg.lstsq(matrix[good], (target[i] * weight)[good], rcond=None)[0]
        expected = line[0] * relative[i] + line[1]
        ours = found.scale[i].item() * relative[i] + found.shift[i].item()
        assert np.abs(ours / expected - 1).max() < 0.02


@SPACES
def test_more_steps_change_nothing(inverse, monkeypatch):
    rng, depth, relative, measured, _, _ = scenes(inverse, 50, noise=0.03)
    bad = rng.random(depth.shape) < 0.2
    measured = np.where(bad, outliers('a little behind', rng, depth), measured)
    output = 'inverse_depth' if inverse else 'depth'
    found, _ = align(picture(relative), picture(measured), output)
    monkeypatch.setattr(alignment, 'STEPS', 40)
    expected, _ = align(picture(relative), picture(measured), output)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_rounding_stays_rounding_even_where_nothing_fits():
    """Relative and sparse depth have nothing in common, as before training."""
    torch.manual_seed(0)
    relative = 1 + 0.1 * torch.randn(60, 1, 20, 32)
    sparse = 1 + 40 * torch.rand_like(relative)
    expected, before = align(relative, sparse, 'inverse_depth')
    found, after = align(
        relative * (1 + 1e-6 * torch.randn_like(relative)), sparse, 'inverse_depth'
    )
    kept = (before.way == Way.FITTED) & (after.way == Way.FITTED)
    assert kept.sum() > 15
    torch.testing.assert_close(found[kept], expected[kept], rtol=1e-4, atol=0)


# --- where no line can be fitted


def test_makeshifts_by_hand_in_one_batch():
    cases = [
        ([1, 2, 3, 4], [3, 5, 7, 9], (2, 1, Way.FITTED)),
        ([1, 2, 3, 4], [0, 0, 0, 0], (1, 0, Way.NO_POINTS)),
        ([2, 2, 2, 9], [3, 5, 7, 0], (15 / 6, 0, Way.RATIO)),  # no spread
        ([5, 3, 2, 1], [1, 2, 3, 4], (10 / 11, 0, Way.RATIO)),  # a negative scale
        ([4, 3, -2, -9], [1, 2, 3, 0], (0, 2, Way.CONSTANT)),  # and a negative relative value
        ([-1, 2, 3, -4], [0, 6, 0, 0], (6 / 2, 0, Way.RATIO)),  # one point
        ([-5, 2, 3, 4], [6, 0, 0, 0], (0, 6, Way.CONSTANT)),
    ]
    relative, depth, expected = (torch.tensor(x).double() for x in zip(*cases, strict=True))
    found = fit(picture(relative), picture(depth))
    torch.testing.assert_close(torch.stack([x.double() for x in found], 1), expected)
    found = fit(picture([1.0, 2, 3, 0]), picture([1.0, 2, 4, 0]), inverse=True)  # 1, 1/2, 1/4
    assert [x.item() for x in found] == pytest.approx([1.75 / 6, 0, Way.RATIO])
    found = fit(picture([-1.0, 2, 3, 0]), picture([1.0, 2, 4, 0]), inverse=True)
    assert [x.item() for x in found] == pytest.approx([0, 1.75 / 3, Way.CONSTANT])


@pytest.mark.parametrize('points', [1, 2, 100])
def test_relative_values_that_differ_by_rounding_alone_are_no_line(points):
    depth = torch.zeros(500)
    depth[torch.randperm(500)[:points]] = torch.rand(points) + 5
    found = fit(picture(1 + 4e-6 * (depth - 5)), picture(depth))
    assert found.way.item() == Way.RATIO
    assert found.scale.item() == pytest.approx(depth.sum().item() / points, rel=1e-4)


def test_points_that_hardly_differ_beside_the_map_are_no_line():
    """Points 3 % apart in depth and 0.0001 apart in a map from 0 to 2 say nothing of a slope."""
    relative = torch.linspace(0.01, 2, 400)
    relative[:2] = torch.tensor([1.0, 1.0001])
    depth = torch.zeros(400)
    depth[:2] = torch.tensor([10.0, 10.3])
    found = fit(picture(relative), picture(depth))
    assert found.way.item() == Way.RATIO
    assert found.scale.item() == pytest.approx(20.3 / 2.0001)
    depth[399] = 20.0
    assert fit(picture(relative), picture(depth)).way.item() == Way.FITTED


@pytest.mark.parametrize('output', ['depth', 'inverse_depth'])
def test_gradients_are_finite_on_every_way(output):
    relative = torch.tensor([[1.0, 2], [1, 2], [2, 2], [2, 1], [-2, -1], [0, 0]])[:, None, None]
    depth = torch.tensor([[3.0, 5], [0, 0], [3, 5], [1, 2], [1, 2], [0, 3]])[:, None, None]
    for given in (relative, 1 / (3 + relative)):
        given = given.clone().requires_grad_()
        aligned, found = align(given, depth, output)
        (aligned.sum() + found.scale.sum() + found.shift.sum()).backward()
        assert given.grad.isfinite().all()


# --- what the fit does not depend on


@pytest.fixture
def noisy():
    """Relative inverse depth and sparse depth (3, 1, 40, 50) with noise and outliers."""
    rng, depth, relative, measured, _, _ = scenes(True, 3, 2000, 0.02)
    measured = np.where(rng.random(depth.shape) < 0.2, rng.uniform(1, 99, depth.shape), measured)
    measured *= rng.random(depth.shape) < 0.3
    return [torch.from_numpy(x).float().reshape(3, 1, 40, 50) for x in (relative, measured)]


@SPACES
def test_scaled_points_scale_the_fit(noisy, inverse):
    relative, sparse = noisy
    relative = relative if inverse else -relative
    one, twelve = fit(relative, sparse, inverse), fit(relative, 12 * sparse, inverse)
    factor = 1 / 12 if inverse else 12
    torch.testing.assert_close(twelve.scale, factor * one.scale, rtol=1e-3, atol=0)
    torch.testing.assert_close(twelve.shift, factor * one.shift, rtol=1e-3, atol=1e-5)
    assert (one.way == Way.FITTED).all()


def test_the_network_s_own_scale_and_shift_do_not_matter(noisy):
    relative, sparse = noisy
    expected, _ = align(relative, sparse, 'inverse_depth')
    for scale, shift in ((1e-3, 0), (100, -7), (1, 3)):
        found, _ = align(scale * relative + shift, sparse, 'inverse_depth')
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)


def test_each_sample_of_a_batch_is_alone_and_twice_is_the_same(noisy):
    relative, sparse = noisy
    together, again = (fit(relative, sparse, True) for _ in range(2))
    alone = [fit(relative[i : i + 1], sparse[i : i + 1], True) for i in range(3)]
    for ours, repeated, single in zip(together, again, zip(*alone, strict=True), strict=True):
        assert torch.equal(ours, repeated)
        torch.testing.assert_close(ours, torch.cat(single), rtol=1e-5, atol=1e-6)


def test_where_the_points_lie_does_not_matter(noisy):
    relative, sparse = (x.flatten(2) for x in noisy)
    order = torch.randperm(relative.shape[2])
    expected = fit(relative[..., None], sparse[..., None], True)
    found = fit(relative[..., order, None], sparse[..., order, None], True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('count', [POINTS - 1, POINTS, POINTS + 1, 3 * POINTS, 100_003])
def test_more_points_than_are_used(count):
    """Those used are spread evenly, so a fifth of the image is a fifth of them."""
    relative = torch.linspace(1, 2, count).view(1, 1, 1, -1).repeat(1, 1, 2, 1)
    depth = torch.cat((3 * relative[:, :, :1] + 1, 0 * relative[:, :, :1]), 2)
    found = fit(relative, depth)
    assert [x.item() for x in found] == pytest.approx([3, 1, Way.FITTED], rel=1e-5)
    for wrong in (slice(count // 5), slice(count // 5 * 4, count)):
        given = depth.clone()
        given[..., 0, wrong] += 50
        found = fit(relative, given)
        assert [x.item() for x in found] == pytest.approx([3, 1, Way.FITTED], rel=1e-4)


def test_low_precision_is_computed_in_float32(noisy):
    relative, sparse = (x.bfloat16() for x in noisy)
    expected = fit(relative.float(), sparse.float(), True)
    for found in (fit(relative, sparse, True), fit(relative, sparse.float(), True)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with torch.autocast('cpu', torch.bfloat16):
        found = fit(relative.float(), sparse.float(), True)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert fit(relative.double(), sparse.double()).scale.dtype == torch.float64


# --- in a network


def test_an_affine_change_of_the_relative_depth_has_no_gradient(noisy):
    relative, sparse = noisy
    relative = relative.double().requires_grad_()
    aligned, _ = align(relative, sparse.double(), 'inverse_depth')
    (aligned.log() * torch.randn_like(aligned)).sum().backward()
    grad = relative.grad.flatten(1)
    for change in (torch.ones_like(grad), relative.detach().flatten(1)):
        assert ((grad * change).sum(1).abs() < 1e-9 * grad.norm() * change.norm()).all()


def test_aligned_depth_is_limited():
    relative, sparse = picture([1.0, 2, 3, -1, 1000]), picture([1.0, 2, 3, 0, 0])
    depth = [1, 2, 3, NEAREST_M, FARTHEST_M]
    assert align(relative, sparse, 'depth')[0].flatten().tolist() == pytest.approx(depth)
    sparse = picture([1.0, 1 / 2, 1 / 3, 0, 0])
    depth = [1, 1 / 2, 1 / 3, FARTHEST_M, NEAREST_M]
    assert align(relative, sparse, 'inverse_depth')[0].flatten().tolist() == pytest.approx(depth)


def test_unknown_output():
    with pytest.raises(ValueError, match="output = 'disparity': give 'inverse_depth' or 'depth'"):
        align(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 'disparity')


@pytest.mark.gpu
def test_gpu_gives_the_fit_of_the_cpu(noisy):
    for inverse in (True, False):
        expected = fit(*noisy, inverse)
        found = fit(*(x.cuda() for x in noisy), inverse)
        torch.testing.assert_close([x.cpu() for x in found], list(expected), rtol=1e-4, atol=1e-5)
