"""What runs along a road or across it: fences, walls, guard rails, gantries and bridges."""

from __future__ import annotations

import math

from depth_kd_training.simulation.palette import (
    bricks,
    CONCRETE,
    DARK_METAL,
    GALVANISED,
    plaster,
    shade,
    WOOD,
)  # fmt: skip
from depth_kd_training.simulation.place import pick, Place, strip
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np


def stations(start: float, end: float, step: float) -> list[float]:
    """Divide start..end into equal parts of about a step."""
    count = max(1, round((end - start) / step))
    return [start + (end - start) * i / count for i in range(count + 1)]


def guard_rail(builder: WorldBuilder, start: float, end: float, y: float) -> None:
    """Run a rail of steel on posts along x; posts far away are left out."""
    xs = stations(start, end, 22)
    strip(builder, xs, (y - 0.04, y + 0.04), (0.45, 0.76), GALVANISED, 'fence')
    for x in stations(max(start, -2), min(end, 30), 4):
        place = Place(builder, x, y + (0.1 if y < 0 else -0.1), 0.0, 'fence')
        place.box((0, 0, -0.3), (0.08, 0.12, 1.02), GALVANISED)


def fence(
    builder: WorldBuilder, rng: np.random.Generator, x: tuple[float, float], y: float,
    height: float, lift: float = 0.0,
) -> None:  # fmt: skip
    """Run a fence along x: mesh, palings or rails."""
    xs, draw = stations(*x, 14), float(rng.random())
    if draw < 0.45:  # mesh with a tube on top
        mesh = Surface('metal', 0.5, shade(rng, (0.3, 0.36, 0.32)), reflectivity=0.3)
        strip(builder, xs, (y - 0.02, y + 0.02), (lift, lift + height), mesh, 'fence',
              cutout=0.62, pore=0.08)  # fmt: skip
        strip(builder, xs, (y - 0.03, y + 0.03), (lift + height, lift + height + 0.05), DARK_METAL,
              'fence')  # fmt: skip
    elif draw < 0.8:
        boards = Surface('planks', 1.0, shade(rng, (0.5, 0.4, 0.3), 0.3), reflectivity=0.35)
        strip(builder, xs, (y - 0.03, y + 0.03), (lift, lift + height), boards, 'fence',
              cutout=0.2 if rng.random() < 0.5 else 0.0, pore=0.1)  # fmt: skip
    else:
        for low in (0.45, 0.9):
            strip(
                builder, xs, (y - 0.03, y + 0.03), (lift + low, lift + low + 0.12), WOOD, 'fence'
            )
        for at in xs:
            place = Place(builder, at, y, 0.0, 'fence')
            place.box((0, 0, -0.2), (0.14, 0.14, 1.35 + lift), WOOD)


def wall(
    builder: WorldBuilder, rng: np.random.Generator, x: tuple[float, float], y: float,
    height: float,
) -> None:  # fmt: skip
    """Run a garden wall or a noise barrier along x with a coping."""
    kind = pick(rng, ('brick', 'plaster', 'concrete'))
    tint = {'brick': bricks, 'plaster': plaster}.get(kind, lambda r: shade(r, (0.55, 0.54, 0.5)))
    surface, xs = Surface(kind, 1.5, tint(rng), reflectivity=0.35), stations(*x, 15)
    strip(builder, xs, (y - 0.12, y + 0.12), (-0.4, height), surface, 'wall')
    if height < 2.5:
        strip(builder, xs, (y - 0.17, y + 0.17), (height, height + 0.08), CONCRETE, 'wall')


def gantry(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: tuple[float, float]
) -> None:
    """Span the road with a beam that carries signs."""
    place = Place(builder, x, (y[0] + y[1]) / 2, 0.0, 'bridge')
    half = (y[1] - y[0]) / 2
    for side in (-half, half):
        place.box((0, side, -1.0), (0.4, 0.4, 8.0), GALVANISED)
    place.box((0, 0, 6.3), (0.5, 2 * half, 0.7), GALVANISED, cutout=0.35, pore=0.25)
    for share in (-0.45, 0.25):
        wide = half * float(rng.uniform(0.35, 0.6))
        tint = pick(rng, ((0.1, 0.25, 0.6), (0.1, 0.42, 0.25), (0.12, 0.13, 0.14)))
        board = Surface('text', wide, shade(rng, tint), reflectivity=0.9)
        place.box((-0.35, share * half, 5.7), (0.12, wide, wide * 0.5), board, semantic='sign')


def bridge(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: tuple[float, float]
) -> None:
    """Lead another road across at 5 m, on abutments outside y; y from..to is kept free."""
    yaw = math.pi / 2 + float(rng.uniform(-0.12, 0.12))
    place = Place(builder, x, (y[0] + y[1]) / 2, yaw, 'bridge')
    half, wide = (y[1] - y[0]) / 2, float(rng.uniform(4, 10))
    clear = float(rng.uniform(4.9, 5.8)) + 0.04 * half
    place.box((0, 0, clear), (120.0, wide, 1.1), CONCRETE)
    rail = GALVANISED if rng.random() < 0.5 else CONCRETE
    for side in (-1, 1):
        place.box((0, side * (wide / 2 - 0.1), clear + 1.1), (120.0, 0.15, 1.0), rail,
                  cutout=0.5 if rail is GALVANISED else 0.0, pore=0.15)  # fmt: skip
        out = half + 0.25 * wide + 1.2
        place.box((side * (out + 1.0), 0, -2.5), (2.0, wide - 0.2, clear + 2.5), CONCRETE)
        slope = Surface('grass', 2.5, shade(rng, (0.3, 0.38, 0.17)), reflectivity=0.4)
        place.box((side * (out + 31.0), 0, -2.5), (60.0, wide + 14, clear + 3.2), slope,
                  taper=(0.0, 0.65), semantic='ground')  # fmt: skip
