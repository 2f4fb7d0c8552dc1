"""Light from worlds made by hand: sun, shade, shadows, haze, mirrors, lamps and signs."""

from __future__ import annotations

from depth_kd_training.simulation.appearance import light_from, SUN_M
from depth_kd_training.simulation.camera import View
from depth_kd_training.simulation.raycast import cast
from depth_kd_training.simulation.shadows import lit
from depth_kd_training.simulation.sky import Sky
from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.texture_bank import Bank, bank, VARIANTS
from depth_kd_training.simulation.textures import DRAW, SIDE
from depth_kd_training.simulation.world import Solid, stack, Surface, WorldBuilder
import numpy as np
import pytest
import torch

SIZE, FOCAL = (48, 64), 60.0
K = np.array([[FOCAL, 0, 31.5], [0, FOCAL, 23.5], [0, 0, 1]])
FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # camera axes seen from the world
TINT = np.array([0.5, 0.3, 0.2])
MATT, BLACK = Surface('plain', tint=tuple(TINT)), Surface('plain', tint=(0.0, 0.0, 0.0))
MIRROR = Surface('plain', tint=(0.0, 0.0, 0.0), gloss=1.0)
ALBEDO = TINT * 0.8 * (0.54 + 0.9 * 0.8)  # where every texel is 0.8, those of the dirt, too
ZENITH, HORIZON, SUN = np.array([[0.2, 0.4, 0.8], [0.8, 0.9, 1.0], [1.6, 1.5, 1.2]])
SHADE = 0.55 * (0.6 * ZENITH + 0.4 * HORIZON)


def even():
    """Give a bank whose texels are all 204 / 255 = 0.8."""
    return Bank(tuple(DRAW), torch.full_like(bank().texels, 204 * 0x010101))


def sky(visibility_m=1e9, clouds=0.0, zenith=ZENITH, horizon=HORIZON, sun=SUN):
    columns = (torch.tensor(np.array(c)).float()[:, None] for c in (zenith, horizon, sun))
    return Sky(*columns, torch.tensor([clouds]), torch.tensor([visibility_m]))


def rays(pitch=0.0):
    """Give the camera's rays (H, W, 3), z = 1 in its frame, `pitch` rad downwards."""
    v, u = np.indices(SIZE)
    d = np.stack([(u - K[0, 2]) / FOCAL, (v - K[1, 2]) / FOCAL, np.ones(SIZE)], -1)
    return d @ orientation(pitch).T


def orientation(pitch):
    c, s = np.cos(pitch), np.sin(pitch)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ FORWARD


