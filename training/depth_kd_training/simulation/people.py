"""People on foot and on two wheels, and parked two-wheelers."""

from __future__ import annotations

import math

from depth_kd_training.simulation.palette import clothes, DARK_METAL, LAMP, paint, RUBBER, shade
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

_SKIN = ((0.78, 0.6, 0.48), (0.62, 0.44, 0.33), (0.4, 0.27, 0.2), (0.7, 0.52, 0.4))
_HAIR = ((0.08, 0.06, 0.05), (0.25, 0.16, 0.1), (0.5, 0.38, 0.2), (0.45, 0.44, 0.43))


def person(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float,
    speed: float = 0.0, detail: int = 2, lift: float = 0.0,
) -> None:  # fmt: skip
    """Let somebody of 1.1 to 1.95 m stand or walk; `lift` is the height of the pavement."""
    tall = float(rng.uniform(1.05, 1.4) if rng.random() < 0.12 else rng.normal(1.71, 0.09))
    z = builder.ground_at(x, y) + lift
    place = Place(builder, x, y, yaw, 'person', z=z, instance=builder.instance(), speed=speed)
    coat, trousers = clothes(rng), clothes(rng)
    swing = (0.28 if speed else 0.05) * (1 if rng.random() < 0.5 else -1)
    hip, neck, wide = 0.49 * tall, 0.83 * tall, 0.225 * tall
    foot = hip * math.sin(swing)
    for side in (-1, 1) if detail else (0,):
        ankle = (side * foot, side * 0.09, 0.02)
        place.rod(ankle, (0, side * 0.08, hip), 0.05 * tall, trousers)
    place.ball((0, 0, 0.66 * tall), (0.14 * tall, wide, 0.4 * tall), coat)
    head = Surface('plain', 1.0, shade(rng, pick(rng, _SKIN)), reflectivity=0.4)
    place.ball((0.01, 0, 0.925 * tall), (0.12 * tall, 0.1 * tall, 0.15 * tall), head)
    if detail:
        hair = Surface('plain', 1.0, pick(rng, _HAIR), reflectivity=0.15)
        place.ball((-0.02, 0, 0.945 * tall), (0.115 * tall, 0.11 * tall, 0.12 * tall), hair)
        for side in (-1, 1):
            hand = (-side * foot * 0.8, side * wide * 0.62, 0.47 * tall)
            place.rod(hand, (0, side * wide * 0.46, neck - 0.03), 0.028 * tall, coat)
        if rng.random() < 0.3:  # a bag
            place.box((-0.03, wide * 0.66, 0.32 * tall), (0.34, 0.14, 0.3), clothes(rng))


def rider(place: Place, rng: np.random.Generator, seat: float) -> None:
    """Sit somebody on a two-wheeler whose saddle is at a height."""
    coat, trousers = clothes(rng), clothes(rng)
    more = {'semantic': 'person'}
    for side in (-0.1, 0.1):
        place.rod((0.05, side, 0.3), (-0.12, side, seat), 0.075, trousers, **more)
        place.rod(
            (0.5, side * 2.2, seat + 0.15), (0.0, side * 1.9, seat + 0.5), 0.045, coat, **more
        )
    place.ball((-0.1, 0, seat + 0.3), (0.34, 0.42, 0.72), coat, pitch=0.25, **more)
    helmet = Surface('plain', 1.0, shade(rng, (0.5, 0.5, 0.5), 0.8), 0.3)
    place.ball((0.08, 0, seat + 0.76), (0.25, 0.2, 0.28), helmet, **more)


def two_wheeler(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float,
    speed: float = 0.0, lift: float = 0.0,
) -> None:  # fmt: skip
    """Park a bicycle or a motorcycle or, with a speed, let somebody ride it."""
    z = builder.ground_at(x, y) + lift
    place = Place(builder, x, y, yaw, 'bicycle', z=z, instance=builder.instance(), speed=speed)
    colour = paint(rng)
    if rng.random() < 0.7:
        radius, base, seat = 0.34, 0.52, 0.92
        for end in (-base, base):
            place.axle((end, 0, radius), radius, 0.045, RUBBER, cutout=0.5, pore=0.04)
        place.rod((-base, 0, radius), (-0.1, 0, 0.8), 0.02, colour)
        place.rod((-0.15, 0, 0.8), (0.42, 0, 0.85), 0.025, colour)
        place.rod((0.0, 0, 0.3), (0.42, 0, 0.8), 0.025, colour)
        place.rod((base, 0, radius), (0.4, 0, 0.98), 0.02, colour)
        place.box((-0.15, 0, 0.88), (0.24, 0.16, 0.06), RUBBER)
        place.box((0.4, 0, 0.98), (0.06, 0.56, 0.04), DARK_METAL)
    else:
        radius, base, seat = 0.3, 0.68, 0.82
        for end in (-base, base):
            place.axle((end, 0, radius), radius, 0.13, RUBBER)
        place.box((-0.05, 0, 0.28), (0.6, 0.3, 0.35), DARK_METAL)
        place.ball((0.2, 0, 0.82), (0.6, 0.32, 0.32), colour)
        place.box((-0.4, 0, 0.7), (0.75, 0.26, 0.13), RUBBER)
        place.rod((base, 0, radius), (0.45, 0, 1.0), 0.045, DARK_METAL)
        place.box((0.45, 0, 1.0), (0.07, 0.7, 0.05), DARK_METAL)
        place.ball((0.58, 0, 0.85), (0.14, 0.18, 0.18), LAMP)
    if speed:
        rider(place, rng, seat)
