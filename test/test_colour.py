"""Colours against values worked out by hand."""

from __future__ import annotations

from depth_kd_training import colour
from depth_kd_training.augment import Augmentation, Config
from depth_kd_training.data.base import Frame
import numpy as np
import pytest

SAME = np.arange(256, dtype=np.uint8)
PIXELS = np.array([[[200, 40, 90], [10, 250, 0]], [[70, 70, 70], [255, 255, 255]]], np.uint8)


def image_of(seed=0, **options):
    frame = Frame('colours', PIXELS)
    return Augmentation(Config(**options))(frame, np.random.default_rng(seed)).image


@pytest.mark.parametrize(
    'turn, channels', [(0, [0, 1, 2]), (1 / 3, [2, 0, 1]), (-1 / 3, [1, 2, 0])]
)
def test_thirds_of_a_turn_of_hue_exchange_the_channels(turn, channels):
    turned = colour.recoloured(PIXELS, colour.matrix(1, turn), SAME)
    np.testing.assert_array_equal(turned, PIXELS[..., channels])


def test_half_a_turn_of_hue_gives_the_complement_and_keeps_grey():
    turned = colour.recoloured(PIXELS, colour.matrix(1, 0.5), SAME)
    assert turned[0, 0].tolist() == [20, 180, 130]  # 2 * 110 - value
    np.testing.assert_array_equal(turned[1], PIXELS[1])


def test_saturation_scales_the_distance_to_grey():
    results = [colour.recoloured(PIXELS, colour.matrix(s, 0), SAME) for s in (0, 0.5, 1.5)]
    assert [x[0, 0].tolist() for x in results] == [[110] * 3, [155, 75, 100], [245, 5, 80]]
    assert all((x[1] == PIXELS[1]).all() for x in results)


@pytest.mark.parametrize('brightness, contrast, gamma, mean, values', [
    (1, 1, 1, 77, [0, 51, 102, 255]), (1.5, 1, 1, 77, [0, 76, 153, 255]),
    (1, 0.5, 1, 100, [50, 76, 101, 178]), (1, 2, 1, 100, [0, 2, 104, 255]),
    (1, 1, 2, 77, [0, 10, 41, 255]), (1, 1, 0.5, 77, [0, 114, 161, 255]),
    (2, 0.5, 1, 100, [100, 151, 202, 255]),
])  # fmt: skip
def test_the_curve(brightness, contrast, gamma, mean, values):
    table = colour.curve(brightness, contrast, gamma, mean)
    assert table.dtype == np.uint8 and table.shape == (256,)
    assert table[[0, 51, 102, 255]].tolist() == pytest.approx(values, abs=0.51)


def test_grey_images_have_one_random_grey_and_their_probability():
    images = [image_of(seed, grey=0.25) for seed in range(400)]
    greys = [image[0, 0, 0] for image in images if np.ptp(image) == 0]
    assert len(greys) == pytest.approx(100, abs=30) and len({*greys}) > 50
    assert all((image == PIXELS).all() for image in images if np.ptp(image))


def test_channels_change_places_in_all_six_ways():
    found = {tuple(image_of(seed, permute=1.0)[0, 0].tolist()) for seed in range(60)}
    assert len(found) == 6 and all(sorted(pixel) == [40, 90, 200] for pixel in found)


def test_gamma_is_drawn_alike_to_both_sides():
    exponents = [
        np.log(image_of(seed, gamma=1.0)[1, 0, 0] / 255) / np.log(70 / 255) for seed in range(200)
    ]
    assert 0.49 < min(exponents) < 0.55 and 1.8 < max(exponents) < 2.04
    assert np.mean(np.array(exponents) < 1) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize('options, least, most', [
    ({'brightness': 0.2}, 56, 84), ({'contrast': 0.5}, 40, 100), ({'saturation': 1.0}, 70, 70),
])  # fmt: skip
def test_factors_stay_in_their_range(options, least, most):
    # The mean of PIXELS is 130.4: contrast c takes the grey 70 to 130.4 - 60.4 c.
    values = [int(image_of(seed, **options)[1, 0, 0]) for seed in range(200)]
    assert min(values) == pytest.approx(least, abs=1) and max(values) == pytest.approx(most, abs=1)
