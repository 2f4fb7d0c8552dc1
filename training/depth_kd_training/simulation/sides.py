"""What stands beside the road of a street world, by the kind of area."""

from __future__ import annotations

import math

from depth_kd_training.simulation import barriers, buildings, plants
from depth_kd_training.simulation import street_furniture as furniture
from depth_kd_training.simulation.people import person, two_wheeler
from depth_kd_training.simulation.place import pick
from depth_kd_training.simulation.road import END_M, Road
from depth_kd_training.simulation.traffic import nearness, park_across
from depth_kd_training.simulation.world import WorldBuilder
import numpy as np

BUDGET = 238  # solids, after which only what must be there is added


def full(builder: WorldBuilder, limit: int = BUDGET) -> bool:
    """Tell whether a world has that many solids."""
    return len(builder.solids) >= limit


def canyon(builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int) -> None:
    """Stand blocks of flats wall to wall at the back of the pavement."""
    front, usual = road.out(side, road.walk[side]), int(rng.integers(3, 8))
    for low, high in road.spans(1.5):
        x = low
        while x < high - 6:
            length = min(6.0 * int(rng.integers(2, 5)), high - x)
            storeys = max(2, usual + int(rng.integers(-1, 2)))
            detail = nearness(x + length / 2)
            buildings.block(builder, rng, (x, x + length), front, side, 12.0, storeys, detail,
                            road.curb)  # fmt: skip
            x += length
            if rng.random() < 0.12:  # a gap, behind a wall
                gap = float(rng.uniform(4, 9))
                if x + gap < high:
                    barriers.wall(builder, rng, (x, x + gap), front + side * 0.3, 2.2)
                    plants.tree(builder, rng, x + gap / 2, front + side * 5, 8.0, 0.0, 1, gap / 2)
                x += gap
    _backdrops(builder, rng, road, side, 48.0, (4, 9))


def residential(builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int) -> None:
    """Stand houses in gardens behind fences, hedges and walls."""
    line = road.out(side, road.walk[side])
    setback = float(rng.uniform(3.5, 7))
    for low, high in road.spans(4.0):
        x = low + float(rng.uniform(0, 4))
        while x < high - 9:
            length = min(float(rng.uniform(9, 14)), high - x)
            room = float(rng.uniform(4, 8))
            detail = nearness(x + length / 2)
            front = line + side * (setback + float(rng.uniform(-0.8, 0.8)))
            buildings.house(builder, rng, x + length / 2, front, side, length, detail, 0.15)
            ends, draw = (x - room / 2, x + length * 0.62), float(rng.random())
            if x < 75 and not full(builder, 195):
                _garden_front(builder, rng, ends, line + side * 0.35, draw)
            if x > -15 and not full(builder, 170) and rng.random() < 0.7:
                at = line + side * float(rng.uniform(1.6, setback - 1.2))
                tall, where = float(rng.uniform(4, 8.5)), x + length + room / 2
                if rng.random() < 0.65:
                    plants.tree(builder, rng, where, at, tall, 0.08, min(1, detail), 2.6)
                else:
                    plants.bush(builder, rng, where, at, float(rng.uniform(1.0, 2.2)), 0.05)
            x += length + room
    _backdrops(builder, rng, road, side, 40.0, (2, 4))


def _garden_front(
    builder: WorldBuilder, rng: np.random.Generator, x: tuple[float, float], y: float, draw: float
) -> None:
    """Close a garden to the pavement."""
    if draw < 0.3:
        plants.hedge(builder, rng, x, y, float(rng.uniform(0.9, 1.9)), 0.1)
    elif draw < 0.6:
        barriers.fence(builder, rng, x, y, float(rng.uniform(0.9, 1.6)), 0.12)
    elif draw < 0.85:
        barriers.wall(builder, rng, x, y, float(rng.uniform(0.6, 1.9)))


