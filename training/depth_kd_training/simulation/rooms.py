"""The shell of a room: walls with windows and doors, a ceiling with lamps, the free floor."""

from __future__ import annotations

from dataclasses import dataclass, field
import math

from depth_kd_training.simulation.palette import CLEAR, DARK_METAL, LAMP, lawn, plaster, shade
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

CLEAR_M = 1.25  # around a pose of the path
THICK_M = 0.16
_BEYOND_M = 3.0  # depth of the space behind an open door


@dataclass
class Room:
    """
    Hold a room of length along x (from 0) and width along y (around 0), and what stands where.

    A wall is named by the yaw that looks from it into the room, in quarter turns: 0 is the wall at
    x = 0, 1 at the right, 2 at the far end, 3 at the left.
    """

    length: float
    width: float
    height: float
    path: list[tuple[float, float, float]]
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)  # x, y, halves
    windows: list[tuple[int, float, float]] = field(default_factory=list)  # wall, from, to
    doors: list[tuple[int, float, float]] = field(default_factory=list)

    def span(self, wall: int) -> float:
        """Give the length of a wall."""
        return self.width if wall % 2 == 0 else self.length

    def at(self, wall: int, along: float, off: float) -> tuple[float, float, float]:
        """Give x, y, yaw at a way along a wall (from its middle, to the left) and off it."""
        x, y = (
            (off, along), (self.length / 2 - along, off - self.width / 2),
            (self.length - off, -along), (self.length / 2 + along, self.width / 2 - off),
        )[wall]  # fmt: skip
        return x, y, wall * math.pi / 2

    def fits(self, x: float, y: float, yaw: float, size: tuple[float, float]) -> bool:
        """Tell whether a thing of a size fits, clear of the path; if so its floor is taken."""
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        a, b = (c * size[0] + s * size[1]) / 2, (s * size[0] + c * size[1]) / 2
        if x - a < 0.01 or x + a > self.length - 0.01 or abs(y) + b > self.width / 2 - 0.01:
            return False
        if any(abs(x - u) < a + i and abs(y - v) < b + j for u, v, i, j in self.taken):
            return False
        for u, v, _ in self.path:
            if math.hypot(max(0, abs(x - u) - a), max(0, abs(y - v) - b)) < CLEAR_M:
                return False
        self.taken.append((x, y, a, b))
        return True

    def beside_wall(
        self, rng: np.random.Generator, size: tuple[float, float], tall: bool = False,
        tries: int = 5, off: float = 0.03,
    ) -> tuple[float, float, float] | None:  # fmt: skip
        """Find a place x, y, yaw at a wall for a thing of depth and width, tall ones beside it."""
        for wall, share in rng.random((tries, 2)).tolist():
            side = int(4 * wall)
            reach = self.span(side) / 2 - size[1] / 2 - 0.05
            along = (2 * share - 1) * reach
            holes = self.windows + self.doors if tall else self.doors
            if reach < 0 or any(
                w == side and a - size[1] / 2 < along < b + size[1] / 2 for w, a, b in holes
            ):
                continue
            x, y, yaw = self.at(side, along, size[0] / 2 + off)
            if self.fits(x, y, yaw, size):
                return x, y, yaw
        return None

    def somewhere(
        self, rng: np.random.Generator, size: tuple[float, float], yaw: float, tries: int = 6
    ) -> tuple[float, float, float] | None:
        """Find a place x, y, yaw on the floor for a thing of a size."""
        for a, b in rng.random((tries, 2)).tolist():
            x, y = a * self.length, (b - 0.5) * self.width
            if self.fits(x, y, yaw, size):
                return x, y, yaw
        return None


