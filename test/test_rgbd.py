"""Holes, noise and steps of an RGB-D camera, against closed forms worked out here."""

from __future__ import annotations

from dataclasses import replace
import math

from depth_kd_training.simulation.rgbd import holes, Model
import pytest
import torch

EXACT = Model(step_px=1e-3, noise_px=0.0, dropout=0.0)
SIZE, FOCAL = (60, 80), 400.0


def measured(depth, model=EXACT, seeds=(0,), focal=FOCAL, **surface):
    """Measure depth (H, W), bright and matt unless said otherwise."""
    depth = depth.expand(len(seeds), *depth.shape[-2:])
    looks = {'cosine': 1.0, 'reflectivity': 1.0, 'gloss': 0.0} | surface
    glass = torch.full(depth.shape, bool(looks.pop('glass', False)))
    maps = {key: torch.as_tensor(value).expand(depth.shape) for key, value in looks.items()}
    focal = torch.full((len(seeds),), focal)
    return holes(depth, glass=glass, focal_px=focal, seeds=seeds, model=model, **maps)


def flat(z, size=SIZE):
    return torch.full(size, float(z))


def seen(depth):
    return float((depth > 0).float().mean())


@pytest.mark.parametrize('z', [0.5, 2.0, 7.0])
def test_a_bright_wall_in_range_is_measured(z):
    found = measured(flat(z))
    assert seen(found) == 1
    # Half a step of the disparity, and nothing else.
    assert (found - z).abs().max() <= 0.51 * z * z * 1e-3 / (FOCAL * 0.075)


@pytest.mark.parametrize('z', [0.0, 0.39, 8.01, 100.0])
def test_out_of_range_there_is_nothing(z):
    assert seen(measured(flat(z))) == 0


def test_noise_grows_with_the_square_of_the_distance():
    model = replace(EXACT, noise_px=0.1)
    strength = FOCAL * model.baseline_m
    for z in (1.0, 2.0, 4.0):
        error = measured(flat(z, (200, 200)), model) - z
        assert error.std().item() == pytest.approx(z * z * 0.1 / strength, rel=0.05)


def test_steps_grow_with_the_square_of_the_distance():
    ramp = torch.linspace(1, 7, 4000).expand(3, -1)
    found = measured(ramp, replace(EXACT, step_px=0.125))[0, 0]
    levels = found[found > 0].unique()
    middle = (levels[1:] + levels[:-1]) / 2
    expected = middle**2 * 0.125 / (FOCAL * 0.075)
    assert (levels.diff() / expected - 1).abs().max() < 0.02
    assert 150 < len(levels) < 300


@pytest.mark.parametrize(('near', 'far'), [(1.0, 2.0), (1.0, 4.0), (2.0, 3.0)])
def test_the_shadow_lies_left_of_what_is_near_and_is_as_wide_as_the_disparities_differ(near, far):
    scene = flat(far, (10, 200))
    scene[:, 100:140] = near
    found = measured(scene)[0]
    width = FOCAL * 0.075 * (1 / near - 1 / far)
    lost = (found == 0).nonzero()[:, 1].unique()
    assert len(lost) == pytest.approx(width, abs=1.01)
    assert lost.max() == 99 and lost.min() == 100 - len(lost)


def test_a_slanted_wall_throws_no_shadow_on_itself():
    column = torch.arange(200.0)
    for slope in (-0.02, 0.02):
        wall = (4 + slope * (column - 100)).expand(10, -1)
        assert seen(measured(wall)) == 1


def test_dark_and_grazing_surfaces_are_lost():
    large = flat(4.0, (200, 200))
    # Four times the light of the range's end: reflectivity 0.025 is just enough.
    assert seen(measured(large, reflectivity=0.026)) == 1
    assert seen(measured(large, reflectivity=0.0125)) == pytest.approx(0.5, abs=0.04)
    assert seen(measured(large, cosine=0.21)) == 1
    assert seen(measured(large, cosine=0.1)) == pytest.approx(0.25, abs=0.04)
    assert seen(measured(large, reflectivity=0.0)) == 0


def test_gloss_and_glass():
    large = flat(2.0, (200, 200))
    assert seen(measured(large, gloss=0.6)) == pytest.approx(0.4, abs=0.04), 'blinded'
    slant = math.cos(1.2)
    lost = 0.6 * (1 - slant) ** 2
    assert seen(measured(large, gloss=0.6, cosine=slant)) == pytest.approx(1 - lost, abs=0.04)
    assert seen(measured(large, gloss=0.6, cosine=0.8)) > 0.95
    assert seen(measured(large, glass=True)) == pytest.approx(0.15, abs=0.04)


def test_lost_pixels_come_in_patches_and_dropout_does_not():
    patches = measured(flat(4.0, (200, 200)), reflectivity=0.0125)[0] > 0
    single = measured(flat(4.0, (200, 200)), replace(EXACT, dropout=0.5))[0] > 0
    for found, alike in ((patches, 7 / 8), (single, 1 / 2)):
        same = (found[:, 1:] == found[:, :-1]).float().mean()
        assert same == pytest.approx(alike, abs=0.03)


def test_a_seed_gives_the_same_image_alone_and_in_a_batch():
    model = Model()
    both = measured(flat(3.0), model, (5, 6), reflectivity=0.03, gloss=0.3)
    assert torch.equal(both, measured(flat(3.0), model, (5, 6), reflectivity=0.03, gloss=0.3))
    for number, seed in enumerate((5, 6)):
        alone = measured(flat(3.0), model, (seed,), reflectivity=0.03, gloss=0.3)
        assert torch.equal(alone[0], both[number])
    assert not torch.equal(both[0], both[1])
    assert 0.1 < seen(both) < 0.99


def test_numbers_that_cannot_be():
    with pytest.raises(ValueError, match=r'range_m = 0\.3'):
        Model(range_m=0.3)
    with pytest.raises(ValueError, match='baseline_m'):
        Model(baseline_m=0.0)