def light(builder, weather=None, at=(0.0, 0.0, 1.5), pitch=0.0, texels=None):
    """Give the light (H, W, 3) that reaches the camera."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = orientation(pitch), at
    view = View(*(torch.tensor(x).float()[None] for x in (K, T)), SIZE)
    world = stack([builder], list(DRAW))
    found = view.rays()
    hits = cast(world.solids, world.ground, *found)
    texels = even() if texels is None else texels
    maps = light_from(world, weather or sky(), texels, view, found, hits, [0])
    return maps[0].permute(1, 2, 0).double().numpy()


def ground(*solids, surface=MATT, **options):
    return WorldBuilder(list(solids), ground_surface=surface, **options)


def box(x, half, surface=MATT, y=0.0, z=None):
    return Solid(Kind.FRUSTUM, (x, y, half[2] if z is None else z), half, 'object', surface)


def unit(vector):
    return np.array(vector) / np.linalg.norm(vector)


def on_ground(pitch, height):
    """Give where the rays meet z = 0, (H, W, 3) m; NaN above the horizon."""
    d = rays(pitch)
    t = np.where(d[..., 2] < -1e-3, height / np.maximum(-d[..., 2], 1e-3), np.nan)
    return np.array([0, 0, height]) + t[..., None] * d


def test_flat_ground_gets_sun_by_its_slant_and_all_of_the_shade():
    for direction in ((0.3, 0.4, 0.9), (-0.5, 0.7, 0.3)):
        seen = light(ground(sun=direction, sun_strength=0.7), pitch=1.2, at=(0, 0, 3.0))
        expected = ALBEDO * (0.7 * SUN * unit(direction)[2] + SHADE)
        np.testing.assert_allclose(seen, np.broadcast_to(expected, seen.shape), rtol=0.02)
    dull = light(ground(sun_strength=0.0), pitch=1.2, at=(0, 0, 3.0))
    np.testing.assert_allclose(dull, np.broadcast_to(ALBEDO * SHADE, dull.shape), rtol=1e-4)


@pytest.mark.parametrize('direction', [(0.3, 1.0, 0.8), (-0.2, -0.9, 0.6), (1.0, 0.4, 0.7)])
def test_a_post_throws_its_shadow_away_from_the_sun(direction):
    """A ground point is in the shadow if the way from it to the sun enters the post."""
    low, high = np.array([6.2, -0.8, 0.0]), np.array([7.8, 0.8, 2.0])
    post = box(7.0, (0.8, 0.8, 1.0))
    seen = light(ground(post, sun=direction), pitch=0.5, at=(0, 0, 4.0))
    camera, points = np.array([0, 0, 4.0]), on_ground(0.5, 4.0)
    to_sun = camera + SUN_M * unit(direction) - points
    dark, hidden = (enters(low, high, points, way) for way in (to_sun, camera - points))
    free = np.isfinite(points[..., 0]) & ~hidden
    core, open_sun = shrunk(dark & free, 2), shrunk(~dark & free, 3)
    assert core.sum() > 20 and open_sun.sum() > 500
    np.testing.assert_allclose(seen[core], np.tile(ALBEDO * SHADE, (core.sum(), 1)), rtol=0.01)
    slant = (to_sun[..., 2] / np.linalg.norm(to_sun, axis=-1))[open_sun]
    np.testing.assert_allclose(seen[open_sun], ALBEDO * (SHADE + slant[:, None] * SUN), rtol=1e-3)


def enters(low, high, points, ways):
    """Tell which lines from points (H, W, 3) m along ways (H, W, 3) enter a box."""
    ends = np.sort([(low - points) / ways, (high - points) / ways], 0)
    return (ends[0].max(-1) < ends[1].min(-1)) & (ends[1].min(-1) > 0)


def shrunk(mask, pixels):
    """Keep what lies at least so far from the mask's edge."""
    kept = np.pad(mask, pixels)
    height, width = mask.shape
    steps = range(2 * pixels + 1)
    return np.all([kept[i : i + height, j : j + width] for i in steps for j in steps], 0)


def test_points_are_lit_unless_something_lies_before_the_lamp():
    world = stack([ground(box(5.0, (0.5, 0.5, 0.5), z=2.0))], list(DRAW))
    lamp = torch.tensor([5.0, 0.0, 10.0])
    # The box's top is 7.5 m below the lamp: on the ground its shadow is 10 / 7.5 times as wide.
    x = torch.tensor([4.3, 4.36, 5.0, 5.64, 5.7])
    points = torch.stack((x, torch.zeros(5), torch.zeros(5)))
    assert lit(world.solids, world.ground, lamp, points).tolist() == [1, 0, 0, 0, 1]
    near = torch.tensor([[4.9, 2.5], [5.1, 2.0], [4.45, 2.51], [5.45, 1.4], [5.6, 1.8]])
    near = torch.stack((near[:, 0], torch.zeros(5), near[:, 1]))  # top, inside, beside, below, ..
    assert lit(world.solids, world.ground, lamp, near).tolist() == [1, 0, 1, 0, 1]
    many = torch.cat((points, near), 1).repeat(1, 70)  # several packets, in any order
    assert lit(world.solids, world.ground, lamp, many).view(70, 10).float().std(0).max() == 0


def test_a_face_turned_from_the_sun_gets_shade_only():
    """Half of the sky's and half of the ground's light reach an upright face."""
    wall = box(11.0, (1.0, 50.0, 50.0), z=0.0)
    shade = ALBEDO * (0.5 * SHADE + 0.5 * 0.25 * HORIZON)
    behind = light(ground(wall, sun=(1.0, 0.2, 0.5)), at=(0, 0, 20.0))
    np.testing.assert_allclose(behind, np.broadcast_to(shade, behind.shape), rtol=1e-3)
    before = light(ground(wall, sun=(-1.0, 0.2, 0.5)), at=(0, 0, 20.0))
    sunny = shade + ALBEDO * SUN * -unit((-1.0, 0.2, 0.5))[0]
    np.testing.assert_allclose(before, np.broadcast_to(sunny, before.shape), rtol=0.02)


