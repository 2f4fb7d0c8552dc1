"""Metrics against numbers worked out by hand and loops over pixels."""

from __future__ import annotations

import math

from depth_kd_training import bootstrap, metrics
import numpy as np
import pytest


def looped(depth, depth_gt, nearest):
    """Write every metric out pixel by pixel."""
    sums, n = dict.fromkeys(metrics.UNITS, 0.0), 0
    for p, g in zip(depth.ravel().tolist(), depth_gt.ravel().tolist(), strict=True):
        if g <= 0:
            continue
        n += 1
        p = p if math.isfinite(p) and p > nearest else nearest
        sums['rmse'] += (p - g) ** 2
        sums['mae'] += abs(p - g)
        sums['irmse'] += (1e3 / p - 1e3 / g) ** 2
        sums['imae'] += abs(1e3 / p - 1e3 / g)
        sums['rel'] += abs(p - g) / g
        for i in (1, 2, 3):
            sums[f'delta{i}'] += max(p / g, g / p) < 1.25**i
    means = {key: value / n for key, value in sums.items()}
    return means | {key: math.sqrt(means[key]) for key in ('rmse', 'irmse')}


def test_two_pixels_by_hand():
    found = metrics.errors(np.array([[2.0, 5.0, 9.0]]), np.array([[1.0, 8.0, 0.0]]))
    assert found['mae'] == pytest.approx(2)  # (1 + 3) / 2
    assert found['rmse'] == pytest.approx(math.sqrt(5))  # (1 + 9) / 2
    assert found['imae'] == pytest.approx((500 + 75) / 2)  # |500 - 1000|, |200 - 125|
    assert found['irmse'] == pytest.approx(math.sqrt((500**2 + 75**2) / 2))
    assert found['rel'] == pytest.approx((1 + 3 / 8) / 2)
    assert found['delta1'] == 0  # ratios 2 and 1.6
    assert found['delta2'] == 0  # 1.5625
    assert found['delta3'] == 0.5  # 1.953


@pytest.mark.parametrize('seed', range(5))
def test_random_maps_with_holes_equal_a_loop(seed):
    rng = np.random.default_rng(seed)
    depth_gt = rng.uniform(1, 80, (13, 17)) * (rng.random((13, 17)) < 0.4)
    depth = depth_gt * rng.uniform(0.5, 1.8, (13, 17)) + rng.normal(size=(13, 17))
    depth[rng.random((13, 17)) < 0.05] = np.nan
    found = metrics.errors(depth.astype(np.float32), depth_gt.astype(np.float32))
    expected = looped(depth.astype(np.float32), depth_gt.astype(np.float32), metrics.NEAREST_M)
    assert found == pytest.approx(expected, rel=1e-6)


def test_no_truth_is_no_number_and_does_not_count_in_the_mean():
    empty = metrics.errors(np.ones((2, 2)), np.zeros((2, 2)))
    assert all(math.isnan(value) for value in empty.values())
    good = metrics.errors(np.full((1, 1), 3.0), np.full((1, 1), 2.0))
    assert metrics.mean([empty, good, good])['mae'] == 1
    assert math.isnan(metrics.mean([empty])['mae'])


def test_mean_over_images_is_not_the_pooled_mean():
    """One pixel off by 3 m and three exact ones: 1.5 per image, sqrt(9 / 4) pooled."""
    rows = [
        metrics.errors(np.array([[5.0]]), np.array([[2.0]])),
        metrics.errors(np.full((1, 3), 2.0), np.full((1, 3), 2.0)),
    ]
    assert metrics.mean(rows)['rmse'] == pytest.approx(1.5)
    assert metrics.pooled_rmse(rows, [1, 3]) == pytest.approx(1.5)
    assert metrics.pooled_rmse([*rows, rows[1]], [1, 3, 3]) == pytest.approx(3 / math.sqrt(7))


def test_by_distance_splits_at_the_true_depth():
    depth_gt = np.array([[10.0, 20.0, 30.0, 79.0, 90.0]])
    found = metrics.by_distance(depth_gt + np.array([1, 3, 5, 7, 100]), depth_gt)
    assert {key: row['mae'] for key, row in found.items()} == {'0-20': 2, '20-40': 5, '40-80': 7}


def test_by_class_names_what_occurs():
    depth_gt = np.array([[4.0, 4.0, 4.0, 0.0]])
    semantic = np.array([[1, 0, -1, 2]])
    found = metrics.by_class(
        depth_gt + np.array([1, 2, 9, 9]), depth_gt, semantic, ('a', 'b', 'c')
    )
    assert {key: row['mae'] for key, row in found.items()} == {'a': 2, 'b': 1}


