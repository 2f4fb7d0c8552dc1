"""
What light rays bring back from what they hit: textures, sun and shade, mirrors, sky and haze.

Textures are laid on the solids' faces from three sides, in metres. Shadows are worked out at every
other row and column of the picture. Vectors are (3, M): each coordinate is contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_training.simulation.camera import View
from depth_kd_training.simulation.draws import Seeds, uniform
from depth_kd_training.simulation.places import places
from depth_kd_training.simulation.raycast import Hits, MISS
from depth_kd_training.simulation.shadows import lit
from depth_kd_training.simulation.sky import each, Sky
from depth_kd_training.simulation.surfaces import locate, Place
from depth_kd_training.simulation.texture_bank import Bank, VARIANTS
from depth_kd_training.simulation.textures import SIDE
from depth_kd_training.simulation.world import World
import torch
from torch import Tensor
import torch.nn.functional as F

SUN_M, LAMP_M = 300.0, 2.3  # from the camera to the sun; height of an indoor lamp
FITTED = ('text', 'poster')  # one tile of these fills a face
DIRT_M = 9.0  # the tile of the dirt that lies on everything
DULL = 0.08  # gloss whose mirror image is not worked out


class Seen(NamedTuple):
    """Hold the M rays that hit something, and what they hit."""

    ray: Tensor  # (M,) index among all rays, world after world
    world: Tensor  # (M,)
    solid: Tensor  # (M,)
    unit: Tensor  # (3, M) direction
    far_m: Tensor  # (M,)
    points: Tensor  # (3, M) m
    place: Place
    normal: Tensor  # (3, M) unit, towards the camera
    cosine: Tensor  # (M,) of the angle of incidence
    surface: Tensor  # (M,) row among the B * (P + 1) surfaces of the worlds
    dither: Tensor  # (2, M) random 0..1


def light_from(
    world: World, sky: Sky, bank: Bank, view: View, rays: tuple[Tensor, Tensor], hits: Hits,
    seeds: Seeds,
) -> Tensor:  # fmt: skip
    """Give the light (B, 3, H, W), linear, that the rays of a view bring from their hits."""
    direction = rays[1].permute(3, 0, 1, 2).reshape(3, -1)
    camera = view.T_world_cam[:, :3, 3].T  # (3, B)
    distance, solid = (x.flatten() for x in hits)
    batch = len(world.sun)
    number = torch.arange(batch, device=solid.device).repeat_interleave(len(solid) // batch)
    dither = uniform(seeds, 'dither', 2 * hits.solid[0].numel(), solid.device)
    dither = dither.unflatten(1, (2, -1)).transpose(0, 1).reshape(2, -1)
    length = direction.square().sum(0).sqrt()
    unit = direction / length
    light = torch.empty_like(direction)
    missed = places(solid == MISS)
    above = (x.index_select(-1, missed) for x in (number, unit, dither))
    which, ray, shift = above
    light.index_copy_(1, missed, sky.colour(which, ray, world.sun.T, bank, shift))
    hit = places(solid != MISS)
    which, index, unit, far, dither = (
        x.index_select(-1, hit) for x in (number, solid, unit, distance * length, dither)
    )
    points = each(camera, which) + far * unit
    place = locate(world.solids, world.ground, which, points, index)
    facing = (place.normal * unit).sum(0)
    normal = place.normal * -facing.sign()  # of back sides too, towards the camera
    count = world.texture.shape[1]
    surface = which * count + index + count * (index < 0)  # GROUND is -1: the last
    seen = Seen(
        hit, which, index, unit, far, points, place, normal, facing.abs().clamp(max=1), surface,
        dither,
    )  # fmt: skip
    light.index_copy_(1, hit, _lit(world, sky, bank, view, seen))
    return view.image(light)


def _lit(world: World, sky: Sky, bank: Bank, view: View, seen: Seen) -> Tensor:
    """Give the light (3, M) of what was hit."""
    shone = _direct(world, view, seen, sky)
    fill = 0.5 + 0.5 * seen.normal[2]
    shade = each(0.55 * (sky.zenith * 0.6 + sky.horizon * 0.4), seen.world) * fill
    bounce = each(sky.horizon * 0.25, seen.world) * (1 - fill)
    light = _albedo(world, bank, view, seen) * (shone + (shade + bounce) * _openness(seen))
    return sky.hazed(seen.world, _mirrored(world, sky, bank, seen, light, shone), seen.far_m)


def _albedo(world: World, bank: Bank, view: View, seen: Seen) -> Tensor:
    """Give the albedo (3, M) of surfaces by their textures and tints."""
    # What a surface has is worked out once for each, and then looked up.
    texture, tile = world.texture.flatten().int(), world.tile_m.flatten()
    count = world.texture.shape[1]  # the ground's, the last, is number 0 in every batch
    number = torch.arange(1, count + 1, device=tile.device).repeat(len(world.sun)) % count
    number = number * 7919 % 1013  # each surface has its own part of the texture
    start = number * (texture != bank.names.index('facade')) / 1013
    variant = number.int() % VARIANTS
    drawing, dirt, start, tile, texture = (
        values.index_select(0, seen.surface)
        for values in (
            texture * VARIANTS + variant, bank.names.index('concrete') * VARIANTS + variant,
            start, tile, texture,
        )
    )  # fmt: skip
    u, v, width, height = _unrolled(seen)
    footprint_m = seen.far_m / each(view.K[:, 0, 0], seen.world) / seen.cosine.clamp(min=0.2)
    across, down, texels = u / tile + start, v / tile, SIDE / tile
    for name in FITTED:
        own = places(texture == bank.names.index(name))
        x, y, w, h = (values.index_select(0, own) for values in (u, v, width, height))
        across.index_copy_(0, own, x / w + 0.5)
        down.index_copy_(0, own, y / h)
        texels.index_copy_(0, own, SIDE / w)
    level = torch.log2((footprint_m * texels).clamp(min=1.0))
    drawn = bank.sample(drawing, across, down, level, seen.dither)
    level = torch.log2((footprint_m * (SIDE / DIRT_M)).clamp(min=1.0))
    worn = bank.brightness(dirt, u / DIRT_M + start, v / DIRT_M, level, seen.dither)
    tint = world.tint.flatten(0, 1).T.contiguous().index_select(1, seen.surface)
    return tint.mul_(drawn).mul_(0.54 + 0.9 * worn)


def _unrolled(seen: Seen) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lay the face of each hit flat: u to the right, v down, its width and height, (M,) m."""
    place = seen.place
    steep = place.across.abs()
    on_x = ((steep[0] > steep[1]) & (steep[0] > steep[2])).float()
    on_y = ((steep[1] > steep[2]).float() - on_x).clamp(min=0)
    on_z = 1 - on_x - on_y
    (x, y, z), (half_x, half_y, half_z) = place.local, place.half
    u = on_x * y * place.across[0].sign() - on_y * x * place.across[1].sign() + on_z * x
    v = (1 - on_z) * (half_z - z) + on_z * y
    return u, v, 2 * (half_x + on_x * (half_y - half_x)), 2 * half_z


