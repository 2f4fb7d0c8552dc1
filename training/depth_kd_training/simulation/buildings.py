"""Buildings beside a road: blocks of flats, houses, halls and what closes the view."""

from __future__ import annotations

import math

from depth_kd_training.simulation.palette import (
    bricks,
    Colour,
    CONCRETE,
    DARK_METAL,
    GLASS,
    plaster,
    roofing,
    shade,
    WHITE,
    WOOD,
)  # fmt: skip
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

STOREY = 3.0


def _wall(rng: np.random.Generator) -> tuple[str, Colour]:
    draw = float(rng.random())
    if draw < 0.3:
        return 'brick', bricks(rng)
    return (
        ('concrete', shade(rng, (0.56, 0.55, 0.53))) if draw < 0.4 else ('plaster', plaster(rng))
    )


def block(
    builder: WorldBuilder, rng: np.random.Generator, x: tuple[float, float], front: float,
    side: int, depth: float, storeys: int, detail: int = 2, lift: float = 0.0,
) -> None:  # fmt: skip
    """
    Raise a block of flats or offices from x[0] to x[1].

    Its front is at y = front and it reaches `depth` m to the side (1: left, -1: right).
    """
    length, z = x[1] - x[0], lift
    # The own frame looks at the road: x to the road, y along it; the origin is the front's middle.
    place = Place(
        builder, (x[0] + x[1]) / 2, front, -side * math.pi / 2, 'building',
        instance=builder.instance(),
    )  # fmt: skip
    texture, tint = _wall(rng)
    facade = Surface('facade', STOREY, tint, 0.05, reflectivity=0.35)
    plinth = Surface(texture, 1.5, shade(rng, tint, 0.25), reflectivity=0.3)
    shop = detail > 0 and rng.random() < 0.55
    base = 3.6 if shop else 0.45 + 0.02 * length
    sink, middle = 0.5 + 0.03 * length, (-depth / 2, 0)
    if not detail:
        base = -sink
    elif shop:
        _storefront(place, rng, length, depth, z, plinth, sink, detail)
    else:
        place.box((*middle, z - sink), (depth, length, base + sink), plinth)
        door = (0.02, length * float(rng.uniform(-0.35, 0.35)), z - 0.1)
        place.box(door, (0.12, 1.2, 2.4), WOOD)
    body = STOREY * (storeys - 1 if shop else storeys) + (0.0 if detail else sink)
    set_back = 0.06
    place.box((middle[0] - set_back, 0, z + base), (depth, length, body), facade)
    top = z + base + body
    draw = float(rng.random())
    if draw < 0.4:
        place.box((*middle, top), (depth + 0.6, length, 0.35), shade_box(rng, tint))
    elif draw < 0.8:
        place.box((*middle, top), (depth, length, float(rng.uniform(1.8, 3.2))), roofing(rng),
                  taper=(0.5, 0.04))  # fmt: skip
    else:
        place.box((middle[0] - 2.0, 0, top), (depth - 4.0, length - 1.0, STOREY), facade)
    if detail > 1:
        _projections(place, rng, length, z + base, body, facade)


def shade_box(rng: np.random.Generator, tint: Colour) -> Surface:
    """Give the surface of a cornice to a wall of a tint."""
    return Surface('concrete', 2.0, shade(rng, tint, 0.15), reflectivity=0.35)


def _storefront(
    place: Place, rng: np.random.Generator, length: float, depth: float, z: float,
    plinth: Surface, sink: float, detail: int,
) -> None:  # fmt: skip
    """Put glass between piers, a sign above it, and sometimes an awning."""
    if detail > 1:
        place.box((-depth / 2 - 0.6, 0, z - sink), (depth - 1.2, length, 3.6 + sink), plinth)
        place.box((-0.3, 0, z + 0.5), (0.06, length - 0.4, 2.4), GLASS)
        place.box((-0.35, 0, z - sink), (0.7, length, 0.5 + sink), plinth)
        place.box((-0.3, 0, z + 2.9), (0.6, length, 0.7), plinth)
        for at in (0.25 - length / 2, length / 2 - 0.25):
            place.box((-0.3, at, z + 0.5), (0.6, 0.5, 2.4), plinth)
    else:
        place.box((-depth / 2, 0, z - sink), (depth, length, 3.6 + sink), plinth)
        place.box((0, 0, z + 0.5), (0.08, length - 1.0, 2.4), GLASS)
    wide = min(length - 1.0, float(rng.uniform(3.0, 7.0)))
    sign = Surface('text', wide, shade(rng, (0.55, 0.45, 0.4), 0.6), 0.1, reflectivity=0.6)
    place.box((0.06, length * float(rng.uniform(-0.1, 0.1)), z + 2.95), (0.12, wide, 0.6), sign,
              semantic='sign')  # fmt: skip
    if rng.random() < 0.35:
        cloth = Surface('stripes', 0.6, shade(rng, (0.6, 0.3, 0.25), 0.5), reflectivity=0.4)
        place.box((0.7, 0, z + 2.6), (1.4, min(length - 1.5, 6.0), 0.05), cloth, pitch=0.25)


