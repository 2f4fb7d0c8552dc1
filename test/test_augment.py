"""Augmentation: which options there are, their order, their errors, what they never do."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
import json
import pickle

from depth_kd_training.augment import Augmentation, Config
from depth_kd_training.data.base import Frame
import numpy as np
import pytest

MAPS = ('sparse_depth', 'depth_gt', 'ring', 'semantic', 'instance')
EACH = {
    'crop': (20, 31),
    'scale': (1.1, 1.7),
    'rotate_deg': 8.0,
    'flip': 0.5,
    'beams': (2, 4),
    'miscalibration_deg': 0.5,
    'miscalibration_m': 0.05,
    'dropout': (0.2, 0.6),
    'noise_m': 0.05,
    'noise_relative': 0.01,
    'outliers': 0.1,
    'brightness': 0.3,
    'contrast': 0.3,
    'saturation': 0.3,
    'hue': 0.2,
    'gamma': 0.5,
    'grey': 0.3,
    'permute': 0.3,
}
ALONE = [*({key: value} for key, value in EACH.items()), {'points': (30, 60)}]
COLOUR = {'brightness', 'contrast', 'saturation', 'hue', 'gamma', 'grey', 'permute'}
# Alone, these take depths as they were: they may lose some, and never make any.
KEEP_DEPTH = {'crop', 'rotate_deg', 'flip', 'beams', 'dropout', 'points'} | COLOUR


def frame_of(height=37, width=53, seed=0, **changes):
    """Make a read-only frame: every 3rd row is a beam, which measures 60 % of its pixels."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(2, 60, (height, width)).astype(np.float32)
    ring = np.where(rng.random(depth.shape) < 0.6, np.arange(height)[:, None], -1)
    ring = np.where(ring % 3 == 0, ring // 3, -1).astype(np.int16)
    values = {
        'image': rng.integers(0, 256, (height, width, 3), np.uint8),
        'K': np.array([[60.0, 0.5, width / 2 + 1], [0, 58, height / 2 - 2], [0, 0, 1]]),
        'sparse_depth': np.where(ring >= 0, depth, np.float32(0)),
        'depth_gt': np.where(rng.random(depth.shape) < 0.8, depth, np.float32(0)),
        'ring': ring,
        'semantic': rng.integers(-1, 19, depth.shape, np.int16),
        'instance': rng.integers(-1, 2000, depth.shape, np.int32),
    } | changes
    for array in values.values():
        if array is not None:
            array.setflags(write=False)
    return Frame(f'{height}x{width}', **values)


def changed(frame, seed=0, **options):
    return Augmentation(Config(**options))(frame, np.random.default_rng(seed))


def assert_equal(a, b):
    for field in fields(Frame):
        one, other = getattr(a, field.name), getattr(b, field.name)
        np.testing.assert_array_equal(one, other, field.name)
        assert getattr(one, 'dtype', None) == getattr(other, 'dtype', None)


def test_by_default_nothing_changes():
    frame = frame_of()
    assert_equal(changed(frame), frame)
    image_only = Frame('mono', frame.image)
    assert_equal(changed(image_only), image_only)


@pytest.mark.parametrize('options', [*ALONE, EACH], ids=lambda options: '+'.join(options))
@pytest.mark.parametrize('size', [(37, 53), (24, 31)])
def test_every_option_gives_a_whole_frame_and_the_same_one_again(options, size):
    frame = frame_of(*size)
    shape = options.get('crop', size)
    same = 0
    for seed in range(8):
        result = changed(frame, seed, **options)
        assert_equal(result, changed(frame, seed, **options))
        assert result.image.shape == (*shape, 3) and result.image.dtype == np.uint8
        for key in MAPS:
            values = getattr(result, key)
            if key == 'ring' and 'points' in options:
                assert values is None
                continue
            assert values.shape == shape and values.dtype == getattr(frame, key).dtype, key
        if 'points' not in options:
            np.testing.assert_array_equal(result.ring >= 0, result.sparse_depth > 0)
        assert min(result.sparse_depth.min(), result.depth_gt.min()) >= 0
        same += all(
            np.array_equal(getattr(result, k), getattr(frame, k)) for k in ('image', *MAPS)
        )
    assert same < 8


@pytest.mark.parametrize('options', ALONE, ids=lambda options: '+'.join(options))
def test_no_depth_is_invented(options):
    (key,) = options
    frame = frame_of()
    result = changed(frame, 3, **options)
    known = set(frame.depth_gt.ravel())
    if key != 'scale':
        assert set(result.depth_gt.ravel()) <= known
    if key == 'points':
        assert set(result.sparse_depth.ravel()) <= known
    elif key in KEEP_DEPTH:
        pairs = {*zip(frame.sparse_depth.ravel(), frame.ring.ravel(), strict=True)}
        assert {*zip(result.sparse_depth.ravel(), result.ring.ravel(), strict=True)} <= pairs
    if key in COLOUR:
        assert_equal(replace(result, image=frame.image), frame)


def test_flip_twice_is_the_frame():
    frame = frame_of()
    once = changed(frame, flip=1.0)
    assert_equal(changed(once, flip=1.0), frame)
    np.testing.assert_array_equal(once.image, frame.image[:, ::-1])
    np.testing.assert_array_equal(once.ring, frame.ring[:, ::-1])
    assert once.K[0].tolist() == [60, -0.5, 52 - 53 / 2 - 1]


def test_flip_has_its_probability():
    frame = frame_of(3, 5)
    flips = sum(
        not np.array_equal(changed(frame, seed, flip=0.3).image, frame.image)
        for seed in range(1000)
    )
    assert flips == pytest.approx(300, abs=60)


@pytest.mark.parametrize('crop_from, tops, lefts', [
    ('random', set(range(5)), set(range(4))), ('bottom', {4}, set(range(4))),
    ('bottom_centre', {4}, {1}), ('centre', {2}, {1}),
])  # fmt: skip
def test_where_the_crop_is_cut(crop_from, tops, lefts):
    height, width = 9, 10
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    frame = frame_of(height, width, instance=index)
    found = set()
    for seed in range(200):
        result = changed(frame, seed, crop=[5, 7], crop_from=crop_from)
        top, left = divmod(int(result.instance[0, 0]), width)
        found.add((top, left))
        for key in ('image', *MAPS):
            window = getattr(frame, key)[top : top + 5, left : left + 7]
            np.testing.assert_array_equal(getattr(result, key), window)
        np.testing.assert_array_equal(result.K[:2, 2], frame.K[:2, 2] - (left, top))
    assert found == {(top, left) for top in tops for left in lefts}


def test_scales_and_angles_fill_their_range():
    frame = frame_of(depth_gt=np.ones((37, 53), np.float32))
    scales = [1 / changed(frame, seed, scale=(1.0, 1.5)).depth_gt[5, 5] for seed in range(200)]
    assert 1 <= min(scales) < 1.05 and 1.45 < max(scales) <= 1.5
    column = np.repeat(np.arange(53, dtype=np.int32)[None], 37, 0)
    frame = frame_of(instance=column, K=np.array([[60.0, 0, 26], [0, 60, 18], [0, 0, 1]]))
    tilt = [np.ptp(changed(frame, seed, rotate_deg=10).instance[3:-3, 26]) for seed in range(200)]
    assert min(tilt) <= 1 and 4 <= max(tilt) <= np.ceil(30 * np.tan(np.deg2rad(10)))


def test_points_and_beams_follow_the_view_in_order():
    # Points are counted in the view, beams in the whole frame.
    frame = frame_of()
    result = changed(frame, crop=(11, 13), points=(40, 40))
    assert np.count_nonzero(result.sparse_depth) == 40
    result = changed(frame, crop=(9, 53), crop_from='bottom', beams=(4,))
    assert len(np.unique(result.ring[result.ring >= 0])) <= 1


def test_all_points_are_kept_as_the_view_shows_them():
    frame, seen = frame_of(), {'crop': (30, 40), 'scale': (1.1, 1.4), 'flip': 1.0}
    losses = {'beams': (4,), 'dropout': (0.5, 0.5), 'noise_m': 0.1, 'outliers': 0.2}
    rng = np.random.default_rng(5)
    result = Augmentation(Config(**seen, **losses), all_points=True)(frame, rng)
    points, kept = result.sparse_depth > 0, result.all_points > 0
    assert 0 < points.sum() < 0.3 * kept.sum() and not points[~kept].any()
    # What the LiDAR measured: of each point in view the depth that the truth has there, scaled.
    truth = frame_of(depth_gt=frame.sparse_depth)
    truth = Augmentation(Config(**seen, **losses), True)(truth, np.random.default_rng(5))
    both = (truth.depth_gt > 0) & kept
    assert both.sum() > 0.5 * kept.sum()
    assert np.mean(truth.depth_gt[both] == result.all_points[both]) > 0.8
    assert changed(frame, **seen).all_points is None
    lacking = frame_of(sparse_depth=None, ring=None)
    with pytest.raises(ValueError, match=r'37x53 has no sparse_depth, which teacher\.all_points'):
        Augmentation(Config(), all_points=True)(lacking, rng)


def test_options_are_what_json_can_hold_and_workers_can_pickle():
    config = Config(**EACH)
    assert Config(**json.loads(json.dumps(asdict(config)))) == config
    augmentation = pickle.loads(pickle.dumps(Augmentation(config)))
    assert_equal(
        augmentation(frame_of(), np.random.default_rng(5)), changed(frame_of(), 5, **EACH)
    )


@pytest.mark.parametrize('options, message', [
    ({'flip': 1.5}, r'flip = 1.5: give a number from 0 to 1'),
    ({'flip': True}, r'flip = True: give a number'),
    ({'noise_m': -0.1}, r'noise_m = -0.1: give a number from 0'),
    ({'gamma': float('nan')}, r'gamma = nan: give a number'),
    ({'hue': 0.6}, r'hue = 0.6: give a number from 0 to 0.5'),
    ({'rotate_deg': '5'}, r"rotate_deg = '5': give a number from 0 to 45"),
    ({'scale': (1.5, 1.0)}, r'scale = \(1.5, 1.0\): give \(least, largest\) from 0.1 to 10'),
    ({'scale': 1.5}, r'scale = 1.5: give \(least, largest\)'),
    ({'scale': (1, '2')}, r"scale = \(1, '2'\): give \(least, largest\)"),
    ({'scale': (0.8, 1.2)}, r'scale = \(0.8, 1.2\): give at least 1, or a crop'),
    ({'dropout': [0.5, 1.1]}, r'dropout = \(0.5, 1.1\): give \(least, largest\) from 0 to 1'),
    ({'crop': (240,)}, r'crop = \(240,\): give \(H, W\), whole numbers of at least 1'),
    ({'crop': (240, 0)}, r'crop = \(240, 0\): give \(H, W\), whole'),
    ({'crop': (240, 60.5)}, r'crop = \(240, 60.5\): give \(H, W\), whole'),
    ({'crop': 240}, r'crop = 240: give \(H, W\), whole'),
    ({'points': (1.5, 2)}, r'points = \(1.5, 2\): give \(least, largest\), whole'),
    ({'points': (9, 2)}, r'points = \(9, 2\): give \(least, largest\), whole'),
    ({'beams': (64, 0)}, r'beams = \(64, 0\): give a list of whole numbers of at least 1'),
    ({'beams': 64}, r'beams = 64: give a list of whole numbers'),
    ({'beams': None}, r'beams = None: give a list of whole numbers'),
    ({'scale': None}, r'scale = None: give \(least, largest\)'),
    ({'crop_from': 'top'}, r"crop_from = 'top': give one of random, bottom, bottom_centre, cen"),
    ({'points': (5, 5), 'beams': (4,)}, r'points = \(5, 5\): give either points or beams'),
    ({'points': (5, 5), 'miscalibration_m': 0.1}, r'points = \(5, 5\): give either points or'),
])  # fmt: skip
def test_values_that_cannot_be_used(options, message):
    with pytest.raises(ValueError, match=f'^{message}'):
        Config(**options)


@pytest.mark.parametrize('options, lacking, message', [
    ({'crop': (38, 53)}, (), r'37x53 px, at scale 1.0, is smaller than crop = \(38, 53\): give'),
    ({'crop': (20, 50), 'scale': (0.9, 2.0)}, (), r'at scale 0.9, is smaller than crop'),
    ({'crop': (35, 30), 'scale': (0.9, 2.0)}, (), r'at scale 0.9, is smaller than crop'),
    ({'beams': (4,)}, ('ring',), 'no ring of its points is known, .* give dropout instead'),
    ({'beams': (4,)}, ('sparse_depth',), 'has no sparse_depth, which beams needs'),
    ({'dropout': (0, 0.5)}, ('sparse_depth',), 'has no sparse_depth, which dropout needs'),
    ({'noise_m': 0.5}, ('sparse_depth',), 'has no sparse_depth, which noise needs'),
    ({'outliers': 0.5}, ('sparse_depth',), 'has no sparse_depth, which outliers needs'),
    ({'miscalibration_m': 0.5}, ('sparse_depth',), 'no sparse_depth, which miscalibration needs'),
    ({'miscalibration_deg': 0.5}, ('K',), 'has no K, which miscalibration_deg and'),
    ({'points': (5, 5)}, ('depth_gt',), 'has no depth_gt, of which points'),
])  # fmt: skip
def test_frames_that_lack_what_an_option_needs_are_named(options, lacking, message):
    for seed in range(3):  # the error does not depend on what is drawn
        with pytest.raises(ValueError, match=f'^frame 37x53.*{message}'):
            changed(replace(frame_of(), **dict.fromkeys(lacking)), seed, **options)
