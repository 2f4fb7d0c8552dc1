"""The texture bank: what every drawing holds, and what looking it up gives."""

from __future__ import annotations

from depth_kd_training.simulation import texture_bank, textures
from depth_kd_training.simulation.texture_bank import Bank, bank, LEVELS, VARIANTS
from depth_kd_training.simulation.textures import SIDE
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
import torch

NAMES = [  # what the generators of worlds may ask for
    'plain', 'asphalt', 'concrete', 'paving', 'cobbles', 'grass', 'soil', 'brick', 'plaster',
    'tiles', 'panels', 'facade', 'wood', 'planks', 'corrugated', 'foliage', 'bark', 'fabric',
    'carpet', 'checks', 'stripes', 'text', 'poster', 'metal', 'marble',
]  # fmt: skip
NOISY = [
    'plain', 'asphalt', 'concrete', 'grass', 'soil', 'plaster', 'wood', 'foliage', 'bark',
    'carpet', 'metal',
]  # fmt: skip


def unpacked(drawing, level, found=None):
    """Give a level (side, side, 3) 0..255 of a drawing."""
    found = bank() if found is None else found
    side = SIDE >> level
    start = sum((SIDE >> i) ** 2 for i in range(level))
    packed = found.texels[drawing, start : start + side * side].numpy().reshape(side, side)
    return np.stack([packed & 255, packed >> 8 & 255, packed >> 16], -1).astype(float)


def look_up(drawing, u, v, level, dither):
    """Look up scalars and arrays of one shape: (M, 3)."""
    dither = np.broadcast_to(dither, (2, np.size(u)))
    columns = np.broadcast_arrays(drawing, np.ravel(u), np.ravel(v), level)
    drawing, u, v, level = (torch.tensor(np.array(x)) for x in columns)
    dither = torch.tensor(np.array(dither)).float()
    return bank().sample(drawing, u.float(), v.float(), level, dither).T.numpy()


def test_every_name_is_drawn_in_variants():
    assert bank().names == tuple(NAMES)
    texels = sum((SIDE >> i) ** 2 for i in range(LEVELS))
    assert bank().texels.shape == (len(NAMES) * VARIANTS, texels) == (100, 21845)
    for number, name in enumerate(NAMES):
        drawn = [unpacked(number * VARIANTS + i, 0) for i in range(VARIANTS)]
        for first, second in zip(drawn, [*drawn[1:], drawn[0]], strict=True):
            assert np.abs(first - second).mean() > 2, name
            assert 0.15 < first.mean() / 255 < 0.95 and first.std() / 255 > 0.02, name


def test_smaller_copies_hold_the_means():
    for drawing in range(0, 100, 3):
        whole = unpacked(drawing, 0)
        for level in range(1, LEVELS):
            side = SIDE >> level
            blocks = whole.reshape(side, 2**level, side, 2**level, 3).mean((1, 3))
            assert np.abs(unpacked(drawing, level) - blocks).max() <= 1  # both are rounded
        last = look_up(drawing, 0.3, 0.7, 7.0, 0.5)[0]
        np.testing.assert_allclose(last, whole.mean((0, 1)) / 255, atol=1 / 255)


def test_tiles_repeat():
    rng = np.random.default_rng(0)
    u, v = rng.integers(0, 4096, (2, 2000)) / 4096  # exact in float32, with whole numbers added
    drawing = rng.integers(0, 100, 2000)
    level, dither = rng.uniform(0, 7.9, 2000), rng.integers(0, 256, (2, 2000)) / 256
    here = look_up(drawing, u, v, level, dither)
    np.testing.assert_array_equal(look_up(drawing, u + 1, v + 1, level, dither), here)
    np.testing.assert_array_equal(look_up(drawing, u - 5, v + 12, level, dither), here)
    assert np.abs(look_up(drawing, u + 0.5, v, level, dither) - here).mean() > 0.02


@pytest.mark.parametrize('name', NOISY)
def test_noise_has_no_seam_between_tiles(name):
    drawn = unpacked(NAMES.index(name) * VARIANTS, 0).mean(-1)
    for axis in (0, 1):
        steps = np.abs(drawn - np.roll(drawn, 1, axis)).mean(1 - axis)  # the first: the seam
        assert steps[0] < 1.6 * steps[1:].mean()


@pytest.mark.parametrize('level', [0, 2, 5])
def test_dithered_look_ups_are_bilinear_on_average(level):
    """Texel (r, c) of a level has its centre at ((c + 0.5) / side, (r + 0.5) / side)."""
    side, drawing = SIDE >> level, NAMES.index('poster') * VARIANTS + 1
    rng = np.random.default_rng(1)
    u, v = rng.random((2, 30))
    shift = (np.arange(32) + 0.5) / 32
    dither = np.stack(np.meshgrid(shift, shift)).reshape(2, -1)  # (2, 1024)
    found = look_up(
        drawing, np.repeat(u, 1024), np.repeat(v, 1024), level + 0.5, np.tile(dither, (1, 30))
    )
    found = found.reshape(30, 1024, 3).mean(1)
    texels = unpacked(drawing, level) / 255
    at = np.stack((v, u)) * side - 0.5
    for channel in range(3):
        expected = map_coordinates(texels[..., channel], at, order=1, mode='grid-wrap')
        np.testing.assert_allclose(found[:, channel], expected, atol=0.03)
    texel = look_up(drawing, (np.arange(side) + 0.5) / side, 1.5 / side, float(level), 0.3)
    np.testing.assert_allclose(texel, texels[1], atol=1e-6)  # at its centre, whatever the dither


def test_levels_beyond_the_first_and_last():
    u, v = np.random.default_rng(2).random((2, 50))
    for asked, given in ((-3.0, 0.0), (0.99, 0.0), (1.0, 1.9), (40.0, 7.0)):
        found, expected = (look_up(8, u, v, level, 0.4) for level in (asked, given))
        np.testing.assert_array_equal(found, expected)


def test_a_seed_is_a_bank(monkeypatch):
    few = {name: textures.DRAW[name] for name in ('plain', 'text', 'poster')}
    monkeypatch.setattr(texture_bank, 'DRAW', few)
    first, again, other = (bank.__wrapped__(seed) for seed in (0, 0, 1))
    assert isinstance(first, Bank) and first.names == ('plain', 'text', 'poster')
    assert torch.equal(first.texels, again.texels)
    assert (first.texels != other.texels).float().mean() > 0.5
    moved = first.to('cpu')
    assert moved.names == first.names and torch.equal(moved.texels, first.texels)
