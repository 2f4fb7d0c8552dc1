"""A 30 Hz camera and a 10 Hz LiDAR whose nearest image is 7 ms away, and all that can go wrong."""

from __future__ import annotations

import itertools
import math
import random

from depth_kd_ros.sync import Matcher, Pair
import pytest

MS = 1_000_000
LOSSES = {
    'reference': ('no_partner', 'overflow', 'late', 'duplicate', 'reset'),
    'partner': ('unused', 'overflow', 'late', 'duplicate', 'reset'),
}


def lidar(count, rate_hz=10, start_ms=0):
    return [start_ms * MS + k * 10**9 // rate_hz for k in range(count)]


def camera(count, phase_ms=7, rate_hz=30, start_ms=0):
    """Stamp images: every third is `phase_ms` after a cloud, the others are 26 and 40 ms away."""
    return [(start_ms + phase_ms) * MS + k * 10**9 // rate_hz for k in range(count)]


def arrivals(stamps, kind, lag_ms=0.0, jitter_ms=0.0, rng=None, start_ms=0.0):
    """Give (arrival s, kind, stamp) in the stream's own order, as a reliable transport does."""
    events, latest = [], -math.inf
    for stamp in stamps:
        delay_ms = lag_ms + (rng.uniform(0, jitter_ms) if rng else 0)
        latest = max(latest, (start_ms + delay_ms) / 1e3 + stamp * 1e-9)
        events.append((latest, kind, stamp))
    return events


def play(matcher, events, poll=True):
    """Feed events in order of arrival (equal times: in the order given); items are the events."""
    pairs = []
    for event in sorted(events, key=lambda event: event[0]):
        now_s, kind, stamp = event
        pairs += matcher.poll(now_s) if poll else []
        add = matcher.add_reference if kind == 'cloud' else matcher.add_partner
        pairs += add(stamp, event, now_s)
    return pairs


def skews(pairs):
    return {pair.skew_ns for pair in pairs}


def assert_all_accounted_for(matcher):
    counts = matcher.counters
    assert counts['reference_matched'] == counts['partner_matched']
    for stream, losses in LOSSES.items():
        fates = sum(counts[f'{stream}_{fate}'] for fate in ('matched', 'waiting', *losses))
        assert counts[f'{stream}_received'] == fates
    assert len(counts) == 16


def nearest_pairs(references, partners, slop):
    """Match by brute force with everything known (stamps in ns, offset 0)."""
    pairs, used = [], -math.inf
    for place, reference in enumerate(references):
        gap, best = min(
            ((abs(p - reference), p) for p in partners if p > used), default=(slop + 1, 0)
        )
        if gap <= slop and all(abs(best - later) >= gap for later in references[place:]):
            pairs.append((reference, best))
            used = best
    return pairs


@pytest.mark.parametrize('phase_ms', [7, -7])
@pytest.mark.parametrize('first', ['image', 'cloud'])
@pytest.mark.parametrize('jitter_ms', [0, 5, 60])
@pytest.mark.parametrize('seed', range(3))
def test_200_of_200_at_the_nearest_image_in_any_order(phase_ms, first, jitter_ms, seed):
    rng = random.Random(seed)
    matcher = Matcher(0.05)
    streams = [
        arrivals(camera(603, phase_ms), 'image', 40 * (first == 'cloud'), jitter_ms, rng),
        arrivals(lidar(200), 'cloud', 40 * (first == 'image'), jitter_ms, rng),
    ]
    pairs = play(matcher, streams[0] + streams[1])
    assert len(pairs) == 200
    assert skews(pairs) == {phase_ms * MS}
    assert [p.reference_ns for p in pairs] == lidar(200)
    assert_all_accounted_for(matcher)


def test_every_interleaving_gives_the_same_pairs():
    images, clouds = camera(8, phase_ms=-26), [100 * MS, 200 * MS]
    expected = nearest_pairs(clouds, images, 50 * MS)
    assert [p - r for r, p in expected] == [7333333, 7333333]
    for places in itertools.combinations(range(10), 2):
        matcher, queues = Matcher(0.05), [iter(images), iter(clouds)]
        pairs = []
        for place in range(10):
            is_cloud = place in places
            add = matcher.add_reference if is_cloud else matcher.add_partner
            pairs += add(next(queues[is_cloud]), None, 0.0)
        pairs += matcher.flush()
        assert [(p.reference_ns, p.partner_ns) for p in pairs] == expected, places


@pytest.mark.parametrize('phase_ms', [7, -7])
@pytest.mark.parametrize('late_ms', [0, 120])
@pytest.mark.parametrize('late_kind', ['image', 'cloud'])
@pytest.mark.parametrize('jitter_ms', [0, 40])
def test_200_of_200_over_a_bag_looped_once(phase_ms, late_ms, late_kind, jitter_ms):
    rng = random.Random(7)
    matcher = Matcher(0.05)
    images, clouds = camera(300, phase_ms, start_ms=1000), lidar(100, start_ms=1000)
    events = []
    for start_ms in (0, 10_000):
        lag = {late_kind: late_ms}
        events += arrivals(images, 'image', lag.get('image', 0), jitter_ms, rng, start_ms)
        events += arrivals(clouds, 'cloud', lag.get('cloud', 0), jitter_ms, rng, start_ms)
    pairs = play(matcher, events)
    assert len(pairs) == 200
    assert skews(pairs) == {phase_ms * MS}
    assert [p.reference_ns for p in pairs] == clouds * 2
    for pair in pairs:  # the two arrived in the same pass: a pass lasts 10 s
        assert abs(pair.reference[0] - pair.partner[0]) < 1
    assert_all_accounted_for(matcher)


@pytest.mark.parametrize('seconds', [0.3, 2.0, 3600.0])
def test_loop_under_simulated_time_that_jumps_back_too(seconds):
    """The caller's clock shows the bag's time, so it goes back with every pass."""
    matcher, count = Matcher(0.05), round(min(seconds, 20) * 10)
    clouds = lidar(count, start_ms=5000) + lidar(2, start_ms=5000 + int(seconds * 1000))
    images = [stamp + 7 * MS for stamp in clouds]
    for _ in range(3):
        pairs = play(matcher, arrivals(images, 'image') + arrivals(clouds, 'cloud'))
        assert [(p.reference_ns, p.skew_ns) for p in pairs] == [(c, 7 * MS) for c in clouds]


def test_a_bag_that_is_looped_many_times_loses_nothing_and_keeps_little():
    matcher = Matcher(0.05)
    for start_s in range(0, 100, 2):
        events = arrivals(camera(61), 'image', start_ms=start_s * 1e3)
        events += arrivals(lidar(20), 'cloud', start_ms=start_s * 1e3)
        assert len(play(matcher, events)) == 20
    counts = matcher.counters
    assert (counts['reference_matched'], counts['reference_waiting']) == (1000, 0)
    assert counts['partner_waiting'] <= 3
    assert counts['partner_late'] == counts['partner_overflow'] == 0


def test_a_lidar_that_was_off_for_a_whole_pass_is_matched_from_its_first_cloud_on():
    matcher = Matcher(0.05)
    events = arrivals(lidar(20), 'cloud', lag_ms=20)
    events += arrivals(lidar(20), 'cloud', lag_ms=20, start_ms=4000)
    for start_ms in (0, 2000, 4000):
        events += arrivals(camera(60), 'image', start_ms=start_ms)
    assert [p.reference_ns for p in play(matcher, events)] == lidar(20) * 2


def test_200_of_200_with_the_lidar_120_ms_late_in_arrival():
    matcher = Matcher(0.05)
    events = arrivals(camera(603), 'image') + arrivals(lidar(200), 'cloud', lag_ms=120)
    pairs = play(matcher, events)
    assert (len(pairs), skews(pairs)) == (200, {7 * MS})


@pytest.mark.parametrize('offset_ms', [120, -120])
def test_200_of_200_with_stamps_120_ms_apart(offset_ms):
    """A positive offset says that the images' stamps are later than the clouds' by as much."""
    clouds = lidar(200, start_ms=1000)
    images = [stamp + offset_ms * MS for stamp in camera(603, start_ms=1000)]
    events = arrivals(images, 'image') + arrivals(clouds, 'cloud')
    pairs = play(Matcher(0.05, offset_s=offset_ms / 1e3), events)
    assert (len(pairs), skews(pairs)) == (200, {7 * MS})
    assert {p.partner_ns - p.reference_ns for p in pairs} == {(offset_ms + 7) * MS}
    assert [p.reference_ns for p in pairs] == clouds
    assert skews(play(Matcher(0.05), events)) != {7 * MS}


def test_equal_stamps_fire_at_once_with_no_slop_and_others_never():
    matcher = Matcher(0)
    assert matcher.add_reference(5, 'cloud', 0.0) == []
    assert matcher.add_partner(5, 'image', 0.0) == [Pair('cloud', 'image', 5, 5, 0)]
    assert matcher.add_partner(6, 'image', 0.0) == []
    assert matcher.add_reference(6, 'cloud', 0.0) == [Pair('cloud', 'image', 6, 6, 0)]
    assert matcher.add_partner(8, 'image', 0.0) + matcher.add_reference(7, 'cloud', 0.0) == []
    assert matcher.flush() == []
    assert matcher.counters['reference_no_partner'] == matcher.counters['partner_unused'] == 1


def test_decides_without_a_frame_of_latency():
    """7 ms before: the next, due 26 ms after, is not awaited; 17 before and 16 after: it is."""
    matcher = Matcher(0.05)
    for stamp_ms in (27, 60, 93):
        assert matcher.add_partner(stamp_ms * MS, stamp_ms, 0.0) == []
    assert matcher.add_reference(100 * MS, 'cloud', 0.0) == [
        Pair('cloud', 93, 100 * MS, 93 * MS, -7 * MS)
    ]
    assert matcher.add_partner(126 * MS, 126, 0.0) == []
    assert matcher.add_reference(143 * MS, 'cloud', 0.0) == []  # 159 is due: 16 ms beats 17
    assert [p.partner for p in matcher.add_partner(159 * MS, 159, 0.0)] == [159]
    assert matcher.add_reference(159 * MS, 'cloud', 0.0) == []  # its image is taken: 192 is due


def test_waits_no_longer_than_max_wait():
    matcher = Matcher(0.05, max_wait_s=0.125)
    assert matcher.add_partner(90 * MS, 'image', 9.0) == []
    assert matcher.add_reference(100 * MS, 'first', 10.0) == []
    assert matcher.add_reference(300 * MS, 'second', 10.0625) == []
    assert matcher.poll(10.124) == []
    assert matcher.poll(10.125) == [Pair('first', 'image', 100 * MS, 90 * MS, -10 * MS)]
    assert matcher.poll(10.187) == []
    assert matcher.counters['reference_waiting'] == 1
    assert matcher.poll(10.1875) == []
    assert matcher.counters['reference_waiting'] == 0
    assert matcher.counters['reference_no_partner'] == 1


def test_an_image_that_comes_after_its_cloud_was_given_up_is_late():
    matcher = Matcher(0.05, max_wait_s=0.125)
    matcher.add_reference(100 * MS, None, 10.0)
    assert len(matcher.add_partner(130 * MS, None, 10.0)) == 1
    matcher.add_reference(140 * MS, None, 10.0)
    assert matcher.poll(10.125) == []
    for stamp_ms in (120, 135, 140):
        assert matcher.add_partner(stamp_ms * MS, None, 10.2) == []
    assert matcher.counters['partner_late'] + matcher.counters['partner_duplicate'] == 3
    matcher.add_partner(150 * MS, None, 10.2)
    assert len(matcher.add_reference(150 * MS, None, 10.2)) == 1


def test_partner_stamps_increase_though_a_cloud_before_the_last_image_found_none():
    matcher = Matcher(0.05, max_wait_s=0.125)
    matcher.add_reference(100 * MS, None, 10.0)
    assert len(matcher.add_partner(130 * MS, None, 10.0)) == 1
    matcher.add_reference(120 * MS, None, 10.0)
    assert matcher.poll(10.125) == []
    assert matcher.add_partner(125 * MS, None, 10.2) == []
    assert matcher.add_reference(126 * MS, None, 10.2) == matcher.flush() == []


def test_does_not_wait_where_the_next_image_is_beyond_the_slop_too():
    matcher = Matcher(0.005)
    for stamp_ms in (13, 46, 79):
        matcher.add_partner(stamp_ms * MS, None, 0.0)
    matcher.add_reference(100 * MS, None, 0.0)  # 21 ms after one, 12 ms before the next
    assert matcher.counters['reference_no_partner'] == 1


def test_two_clouds_close_together_do_not_delay_those_after_them():
    matcher = Matcher(0.05)
    for stamp_ms in (*range(0, 1000, 100), 901):
        matcher.add_reference(stamp_ms * MS, None, stamp_ms / 1e3)
    matcher.poll(2.0)
    matcher.add_reference(2000 * MS, None, 2.0)
    assert len(matcher.add_partner(2007 * MS, None, 2.0)) == 1


def test_a_cloud_out_of_order_does_not_prolong_the_wait_of_another():
    matcher = Matcher(0.05, max_wait_s=0.125)
    matcher.add_reference(200 * MS, 'in order', 10.0)
    matcher.add_reference(100 * MS, 'out of order', 10.12)
    assert matcher.counters['reference_waiting'] == 2
    matcher.poll(10.125)
    assert matcher.counters['reference_no_partner'] == 2


@pytest.mark.parametrize(
    ('now_s', 'waits'), [(1e9, False), (10.0, True), (9.95, True), (0.0, False)]
)
def test_a_jump_of_the_callers_clock_ends_the_wait(now_s, waits):
    matcher = Matcher(0.05, max_wait_s=0.1)
    matcher.add_reference(100 * MS, 'cloud', 10.0)
    matcher.poll(now_s)
    assert matcher.counters['reference_waiting'] == waits
    pairs = matcher.add_reference(200 * MS, 'next', now_s)
    pairs += matcher.add_partner(200 * MS, 'image', now_s)
    assert [p.reference for p in pairs] == ['next']


def test_an_exception_in_the_consumer_loses_that_pair_only():
    matcher, kept = Matcher(0.05), []

    def consume(pairs):
        for pair in pairs:
            if pair.reference_ns == 700 * MS:
                raise RuntimeError('consumer')
            kept.append(pair)

    events = arrivals(camera(603), 'image') + arrivals(lidar(200), 'cloud')
    failures = 0
    for now_s, kind, stamp in sorted(events, key=lambda event: event[0]):
        add = matcher.add_reference if kind == 'cloud' else matcher.add_partner
        try:
            consume(add(stamp, None, now_s))
        except RuntimeError:
            failures += 1
    assert failures == 1
    assert [p.reference_ns for p in kept] == [s for s in lidar(200) if s != 700 * MS]
    assert skews(kept) == {7 * MS}


@pytest.mark.parametrize('seed', range(5))
def test_images_dropped_at_random_leave_the_nearest_of_the_rest(seed):
    rng = random.Random(seed)
    images = camera(8) + [s for s in camera(603)[8:] if rng.random() < 0.7]
    events = arrivals(images, 'image') + arrivals(lidar(200), 'cloud')
    matcher = Matcher(0.05, max_wait_s=1.0)
    pairs = play(matcher, events) + matcher.flush()
    expected = nearest_pairs(lidar(200), images, 50 * MS)
    assert 150 < len(expected) < 200
    assert [(p.reference_ns, p.partner_ns) for p in pairs] == expected
    assert_all_accounted_for(matcher)


@pytest.mark.parametrize('phase_ms', [7, -7, 43])
def test_a_camera_slower_than_the_lidar_gets_the_nearest_cloud_for_every_image(phase_ms):
    """Clouds every 50 ms: the image 43 ms after one is 7 ms before the next."""
    matcher = Matcher(0.06)
    images = camera(100, phase_ms, rate_hz=10, start_ms=100)
    clouds = lidar(204, rate_hz=20, start_ms=100)
    pairs = play(matcher, arrivals(images, 'image') + arrivals(clouds, 'cloud'))
    late = 1 if phase_ms == 43 else 0  # the LiDAR's rate is unknown at the first cloud
    assert [p.partner_ns for p in pairs] == images
    assert skews(pairs[late:]) == {7 * MS if phase_ms == 7 else -7 * MS}
    assert matcher.counters['reference_no_partner'] >= 99


@pytest.mark.parametrize('stalled', ['image', 'cloud'])
def test_a_long_stall_is_over_with_the_first_message_after_it(stalled):
    matcher = Matcher(0.02, queue_size=30)
    images, clouds = camera(603), lidar(200)
    events = [
        event
        for event in arrivals(images, 'image') + arrivals(clouds, 'cloud')
        if event[1] != stalled or not 5 <= event[2] * 1e-9 < 15
    ]
    pairs = play(matcher, events)
    assert [p.reference_ns for p in pairs] == clouds[:50] + clouds[150:]
    assert skews(pairs) == {7 * MS}
    counts = matcher.counters
    if stalled == 'image':
        assert counts['reference_no_partner'] == 100
        assert counts['reference_overflow'] == 0
    else:
        assert counts['partner_overflow'] + counts['partner_unused'] >= 600 - 200
        assert counts['partner_overflow'] > 200
    assert_all_accounted_for(matcher)


def test_messages_slightly_out_of_order_are_put_in_order():
    matcher = Matcher(0.05)
    for stamp_ms in (60, 140, 107):
        matcher.add_partner(stamp_ms * MS, stamp_ms, 0.0)
    matcher.add_reference(200 * MS, 'second', 0.0)
    pairs = matcher.add_reference(100 * MS, 'first', 0.0)
    pairs += matcher.add_partner(193 * MS, 193, 0.0) + matcher.add_partner(226 * MS, 226, 0.0)
    assert [(p.reference, p.partner) for p in pairs] == [('first', 107), ('second', 193)]


def test_counts_every_way_of_loss():
    matcher = Matcher(0.01, max_wait_s=0.1, queue_size=2)
    for stamp_ms in (0, 10, 10, 20):  # 10 twice, and 0 is one too many
        matcher.add_partner(stamp_ms * MS, None, 0.0)
    for stamp_ms in (100, 101, 101, 102, 103):  # none has a partner yet; 101 twice, two too many
        matcher.add_reference(stamp_ms * MS, None, 0.0)
    assert len(matcher.add_partner(103 * MS, None, 0.0)) == 1  # nearer to 103 than to 102
    matcher.add_partner(99 * MS, None, 0.0)
    matcher.add_reference(98 * MS, None, 0.0)
    matcher.add_reference(103 * MS, None, 0.0)
    matcher.add_partner(103 * MS, None, 0.0)
    matcher.add_reference(200 * MS, None, 0.0)
    matcher.add_partner(150 * MS, None, 0.0)
    matcher.reset()
    assert matcher.counters == {
        'reference_received': 8, 'reference_matched': 1, 'reference_no_partner': 1,
        'reference_overflow': 2, 'reference_late': 1, 'reference_duplicate': 2,
        'reference_reset': 1, 'reference_waiting': 0,
        'partner_received': 8, 'partner_matched': 1, 'partner_unused': 2, 'partner_overflow': 1,
        'partner_late': 1, 'partner_duplicate': 2, 'partner_reset': 1, 'partner_waiting': 0,
    }  # fmt: skip


def test_reset_drops_what_waits_and_keeps_the_counters():
    matcher = Matcher(0.05)
    matcher.add_reference(100 * MS, 'old', 0.0)
    matcher.reset()
    assert matcher.add_partner(100 * MS, 'image', 0.0) == []
    assert matcher.add_reference(100 * MS, 'new', 0.0)[0].reference == 'new'
    matcher.reset()
    matcher.add_partner(100 * MS, 'image', 0.0)
    assert matcher.add_reference(100 * MS, 'again', 0.0)[0].reference == 'again'
    assert matcher.counters['reference_reset'] == 1
    assert matcher.counters['reference_received'] == 3


def test_a_reset_when_the_clock_jumps_costs_only_what_waits_then():
    matcher = Matcher(0.05)
    events = arrivals(camera(300), 'image') + arrivals(lidar(100), 'cloud', lag_ms=120)
    under_way = [(t - 10, *rest) for t, *rest in events if t >= 10]  # arrive in the next pass
    assert len(play(matcher, [event for event in events if event[0] < 10])) == 99
    matcher.reset()
    pairs = play(matcher, under_way + events)
    assert [p.reference_ns for p in pairs] == lidar(100)


@pytest.mark.parametrize('kind', ['image', 'cloud'])
@pytest.mark.parametrize('error_s', [3600, -3600, 5, -5])
def test_recovers_where_one_clock_is_wrong_for_a_while(kind, error_s):
    matcher = Matcher(0.05)
    events = [
        (now_s, k, stamp + error_s * 10**9 * (k == kind and 5 <= now_s < 10))
        for now_s, k, stamp in arrivals(camera(603), 'image') + arrivals(lidar(200), 'cloud')
    ]
    pairs = play(matcher, events)
    good = [s for s in lidar(200) if not 5e9 <= s < 10e9]
    matched = [p.reference_ns for p in pairs if p.skew_ns == 7 * MS]
    assert set(matched) <= set(lidar(200))
    assert len(set(good) - set(matched)) <= 1  # the cloud at the moment of the jump
    assert_all_accounted_for(matcher)


@pytest.mark.parametrize('kind', ['image', 'cloud'])
@pytest.mark.parametrize('stamp', [0, 10**20])
def test_a_single_stamp_of_nonsense_costs_two_clouds_at_most(kind, stamp):
    matcher = Matcher(0.05)
    events = arrivals(camera(603, start_ms=1000), 'image')
    events += arrivals(lidar(200, start_ms=1000), 'cloud')
    pairs = play(matcher, [*events, (11.02, kind, stamp)])
    assert len([p for p in pairs if p.skew_ns == 7 * MS]) >= 198
    assert_all_accounted_for(matcher)


@pytest.mark.parametrize('start_ns', [0, -(10**12), 2**63, 10**25 + 1])
def test_any_clock_will_do(start_ns):
    matcher = Matcher(0.05, offset_s=-0.5)
    clouds, images = lidar(50), [s - 500 * MS for s in camera(153)]
    events = arrivals(images, 'image', lag_ms=500) + arrivals(clouds, 'cloud')
    pairs = play(matcher, [(t, kind, start_ns + stamp) for t, kind, stamp in events])
    assert (len(pairs), skews(pairs)) == (50, {7 * MS})
    assert pairs[1].partner_ns == start_ns + 107 * MS - 500 * MS


def test_items_are_never_compared():
    class Item:
        def __eq__(self, other):
            raise AssertionError('compared')

        __hash__ = None

    matcher = Matcher(0.05)
    for stamp in (100, 100, 107):
        matcher.add_reference(stamp, Item(), 0.0)
        matcher.add_partner(stamp, Item(), 0.0)
    matcher.flush()
    assert matcher.counters['reference_matched'] == 2


@pytest.mark.parametrize('kind', ['add_reference', 'add_partner'])
def test_refuses_a_stamp_in_seconds_before_it_counts_anything(kind):
    matcher = Matcher(0.05)
    with pytest.raises(TypeError, match='integer'):
        getattr(matcher, kind)(0.1, None, 0.0)
    assert not any(matcher.counters.values())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'slop_s': -0.1}, r'slop_s is -0.1: give a finite number >= 0'),
        ({'slop_s': math.nan}, r'slop_s is nan: give a finite number'),
        ({'slop_s': math.inf}, r'slop_s is inf: give a finite number'),
        ({'offset_s': math.nan}, r'offset_s is nan: give a finite number'),
        ({'offset_s': -math.inf}, r'offset_s is -inf: give a finite number'),
        ({'max_wait_s': -1}, r'max_wait_s is -1: give a finite number >= 0'),
        ({'queue_size': 0}, r'queue_size is 0: give a finite number >= 1'),
    ],
)
def test_refuses_a_bad_setting_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        Matcher(**({'slop_s': 0.05} | settings))
