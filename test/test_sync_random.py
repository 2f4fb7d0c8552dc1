"""Random streams: what holds for all of them, and the pairs that brute force finds."""

from __future__ import annotations

import itertools
import math
import random

from depth_kd_ros.sync import Matcher
import pytest
from test_sync import assert_all_accounted_for, MS, nearest_pairs


def regular(rng, count, gap_ns):
    """Give a stream with gaps of 1, 2 or 3 times `gap_ns` that shows its rate at the start."""
    gaps = [gap_ns] * 3 + [gap_ns * rng.choice((1, 1, 1, 2, 3)) for _ in range(count)]
    start = rng.randrange(-gap_ns, gap_ns)
    return [start + total for total in itertools.accumulate(gaps)]


@pytest.mark.parametrize('seed', range(60))
def test_any_interleaving_gives_the_truly_nearest_image(seed):
    """Clouds are at least 2 x slop apart here, so that no image has two clouds to choose from."""
    rng = random.Random(seed)
    cloud_gap, image_gap = rng.randrange(2, 200) * MS, rng.randrange(1, 200) * MS
    clouds, images = regular(rng, 60, cloud_gap), regular(rng, 60, image_gap)
    slop_ns = rng.randrange(cloud_gap // 2 + 1)
    matcher = Matcher(slop_ns / 1e9, max_wait_s=1e9, queue_size=1000)
    queues = {'cloud': clouds[::-1], 'image': images[::-1]}
    pairs = []
    while any(queues.values()):
        kind = rng.choice([kind for kind, queue in queues.items() if queue])
        add = matcher.add_reference if kind == 'cloud' else matcher.add_partner
        pairs += add(queues[kind].pop(), None, 0.0)
    pairs += matcher.flush()
    expected = nearest_pairs(clouds, images, slop_ns)
    assert [(p.reference_ns, p.partner_ns) for p in pairs] == expected
    assert_all_accounted_for(matcher)


@pytest.mark.parametrize('seed', range(40))
def test_clouds_share_images_as_by_brute_force(seed):
    rng = random.Random(seed)
    clouds = sorted(rng.sample(range(5000), 60))
    images = regular(rng, 60, rng.choice((3, 30, 90)))
    slop_ns = rng.choice((1, 30, 100, 1000))
    matcher = Matcher(slop_ns / 1e9, max_wait_s=1e9, queue_size=1000)
    for stamp in clouds:
        assert matcher.add_reference(stamp, None, 0.0) == []
    pairs = [pair for stamp in images for pair in matcher.add_partner(stamp, None, 0.0)]
    pairs += matcher.flush()
    expected = nearest_pairs(clouds, images, slop_ns)
    assert [(p.reference_ns, p.partner_ns) for p in pairs] == expected


@pytest.mark.parametrize('seed', range(40))
def test_invariants_hold_whatever_comes(seed):
    """Random stamps out of order, twice, in loops, with stalls, polls, flushes and resets."""
    rng = random.Random(seed)
    offset_ns, slop_ns = rng.randrange(-200, 200) * MS, rng.randrange(0, 60) * MS
    matcher = Matcher(slop_ns / 1e9, offset_ns / 1e9, 0.1, rng.choice((1, 2, 5, 30)))
    used, emitted, last, base_ms, now_s = set(), 0, -math.inf, 0.0, 0.0
    loops = falls = 0
    for number in range(1500):
        base_ms, now_s = base_ms + rng.expovariate(1 / 15), now_s + rng.expovariate(1 / 0.015)
        event = rng.random()
        if event < 0.002:
            base_ms -= rng.choice((100, 1000, 5000))
            loops += 1
        stamp = round(base_ms + rng.choice((0, 0, 0, rng.uniform(-120, 120)))) * MS
        if event < 0.3:
            pairs = matcher.add_reference(stamp, number, now_s)
        elif event < 0.97:
            pairs = matcher.add_partner(stamp, number, now_s)
        elif event < 0.995:
            pairs = matcher.poll(now_s)
        else:
            pairs = matcher.flush() if event < 0.998 else matcher.reset() or []
            last = -math.inf if event >= 0.998 else last  # a reset
        for pair in pairs:
            assert abs(pair.skew_ns) <= slop_ns
            assert pair.skew_ns == pair.partner_ns - pair.reference_ns - offset_ns
            assert not {pair.reference, pair.partner} & used
            used |= {pair.reference, pair.partner}
            falls += pair.partner_ns <= last
            last = pair.partner_ns
        emitted += len(pairs)
        assert falls <= loops
        assert_all_accounted_for(matcher)
        assert matcher.counters['reference_matched'] == emitted
