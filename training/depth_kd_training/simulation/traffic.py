"""The drive of a street world and the vehicles around it, driving and parked."""

from __future__ import annotations

import math

from depth_kd_training.simulation.heavy_vehicles import bus, lorry, trailer
from depth_kd_training.simulation.people import two_wheeler
from depth_kd_training.simulation.place import pick
from depth_kd_training.simulation.road import LEFT, RIGHT, Road
from depth_kd_training.simulation.vehicles import car, van
from depth_kd_training.simulation.world import WorldBuilder
import numpy as np

_SPEED = {'canyon': 9.0, 'residential': 7.0, 'suburb': 14.0, 'highway': 28.0, 'works': 9.0}


def nearness(x: float) -> int:
    """Say how finely to model something at x: 2 beside the drive, 0 far away."""
    return 2 if -3 < x < 26 else 1 if -14 < x < 56 else 0


def drive(rng: np.random.Generator, end: float) -> list[tuple[float, float, float]]:
    """Draw the poses of a drive along x, every 2.5 m, swaying a little within the lane."""
    aside, sway, wave = rng.uniform(-0.1, 0.1), rng.uniform(0, 0.08), rng.uniform(0.03, 0.12)
    phase, look = rng.uniform(0, 6.3), rng.normal(0, 0.012)
    return [
        (
            float(x), float(aside + sway * math.sin(wave * x + phase)),
            float(look + sway * wave * math.cos(wave * x + phase)),
        )
        for x in np.arange(0.0, end + 0.1, 2.5)
    ]  # fmt: skip


def vehicle(
    builder: WorldBuilder, rng: np.random.Generator, x: float, y: float, yaw: float, speed: float,
    heavy: float, detail: int,
) -> float:  # fmt: skip
    """Let some vehicle drive; `heavy` is the share of lorries and buses. Give its half length."""
    draw = float(rng.random())
    if draw < heavy:
        pick(rng, (lorry, lorry, bus))(builder, rng, x, y, yaw, speed, detail)
        return 6.3
    if draw < heavy + 0.12:
        van(builder, rng, x, y, yaw, speed, detail)
        return 3.1
    if draw < heavy + 0.18 and speed < 20:
        two_wheeler(builder, rng, x, y, yaw, speed)
        return 1.1
    car(builder, rng, x, y, yaw, speed, detail)
    return 2.5


def flow(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> float:
    """Fill the lanes with traffic and give the x at which the drive must end."""
    if road.jam:
        return queue(builder, rng, road)
    end, heavy = 40.0, {'highway': 0.3, 'works': 0.35, 'canyon': 0.15}.get(road.kind, 0.06)
    limit = len(builder.solids) + (32 if any(road.parking.values()) else 64)  # solids
    busy = float(rng.uniform(0.4, 1.3))
    for y, direction in road.lanes:
        own = abs(y) < 0.1
        speed = _SPEED[road.kind] * float(rng.uniform(0.7, 1.1))
        if rng.random() < 0.12:
            speed = 0.0  # they wait
        gap = (3.0 if speed == 0 else 6.0 + 0.5 * speed) / busy
        x = float(rng.uniform(22, 60) if own else rng.uniform(-20, 25))
        yaw = 0.0 if direction > 0 else math.pi
        for i in range(3 if len(road.lanes) > 2 else 4):
            if x > 115 or len(builder.solids) > limit:
                break
            sway, turn = y + float(rng.uniform(-0.2, 0.2)), yaw + float(rng.normal(0, 0.01))
            detail = 2 if own and i == 0 else nearness(x)
            half = vehicle(builder, rng, x, sway, turn, speed, heavy, detail)
            if own:
                end = min(end, x - half - 5.5)
            x += (half + 8.0 if speed == 0 else 14.0) + float(rng.exponential(gap))
    if rng.random() < 0.4:
        car(builder, rng, -float(rng.uniform(11, 18)), 0.0, 0.0, 4.5, 1)  # not faster than we
    return max(end, 0.0)


def queue(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> float:
    """Fill the lanes of the own direction bumper to bumper; give the x at which to stop."""
    speed, end = float(rng.uniform(0, 2)), 40.0
    for y, direction in road.lanes:
        if direction < 0:
            continue
        own = abs(y) < 0.1
        x = float(rng.uniform(12.5, 20) if own else rng.uniform(-9, 1))
        for i in range(4):
            detail = 2 if i == 0 else min(1, nearness(x))
            aside = y + float(rng.uniform(-0.15, 0.15))
            half = vehicle(builder, rng, x, aside, 0.0, speed, 0.3 if own else 0.42, detail)
            if own:
                end = min(end, x - half - 3.5)
            x += 2 * half + float(rng.uniform(2.0, 5.0)) + (6.3 - half)  # room for a lorry
    return max(end, 0.0)


def park(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> None:
    """Park cars along the curbs, those beside the drive first, up to some number of solids."""
    each = 25 if all(road.parking.values()) else 42
    for side in (RIGHT, LEFT):
        if not road.parking[side]:
            continue
        share, y = float(rng.uniform(0.35, 0.95)), road.edge[side] - side * 1.06
        yaw = math.pi if side == LEFT and len(road.lanes) > 1 else 0.0
        slots = np.arange(-20.0 + rng.uniform(0, 5), 105.0, 6.4)
        stop = len(builder.solids) + each
        for x in sorted(slots.tolist(), key=lambda x: abs(x - 16)):
            if len(builder.solids) > stop:
                break
            if not road.free(x, 8.5) or rng.random() > share:
                continue
            x += float(rng.uniform(-0.25, 0.25))
            turn, draw = yaw + float(rng.normal(0, 0.015)), float(rng.random())
            if draw < 0.84:
                car(builder, rng, x, y, turn, detail=nearness(x))
            elif draw < 0.95:
                van(builder, rng, x, y, turn, detail=nearness(x))
            else:
                two_wheeler(builder, rng, x, y + side * 0.3, turn + 0.3)


def park_across(
    builder: WorldBuilder, rng: np.random.Generator, road: Road, side: int, near: float, limit: int
) -> None:
    """Fill a parking place beside the road: cars side by side, lorries or trailers behind."""
    facing = side * math.pi / 2
    for x in np.arange(-12.0, 70.0, 2.7).tolist():
        if len(builder.solids) > limit:
            break
        if rng.random() < 0.45 and road.free(x, 5):
            turn = facing + math.pi * (rng.random() < 0.4) + float(rng.normal(0, 0.03))
            car(builder, rng, x, road.out(side, near + 2.8), turn, detail=min(1, nearness(x)))
    for x in (float(rng.uniform(-2, 25)), float(rng.uniform(45, 90))):
        if road.free(x, 14) and len(builder.solids) < limit + 15:
            y = road.out(side, near + 13.5)
            trailer(builder, rng, x, y, float(rng.choice((0.0, math.pi))))


def cross_traffic(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> None:
    """Let a car wait in the side road or turn into it."""
    if road.junction is None:
        return
    middle, side = sum(road.junction) / 2, pick(rng, (RIGHT, LEFT))
    y = road.out(side, float(rng.uniform(3.5, 12)))
    car(builder, rng, middle - side * 1.6, y, -side * math.pi / 2, 0.0, min(1, nearness(middle)))
