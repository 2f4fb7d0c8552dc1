"""Rooms: offices, living rooms, bedrooms, corridors and stores."""

from __future__ import annotations

import math

from depth_kd_training.simulation import rooms
from depth_kd_training.simulation.interiors import FURNISH, strew
from depth_kd_training.simulation.palette import bricks, plaster, shade
from depth_kd_training.simulation.place import pick
from depth_kd_training.simulation.rooms import Room
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

KINDS = ('office', 'living', 'bedroom', 'corridor', 'store')
_SIZES = {  # length, width, height: from, to
    'office': ((7, 13), (6, 9), (2.6, 3.2)), 'living': ((6, 9), (5, 7.5), (2.45, 2.9)),
    'bedroom': ((5.2, 7), (4.8, 6), (2.4, 2.7)), 'corridor': ((12, 28), (2.7, 3.6), (2.4, 3.0)),
    'store': ((18, 36), (12, 22), (5, 8)),
}  # fmt: skip


def build(rng: np.random.Generator) -> WorldBuilder:
    """Draw a room: the sensors stand at free places of the floor."""
    kind = KINDS[int(np.searchsorted(np.cumsum((0.28, 0.24, 0.16, 0.14, 0.18)), rng.random()))]
    length, width, height = (float(rng.uniform(*limits)) for limits in _SIZES[kind])
    path = walk(rng, length, width)
    builder, room = WorldBuilder(indoor=True), Room(length, width, height, path)
    builder.path, builder.ground_semantic = path, 'ground'
    builder.ground_surface = _floor(rng, kind)
    builder.sun = (float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6)), 0.8)
    builder.sun_strength = float(rng.uniform(0.3, 1.0))
    outside = {'corridor': {2}, 'store': set()}.get(kind, {pick(rng, (1, 2, 3))})
    if kind in ('office', 'living') and rng.random() < 0.4:
        outside = outside | {pick(rng, (1, 2, 3))}
    rooms.enclose(builder, rng, room, _wallpaper(rng, kind), outside)
    lamps = {'office': 8, 'corridor': int(length / 4), 'store': 10}.get(kind, 2)
    rooms.cover(builder, rng, room, lamps)
    FURNISH[kind](builder, rng, room)
    rooms.hang(builder, rng, room, {'corridor': 9, 'store': 3}.get(kind, 6))
    strew(builder, rng, room, kind)
    return builder


def walk(
    rng: np.random.Generator, length: float, width: float
) -> list[tuple[float, float, float]]:
    """Draw poses 1 to 3 m apart on a way through the room; they look somewhere into it."""
    margin = rooms.CLEAR_M + 0.15
    corridor = length > 3 * width
    reach = length - 2 * margin
    used = reach if corridor else max(2.1, reach * float(rng.uniform(0.35, 0.7)))
    start = margin + float(rng.random()) * (reach - used)
    step = min(2.0, max(1.02, used / 7))
    swing = max(0.0, width / 2 - margin)
    side = float(rng.uniform(0.3, 1.0)) * (1 if rng.random() < 0.5 else -1)
    rate = float(rng.uniform(-0.2, 0.2))
    poses = []
    for x in np.arange(start, start + used, step).tolist():
        y = min(swing, max(-swing, side * swing + rate * (x - start)))
        if corridor:  # along it
            yaw = float(rng.normal(0, 0.25)) + (math.pi if x > 0.75 * length else 0.0)
        else:
            a, b = rng.random(2).tolist()
            ahead, left = a * length - x, (b - 0.5) * width - y
            if math.hypot(ahead, left) < 2.5:
                ahead, left = length / 2 - x, -y
            yaw = math.atan2(left, ahead) + float(rng.normal(0, 0.15))
        poses.append((x, y, yaw))
    return poses


def _floor(rng: np.random.Generator, kind: str) -> Surface:
    """Draw the covering of a floor."""
    floors = (
        ('planks', 1.2, (0.5, 0.37, 0.24)), ('wood', 1.5, (0.45, 0.33, 0.22)),
        ('carpet', 2.0, (0.35, 0.36, 0.4)), ('tiles', 2.4, (0.62, 0.6, 0.56)),
        ('marble', 1.8, (0.66, 0.64, 0.6)), ('checks', 1.6, (0.5, 0.5, 0.48)),
    )  # fmt: skip
    texture, tile, tint = pick(rng, floors)
    if kind == 'store':
        texture, tile, tint = 'concrete', 4.0, (0.5, 0.5, 0.49)
    shine = 0.1 if texture in ('marble', 'tiles') else 0.0
    return Surface(texture, tile, shade(rng, tint, 0.2), shine, reflectivity=0.3)


def _wallpaper(rng: np.random.Generator, kind: str) -> Surface:
    """Draw the skin of the walls."""
    draw = float(rng.random())
    if kind == 'store':
        texture = pick(rng, ('concrete', 'corrugated', 'panels', 'brick'))
        return Surface(texture, 2.0, shade(rng, (0.6, 0.6, 0.58), 0.2), reflectivity=0.4)
    if draw < 0.08:
        return Surface('brick', 1.2, bricks(rng), reflectivity=0.3)
    if draw < 0.2:
        return Surface('stripes', 0.8, shade(rng, (0.75, 0.7, 0.62)), reflectivity=0.5)
    if draw < 0.55:
        return Surface('plaster', 2.5, shade(rng, (0.8, 0.79, 0.76), 0.08), reflectivity=0.6)
    return Surface('plaster', 2.5, plaster(rng), reflectivity=0.5)