def suburb(builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int) -> None:
    """Line a road with trees on lawns; houses and halls stand far back."""
    verge = road.out(side, road.walk[side] + float(rng.uniform(2.0, 4.5)))
    step, height = float(rng.uniform(9, 18)), float(rng.uniform(7, 14))
    for x in np.arange(-18 + rng.uniform(0, step), 115, step).tolist():
        if road.free(x, 4) and not full(builder, 165 if side < 0 else 185) and rng.random() < 0.75:
            y = verge + float(rng.uniform(-0.7, 0.7))
            plants.tree(
                builder, rng, x, y, height * float(rng.uniform(0.8, 1.2)), 0.03, nearness(x)
            )
    back = road.out(side, road.walk[side] + float(rng.uniform(11, 20)))
    for x in np.arange(-10 + rng.uniform(0, 15), 125, 24).tolist():
        if road.free(x, 11) and rng.random() < 0.6 and not full(builder, 190):
            detail = min(1, nearness(x))
            if rng.random() < 0.8:
                buildings.house(builder, rng, x, back, side, float(rng.uniform(9, 14)), detail)
            else:
                buildings.hall(builder, rng, (x - 9, x + 9), back, side, detail)
    if rng.random() < 0.4 and not full(builder, 195):
        for span in road.spans(2.0):
            ends = (max(span[0], -12.0), min(span[1], 70.0))
            if ends[1] - ends[0] > 6:
                y = verge + side * 3.0
                barriers.fence(builder, rng, ends, y, 1.2, 0.03)
    elif rng.random() < 0.3:
        barriers.guard_rail(builder, *road.spans(3.0)[0], road.out(side, 0.5))
    far = road.out(side, 48.0)
    plants.wood(builder, rng, (-10.0, 120.0), (far, far), 7)


def highway(builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int) -> None:
    """Run guard rails along fields, woods or a noise barrier."""
    barriers.guard_rail(builder, -25.0, END_M, road.out(side, 0.6))
    draw = float(rng.random())
    if draw < 0.3:
        barriers.wall(builder, rng, (-25.0, 120.0), road.out(side, 3.5), float(rng.uniform(3, 5)))
    for x in np.arange(-10 + rng.uniform(0, 12), 120, 13).tolist():
        if rng.random() < 0.6 and not full(builder, 175):
            away = float(rng.uniform(6, 9)) if draw < 0.6 else float(rng.uniform(9, 30))
            y = road.out(side, away)
            if rng.random() < 0.6:
                tall = float(rng.uniform(5, 13))
                plants.tree(builder, rng, x, y, tall, 0.0, min(1, nearness(x)), away - 3.0)
            else:
                plants.bush(builder, rng, x, y, float(rng.uniform(1.5, 3.5)))
    far = road.out(side, float(rng.uniform(35, 60)))
    plants.wood(builder, rng, (0.0, 140.0), (far, far + side * 10), 6)


def works(builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int) -> None:
    """Stand halls behind yards, parking places, fences and parked trailers."""
    parking = rng.random() < 0.6
    back = road.out(side, road.walk[side] + (24.0 if parking else float(rng.uniform(6, 14))))
    for low, high in road.spans(4.0):
        x = low
        while x < high - 12:
            length = min(float(rng.uniform(18, 40)), high - x)
            detail = min(1, nearness(x + length / 2))
            buildings.hall(builder, rng, (x, x + length), back, side, detail)
            x += length + float(rng.uniform(4, 12))
    if parking:
        park_across(builder, rng, road, side, road.walk[side] + 1.2, 140 if side < 0 else 185)
    elif rng.random() < 0.8:
        for low, high in road.spans(3.0):
            ends = (max(low, -15.0), min(high, 90.0))
            if ends[1] - ends[0] > 8:
                y = road.out(side, road.walk[side] + 0.6)
                barriers.fence(builder, rng, ends, y, float(rng.uniform(1.6, 2.2)))
    _backdrops(builder, rng, road, side, 75.0, (3, 6))


def _backdrops(
    builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int, away: float,
    storeys: tuple[int, int],
) -> None:  # fmt: skip
    """Close the view between the buildings beside the road by some behind them."""
    for x in (15.0, 60.0, 105.0):
        at, y = x + float(rng.uniform(-8, 8)), road.out(side, away + float(rng.uniform(-4, 8)))
        size = (6.0 * int(rng.integers(4, 8)), 12.0)
        buildings.backdrop(builder, rng, at, y, size, int(rng.integers(*storeys)))