def test_walls_are_darker_at_their_foot():
    wall = box(6.0, (1.0, 50.0, 20.0))  # its face at 5 m, from the ground up
    seen = light(ground(wall, sun_strength=0.0), at=(0, 0, 1.0))[..., 1]
    height = 1.0 - 5.0 * (np.arange(48) - K[1, 2]) / FOCAL
    on_wall = height > 0.05
    full = ALBEDO[1] * (0.5 * SHADE[1] + 0.125 * HORIZON[1])
    expected = full * (1 - 0.45 * np.exp(-height[on_wall] / 0.35))
    np.testing.assert_allclose(seen[on_wall, 30], expected, rtol=0.01)
    assert (np.diff(seen[on_wall, 30]) < 0).all()


def test_haze_hides_half_at_the_visibility():
    for metres in (20.0, 80.0, 240.0):
        wall = box(metres + 1, (1.0, 900.0, 900.0), BLACK, z=0.0)
        seen = light(ground(wall), sky(visibility_m=80.0), at=(0, 0, 800.0))
        away = metres * np.linalg.norm(rays(), axis=-1)
        share = 1 - 0.5 ** (away / 80.0)
        np.testing.assert_allclose(seen, share[..., None] * HORIZON, rtol=1e-3)
    middle = light(
        ground(box(81.0, (1.0, 900.0, 900.0), BLACK, z=0.0)), sky(visibility_m=80.0),
        at=(0, 0, 800.0),
    )[23:25, 31:33]  # fmt: skip
    np.testing.assert_allclose(middle, np.broadcast_to(HORIZON / 2, (2, 2, 3)), rtol=1e-3)


def test_where_nothing_is_hit_there_is_the_sky():
    d = rays(-0.5)
    up = (d / np.linalg.norm(d, axis=-1, keepdims=True))[..., 2]
    dark = sky(sun=np.zeros(3))
    seen = light(ground(ground_height=-1e6), dark, pitch=-0.5)
    blend = (1 - up[..., None]) ** 4
    np.testing.assert_allclose(seen, ZENITH * (1 - blend) + HORIZON * blend, rtol=1e-4)
    high = light(ground(ground_height=-1e6), dark, pitch=-np.pi / 2)
    np.testing.assert_allclose(high[23, 31], ZENITH, rtol=1e-3)
    white = light(ground(ground_height=-1e6), sky(clouds=1.0), pitch=-0.5)
    np.testing.assert_allclose(white, np.full_like(white, 1.1), rtol=1e-5)  # 1.1 x brightest
    sunny = light(ground(ground_height=-1e6, sun=(1.0, 0.1, 0.5)), sky(), pitch=-0.5)
    row, column = np.unravel_index(sunny.sum(-1).argmax(), SIZE)
    right, down, ahead = orientation(-0.5).T @ np.array([1.0, 0.1, 0.5])
    assert abs(column - (K[0, 2] + FOCAL * right / ahead)) < 1
    assert abs(row - (K[1, 2] + FOCAL * down / ahead)) < 1


def test_a_mirror_shows_the_sky_above_and_houses_at_the_side():
    """A flat mirror of a sky of one colour; the share mirrored is 1/4 head-on, 1 at grazing."""
    blue = np.array([0.3, 0.5, 0.9])
    weather = sky(zenith=blue, horizon=blue, sun=np.zeros(3))
    seen = light(ground(surface=MIRROR), weather, pitch=1.1, at=(0, 0, 3.0))
    d = rays(1.1)
    sine = -(d / np.linalg.norm(d, axis=-1, keepdims=True))[..., 2]
    share = 0.25 + 0.75 * (1 - sine) ** 4
    above = sine > 0.51  # the skyline is nowhere higher than 0.3 + 0.12 + 0.08
    assert above.sum() > 1500
    expected = share[..., None] * blue
    np.testing.assert_allclose(seen[above], expected[above], rtol=1e-4)
    flat = light(ground(surface=MIRROR), weather, pitch=0.3, at=(0, 0, 3.0))
    d = rays(0.3)
    sine = -(d / np.linalg.norm(d, axis=-1, keepdims=True))[..., 2]
    beside = (sine > 0.01) & (sine < 0.09)
    expected = (0.25 + 0.75 * (1 - sine) ** 4)[..., None] * (0.8 * 0.4 * blue)
    np.testing.assert_allclose(seen_at(flat, beside), expected[beside], rtol=1e-3)


