"""Numbers of the node's health worked out by hand, and many threads that write at once."""

from __future__ import annotations

import json
import math
import sys
from threading import Thread

from depth_kd_ros.health import Health, held_out_errors, Rate
import numpy as np
import pytest

NOTHING = {'mae_m': None, 'rmse_m': None, 'rel': None, 'points': 0, 'missing': 0}
EMPTY_TABLE = {'0-20': NOTHING, '20-40': NOTHING, '40-80': NOTHING}


def test_rate_over_the_window_before_it_is_full_and_after():
    rate = Rate(window_s=2.0)
    assert rate.hz(100.0) is None
    rate.add(100.0)
    assert rate.hz(100.0) is None
    for quarter in range(1, 5):
        rate.add(100.0 + quarter / 4)
    assert rate.hz(101.0) == 4.0  # 4 more within 1 s
    for quarter in range(5, 41):
        rate.add(100.0 + quarter / 4)
    assert rate.hz(110.0) == 4.0
    assert rate.hz(111.0) == 2.0  # 109.25, 109.5, 109.75 and 110
    assert rate.hz(112.0) == 0.0
    assert rate.hz(1e6) == 0.0


def test_rate_after_a_stall_counts_what_is_in_the_window():
    rate = Rate(window_s=2.0)
    for now_s in (0.0, 1.0, 50.0, 50.5):
        rate.add(now_s)
    assert rate.hz(50.5) == 1.0


def test_rate_keeps_no_more_than_its_window():
    rate = Rate(window_s=2.0)
    for number in range(10_000):
        rate.add(number / 10)
    assert rate.hz(999.9) == 10.0
    assert len(rate._times_s) == 20


def test_rate_starts_anew_when_the_clock_is_set_back():
    rate = Rate(window_s=2.0)
    for now_s in (1000.0, 1000.5, 3.0, 3.5, 4.0):
        rate.add(now_s)
    assert rate.hz(4.0) == 2.0
    assert rate.hz(2.0) is None


def test_snapshot_of_nothing():
    assert Health().snapshot(0.0) == {
        'frames_in': {'image': 0, 'points': 0},
        'frames_matched': 0,
        'frames_out': 0,
        'dropped': {},
        'rates_hz': {'image': None, 'points': None, 'out': None},
        'latency_ms': {'total': {'p50': None, 'p99': None}},
        'skew_ms': {'median': None, 'max_abs': None},
        'points_per_frame': {'min': None, 'median': None, 'max': None},
        'held_out': {**NOTHING, 'by_distance_m': EMPTY_TABLE},
    }


def test_snapshot_of_three_frames():
    health = Health()
    for now_s in (10.0, 10.5, 11.0):
        health.received('image', now_s)
    health.received('points', 10.0)
    health.received('points', 11.0)
    for skew_ns in (7_000_000, -40_000_000, 9_000_000):
        health.matched(skew_ns)
    health.dropped('busy')
    health.dropped('no_partner', 3)
    health.dropped('busy')
    health.completed(11.0, {'decode': 0.001, 'total': 0.010}, points=100)
    health.completed(11.5, {'decode': 0.003, 'total': 0.030}, points=300)
    health.completed(12.0, {'total': 0.040}, points=120)
    health.held_out([9.0], [10.0])
    health.held_out([25.0, 0.0], [22.0, 50.0])
    snapshot = health.snapshot(12.0)
    assert snapshot['frames_in'] == {'image': 3, 'points': 2}
    assert (snapshot['frames_matched'], snapshot['frames_out']) == (3, 3)
    assert snapshot['dropped'] == {'busy': 2, 'no_partner': 3}
    assert snapshot['rates_hz'] == {'image': 1.0, 'points': 0.5, 'out': 2.0}
    latency = snapshot['latency_ms']
    assert latency['decode'] == pytest.approx({'p50': 2.0, 'p99': 2.98})
    assert latency['total'] == pytest.approx({'p50': 30.0, 'p99': 39.8})  # 30 + 0.98 * 10
    assert snapshot['skew_ms'] == pytest.approx({'median': 7.0, 'max_abs': 40.0})
    assert snapshot['points_per_frame'] == {'min': 100, 'median': 120, 'max': 300}
    held_out = snapshot['held_out']
    assert held_out['mae_m'] == 2.0  # (1 + 3) / 2
    assert held_out['rmse_m'] == pytest.approx(math.sqrt(5))
    assert (held_out['points'], held_out['missing']) == (2, 1)
    assert json.loads(json.dumps(snapshot, allow_nan=False)) == snapshot


def test_percentiles_are_those_of_the_last_1000_samples():
    health = Health()
    for _ in range(5000):
        health.completed(0.0, {'total': 1e3, 'decode': 1e3}, points=0)
    for number in range(1, 1001):
        health.completed(0.0, {'total': number / 1e3, 'decode': number / 1e3}, points=number)
    snapshot = health.snapshot(0.0)
    for stage in ('total', 'decode'):
        assert snapshot['latency_ms'][stage] == pytest.approx({'p50': 500.5, 'p99': 990.01})
    assert snapshot['points_per_frame'] == {'min': 1, 'median': 500.5, 'max': 1000}
    assert snapshot['frames_out'] == 6000


