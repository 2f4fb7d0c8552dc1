"""Places of a world where things stand: parts are given in metres of the thing's own frame."""

from __future__ import annotations

import itertools
import math
from typing import Any, TypeVar

from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.world import Solid, Surface, WorldBuilder
import numpy as np

Point = tuple[float, float, float]
T = TypeVar('T')


class Place:
    """
    Hold the frame of one thing: x forward, y left, z up, its origin on the ground.

    A tilted place follows the slope of the ground, as cars do; others stand upright, as poles do.
    """

    def __init__(
        self, builder: WorldBuilder, x: float, y: float, yaw: float = 0.0,
        semantic: str = 'object', z: float | None = None, tilt: bool = False,
        instance: int = 0, speed: float = 0.0,
    ) -> None:  # fmt: skip
        """Stand on the ground (or at height z) at x, y; `speed` m/s is along the own x axis."""
        self.builder, self.semantic, self.instance = builder, semantic, instance
        self.x, self.y, self.yaw = x, y, yaw
        self.z = builder.ground_at(x, y) if z is None else z
        c, s = math.cos(yaw), math.sin(yaw)
        self.pitch = self.roll = 0.0
        if tilt:
            a, b = builder.ground_slope[0] + 2 * builder.ground_bend * x, builder.ground_slope[1]
            self.pitch = -math.atan(a * c + b * s)
            self.roll = math.atan((b * c - a * s) * math.cos(self.pitch))
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        self._axes = (
            (c * cp, s * cp, -sp),
            (c * sp * sr - s * cr, s * sp * sr + c * cr, cp * sr),
            (c * sp * cr + s * sr, s * sp * cr - c * sr, cp * cr),
        )
        ahead = self._axes[0]
        self.velocity = (speed * ahead[0], speed * ahead[1], speed * ahead[2])

    def point(self, x: float, y: float, z: float) -> Point:
        """Give the world coordinates of a point of the own frame."""
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = self._axes
        return (
            self.x + ax * x + bx * y + cx * z,
            self.y + ay * x + by * y + cy * z,
            self.z + az * x + bz * y + cz * z,
        )

    def part(
        self, kind: Kind, centre: Point, half: Point, surface: Surface, yaw: float = 0.0,
        pitch: float = 0.0, roll: float = 0.0, taper: tuple[float, float] = (0.0, 0.0),
        cutout: float = 0.0, pore: float = 0.1, semantic: str = '',
    ) -> None:  # fmt: skip
        """Add a solid whose centre and angles are those of the own frame."""
        self.builder.solids.append(
            Solid(
                kind, self.point(*centre), half, semantic or self.semantic, surface,
                self.yaw + yaw, self.pitch + pitch, self.roll + roll, taper, cutout, pore,
                self.velocity, self.instance,
            )
        )  # fmt: skip

    def box(self, at: Point, size: Point, surface: Surface, **more: Any) -> None:
        """Add a box of a size (length, width, height) m; `at` is the middle of its bottom."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.part(Kind.FRUSTUM, (at[0], at[1], at[2] + half[2]), half, surface, **more)

    def pole(self, at: Point, radius: float, height: float, surface: Surface, **more: Any) -> None:
        """Add an upright cylinder; `at` is the middle of its bottom."""
        half = (radius, radius, height / 2)
        self.part(Kind.CYLINDER, (at[0], at[1], at[2] + height / 2), half, surface, **more)

    def ball(self, at: Point, size: Point, surface: Surface, **more: Any) -> None:
        """Add an ellipsoid of a size m around its centre `at`."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.part(Kind.ELLIPSOID, at, half, surface, **more)

    def axle(self, at: Point, radius: float, width: float, surface: Surface, **more: Any) -> None:
        """Add a cylinder that lies along the own y axis, as a wheel; `at` is its centre."""
        half = (radius, radius, width / 2)
        self.part(Kind.CYLINDER, at, half, surface, roll=math.pi / 2, **more)

    def rod(self, start: Point, end: Point, radius: float, surface: Surface, **more: Any) -> None:
        """Add a cylinder from one point of an upright place to another."""
        x, y, z = (b - a for a, b in zip(start, end, strict=True))
        length = math.sqrt(x * x + y * y + z * z)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        self.part(
            Kind.CYLINDER, middle, (radius, radius, length / 2), surface,
            yaw=math.atan2(y, x), pitch=math.acos(z / length), **more,
        )  # fmt: skip


def strip(
    builder: WorldBuilder, xs: list[float], y: tuple[float, float], z: tuple[float, float],
    surface: Surface, semantic: str, **more: Any,
) -> None:  # fmt: skip
    """Lay boxes between the stations xs that follow the ground: y from..to, z above it."""
    for start, end in itertools.pairwise(xs):
        place = Place(builder, (start + end) / 2, sum(y) / 2, semantic=semantic, tilt=True)
        length = (end - start) / math.cos(place.pitch)
        place.box((0, 0, z[0]), (length, y[1] - y[0], z[1] - z[0]), surface, **more)


def pick(rng: np.random.Generator, choices: tuple[T, ...] | list[T]) -> T:
    """Choose one of the choices."""
    return choices[int(rng.random() * len(choices))]
