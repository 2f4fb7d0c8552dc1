"""What furnishes a room, by its kind."""

from __future__ import annotations

import math

from depth_kd_training.simulation import furniture, rooms
from depth_kd_training.simulation.palette import DARK_METAL, METAL, shade
from depth_kd_training.simulation.people import person
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.rooms import Room
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

BUDGET = 215  # solids, after which nothing is added


def full(builder: WorldBuilder, limit: int = BUDGET) -> bool:
    """Tell whether a room has that many solids."""
    return len(builder.solids) >= limit


def office(builder: WorldBuilder, rng: np.random.Generator, room: Room) -> None:
    """Set desks with chairs, back to back or at the walls, shelves and cabinets."""
    yaw = pick(rng, (0.0, math.pi / 2, math.pi))
    for i in range(22):
        if full(builder, 165):
            break
        width = float(rng.uniform(1.3, 1.7))
        if i < 5:  # at a wall, its front to the room
            found = room.beside_wall(rng, (1.7, width))
        else:
            found = room.somewhere(rng, (1.7, width), yaw)
        if found:
            x, y, turn = found
            ahead, aside = math.cos(turn), math.sin(turn)
            place = furniture.stand(builder, x - 0.44 * ahead, y - 0.44 * aside, turn)
            furniture.desk(place, rng, width)
            seat = furniture.stand(
                builder, x + 0.42 * ahead, y + 0.42 * aside,
                turn + math.pi + float(rng.normal(0, 0.25)),
            )  # fmt: skip
            furniture.chair(seat, rng)
    storage(builder, rng, room, 8)


def storage(builder: WorldBuilder, rng: np.random.Generator, room: Room, count: int) -> None:
    """Set shelves and cabinets at the walls."""
    for _ in range(count):
        if full(builder, 195):
            return
        width, height = float(rng.uniform(0.7, 1.3)), float(rng.uniform(0.8, 2.1))
        if rng.random() < 0.5:
            found = room.beside_wall(rng, (0.34, width), height > 0.9)
            if found:
                furniture.shelf(furniture.stand(builder, *found), rng, width, height)
        else:
            found = room.beside_wall(rng, (0.5, width), height > 0.9)
            if found:
                furniture.cabinet(furniture.stand(builder, *found), rng, (0.48, width, height))


def living(builder: WorldBuilder, rng: np.random.Generator, room: Room) -> None:
    """Set a sofa with a low table, a television, a table with chairs, shelves."""
    width = float(rng.uniform(1.6, 2.4))
    found = room.beside_wall(rng, (1.9, width), tries=16)
    if found:
        x, y, turn = found
        ahead, aside = math.cos(turn), math.sin(turn)
        furniture.sofa(
            furniture.stand(builder, x - 0.48 * ahead, y - 0.48 * aside, turn), rng, width
        )
        low = furniture.stand(builder, x + 0.6 * ahead, y + 0.6 * aside, turn)
        furniture.table(low, rng, (0.6, 1.1), 0.42)
        rug = Surface('carpet', 1.2, furniture.cloth(rng).tint, reflectivity=0.35)
        low.box((0, 0, 0), (1.8, 2.4, 0.015), rug, semantic='ground')
    found = room.beside_wall(rng, (0.42, 1.6), tries=12)
    if found:
        furniture.television(furniture.stand(builder, *found), rng)
    dining(builder, rng, room)
    for _ in range(2):
        found = room.beside_wall(rng, (0.95, 0.95), tries=6)
        if found:
            furniture.sofa(furniture.stand(builder, *found), rng, 0.92)
    storage(builder, rng, room, 8)


def dining(builder: WorldBuilder, rng: np.random.Generator, room: Room) -> None:
    """Set a table with chairs on both long sides."""
    width, yaw = float(rng.uniform(1.2, 2.0)), pick(rng, (0.0, math.pi / 2))
    found = room.somewhere(rng, (2.1, width), yaw, 14) or room.beside_wall(rng, (2.1, width))
    if not found:
        return
    place = furniture.stand(builder, *found)
    furniture.table(place, rng, (0.85, width), 0.74)
    for side in (-1, 1):
        for along in (-0.25, 0.25):
            x, y, _ = place.point(side * float(rng.uniform(0.55, 0.72)), along * width, 0)
            turn = found[2] + (math.pi if side > 0 else 0.0) + float(rng.normal(0, 0.1))
            furniture.chair(furniture.stand(builder, x, y, turn), rng)


def bedroom(builder: WorldBuilder, rng: np.random.Generator, room: Room) -> None:
    """Set a bed with a bedside table, a wardrobe, a desk."""
    width = pick(rng, (0.95, 1.45, 1.7))
    found = room.beside_wall(rng, (2.12, width), tries=20)
    if found:
        furniture.bed(furniture.stand(builder, *found), rng, width)
        side = Place(builder, *found)
        x, y, _ = side.point(-0.8, width / 2 + 0.3, 0)
        if room.fits(x, y, found[2], (0.4, 0.45)):
            furniture.cabinet(furniture.stand(builder, x, y, found[2]), rng, (0.38, 0.42, 0.5))
    found = room.beside_wall(rng, (0.62, 1.8), True, 12)
    if found:
        furniture.cabinet(furniture.stand(builder, *found), rng, (0.6, 1.75, 2.1))
    found = room.beside_wall(rng, (0.8, 1.25), tries=10)
    if found:
        furniture.desk(furniture.stand(builder, *found), rng, 1.2)
    storage(builder, rng, room, 5)


