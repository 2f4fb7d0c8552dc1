"""What stands in rooms: tables, seats, beds, shelves with things on them, screens, plants."""

from __future__ import annotations

import math

from depth_kd_training.simulation.palette import (
    BARK,
    clothes,
    Colour,
    DARK_METAL,
    LAMP,
    leaves,
    METAL,
    shade,
)  # fmt: skip
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

_WOODS = (
    (0.5, 0.36, 0.22),
    (0.36, 0.24, 0.15),
    (0.66, 0.54, 0.38),
    (0.82, 0.8, 0.76),
    (0.2, 0.17, 0.15),
)
_CLOTHS = (
    (0.4, 0.42, 0.45),
    (0.55, 0.45, 0.35),
    (0.2, 0.25, 0.35),
    (0.5, 0.2, 0.18),
    (0.35, 0.42, 0.3),
)
_SCREEN = Surface('plain', 1.0, (0.03, 0.03, 0.035), 0.25, reflectivity=0.05)


def timber(rng: np.random.Generator) -> Surface:
    """Draw wood or a laminate."""
    texture = 'plain' if rng.random() < 0.3 else 'wood'
    return Surface(texture, 1.0, shade(rng, pick(rng, _WOODS)), 0.03, reflectivity=0.4)


def cloth(rng: np.random.Generator) -> Surface:
    """Draw the cover of a seat or a bed."""
    texture = pick(rng, ('fabric', 'fabric', 'fabric', 'stripes', 'checks'))
    return Surface(texture, 0.4, shade(rng, pick(rng, _CLOTHS), 0.2), reflectivity=0.35)


def bright(rng: np.random.Generator) -> Surface:
    """Draw the surface of a small thing of any colour."""
    grey, *mixed = rng.random(4).tolist()
    r, g, b = (0.05 + 0.7 * (0.65 * grey + 0.35 * m) for m in mixed)
    colour: Colour = (r, g, b)
    texture = pick(rng, ('plain', 'plain', 'text', 'wood', 'metal'))
    return Surface(texture, 0.3, colour, 0.03, reflectivity=0.2 + 0.5 * g)


def stand(builder: WorldBuilder, x: float, y: float, yaw: float, instance: bool = True) -> Place:
    """Give a place on the floor for a piece of furniture, whose front looks along its x axis."""
    number = builder.instance() if instance else 0
    return Place(builder, x, y, yaw, 'furniture', instance=number)


def table(
    place: Place, rng: np.random.Generator, size: tuple[float, float], height: float
) -> None:
    """Set a table of a size along x and y: a top on legs or on cheeks, with things on it."""
    wood, (depth, width) = timber(rng), size
    place.box((0, 0, height - 0.04), (depth, width, 0.04), wood)
    if rng.random() < 0.5:
        metal = DARK_METAL if rng.random() < 0.5 else METAL
        for x in (-0.5, 0.5):
            for y in (-0.5, 0.5):
                at = (x * (depth - 0.1), y * (width - 0.1), 0)
                place.box(at, (0.05, 0.05, height - 0.04), metal)
    else:
        for y in (-0.46, 0.46):
            place.box((0, y * width, 0), (depth * 0.9, 0.04, height - 0.04), wood)
    clutter(place, rng, (0.0, 0.0, height), (depth * 0.8, width * 0.85), int(rng.integers(4)))


def clutter(
    place: Place, rng: np.random.Generator, at: tuple[float, float, float],
    size: tuple[float, float], count: int, tall: float = 0.3,
) -> None:  # fmt: skip
    """Lay small things in a row on a board: boxes, cups, vases, books."""
    for i, (a, b, c, d) in enumerate(rng.random((count, 4)).tolist()):
        slot = size[1] / count
        where = (
            at[0] + (a - 0.5) * 0.5 * size[0],
            at[1] + ((i + 0.5) / count - 0.5) * size[1],
            at[2],
        )
        high, wide = tall * (0.25 + 0.7 * b), min(slot * 0.85, 0.12 + 0.3 * c)
        if d < 0.6:
            long = min(0.45 * size[0], wide)
            place.box(where, (long, wide, high), bright(rng), semantic='object')
        elif d < 0.85:
            radius = min(0.2 * size[0], 0.4 * wide, 0.09)
            place.pole(where, radius, high, bright(rng), semantic='object')
        else:
            radius = min(0.4 * size[0], wide, high)
            where = (where[0], where[1], where[2] + radius / 2)
            place.ball(where, (radius, radius, radius), bright(rng), semantic='object')