def _direct(world: World, view: View, seen: Seen, sky: Sky) -> Tensor:
    """Give the direct light (3, M) of the sun, or of a lamp indoors, with hard shadows."""
    camera = view.T_world_cam[:, :3, 3]
    lamp = torch.cat(
        ((camera + 1.5 * world.sun)[:, :2], torch.full_like(camera[:, 2:], LAMP_M)), 1
    )
    lamp = torch.where(world.indoor[:, None], lamp, camera + SUN_M * world.sun)  # (B, 3)
    to_lamp = each(lamp.T, seen.world) - seen.points
    squared = to_lamp.square().sum(0)
    slant = ((seen.normal * to_lamp).sum(0) * torch.rsqrt(squared)).clamp(min=0)
    inside = each(world.indoor.float(), seen.world)
    fall = (1 + 2 * inside) / (1 + inside * squared / 2)  # outdoors 1
    # Every other row and column of the picture; what faces away needs no ray.
    batch, rows, columns = len(camera), *view.whole
    asked = torch.zeros(batch, rows, columns, device=camera.device)
    asked[:, ::2, ::2] = world.sun_strength[:, None, None]
    chosen = (view.packets(asked).index_select(0, seen.ray) > 0) & (slant > 0)
    reached = torch.stack([view.packets(torch.zeros_like(asked))] * 2)  # light, and whether asked
    for number in range(batch):
        own = places(chosen & (seen.world == number))
        if len(own):
            one = world.one(number)
            points = seen.points.index_select(1, own)
            free = lit(one.solids, one.ground, lamp[number], points)
            both = torch.stack((free, torch.ones_like(free)))
            reached.index_copy_(1, seen.ray.index_select(0, own), both)
    coarse = view.image(reached, whole=True)[:, :, ::2, ::2]
    smooth = F.interpolate(coarse, scale_factor=2, mode='bilinear', align_corners=False)
    open_ = (smooth[:, 0] + 1e-3) / (smooth[:, 1] + 1e-3)
    strength = each(sky.sun * world.sun_strength, seen.world)
    return strength * (slant * fall * view.packets(open_).index_select(0, seen.ray))


def _openness(seen: Seen) -> Tensor:
    """Give how open points (M,) are to the sky: less near the foot of what stands there."""
    height = seen.place.local[2] + seen.place.half[2]
    upright = 1 - seen.normal[2].abs()
    dark = 0.45 * upright * torch.exp(-height.clamp(min=0) / 0.35)
    return 1 - dark * (seen.solid >= 0)


def _mirrored(
    world: World, sky: Sky, bank: Bank, seen: Seen, light: Tensor, shone: Tensor
) -> Tensor:
    """Mix light (3, M) with what glossy surfaces mirror: the sky, a skyline, the sun."""
    gloss = world.gloss.view(-1).index_select(0, seen.surface)
    glossy = places(gloss > DULL)
    which, cosine, dither, unit, normal, plain, direct, gloss = (
        x.index_select(-1, glossy)
        for x in (
            seen.world, seen.cosine, seen.dither, seen.unit, seen.normal, light, shone, gloss
        )
    )  # fmt: skip
    ray = unit + 2 * cosine * normal
    above = sky.colour(which, ray, world.sun.T, bank, dither)
    azimuth = torch.atan2(ray[1], ray[0])
    drawing = torch.full_like(which, bank.names.index('facade') * VARIANTS)
    houses = bank.sample(drawing, azimuth * 2, ray[2] * -3, torch.full_like(azimuth, 2.0), dither)
    skyline = 0.3 + 0.12 * torch.sin(azimuth * 5) + 0.08 * torch.sin(azimuth * 17)
    scene = torch.where(ray[2] > skyline, above, houses * each(sky.horizon, which) * 0.4)
    spark = torch.exp(400 * ((ray * each(world.sun.T, which)).sum(0) - 1))
    share = gloss * (0.25 + 0.75 * (1 - cosine).square().square())
    mixed = plain * (1 - share) + share * (scene + 8 * direct * spark)
    return light.index_copy(1, glossy, mixed)