def _projections(
    place: Place, rng: np.random.Generator, length: float, base: float, body: float,
    facade: Surface,
) -> None:  # fmt: skip
    """Add balconies, a bay or downpipes to a front."""
    draw = float(rng.random())
    if draw < 0.4 and body > 5:
        at = length * float(rng.uniform(-0.3, 0.3))
        rail = DARK_METAL if rng.random() < 0.6 else WHITE
        for level in range(min(3, int(body / STOREY))):
            z = base + STOREY * level
            place.box((0.55, at, z - 0.1), (1.1, 2.8, 0.16), CONCRETE)
            place.box((1.08, at, z + 0.06), (0.05, 2.8, 1.0), rail, cutout=0.5, pore=0.06)
    elif draw < 0.65:
        at = length * float(rng.uniform(-0.25, 0.25))
        place.box((0.4, at, base), (0.9, STOREY, body - 0.3), facade)
    elif draw < 0.85:
        place.pole((0.02, length / 2 - 0.15, base - 3.0), 0.06, body + 3.0, DARK_METAL)


def house(
    builder: WorldBuilder, rng: np.random.Generator, x: float, front: float, side: int,
    length: float, detail: int = 2, lift: float = 0.0,
) -> None:  # fmt: skip
    """Raise a house of one or two storeys with a gable or a hipped roof around x."""
    place = Place(builder, x, front, -side * math.pi / 2, 'building', instance=builder.instance())
    depth, storeys = float(rng.uniform(7.5, 10.0)), 1 + int(rng.random() < 0.65)
    texture, tint = _wall(rng)
    wall = Surface(texture, 1.5, tint, reflectivity=0.35)
    sink, height = 1.0, STOREY * storeys
    middle = -depth / 2
    if detail:
        place.box((middle, 0, lift - sink), (depth, length, height + sink + 0.3), wall)
        for level in range(storeys):
            for share in (-0.3, 0.3):
                at = (0.0, share * length, lift + 1.2 + STOREY * level)
                place.box(at, (0.1, 1.5, 1.3), GLASS)
        place.box((0.0, 0.03 * length, lift), (0.14, 1.1, 2.2), WOOD)
    else:
        facade = Surface('facade', STOREY, tint, 0.05, reflectivity=0.35)
        place.box((middle, 0, lift - sink), (depth, length, height + sink + 0.3), facade)
    roof, rise, draw = roofing(rng), float(rng.uniform(2.2, 4.0)), float(rng.random())
    over = (depth + 0.9, length + 0.9, rise)
    taper = (0.97, 0.0) if draw < 0.5 else (0.0, 0.97) if draw < 0.75 else (0.97, 0.5)
    place.box((middle, 0, lift + height + 0.3), over, roof, taper=taper)
    if detail > 1:
        at = (middle - 0.8, 0.2 * length, lift + height + 0.3)
        brick = Surface('brick', 1.0, bricks(rng), reflectivity=0.3)
        place.box(at, (0.6, 0.6, rise + 0.6), brick)
        if rng.random() < 0.5:  # a garage
            wide = 3.2
            beside = (-2.8, (length + wide) / 2, lift - sink)
            place.box(beside, (5.5, wide, 2.7 + sink), wall)
            gate = Surface('panels', 1.0, shade(rng, (0.6, 0.58, 0.55)), reflectivity=0.4)
            place.box((0.0, beside[1], lift), (0.1, 2.5, 2.1), gate)


def hall(
    builder: WorldBuilder, rng: np.random.Generator, x: tuple[float, float], front: float,
    side: int, detail: int = 2, lift: float = 0.0,
) -> None:  # fmt: skip
    """Raise a hall of a works or a shop with gates, a band of windows and a sign."""
    length, depth, height = x[1] - x[0], float(rng.uniform(18, 35)), float(rng.uniform(5, 10))
    place = Place(
        builder, (x[0] + x[1]) / 2, front, -side * math.pi / 2, 'building',
        instance=builder.instance(),
    )  # fmt: skip
    texture = pick(rng, ('corrugated', 'panels', 'brick', 'concrete'))
    tint = bricks(rng) if texture == 'brick' else shade(
        rng, pick(rng, ((0.6, 0.62, 0.63), (0.35, 0.42, 0.5), (0.62, 0.58, 0.5)))
    )  # fmt: skip
    skin = Surface(texture, 2.0, tint, 0.05, reflectivity=0.4)
    place.box((-depth / 2, 0, lift - 1.2), (depth, length, height + 1.2), skin)
    roof = (0.0, 0.9) if rng.random() < 0.3 else (0.06, 0.03)
    place.box((-depth / 2, 0, lift + height), (depth + 0.4, length + 0.4, 1.5), DARK_METAL,
              taper=roof)  # fmt: skip
    if detail:
        gate = Surface('corrugated', 0.8, shade(rng, (0.5, 0.5, 0.5), 0.4), reflectivity=0.4)
        for share in (-0.28, 0.28):
            place.box((0.0, share * length, lift), (0.14, 3.6, 4.0), gate)
        place.box((0, 0, lift + height - 1.6), (0.1, length * 0.8, 1.0), GLASS)
        sign = Surface('text', 5.0, shade(rng, (0.6, 0.3, 0.25), 0.6), reflectivity=0.6)
        place.box((0.1, 0, lift + height - 0.4), (0.2, 5.0, 1.2), sign, semantic='sign')


def backdrop(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, size: tuple[float, float],
    storeys: int,
) -> None:  # fmt: skip
    """Raise a far building of one solid around x, y; size is (along x, along y)."""
    place = Place(builder, x, y, 0.0, 'building', instance=builder.instance())
    facade = Surface('facade', STOREY, _wall(rng)[1], 0.05, reflectivity=0.35)
    place.box((0, 0, -2.0), (size[0], size[1], storeys * STOREY + 2.0), facade)