def furnish(builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int) -> None:
    """Set lamps, signs, trees, bins and the like between curb and pavement."""
    lift = road.curb if road.walk[side] else 0.0
    strip = road.out(side, 0.45 if road.walk[side] else 1.3)
    to_road, step = -side * math.pi / 2, float(rng.uniform(24, 36))
    tall = float(rng.uniform(6, 9)) if rng.random() < 0.75 else 4.2
    lamps = rng.random() < (0.35 if road.kind == 'highway' else 0.7)
    poles = np.arange(-14 + rng.uniform(0, 10), 100, step).tolist()
    wooden = not lamps and road.kind in ('residential', 'suburb', 'works')
    for x in poles:
        if not road.free(x, 1.0):
            continue
        if lamps:
            furniture.lamp(builder, x, strip, to_road, tall, lift)
        elif wooden:
            furniture.wooden_pole(builder, x, strip, 7.6, lift)
    if wooden:
        furniture.wires(builder, poles[:4], strip, 7.6 + lift, [-0.7, 0.7])
    trees = road.kind == 'canyon' and road.walk[side] > 3.2 and rng.random() < 0.6
    stop = BUDGET - 15 if side > 0 else BUDGET - 35
    for x in sorted(np.arange(-8.5, 75, 4.7).tolist(), key=lambda x: abs(x - 14)):
        x += float(rng.uniform(-0.6, 0.6))
        if full(builder, stop) or min(abs(x - p) for p in poles) < 1.2 or not road.free(x, 2.5):
            continue
        draw = float(rng.random())
        if draw < 0.14:
            furniture.sign(builder, rng, x, strip, lift)
        elif draw < 0.34 and trees:
            plants.tree(builder, rng, x, strip + side * 0.3, float(rng.uniform(5.5, 8)), lift,
                        min(1, nearness(x)), 2.4)  # fmt: skip
        elif draw < 0.5 and road.kind != 'highway':
            furniture.bin_or_box(builder, rng, x, strip + side * 0.1, lift)
        elif draw < 0.56 and road.kind in ('canyon', 'residential') and x < 40:
            two_wheeler(builder, rng, x, strip + side * 0.2, float(rng.normal(0, 0.2)), 0.0, lift)
        elif draw < 0.61 and road.walk[side] > 2.2:
            furniture.advertisement(builder, rng, x, strip + side * 0.4, lift)


def populate(builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int) -> None:
    """Let people stand and walk on the pavement, and wait for a bus."""
    if not road.walk[side]:
        return
    count = int(rng.poisson({'canyon': 4.5, 'residential': 1.6}.get(road.kind, 0.8)))
    taken: list[float] = []
    if road.walk[side] > 2.6 and rng.random() < 0.3 and not full(builder, BUDGET - 15):
        x = float(rng.uniform(8, 45))
        if road.free(x, 5):
            y = road.out(side, road.walk[side] - 1.2)
            furniture.shelter(builder, rng, x, y, -side * math.pi / 2, road.curb)
            taken = [x - 2, x, x + 2]
    inner = 1.15 if road.walk[side] > 2 else 0.9
    for x in sorted(rng.uniform(-8, 65, count).tolist()):
        if full(builder, BUDGET + 15) or not road.free(x) or any(abs(x - t) < 1.3 for t in taken):
            continue
        taken.append(x)
        y = road.out(side, float(rng.uniform(inner, max(inner + 0.05, road.walk[side] - 0.6))))
        walks = rng.random() < 0.75
        yaw = pick(rng, (0.0, math.pi)) if walks else float(rng.uniform(-3, 3))
        speed = float(rng.uniform(0.9, 1.7)) if walks else 0.0
        person(builder, rng, x, y, yaw, speed, min(2, nearness(x) + (x < 45)), road.curb)


SIDES = {
    'canyon': canyon, 'residential': residential, 'suburb': suburb, 'highway': highway,
    'works': works,
}  # fmt: skip