def seen_at(maps, mask):
    assert mask.sum() > 100
    return maps[mask]


def test_a_lamp_indoors_hangs_ahead_and_fades_with_the_distance():
    direction = unit((0.6, 0.0, 0.8))
    room = ground(indoor=True, sun=tuple(direction))
    seen = light(room, sky(), at=(2.0, 1.0, 1.5), pitch=0.9)
    lamp = np.array([2.0, 1.0, 0.0]) + 1.5 * direction
    lamp[2] = 2.3
    points = on_ground(0.9, 1.5) + np.array([2.0, 1.0, 0.0])
    to_lamp = lamp - points
    squared = (to_lamp**2).sum(-1)
    slant = to_lamp[..., 2] / np.sqrt(squared)
    expected = ALBEDO * (SHADE + (slant * 3 / (1 + squared / 2))[..., None] * SUN)
    np.testing.assert_allclose(seen, expected, rtol=2e-3)
    assert seen[..., 0].max() > 1.3 * seen[..., 0].min()


def textured(name, draw):
    """Give a bank in which a texture holds grey draw(v, u) 0..255, of places 0..1."""
    levels = []
    for side in (SIDE, 64, 32, 16, 8, 4, 2):
        v, u = (np.mgrid[:side, :side] + 0.5) / side
        levels.append(draw(v, u).ravel() * 0x010101)
    grey, texels = np.concatenate(levels), even().texels.clone()
    first = list(DRAW).index(name) * VARIANTS
    texels[first : first + VARIANTS, : len(grey)] = torch.tensor(grey, dtype=torch.int32)
    return Bank(tuple(DRAW), texels)


def test_a_sign_shows_one_tile_the_right_way_up():
    """Left top 0.2, right top 0.4, left bottom 0.6, right bottom 0.8."""
    quarters = textured('text', lambda v, u: 51 * (1 + 2 * (v > 0.5) + (u > 0.5)))
    sign = box(3.1, (0.1, 1.0, 0.5), Surface('text', 0.7, (1.0, 1.0, 1.0)), z=1.5)
    seen = light(ground(sign, sun_strength=0.0), texels=quarters)[..., 1]
    # At 3 m: 20 px to a metre, so that the sign is 40 px wide and 20 px high.
    full = (0.54 + 0.9 * 0.8) * (0.5 * SHADE[1] + 0.125 * HORIZON[1])
    for row, column, value in ((18, 21, 0.2), (18, 42, 0.4), (28, 21, 0.6), (28, 42, 0.8)):
        height = 0.5 - (row - 23.5) / 20
        dark = 1 - 0.45 * np.exp(-height / 0.35)
        assert seen[row, column] == pytest.approx(value * full * dark, rel=0.01)


def test_a_texture_is_as_large_as_the_surface_says():
    """8 m wide, with a dark joint at each quarter of the tile: one every 2 m."""
    joints = textured('brick', lambda v, u: np.where(u * 4 % 1 < 0.1, 0, 204))
    wall = box(7.0, (1.0, 50.0, 50.0), Surface('brick', 8.0, (1.0, 1.0, 1.0)), z=0.0)
    seen = light(ground(wall, sun_strength=0.0), at=(0, 0, 20.0), texels=joints)[..., 1]
    dark = np.flatnonzero(seen.mean(0) < 0.6 * seen.max())
    starts = dark[np.diff(dark, prepend=-9) > 2]
    assert len(starts) >= 3 and np.abs(np.diff(starts) - 20).max() <= 1  # 2 m at 6 m are 20 px
