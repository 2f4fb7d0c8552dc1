"""What stands beside a road: lamps, lights, signs, shelters, bins, cones, wires."""

from __future__ import annotations

import itertools

from depth_kd_training.simulation.palette import (
    CLEAR,
    CONCRETE,
    DARK_METAL,
    GALVANISED,
    LAMP,
    METAL,
    ORANGE,
    RED,
    shade,
    WHITE,
    WOOD,
)  # fmt: skip
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

_SIGNS = (
    (0.85, 0.82, 0.8),
    (0.1, 0.25, 0.6),
    (0.75, 0.1, 0.1),
    (0.1, 0.4, 0.25),
    (0.85, 0.7, 0.1),
)


def upright(
    builder: WorldBuilder, x: float, y: float, yaw: float, lift: float, semantic: str
) -> Place:
    """Give a place on a pavement that is `lift` m above the ground; it stands upright."""
    return Place(builder, x, y, yaw, semantic, z=builder.ground_at(x, y) + lift)


def lamp(
    builder: WorldBuilder, x: float, y: float, to_road: float, height: float, lift: float = 0.0
) -> None:
    """Set a street lamp; `to_road` is the yaw from it to the road."""
    place = upright(builder, x, y, to_road, lift, 'pole')
    place.pole((0, 0, -0.3), 0.07, height + 0.3, GALVANISED)
    if height < 5:
        place.ball((0, 0, height + 0.15), (0.45, 0.45, 0.5), LAMP)
        return
    place.rod((0, 0, height - 0.1), (1.5, 0, height + 0.15), 0.04, GALVANISED)
    place.box((1.6, 0, height + 0.05), (0.7, 0.28, 0.14), METAL)


def traffic_light(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, to_road: float,
    lift: float = 0.0, reach: float = 0.0,
) -> None:  # fmt: skip
    """Set a traffic light that looks along -x, with a second one on an arm of a reach."""
    place = upright(builder, x, y, to_road, lift, 'pole')
    place.pole((0, 0, -0.3), 0.08, (6.2 if reach else 3.4) + 0.3, DARK_METAL)
    ahead = 1 if to_road > 0 else -1  # where -x of the world is in the frame of the pole
    heads = [(0.0, 2.4)]
    if reach:
        place.rod((0, 0, 5.9), (reach, 0, 6.1), 0.06, DARK_METAL)
        heads.append((reach - 0.2, 5.2))
    glow = int(rng.integers(3))
    for at, low in heads:
        place.box((at, ahead * 0.16, low), (0.3, 0.22, 0.9), DARK_METAL, semantic='sign')
        colour = ((0.15, 0.85, 0.4), (0.95, 0.6, 0.1), (0.95, 0.1, 0.08))[glow]
        light = Surface('plain', 1.0, colour, 0.2, reflectivity=0.4)
        spot = (at, ahead * 0.26, low + 0.17 + 0.28 * glow)
        place.ball(spot, (0.21, 0.12, 0.21), light, semantic='sign')


def sign(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, lift: float = 0.0,
    large: bool = False,
) -> None:  # fmt: skip
    """Set a traffic sign that faces traffic along x: a disc, a triangle, a board."""
    place = upright(builder, x, y, float(rng.normal(0, 0.12)), lift, 'sign')
    height, draw = float(rng.uniform(2.1, 2.6)), float(rng.random())
    tint = shade(rng, pick(rng, _SIGNS))
    place.pole((0, 0, -0.3), 0.035, height + 0.95, GALVANISED, semantic='pole')
    if large:
        board = Surface('text', 2.4, shade(rng, pick(rng, _SIGNS[:4])), reflectivity=0.9)
        place.box((-0.06, 0, height - 0.5), (0.04, 2.4, 1.5), board)
        return
    if draw < 0.45:
        face = Surface('plain', 1.0, tint, reflectivity=0.9)
        rim = RED if draw < 0.3 else face
        place.rod((-0.07, 0, height + 0.3), (-0.04, 0, height + 0.3), 0.33, rim)
        place.rod((-0.08, 0, height + 0.3), (-0.05, 0, height + 0.3), 0.25, face)
    elif draw < 0.7:
        place.box((-0.06, 0, height), (0.03, 0.8, 0.7), RED, taper=(0.0, 0.96))
        face = Surface('plain', 1.0, (0.85, 0.84, 0.8), reflectivity=0.9)
        place.box((-0.07, 0, height + 0.09), (0.03, 0.52, 0.46), face, taper=(0.0, 0.96))
    else:
        wide = float(rng.uniform(0.5, 1.0))
        board = Surface('text', wide, tint, reflectivity=0.9)
        place.box((-0.06, 0, height), (0.03, wide, float(rng.uniform(0.35, 0.7))), board)


def advertisement(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, lift: float
) -> None:
    """Set a poster: a lit panel on a foot, or a pillar."""
    place = upright(builder, x, y, float(rng.normal(0, 0.3)), lift, 'object')
    tint = shade(rng, (0.75, 0.73, 0.7))
    if rng.random() < 0.3:
        pillar = Surface('poster', 1.2, tint, reflectivity=0.5)
        place.pole((0, 0, -0.2), 0.6, 2.9, pillar)
        place.pole((0, 0, 2.7), 0.7, 0.25, DARK_METAL)
        return
    place.box((0, 0, -0.2), (0.22, 1.3, 0.75), DARK_METAL)
    place.box((0, 0, 0.5), (0.22, 1.36, 1.95), DARK_METAL)
    face = Surface('poster', 1.2, tint, 0.1, reflectivity=0.6)
    place.box((0, 0, 0.57), (0.26, 1.2, 1.8), face, semantic='sign')