def test_a_shorter_window():
    health = Health(window=2)
    for skew_ns in (90_000_000, 1_000_000, 2_000_000):
        health.matched(skew_ns)
    assert health.snapshot()['skew_ms'] == pytest.approx({'median': 1.5, 'max_abs': 2.0})


def test_a_snapshot_does_not_change_later():
    health = Health()
    before = health.snapshot(0.0)
    health.received('image', 0.0)
    health.dropped('busy')
    health.completed(0.0, {'total': 1.0}, points=1)
    assert before == Health().snapshot(0.0)


def test_the_default_clock_is_the_monotonic_one():
    health = Health()
    health.received('image', 0.0)
    assert health.snapshot()['rates_hz']['image'] >= 0


def test_refuses_an_unknown_stream():
    health = Health()
    with pytest.raises(KeyError, match='lidar'):
        health.received('lidar', 0.0)
    assert health.snapshot(0.0) == Health().snapshot(0.0)


def test_held_out_errors_worked_out_by_hand():
    truth = [10.0, 16.0, 20.0, 25.0, 50.0, 80.0, 0.0, np.nan, 30.0, 30.0, 30.0]
    prediction = [11.0, 12.0, 22.0, 20.0, 60.0, 88.0, 5.0, 5.0, 0.0, np.nan, np.inf]
    # errors                1     4     2     5    10     8   no truth         no prediction
    errors = held_out_errors(prediction, truth)
    assert (errors['points'], errors['missing']) == (6, 3)
    assert errors['mae_m'] == pytest.approx(30 / 6)
    assert errors['rmse_m'] == pytest.approx(math.sqrt((1 + 16 + 4 + 25 + 100 + 64) / 6))
    assert errors['rel'] == pytest.approx((0.1 + 0.25 + 0.1 + 0.2 + 0.2 + 0.1) / 6)
    near, middle, far = errors['by_distance_m'].values()
    assert list(errors['by_distance_m']) == ['0-20', '20-40', '40-80']
    assert near == pytest.approx(
        {'mae_m': 2.5, 'rmse_m': math.sqrt(8.5), 'rel': 0.175, 'points': 2, 'missing': 0}
    )
    assert middle == pytest.approx(
        {'mae_m': 3.5, 'rmse_m': math.sqrt(14.5), 'rel': 0.15, 'points': 2, 'missing': 3}
    )
    assert far == pytest.approx(
        {'mae_m': 10.0, 'rmse_m': 10.0, 'rel': 0.2, 'points': 1, 'missing': 0}
    )


@pytest.mark.parametrize('shape', [(0,), (7,), (2, 3)])
def test_held_out_errors_without_truth_are_none(shape):
    errors = held_out_errors(np.ones(shape, np.float32), np.zeros(shape, np.float32))
    assert errors == {**NOTHING, 'by_distance_m': EMPTY_TABLE}


def test_held_out_points_that_are_all_missing():
    errors = held_out_errors(np.zeros(4), np.full(4, 10.0))
    assert errors['mae_m'] is None
    assert errors['missing'] == errors['by_distance_m']['0-20']['missing'] == 4


def test_held_out_errors_of_float32_images_agree_with_the_plain_formula():
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 79, (40, 50)).astype(np.float32)
    prediction = (truth * rng.uniform(0.8, 1.2, truth.shape)).astype(np.float32)
    errors = held_out_errors(prediction, truth)
    difference = prediction.astype(float) - truth
    assert errors['mae_m'] == pytest.approx(np.abs(difference).mean())
    assert errors['rmse_m'] == pytest.approx(np.sqrt(np.square(difference).mean()))
    assert errors['rel'] == pytest.approx((np.abs(difference) / truth).mean())
    assert sum(row['points'] for row in errors['by_distance_m'].values()) == truth.size


def test_held_out_average_moves_over_100_frames_and_can_start_anew():
    health = Health()
    for _ in range(500):
        health.held_out([100.0], [10.0])
    for _ in range(100):
        health.held_out([11.0], [10.0])
    assert health.snapshot(0.0)['held_out']['mae_m'] == 1.0
    health.forget_held_out()
    assert health.snapshot(0.0)['held_out'] == {**NOTHING, 'by_distance_m': EMPTY_TABLE}


def test_refuses_predictions_that_do_not_belong_to_the_points():
    with pytest.raises(ValueError, match=r'prediction_m has shape \(2,\), truth_m \(3,\): give'):
        held_out_errors(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match='prediction at each held-out point'):
        Health().held_out(1.0, np.ones(3))


def test_threads_lose_no_count():
    health, each = Health(), 2000

    def work(reason):
        for number in range(each):
            health.received('image', 1.0)
            health.matched(number)
            health.dropped(reason)
            health.completed(1.0, {reason: 0.5, 'total': 0.5}, points=number)
            if number % 100 == 0:
                health.snapshot(2.0)  # reads what the others are writing to

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [Thread(target=work, args=(f'reason_{name}',)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    snapshot = health.snapshot(0.0)
    assert snapshot['frames_in']['image'] == snapshot['frames_matched'] == 4 * each
    assert snapshot['frames_out'] == 4 * each
    assert snapshot['dropped'] == {f'reason_{name}': each for name in range(4)}
    assert snapshot['latency_ms']['reason_3'] == {'p50': 500.0, 'p99': 500.0}