def chair(place: Place, rng: np.random.Generator) -> None:
    """Set a chair: on four legs, or an office chair on a foot."""
    seat, legs = (cloth if rng.random() < 0.6 else timber)(rng), timber(rng)
    place.box((0, 0, 0.43), (0.44, 0.44, 0.05), seat)
    place.box((-0.21, 0, 0.5), (0.05, 0.42, 0.42), seat, taper=(0.0, 0.1))
    if rng.random() < 0.4:
        place.pole((0, 0, 0.06), 0.03, 0.38, DARK_METAL)
        place.pole((0, 0, 0.0), 0.29, 0.06, DARK_METAL)
        return
    for x in (-0.19, 0.19):
        place.box((x, -0.19, 0), (0.04, 0.04, 0.43), legs)
        place.box((x, 0.19, 0), (0.04, 0.04, 0.43), legs)


def desk(place: Place, rng: np.random.Generator, width: float) -> None:
    """Set a desk with a screen; one sits at its front."""
    table(place, rng, (0.75, width), 0.73)
    at = float(rng.uniform(-0.2, 0.2)) * width
    place.box((-0.15, at, 0.73), (0.16, 0.22, 0.12), DARK_METAL, semantic='object')
    place.box((-0.16, at, 0.84), (0.04, 0.58, 0.36), _SCREEN, semantic='object')
    place.box((0.15, at, 0.73), (0.14, 0.42, 0.02), DARK_METAL, semantic='object')


def shelf(place: Place, rng: np.random.Generator, width: float, height: float) -> None:
    """Set an open shelf with things on its boards; its back is at x = -0.16."""
    wood = timber(rng)
    place.box((-0.15, 0, 0), (0.02, width, height), wood)
    for y in (-0.5, 0.5):
        place.box((0, y * (width - 0.03), 0), (0.32, 0.03, height), wood)
    boards = max(2, round(height / 0.45))
    for i in range(boards):
        z = 0.08 + i * (height - 0.12) / (boards - 1)
        place.box((0, 0, z - 0.03), (0.3, width - 0.04, 0.03), wood)
        if i < boards - 1:
            clutter(place, rng, (0.0, 0.0, z), (0.28, width - 0.1), int(rng.integers(1, 4)), 0.33)


def cabinet(place: Place, rng: np.random.Generator, size: tuple[float, float, float]) -> None:
    """Set a cupboard of a size with doors; its back is at x = -size[0] / 2."""
    wood, (depth, width, height) = timber(rng), size
    place.box((0, 0, 0), size, wood)
    front = Surface('plain', 1.0, shade(rng, wood.tint, 0.1), 0.03, reflectivity=0.4)
    for y in (-0.25, 0.25):
        at = (depth / 2, y * width, 0.06)
        place.box(at, (0.03, width / 2 - 0.02, height - 0.1), front)
    if height < 1.3:
        clutter(place, rng, (0, 0, height), (depth, width * 0.9), int(rng.integers(4)))


def sofa(place: Place, rng: np.random.Generator, width: float) -> None:
    """Set a sofa or an armchair; its back is at x = -0.45."""
    cover = cloth(rng)
    place.box((0, 0, 0.08), (0.9, width, 0.34), cover)
    place.box((-0.36, 0, 0.42), (0.2, width, 0.42), cover, taper=(0.3, 0.03))
    for y in (-0.5, 0.5):
        place.box((0, y * (width - 0.2), 0.08), (0.9, 0.2, 0.52), cover)
    for y in rng.uniform(-0.32, 0.32, int(rng.integers(3))).tolist():
        place.ball((-0.15, y * width, 0.55), (0.2, 0.42, 0.36), cloth(rng), pitch=-0.3)


def bed(place: Place, rng: np.random.Generator, width: float) -> None:
    """Set a bed; its head is at x = -1.05."""
    wood, cover = timber(rng), cloth(rng)
    white = Surface('fabric', 0.5, (0.8, 0.79, 0.76), reflectivity=0.6)
    place.box((0, 0, 0.0), (2.05, width, 0.28), wood)
    place.box((0, 0, 0.28), (2.0, width - 0.05, 0.2), white)
    place.box((0.25, 0, 0.3), (1.52, width + 0.02, 0.24), cover, taper=(0.02, 0.06))
    place.box((-1.03, 0, 0), (0.06, width, 0.95), wood)
    for y in (-0.25, 0.25) if width > 1.3 else (0.0,):
        place.ball((-0.75, y * width, 0.54), (0.42, 0.6, 0.2), white)