def test_bootstrap_interval_holds_the_mean_and_narrows():
    rng = np.random.default_rng(0)
    few, many = rng.normal(5, 1, 20), rng.normal(5, 1, 2000)
    low, high = bootstrap.interval(few)
    assert low < few.mean() < high
    # The normal approximation: 1.96 standard errors to each side.
    assert (high - low) / 2 == pytest.approx(1.96 * few.std() / math.sqrt(20), rel=0.15)
    narrow = bootstrap.interval(many)
    assert narrow[1] - narrow[0] < (high - low) / 5
    assert bootstrap.interval(few) == (low, high)
    assert all(math.isnan(v) for v in bootstrap.interval([math.nan]))


def test_a_difference_is_paired_and_in_percent():
    """The second model errs twice as much on every frame: certain, however frames differ."""
    errors = np.array([[1.0, 4], [9, 2], [np.nan, 3]])
    found = bootstrap.differences(2 * errors, errors)
    assert found == pytest.approx(np.array([[100, 100, 100], [100, 100, 100]]))
    one_sided = bootstrap.differences(errors, errors[::-1])[1]
    assert one_sided[0] == pytest.approx(0) and one_sided[1] < 0 < one_sided[2]


def test_differences_agree_with_a_loop_over_draws():
    rng = np.random.default_rng(1)
    reference = rng.uniform(1, 3, 40)
    values = reference * rng.uniform(0.7, 1.1, 40)
    draws = []
    for _ in range(4000):
        taken = rng.integers(40, size=40)
        draws.append(100 * (values[taken].sum() / reference[taken].sum() - 1))
    (found,) = bootstrap.differences(values[:, None], reference[:, None])
    assert found[0] == pytest.approx(100 * (values.mean() / reference.mean() - 1))
    assert found[1:] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.3)


def test_a_reference_without_errors_has_no_difference():
    assert np.isnan(bootstrap.differences(np.ones((3, 1)), np.zeros((3, 1)))).all()
    assert np.isnan(bootstrap.intervals(np.zeros((0, 2)))).all()


def test_sums_split_by_labels_and_end_at_the_farthest():
    """1 and 3 m off in group 0, none in group 1, 2 m off in group 2; 90 m is beyond 80 m."""
    depth_gt = np.array([[10.0, 20, 30, 90]])
    depth = depth_gt + np.array([1, -3, 2, 5])
    found = metrics.sums(depth, depth_gt, np.array([[0, 0, 2, 2]]), 3, farthest_m=80)
    assert found[:, 0].tolist() == [2, 0, 1]
    assert [metrics.from_sums(row)['mae'] for row in found] == pytest.approx(
        [2, math.nan, 2], nan_ok=True
    )
    limited = metrics.sums(np.array([[200.0]]), np.array([[70.0]]), farthest_m=80)
    assert metrics.from_sums(limited[0])['mae'] == 10


def test_more_pixels_than_a_chunk_are_all_counted():
    depth_gt = np.full((3, metrics.CHUNK), 5.0, np.float32)
    labels = np.repeat([[0], [1], [0]], metrics.CHUNK, 1)
    found = metrics.sums(depth_gt + labels.astype(np.float32), depth_gt, labels, 2)
    assert found[:, 0].tolist() == [2 * metrics.CHUNK, metrics.CHUNK]
    assert [metrics.from_sums(row)['mae'] for row in found] == [0, 1]


@pytest.mark.parametrize('seed', range(3))
def test_see_through_truth_equals_a_loop_over_windows(seed):
    rng = np.random.default_rng(seed)
    depth_gt, sparse = (
        np.where(rng.random((90, 120)) < share, rng.uniform(5, 12, (90, 120)), 0).astype(
            np.float32
        )
        for share in (0.01, 0.003)
    )
    found = metrics.without_see_through(depth_gt, sparse)
    points = np.where(depth_gt > 0, depth_gt, sparse)
    dropped = 0
    for row, column in np.argwhere(depth_gt > 0):
        window = points[max(0, row - 5) : row + 6, max(0, column - 5) : column + 6]
        nearest, own = window[window > 0].min(), depth_gt[row, column]
        hidden = nearest < 0.88 * own and own - nearest > 1
        assert found[row, column] == (0 if hidden else own)
        dropped += hidden
    assert dropped > 5 and (found[depth_gt == 0] == 0).all()