def enclose(
    builder: WorldBuilder, rng: np.random.Generator, room: Room, skin: Surface, outside: set[int]
) -> None:
    """Raise the four walls: windows in those to the outside, doors in some of the others."""
    inside = [wall for wall in range(4) if wall not in outside]
    doorway = pick(rng, inside)
    trim = Surface('plain', 1.0, shade(rng, pick(rng, ((0.8, 0.79, 0.76), (0.4, 0.28, 0.18)))))
    for wall in range(4):
        span, holes = room.span(wall), []
        if wall in outside:
            wide, low = float(rng.uniform(1.1, 2.6)), float(rng.choice((0.05, 0.85, 0.95)))
            count = max(1, min(5, int(span / (wide + 0.8))))
            step = span / count
            holes = [
                (-span / 2 + (i + 0.5) * step - wide / 2, -span / 2 + (i + 0.5) * step + wide / 2,
                 low, min(2.3, room.height - 0.25))
                for i in range(count)
            ]  # fmt: skip
            room.windows += [(wall, a, b) for a, b, *_ in holes]
            _view(builder, rng, room, wall)
        elif wall == doorway:
            wide = min(float(rng.uniform(0.9, 1.8)), span - 0.6)
            middle = float(rng.uniform(-0.5, 0.5)) * (span - wide - 0.4)
            holes = [(middle - wide / 2, middle + wide / 2, 0.0, 2.1)]
            room.doors.append((wall, *holes[0][:2]))
            _space_behind(builder, rng, room, wall, middle)
        elif span > 3 and rng.random() < 0.5:
            door(builder, rng, room, wall, float(rng.uniform(-0.3, 0.3)) * span, trim)
        _wall(builder, room, wall, holes, skin, trim, rng.random() < 0.5)


def _wall(
    builder: WorldBuilder, room: Room, wall: int, holes: list[tuple[float, float, float, float]],
    skin: Surface, trim: Surface, panes: bool,
) -> None:  # fmt: skip
    """Raise a wall around its holes (from, to, bottom, top): windows are those above the floor."""
    place = Place(builder, *room.at(wall, 0.0, 0.0), semantic='wall')
    end, back = room.span(wall) / 2 + THICK_M, -THICK_M / 2
    edges = [-end, *(v for hole in holes for v in hole[:2]), end]
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        place.box((back, (start + stop) / 2, 0), (THICK_M, stop - start, room.height), skin)
    for start, stop, low, high in holes:
        middle, wide = (start + stop) / 2, stop - start
        place.box((back, middle, high), (THICK_M, wide, room.height - high), skin)
        if low > 0:
            place.box((back, middle, 0), (THICK_M, wide, low), skin)
            if panes:  # else the glass is too clean to be seen
                place.box((back, middle, low), (0.02, wide, high - low), CLEAR)
            place.box((back, middle, low), (0.06, 0.06, high - low), trim)
            place.box((0.05, middle, low - 0.03), (0.16, wide + 0.1, 0.03), trim)
        else:
            for y in (start - 0.03, stop + 0.03):
                place.box((back, y, 0), (THICK_M + 0.04, 0.07, high + 0.06), trim)


def door(
    builder: WorldBuilder, rng: np.random.Generator, room: Room, wall: int, along: float,
    trim: Surface,
) -> None:  # fmt: skip
    """Hang a closed door on a wall."""
    room.doors.append((wall, along - 0.55, along + 0.55))
    place = Place(builder, *room.at(wall, along, 0.0), semantic='wall')
    leaf = Surface('wood', 1.0, shade(rng, trim.tint, 0.3), 0.05, reflectivity=0.4)
    place.box((0, 0, 0), (0.05, 1.02, 2.1), trim)
    place.box((0.02, 0, 0.01), (0.05, 0.9, 2.02), leaf)
    place.box((0.06, 0.36, 1.02), (0.08, 0.12, 0.03), DARK_METAL, semantic='object')


def _view(builder: WorldBuilder, rng: np.random.Generator, room: Room, wall: int) -> None:
    """Put land and a building opposite before the windows of a wall."""
    place = Place(builder, *room.at(wall, 0.0, 0.0), semantic='building')
    away = float(rng.uniform(10, 28))
    facade = Surface('facade', 3.0, plaster(rng), reflectivity=0.35)
    size = (10.0, 36.0, 3.0 * float(rng.integers(2, 6)))
    place.box((-away - 5, float(rng.uniform(-8, 8)), 0), size, facade)
    place.box((-50.2, 0, 0), (100.0, 200.0, 0.03), lawn(rng), semantic='ground')