def corridor(builder: WorldBuilder, rng: np.random.Generator, room: Room) -> None:
    """Line a corridor with doors; extinguishers and boards hang between them."""
    trim = Surface('plain', 1.0, shade(rng, pick(rng, ((0.75, 0.74, 0.7), (0.45, 0.3, 0.2)))))
    red = Surface('plain', 1.0, (0.6, 0.05, 0.05), 0.1, reflectivity=0.4)
    for wall in (1, 3):
        step = float(rng.uniform(2.6, 5.5))
        for along in np.arange(-room.length / 2 + 1.2, room.length / 2 - 1, step).tolist():
            blocked = any(w == wall and a - 1 < along < b + 1 for w, a, b in room.doors)
            if not blocked and rng.random() < 0.75:
                rooms.door(builder, rng, room, wall, along, trim)
                if rng.random() < 0.5:
                    place = Place(builder, *room.at(wall, along + 0.75, 0.0))
                    plate = Surface('text', 0.25, (0.8, 0.8, 0.78), reflectivity=0.6)
                    place.box((0.01, 0, 1.5), (0.02, 0.25, 0.18), plate, semantic='sign')
                elif rng.random() < 0.2:
                    place = Place(builder, *room.at(wall, along + 0.85, 0.0))
                    place.pole((0.06, 0, 0.6), 0.055, 0.45, red)
    pipe = Place(builder, 0.0, room.width / 2 - 0.15)
    if rng.random() < 0.5:
        at = room.height - 0.2
        pipe.rod((0.0, 0, at), (room.length, 0, at), 0.05, METAL)


def store(builder: WorldBuilder, rng: np.random.Generator, room: Room) -> None:
    """Set racks in rows along the hall, columns, girders and stacks of crates."""
    height, width = float(rng.uniform(3.0, room.height - 1.2)), float(rng.uniform(2.4, 3.2))
    for side in (-1, 1):
        y = side * (room.width / 2 - 0.75)
        while side * y > 0.8 and not full(builder, 160):
            for i in range(int((room.length - 3) / (width + 0.12))):
                x = 1.5 + (i + 0.5) * (width + 0.12)
                if rng.random() > 0.8 or full(builder, 165):
                    continue
                if room.fits(x, y, math.pi / 2, (1.25, width)):
                    place = furniture.stand(builder, x, y, side * -math.pi / 2)
                    furniture.rack(place, rng, width, height)
            y -= side * float(rng.uniform(4.2, 5.5))
    for x in np.arange(3, room.length, 6).tolist():
        girder = Place(builder, x, 0.0, 0.0, 'ceiling')
        girder.box((0, 0, room.height - 0.6), (0.2, room.width, 0.5), METAL, cutout=0.4, pore=0.3)
        for y in (-0.12, 0.12):
            if room.fits(x, y * room.width, 0.0, (0.35, 0.35)):
                column = Place(builder, x, y * room.width, 0.0, 'pole')
                column.box((0, 0, 0), (0.28, 0.28, room.height), METAL)


def strew(builder: WorldBuilder, rng: np.random.Generator, room: Room, kind: str) -> None:
    """Put plants, lamps, bins, cartons, coats and people where there is room."""
    for draw in rng.random(16 if kind == 'store' else 12).tolist():
        if full(builder):
            return
        if kind == 'store' or draw < 0.25:
            size = float(rng.uniform(0.7, 1.1) if kind == 'store' else rng.uniform(0.3, 0.5))
            found = room.somewhere(rng, (size * 1.3, size * 1.3), 0.0)
            if found:
                count = int(rng.integers(1, 4))
                furniture.boxes(furniture.stand(builder, *found), rng, count, size)
        elif draw < 0.65:
            thing = pick(rng, (furniture.plant, furniture.lamp, furniture.hanger, furniture.plant))
            found = room.beside_wall(rng, (0.6, 0.6))
            if found:
                thing(furniture.stand(builder, *found), rng)
        elif draw < 0.8:
            found = room.beside_wall(rng, (0.32, 0.32))
            if found:
                furniture.stand(builder, *found).pole((0, 0, 0), 0.14, 0.34, DARK_METAL)
    for _ in range(int(rng.poisson(0.9))):
        found = room.somewhere(rng, (0.7, 0.7), float(rng.uniform(-3, 3)), 10)
        if found:
            person(builder, rng, *found)


FURNISH = {
    'office': office, 'living': living, 'bedroom': bedroom, 'corridor': corridor,
    'store': store,
}  # fmt: skip
