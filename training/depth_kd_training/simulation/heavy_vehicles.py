"""Lorries, buses and parked trailers, resting on the slope of the ground."""

from __future__ import annotations

import math

from depth_kd_training.simulation.palette import (
    DARK_METAL,
    GLASS,
    LAMP,
    METAL,
    paint,
    RED,
    RUBBER,
    shade,
)  # fmt: skip
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np


def lorry(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float,
    speed: float = 0.0, detail: int = 2,
) -> None:  # fmt: skip
    """Park or drive a lorry of 7.5 to 12 m."""
    length = float(rng.uniform(7.5, 12.0))
    place = Place(builder, x, y, yaw, 'truck', tilt=True, instance=builder.instance(), speed=speed)
    cab, front = paint(rng), length / 2
    place.box((front - 1.0, 0, 0.45), (2.0, 2.4, 1.35), cab)
    place.box((front - 1.0, 0, 1.8), (1.98, 2.38, 0.75), GLASS, taper=(0.1, 0.06))
    place.box((front - 1.05, 0, 2.55), (1.85, 2.3, 0.35), cab, taper=(0.3, 0.1))
    place.box((-1.1, 0, 0.75), (length - 2.2, 1.2, 0.3), DARK_METAL)
    _load(place, rng, -1.15, length - 2.3)
    for at in (front - 1.3, -front + 1.2, -front + 2.5)[: 3 if detail else 2]:
        place.axle((at, 0, 0.5), 0.5, 2.44, RUBBER)
    if detail:
        place.box((front, 0, 0.6), (0.06, 2.2, 0.22), LAMP)
        place.box((-front, 0, 0.72), (0.06, 2.4, 0.2), RED)


def trailer(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float
) -> None:
    """Park a trailer of 6 to 13 m without its lorry."""
    length = float(rng.uniform(6.0, 13.0))
    place = Place(builder, x, y, yaw, 'truck', tilt=True, instance=builder.instance())
    place.box((0, 0, 0.75), (length, 1.2, 0.3), DARK_METAL)
    _load(place, rng, 0.0, length)
    for at in (-length / 2 + 1.0, -length / 2 + 2.2):
        place.axle((at, 0, 0.5), 0.5, 2.44, RUBBER)
    place.box((length / 2 - 1.5, 0, 0), (0.15, 1.3, 0.8), DARK_METAL)


def bus(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float,
    speed: float = 0.0, detail: int = 2,
) -> None:  # fmt: skip
    """Park or drive a bus of 10 to 12.5 m."""
    length, height = float(rng.uniform(10.0, 12.5)), float(rng.uniform(2.95, 3.3))
    place = Place(builder, x, y, yaw, 'truck', tilt=True, instance=builder.instance(), speed=speed)
    colours = ((0.75, 0.12, 0.1), (0.8, 0.7, 0.2), (0.15, 0.3, 0.55), (0.8, 0.8, 0.78))
    body = Surface('plain', 1.0, shade(rng, pick(rng, colours)), 0.4, reflectivity=0.4)
    place.box((0, 0, 0.3), (length, 2.5, 0.85), body)
    place.box((0, 0, 1.15), (length * 0.998, 2.48, height - 1.75), GLASS, taper=(0.01, 0.03))
    place.box((0, 0, height - 0.6), (length * 0.99, 2.44, 0.6), body, taper=(0.02, 0.08))
    for post in (-0.3, 0.0, 0.3)[: 3 * (detail > 0)]:
        place.box((post * length, 0, 1.15), (0.3, 2.5, height - 1.75), body)
    for at in (-0.28, 0.32):
        place.axle((at * length, 0, 0.48), 0.48, 2.52, RUBBER)
    if detail:
        line = Surface('text', 1.6, (0.8, 0.6, 0.15), reflectivity=0.5)
        place.box((length / 2, 0, height - 0.45), (0.06, 1.6, 0.3), line)
        place.box((length / 2, 0, 0.55), (0.06, 2.2, 0.2), LAMP)
        place.box((-length / 2, 0, 0.8), (0.06, 2.3, 0.25), RED)


def _load(place: Place, rng: np.random.Generator, x: float, length: float) -> None:
    """Put a closed box, a tank or open boards with a heap on a frame."""
    height, draw = float(rng.uniform(2.2, 2.8)), float(rng.random())
    if draw < 0.72:
        texture = pick(rng, ('plain', 'panels', 'corrugated', 'poster', 'fabric'))
        colours = ((0.75, 0.75, 0.73), (0.2, 0.3, 0.5), (0.6, 0.5, 0.3), (0.5, 0.15, 0.12))
        tile = length if texture == 'poster' else 1.5
        side = Surface(texture, tile, shade(rng, pick(rng, colours)), 0.1, reflectivity=0.45)
        place.box((x, 0, 1.05), (length, 2.5, height), side)
    elif draw < 0.86:
        half = (1.1, 1.2, length / 2)
        place.part(Kind.CYLINDER, (x, 0, 2.15), half, METAL, pitch=math.pi / 2)
    else:
        boards = Surface('metal', 1.0, shade(rng, (0.35, 0.35, 0.2)), reflectivity=0.3)
        place.box((x, 0, 1.05), (length, 2.5, 0.9), boards)
        heap = Surface('soil', 1.5, shade(rng, (0.4, 0.33, 0.25)))
        place.ball((x, 0, 1.9), (length * 0.85, 2.2, 1.2), heap)