def television(place: Place, rng: np.random.Generator) -> None:
    """Set a low board with a television on it; the back is at x = -0.2."""
    cabinet(place, rng, (0.4, 1.5, 0.45))
    place.box((-0.05, 0, 0.5), (0.05, 1.2, 0.7), _SCREEN, semantic='object')


def lamp(place: Place, rng: np.random.Generator) -> None:
    """Set a lamp on a stand."""
    height = float(rng.uniform(1.3, 1.7))
    place.pole((0, 0, 0), 0.14, 0.03, DARK_METAL)
    place.pole((0, 0, 0), 0.015, height, DARK_METAL)
    place.box((0, 0, height - 0.1), (0.4, 0.4, 0.28), LAMP, taper=(0.35, 0.35))


def plant(place: Place, rng: np.random.Generator) -> None:
    """Set a plant in a pot."""
    height, green = float(rng.uniform(0.7, 1.7)), leaves(rng)
    pot = Surface('plain', 1.0, shade(rng, (0.55, 0.35, 0.27), 0.4), reflectivity=0.3)
    place.pole((0, 0, 0), 0.17, 0.32, pot)
    place.pole((0, 0, 0.2), 0.02, 0.7 * height, BARK)
    for low, wide in ((0.5, 0.5), (0.8, 0.4)):
        size = (wide, 0.9 * wide, 0.48 * height)
        place.ball((0, 0, low * height + 0.1), size, green, semantic='vegetation', cutout=0.5,
                   pore=0.05, yaw=low)  # fmt: skip


def boxes(place: Place, rng: np.random.Generator, count: int, size: float) -> None:
    """Stack cartons or crates."""
    z = 0.0
    for a, b, c, d in rng.random((count, 4)).tolist():
        long, wide, high = size * (0.6 + 0.4 * a), size * (0.6 + 0.4 * b), size * (0.4 + 0.5 * c)
        card = Surface('plain', 1.0, shade(rng, (0.55, 0.42, 0.28), 0.15), reflectivity=0.5)
        surface = card if d < 0.75 else bright(rng)
        place.box((0, 0, z), (long, wide, high), surface, yaw=0.4 * (d - 0.5), semantic='object')
        z += high


def rack(place: Place, rng: np.random.Generator, width: float, height: float) -> None:
    """Set a rack of a store with pallets on its beams, open on both sides; 1.1 m deep."""
    blue = Surface('metal', 1.0, shade(rng, (0.15, 0.25, 0.5)), 0.1, reflectivity=0.3)
    orange = Surface('metal', 1.0, shade(rng, (0.8, 0.35, 0.1)), 0.1, reflectivity=0.4)
    for y in (-0.5, 0.5):
        for x in (-0.5, 0.5):
            place.box((x, y * width, 0), (0.09, 0.09, height), blue)
    for level in range(int(height / 1.5)):
        z = 0.15 + 1.5 * level
        place.box((0, 0, z - 0.12), (1.1, width, 0.12), orange if level else DARK_METAL)
        loads = rng.random((2, 3)).tolist()
        for side, (a, b, c) in zip((-0.25, 0.25), loads, strict=True):
            if a < 0.8:
                surface = bright(rng) if c < 0.3 else Surface(
                    'plain', 1.0, shade(rng, (0.55, 0.42, 0.28), 0.2), reflectivity=0.5
                )  # fmt: skip
                size = (1.0, min(1.2, width * 0.42), 0.5 + 0.7 * b)
                place.box((0, side * width, z), size, surface, semantic='object')


def hanger(place: Place, rng: np.random.Generator) -> None:
    """Hang coats on a stand."""
    place.pole((0, 0, 0), 0.02, 1.75, DARK_METAL)
    place.pole((0, 0, 0), 0.2, 0.03, DARK_METAL)
    for angle in rng.uniform(-math.pi, math.pi, 2).tolist():
        at = (0.1 * math.cos(angle), 0.1 * math.sin(angle), 1.2)
        place.ball(at, (0.24, 0.34, 0.85), clothes(rng), semantic='object')
