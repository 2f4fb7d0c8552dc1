"""Trees, bushes, hedges and distant woods and hills."""

from __future__ import annotations

import math

from depth_kd_training.simulation.palette import BARK, lawn, leaves, shade
from depth_kd_training.simulation.place import Place
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np


def tree(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, height: float,
    lift: float = 0.0, detail: int = 2, room: float = 9.0,
) -> None:  # fmt: skip
    """Grow a broad-leaved tree, or a conifer, whose crown is at most `room` m from the trunk."""
    place = Place(builder, x, y, float(rng.uniform(-3, 3)), 'vegetation',
                  z=builder.ground_at(x, y) + lift)  # fmt: skip
    green = leaves(rng)
    holes, pore = float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.08, 0.18))
    radius = 0.012 * height + float(rng.uniform(0.03, 0.1))
    if rng.random() < 0.15:
        place.pole((0, 0, -0.3), radius, 0.3 + 0.3 * height, BARK)
        for i, (low, wide) in enumerate(((0.12, 0.4), (0.36, 0.3), (0.6, 0.2))[: 1 + detail]):
            tall = height * (1 - low) if i == min(detail, 2) else height * 0.42
            size = (min(2 * room, wide * height), min(2 * room, wide * height), tall)
            place.box((0, 0, low * height), size, green, taper=(0.85, 0.85), cutout=0.8 * holes,
                      pore=pore, yaw=0.6 * i)  # fmt: skip
        return
    stem = max(2.2, float(rng.uniform(0.28, 0.42)) * height)
    place.pole((0, 0, -0.3), radius, stem + 0.3 + 0.2 * height, BARK)
    crown = height - stem
    wide = min(2 * room, crown * float(rng.uniform(0.75, 1.15)))
    middle = stem + 0.5 * crown
    if not detail:
        place.ball((0, 0, middle), (wide, wide, crown), green, cutout=0.5 * holes, pore=2 * pore)
        return
    top = (0.58 * wide, 0.54 * wide, 0.7 * crown)
    place.ball((0.05 * wide, 0, middle + 0.15 * crown), top, green, cutout=holes, pore=pore)
    turns = 4 if detail > 1 else 2
    draws = rng.uniform(0.75, 1.1, (turns, 3)).tolist()
    for i, (out, share, rise) in enumerate(draws):
        angle = 2 * math.pi * (i + 0.5 * out) / turns
        aside = 0.26 * wide * out
        at = (aside * math.cos(angle), aside * math.sin(angle),
              stem + crown * (0.2 + 0.28 * rise * (i % 2) + 0.1 * share))  # fmt: skip
        size = (0.47 * wide * share, 0.44 * wide * share, 0.5 * crown * share)
        place.ball(at, size, green, cutout=holes, pore=pore,
                   pitch=0.5 * (share - 0.9), roll=0.6 * (out - 0.9))  # fmt: skip


def bush(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, size: float,
    lift: float = 0.0,
) -> None:  # fmt: skip
    """Grow a bush about as wide as `size` m."""
    place = Place(builder, x, y, float(rng.uniform(-3, 3)), 'vegetation',
                  z=builder.ground_at(x, y) + lift)  # fmt: skip
    long, tall = float(rng.uniform(1.0, 1.4)) * size, float(rng.uniform(0.6, 1.0)) * size
    place.ball((0, 0, 0.35 * tall), (long, size, tall), leaves(rng), cutout=0.35, pore=0.1)


def hedge(
    builder: WorldBuilder, rng: np.random.Generator, x: tuple[float, float], y: float,
    height: float, lift: float = 0.0, depth: float = 0.7,
) -> None:  # fmt: skip
    """Grow a clipped hedge along x, in parts that follow the ground."""
    green, parts = leaves(rng), max(1, round((x[1] - x[0]) / 15))
    step = (x[1] - x[0]) / parts
    for i in range(parts):
        place = Place(builder, x[0] + (i + 0.5) * step, y, 0.0, 'vegetation', tilt=True)
        size = (step + 0.2, depth, height + 0.3)
        place.box((0, 0, lift - 0.3), size, green, taper=(0.02, 0.15), cutout=0.3, pore=0.1)


def wood(
    builder: WorldBuilder, rng: np.random.Generator, x: tuple[float, float],
    y: tuple[float, float], count: int,
) -> None:  # fmt: skip
    """Close the view with the crowns of a wood from one corner to another."""
    for i in range(count):
        share = (i + 0.5) / count
        at = [a + share * (b - a) for a, b in (x, y)]
        step = math.hypot(x[1] - x[0], y[1] - y[0]) / count
        place = Place(builder, at[0], at[1], float(rng.uniform(-3, 3)), 'vegetation')
        height, wide = float(rng.uniform(8, 17)), step * float(rng.uniform(1.2, 1.8))
        place.ball((0, 0, 0.3 * height), (wide, wide, 1.4 * height), leaves(rng), cutout=0.12,
                   pore=0.6)  # fmt: skip


def hills(builder: WorldBuilder, rng: np.random.Generator, count: int = 3) -> None:
    """Raise hills at the horizon."""
    for i in range(count):
        x, y = float(rng.uniform(330, 480)), (i - (count - 1) / 2) * float(rng.uniform(150, 240))
        far = Place(builder, x, y, 0.0, 'ground')
        height = float(rng.uniform(12, 45))
        surface = lawn(rng) if rng.random() < 0.4 else Surface(
            'foliage', 8.0, shade(rng, (0.22, 0.3, 0.2)), reflectivity=0.4
        )  # fmt: skip
        size = (260.0, float(rng.uniform(260, 420)), 2 * height)
        far.ball((0, 0, -2.0), size, surface, semantic='vegetation' if height > 28 else '')