def _space_behind(
    builder: WorldBuilder, rng: np.random.Generator, room: Room, wall: int, along: float
) -> None:
    """Put a closed space, a hall or another room, behind an open door."""
    place = Place(builder, *room.at(wall, along, 0.0), semantic='wall')
    skin = Surface('plaster', 2.0, plaster(rng), reflectivity=0.5)
    back, high = -THICK_M - _BEYOND_M, 2.7
    place.box((back, 0, 0), (0.1, 6.0, high), skin)
    for y in (-3.0, 3.0):
        place.box((back / 2 - THICK_M / 2, y, 0), (_BEYOND_M + 0.1, 0.1, high), skin)
    size = (_BEYOND_M + 0.1, 6.0, 0.1)
    place.box((back / 2 - THICK_M / 2, 0, high), size, skin, semantic='ceiling')
    if rng.random() < 0.6:
        poster = Surface('poster', 0.9, (0.8, 0.8, 0.8), reflectivity=0.5)
        place.box((back + 0.06, 0.1, 1.2), (0.03, 0.9, 0.7), poster, semantic='object')


def cover(builder: WorldBuilder, rng: np.random.Generator, room: Room, lamps: int) -> None:
    """Lay the ceiling and hang lamps in a grid: panels, tubes or balls."""
    place = Place(builder, room.length / 2, 0.0, 0.0, 'ceiling')
    texture = 'panels' if rng.random() < 0.4 else 'plaster'
    white = Surface(texture, 1.2, shade(rng, (0.78, 0.78, 0.76), 0.08), reflectivity=0.6)
    size = (room.length + 2 * THICK_M, room.width + 2 * THICK_M, 0.2)
    place.box((0, 0, room.height), size, white)
    rows = max(1, round(math.sqrt(lamps * room.width / room.length)))
    columns = max(1, lamps // rows)
    draw = float(rng.random()) * (0.7 if room.height < 2.75 else 1.0)
    for i in range(rows * columns):
        x = ((i % columns + 0.5) / columns - 0.5) * room.length
        y = ((i // columns + 0.5) / rows - 0.5) * room.width
        if draw < 0.4:
            place.box((x, y, room.height - 0.03), (1.2, 0.6, 0.04), LAMP, semantic='object')
        elif draw < 0.7:
            place.box((x, y, room.height - 0.12), (1.5, 0.12, 0.08), LAMP, semantic='object')
        else:
            drop = min(0.6, room.height - 2.4)
            place.pole((x, y, room.height - drop), 0.01, drop, DARK_METAL, semantic='wire')
            at = (x, y, room.height - drop)
            place.ball(at, (0.34, 0.34, 0.28), LAMP, semantic='object')


def hang(builder: WorldBuilder, rng: np.random.Generator, room: Room, count: int) -> None:
    """Hang pictures, notices, mirrors, clocks and radiators on the walls."""
    kept = [*room.windows, *room.doors]
    for a, b, c, d in rng.random((count, 4)).tolist():
        wall, wide = int(4 * a), 0.4 + 1.0 * c
        along = (b - 0.5) * (room.span(wall) - wide - 0.4)
        if any(w == wall and s - wide / 2 - 0.1 < along < e + wide / 2 + 0.1
               for w, s, e in kept):  # fmt: skip
            continue
        kept.append((wall, along - wide / 2, along + wide / 2))
        place = Place(builder, *room.at(wall, along, 0.0), semantic='object')
        if d < 0.5:
            place.box((0.015, 0, 1.25), (0.03, wide, 0.4 + 0.5 * c), DARK_METAL)
            face = Surface('poster' if d < 0.35 else 'text', wide, (0.8, 0.8, 0.78), 0.03)
            place.box((0.02, 0, 1.29), (0.03, wide - 0.08, 0.32 + 0.5 * c), face)
        elif d < 0.65:
            mirror = Surface('plain', 1.0, (0.35, 0.37, 0.38), 0.9, glass=True, reflectivity=0.05)
            place.box((0.015, 0, 0.7), (0.03, 0.7, 1.1), mirror)
        elif d < 0.85:
            steel = Surface('stripes', 0.5, (0.8, 0.8, 0.78), reflectivity=0.6)
            place.box((0.07, 0, 0.12), (0.1, wide, 0.55), steel)
        else:
            clock = Surface('text', 0.3, (0.8, 0.8, 0.8), reflectivity=0.6)
            place.rod((0.0, 0, 1.95), (0.04, 0, 1.95), 0.15, clock)