def shelter(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, to_road: float,
    lift: float,
) -> None:  # fmt: skip
    """Set a bus shelter of glass, 4 m wide, open to the road, with a bench and a poster."""
    place = upright(builder, x, y, to_road, lift, 'object')
    place.box((0, 0, 2.35), (1.7, 4.2, 0.12), DARK_METAL)
    place.box((-0.72, 0, 0.15), (0.03, 4.0, 2.0), CLEAR)
    face = Surface('poster', 1.3, shade(rng, (0.7, 0.7, 0.7)), 0.1, reflectivity=0.5)
    place.box((0, 2.0, 0.1), (1.3, 0.14, 2.1), face, semantic='sign')
    for side in (-1.95, 1.95):
        place.pole((-0.72, side, -0.2), 0.05, 2.6, METAL)
    place.box((-0.4, 0, 0.42), (0.4, 2.6, 0.06), WOOD, semantic='furniture')
    place.box((-0.4, 0, -0.1), (0.1, 1.6, 0.54), METAL, semantic='furniture')


def bin_or_box(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, lift: float
) -> None:
    """Set a dustbin, a litter bin, a hydrant, a cabinet of wires, a planter or a bollard."""
    place = upright(builder, x, y, float(rng.normal(0, 0.15)), lift, 'object')
    draw = int(rng.integers(6))
    if draw == 0:  # a dustbin on wheels
        tint = pick(rng, ((0.12, 0.13, 0.13), (0.1, 0.2, 0.4), (0.35, 0.28, 0.1)))
        body = Surface('plain', 1.0, tint, 0.1, reflectivity=0.2)
        place.box((0, 0, 0.05), (0.52, 0.48, 0.93), body)
        place.box((0, 0, 0.98), (0.62, 0.56, 0.09), body)
    elif draw == 1:
        place.pole((0, 0, 0.0), 0.24, 0.85, DARK_METAL)
        place.ball((0, 0, 0.85), (0.5, 0.5, 0.2), DARK_METAL)
    elif draw == 2:
        place.pole((0, 0, -0.1), 0.11, 0.65, RED)
        place.ball((0, 0, 0.55), (0.24, 0.24, 0.26), RED)
    elif draw == 3:
        body = Surface('panels', 1.2, (0.5, 0.53, 0.5), reflectivity=0.4)
        place.box((0, 0, -0.1), (1.1, 0.4, 1.3), body)
    elif draw == 4:
        place.box((0, 0, -0.1), (1.2, 0.7, 0.6), CONCRETE)
        green = Surface('foliage', 0.6, shade(rng, (0.25, 0.36, 0.14), 0.3), reflectivity=0.4)
        place.ball((0, 0, 0.65), (1.2, 0.8, 0.7), green, semantic='vegetation', cutout=0.35)
    else:
        place.pole((0, 0, -0.1), 0.07, 1.0, DARK_METAL)


def cone(builder: WorldBuilder, x: float, y: float) -> None:
    """Set a traffic cone of 0.75 m."""
    place = Place(builder, x, y, tilt=True)
    place.box((0, 0, 0), (0.4, 0.4, 0.04), ORANGE)
    place.box((0, 0, 0.04), (0.28, 0.28, 0.71), ORANGE, taper=(0.85, 0.85))
    place.box((0, 0, 0.38), (0.17, 0.17, 0.14), WHITE, taper=(0.3, 0.3))


def barrier(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float = 0.0
) -> None:
    """Set a barrier of a road work: boards on feet, or concrete."""
    place = Place(builder, x, y, yaw, tilt=True)
    if rng.random() < 0.5:
        place.box((0, 0, 0), (3.0, 0.6, 0.8), CONCRETE, taper=(0.0, 0.65))
        return
    board = Surface('stripes', 0.5, (0.85, 0.3, 0.2), reflectivity=0.85)
    place.box((0, 0, 0.75), (2.0, 0.04, 0.25), board)
    place.box((0, 0, 0.3), (2.0, 0.04, 0.12), board)
    for end in (-0.9, 0.9):
        place.box((end, 0, 0), (0.06, 0.5, 1.0), DARK_METAL)


def wires(
    builder: WorldBuilder, stations: list[float], y: float, height: float, offsets: list[float]
) -> None:
    """Hang wires along x between poles; each sags by two straight parts."""
    for start, end in itertools.pairwise(stations):
        place = Place(builder, start, y, 0.0, 'wire', z=0.0)
        low, high = (builder.ground_at(x, y) + height for x in (start, end))
        middle = ((end - start) / 2, (low + high) / 2 - 0.012 * (end - start))
        for offset in offsets:
            from_, to = (0.0, offset, low), (end - start, offset, high)
            place.rod(from_, (middle[0], offset, middle[1]), 0.015, DARK_METAL)
            place.rod((middle[0], offset, middle[1]), to, 0.015, DARK_METAL)


def wooden_pole(builder: WorldBuilder, x: float, y: float, height: float, lift: float) -> None:
    """Set a pole of wood with a cross-beam for wires."""
    place = upright(builder, x, y, 0.0, lift, 'pole')
    place.pole((0, 0, -0.3), 0.13, height + 0.5, WOOD)
    place.box((0, 0, height - 0.1), (0.1, 1.6, 0.12), WOOD)
