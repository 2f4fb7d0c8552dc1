"""Surfaces that several things share, and colours as one meets them."""

from __future__ import annotations

import bisect
import itertools

from depth_kd_training.simulation.place import pick
from depth_kd_training.simulation.world import Surface
import numpy as np

Colour = tuple[float, float, float]

RUBBER = Surface('plain', 1.0, (0.04, 0.04, 0.045), reflectivity=0.05)
METAL = Surface('metal', 1.0, (0.5, 0.52, 0.53), 0.25, reflectivity=0.35)
DARK_METAL = Surface('metal', 1.0, (0.13, 0.14, 0.15), 0.2, reflectivity=0.15)
GALVANISED = Surface('metal', 0.7, (0.6, 0.62, 0.63), 0.3, reflectivity=0.4)
RED = Surface('plain', 1.0, (0.62, 0.05, 0.05), 0.2, reflectivity=0.6)
WHITE = Surface('plain', 1.0, (0.82, 0.82, 0.8), 0.1, reflectivity=0.8)
ORANGE = Surface('plain', 1.0, (0.9, 0.32, 0.05), 0.1, reflectivity=0.7)
LAMP = Surface('plain', 1.0, (0.9, 0.9, 0.84), 0.4, reflectivity=0.7)
GLASS = Surface('plain', 1.0, (0.1, 0.12, 0.13), 0.8, glass=True, reflectivity=0.05)
CLEAR = Surface('plain', 1.0, (0.35, 0.4, 0.4), 0.8, glass=True, reflectivity=0.05)
PLATE = Surface('text', 0.52, (0.85, 0.85, 0.8), 0.1, reflectivity=0.9)
MARKING = Surface('concrete', 2.0, (0.85, 0.85, 0.83), reflectivity=0.7)
CONCRETE = Surface('concrete', 3.0, (0.55, 0.54, 0.52), reflectivity=0.3)
WOOD = Surface('wood', 1.2, (0.4, 0.28, 0.18), 0.1, reflectivity=0.35)
BARK = Surface('bark', 1.0, (0.3, 0.24, 0.19), reflectivity=0.3)

_CAR = (  # share, colour, reflectivity
    (0.22, (0.78, 0.78, 0.77), 0.6), (0.2, (0.06, 0.06, 0.07), 0.06),
    (0.2, (0.3, 0.31, 0.33), 0.2), (0.12, (0.55, 0.56, 0.57), 0.4),
    (0.09, (0.08, 0.14, 0.35), 0.12), (0.08, (0.5, 0.05, 0.06), 0.3),
    (0.03, (0.1, 0.25, 0.16), 0.15), (0.03, (0.42, 0.35, 0.26), 0.3),
    (0.03, (0.8, 0.62, 0.1), 0.5),
)  # fmt: skip


def shade(rng: np.random.Generator, colour: Colour, spread: float = 0.12) -> Colour:
    """Vary a colour's brightness and, less, its hue."""
    light, *hue = rng.uniform(-spread, spread, 4).tolist()
    r, g, b = (
        min(0.95, max(0.02, c * (1 + light + h / 3))) for c, h in zip(colour, hue, strict=True)
    )
    return r, g, b


def paint(rng: np.random.Generator) -> Surface:
    """Draw the paint of a car: mostly white, black, grey and silver."""
    shares, colours, reflectivities = zip(*_CAR, strict=True)
    index = bisect.bisect(list(itertools.accumulate(shares[:-1])), float(rng.random()))
    colour, reflectivity = colours[index], reflectivities[index]
    return Surface(
        'plain', 1.0, shade(rng, colour, 0.15), float(rng.uniform(0.3, 0.6)),
        reflectivity=reflectivity,
    )  # fmt: skip


def plaster(rng: np.random.Generator) -> Colour:
    """Draw the colour of a plastered or painted wall."""
    colours = (
        (0.78, 0.74, 0.66), (0.72, 0.66, 0.52), (0.66, 0.65, 0.62), (0.76, 0.62, 0.5),
        (0.6, 0.55, 0.48), (0.8, 0.79, 0.76), (0.63, 0.68, 0.64), (0.7, 0.5, 0.42),
        (0.5, 0.5, 0.5),
    )  # fmt: skip
    return shade(rng, pick(rng, colours))


def bricks(rng: np.random.Generator) -> Colour:
    """Draw the colour of bricks."""
    colours = ((0.5, 0.26, 0.2), (0.42, 0.24, 0.19), (0.58, 0.4, 0.3), (0.55, 0.48, 0.4))
    return shade(rng, pick(rng, colours))


def roofing(rng: np.random.Generator) -> Surface:
    """Draw the tiles of a roof."""
    colours = ((0.42, 0.2, 0.14), (0.24, 0.23, 0.24), (0.35, 0.22, 0.17), (0.3, 0.31, 0.33))
    return Surface('tiles', 1.2, shade(rng, pick(rng, colours)), reflectivity=0.25)


def clothes(rng: np.random.Generator) -> Surface:
    """Draw a garment."""
    colours = (
        (0.08, 0.08, 0.1), (0.12, 0.15, 0.28), (0.4, 0.4, 0.42), (0.6, 0.12, 0.12),
        (0.7, 0.68, 0.62), (0.2, 0.3, 0.2), (0.45, 0.36, 0.25), (0.15, 0.35, 0.5),
        (0.75, 0.6, 0.2),
    )  # fmt: skip
    texture = 'stripes' if rng.random() < 0.12 else 'fabric'
    tint = shade(rng, pick(rng, colours), 0.2)
    return Surface(texture, 0.3, tint, reflectivity=0.15 + 0.6 * sum(tint) / 3)


def leaves(rng: np.random.Generator) -> Surface:
    """Draw the foliage of a plant; some are yellow or brown."""
    colours = ((0.2, 0.32, 0.11), (0.26, 0.38, 0.14), (0.15, 0.25, 0.1), (0.3, 0.36, 0.15))
    colour = (0.5, 0.36, 0.13) if rng.random() < 0.08 else pick(rng, colours)
    return Surface('foliage', 0.9, shade(rng, colour, 0.2), reflectivity=0.4)


def lawn(rng: np.random.Generator) -> Surface:
    """Draw grass or, now and then, dry soil."""
    if rng.random() < 0.15:
        return Surface('soil', 3.0, shade(rng, (0.42, 0.35, 0.26)), reflectivity=0.3)
    return Surface('grass', 2.5, shade(rng, (0.3, 0.38, 0.17), 0.2), reflectivity=0.4)
