"""Cars and vans, resting on the slope of the ground."""

from __future__ import annotations

from depth_kd_training.simulation.palette import (
    GLASS,
    LAMP,
    paint,
    PLATE,
    RED,
    RUBBER,
    shade,
)  # fmt: skip
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

# length, width, height m; length, middle and slopes of the cabin in shares of the length; ends
_SEDAN = (4.6, 1.8, 1.45, 0.56, -0.04, 0.48)
_HATCH = (4.0, 1.76, 1.5, 0.66, -0.13, 0.36)
_ESTATE = (4.65, 1.82, 1.48, 0.68, -0.12, 0.3)
_OFF_ROAD = (4.5, 1.88, 1.68, 0.66, -0.13, 0.28)
_SMALL = (3.5, 1.65, 1.52, 0.7, -0.09, 0.36)
CARS = (_SEDAN, _HATCH, _ESTATE, _OFF_ROAD, _SMALL)


def car(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float,
    speed: float = 0.0, detail: int = 2,
) -> None:  # fmt: skip
    """Park or drive a car; detail 0 to 2 decides on 5 to 14 solids."""
    length, width, height, cabin, back, slope = pick(rng, CARS)
    length, height = length * rng.uniform(0.95, 1.05), height * rng.uniform(0.97, 1.03)
    place = Place(builder, x, y, yaw, 'car', tilt=True, instance=builder.instance(), speed=speed)
    body = paint(rng)
    waist, radius = 0.6 * height, 0.3 + 0.03 * (height > 1.6)
    size = (cabin * length, width * 0.95, height - waist)
    if detail:
        place.box((0, 0, 0.2), (length, width, 0.42 * height - 0.2), body)
        upper = (length * 0.985, width, waist - 0.42 * height)
        place.box((0, 0, 0.42 * height), upper, body, taper=(0.06, 0.06))
    else:
        place.box((0, 0, 0.2), (length, width, waist - 0.2), body, taper=(0.03, 0.04))
    place.box((back * length, 0, waist), size, GLASS, taper=(slope, 0.26))
    roof = (size[0] * (1 - slope) * 1.02, size[1] * 0.76, 0.05)
    place.box((back * length, 0, height - 0.02), roof, body, taper=(0.05, 0.08))
    wheels(place, length * 0.29, width, radius, detail > 1)
    if detail:
        front = length / 2 - 0.05
        if detail == 1:
            place.box((front, 0, 0.36 * height), (0.12, width * 0.94, 0.13), LAMP)
            place.box((-front, 0, 0.4 * height), (0.12, width * 0.94, 0.12), RED)
        else:
            for side in (-1, 1):
                lamp = (front - 0.06, side * width * 0.39, 0.42 * height - 0.1)
                place.ball(lamp, (0.26, 0.3, 0.16), LAMP)
                place.box((-front, side * width * 0.41, 0.42 * height), (0.12, 0.24, 0.14), RED)
            end = 1 if x < 0 or abs(yaw) > 1.6 else -1  # the end that the path sees
            place.box((end * (length / 2), 0, 0.45), (0.04, 0.52, 0.12), PLATE)
            mirror = (back * length + size[0] * 0.34, 0, waist - 0.01)
            place.box(mirror, (0.12, width + 0.26, 0.12), body)


def wheels(place: Place, base: float, width: float, radius: float, four: bool) -> None:
    """Put wheels at x = +-base; axles as wide as the car stand for two wheels each."""
    for end in (-1, 1):
        if four:
            for side in (-1, 1):
                place.axle((end * base, side * (width / 2 - 0.1), radius), radius, 0.22, RUBBER)
        else:
            place.axle((end * base, 0, radius), radius, width + 0.02, RUBBER)


def van(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float,
    speed: float = 0.0, detail: int = 2,
) -> None:  # fmt: skip
    """Park or drive a delivery van of 4.9 to 6 m."""
    length, height = float(rng.uniform(4.9, 6.0)), float(rng.uniform(1.95, 2.5))
    width = 1.96
    place = Place(builder, x, y, yaw, 'car', tilt=True, instance=builder.instance(), speed=speed)
    body = paint(rng) if rng.random() < 0.5 else Surface('plain', 1.0, (0.8, 0.8, 0.79), 0.4)
    hold = length - 1.7
    place.box((-0.85, 0, 0.25), (hold, width, height - 0.25), body, taper=(0.02, 0.08))
    place.box((length / 2 - 0.9, 0, 0.25), (1.8, width, 0.8), body, taper=(0.08, 0.04))
    cab = (2.2, width * 0.96, height - 1.1)
    place.box((length / 2 - 1.45, 0, 1.05), cab, GLASS, taper=(0.6, 0.1))
    wheels(place, length * 0.31, width, 0.34, detail > 1)
    if detail:
        place.box((length / 2 - 0.05, 0, 0.62), (0.12, width * 0.92, 0.16), LAMP)
        place.box((-length / 2, 0, 0.9), (0.06, width * 0.96, 0.25), RED)
        place.box((-length / 2, 0, 1.25), (0.04, width * 0.7, 0.5), GLASS)
    if rng.random() < 0.4:
        sign = Surface('text', hold * 0.7, shade(rng, (0.75, 0.7, 0.6), 0.3), reflectivity=0.5)
        place.box((-0.85, 0, 1.1), (hold * 0.7, width + 0.02, 0.55), sign)
