"""Streets: city canyons, homes in gardens, suburban roads, motorways and works."""

from __future__ import annotations

import math

from depth_kd_training.simulation import barriers, buildings, plants
from depth_kd_training.simulation import street_furniture as furniture
from depth_kd_training.simulation.palette import lawn, shade
from depth_kd_training.simulation.people import person
from depth_kd_training.simulation.place import pick, Place
from depth_kd_training.simulation.road import (
    draw_road,
    lay_pavements,
    lay_verges,
    LEFT,
    mark,
    RIGHT,
    Road,
)  # fmt: skip
from depth_kd_training.simulation.sides import full, furnish, populate, SIDES
from depth_kd_training.simulation.traffic import cross_traffic, drive, flow, park
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np


def build(rng: np.random.Generator, jam: bool | None = None) -> WorldBuilder:
    """
    Draw a street: the sensors drive along x from 0 to at most 40 m, in their lane.

    `jam` says whether vehicles queue on both sides; by default some streets are so.
    """
    builder, road = WorldBuilder(), draw_road(rng, jam)
    _lay_ground(builder, rng, road)
    lay_pavements(builder, rng, road)
    mark(builder, rng, road)
    park(builder, rng, road)
    end = flow(builder, rng, road)
    for side in (RIGHT, LEFT):
        SIDES[road.kind](builder, rng, road, side)
    if road.kind == 'highway':
        middle = max(y for y, direction in road.lanes if direction > 0) + road.lane / 2
        barriers.guard_rail(builder, -25.0, 130.0, middle + 0.9)
    _close_view(builder, rng, road)
    builder.path = drive(rng, end)
    _span(builder, rng, road, end)
    for side in (RIGHT, LEFT):
        furnish(builder, rng, road, side)
    if not full(builder):
        cross_traffic(builder, rng, road)
    for side in (RIGHT, LEFT):
        populate(builder, rng, road, side)
    _disturb(builder, rng, road, end)
    light(builder, rng)
    return mirrored(builder) if rng.random() < 0.3 else builder


def _lay_ground(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> None:
    """Slope and bend the ground, and cover what is beside the road."""
    steep = 0.012 if road.kind in ('highway', 'works') else 0.025
    builder.ground_slope = (
        float(np.clip(rng.normal(0, steep), -0.06, 0.06)),
        float(np.clip(rng.normal(0, 0.008), -0.02, 0.02)),
    )
    builder.ground_bend = float(rng.uniform(-0.00015, 0))  # a dip would close off the sky
    grey, texture = float(rng.uniform(0.2, 0.36)), 'asphalt'
    if road.kind in ('canyon', 'residential') and rng.random() < 0.15:
        texture, grey = 'cobbles', grey + 0.06
    tint = shade(rng, (grey, grey, grey * 1.02), 0.05)
    shine = float(rng.uniform(0.1, 0.3)) if rng.random() < 0.1 else 0.0  # after rain
    builder.ground_surface = Surface(texture, 4.0, tint, shine, reflectivity=0.1 + 0.3 * grey)
    if road.kind in ('residential', 'suburb', 'highway'):
        top = 0.1 if road.kind == 'residential' else 0.06
        lay_verges(builder, road, lawn(rng), 'ground', top, 90.0)


def _close_view(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> None:
    """End the road: by a building across it, woods or hills."""
    low, high = road.edge[RIGHT], road.edge[LEFT]
    if road.kind == 'canyon':
        storeys = int(rng.integers(4, 10))
        buildings.backdrop(builder, rng, 150.0, (low + high) / 2, (12.0, 72.0), storeys)
        return
    draw = float(rng.random())
    if draw < 0.55 and road.kind != 'highway':
        plants.wood(builder, rng, (150.0, 155.0), (low - 45, high + 45), 9)
    else:
        plants.wood(builder, rng, (140.0, 175.0), (low - 60, low - 4), 5)
        plants.wood(builder, rng, (175.0, 140.0), (high + 4, high + 60), 5)
        if draw > 0.65:
            plants.hills(builder, rng)


def _span(builder: WorldBuilder, rng: np.random.Generator, road: Road, end: float) -> None:
    """Lead something across the road in some worlds: a bridge, a gantry, wires or lights."""
    edges = (road.edge[RIGHT] - 1.2, road.edge[LEFT] + 1.2)
    draw = float(rng.random())
    if road.kind == 'highway':
        if draw < 0.35:
            barriers.bridge(builder, rng, float(rng.uniform(35, 90)), edges)
        elif draw < 0.7:
            barriers.gantry(builder, rng, float(rng.uniform(12, 80)), edges)
    elif road.kind == 'suburb' and draw < 0.2 and road.junction is None:
        barriers.bridge(builder, rng, float(rng.uniform(50, 95)), edges)
    elif road.kind == 'canyon' and draw < 0.3:
        half = (edges[1] - edges[0]) / 2 + min(road.walk.values()) - 1.3
        for x in np.arange(rng.uniform(4, 12), 70, 21).tolist():
            place = Place(builder, x, (edges[0] + edges[1]) / 2, 0.0, 'wire')
            place.rod((0, -half, 6.6), (0, half, 6.6), 0.012, _WIRE)
            place.box((0, 0, 6.1), (0.5, 0.5, 0.4), _WIRE, semantic='object')
    if road.junction and rng.random() < 0.6:
        reach = float(rng.uniform(3, 5)) if rng.random() < 0.5 else 0.0
        for side in (RIGHT, LEFT):
            y, lift = road.out(side, 0.5), road.curb if road.walk[side] else 0.06
            furniture.traffic_light(builder, rng, road.junction[0] - 1.0, y, -side * math.pi / 2,
                                    lift, reach if side < 0 else 0.0)  # fmt: skip
        if end < road.junction[0] - 8 and rng.random() < 0.5 and _lead(builder) > road.junction[0]:
            for y in rng.uniform(-1.5, 5, 2).tolist():
                yaw = pick(rng, (-1.57, 1.57))
                person(builder, rng, road.junction[0] - 3.2 + y / 9, y, yaw, 1.3)


def _lead(builder: WorldBuilder) -> float:
    """Give the x of the nearest vehicle ahead in the own lane."""
    ahead = (s.centre[0] for s in builder.solids if s.instance and abs(s.centre[1]) < 0.5
             and s.semantic in ('car', 'truck') and s.centre[0] > 0)  # fmt: skip
    return min(ahead, default=math.inf)


def _disturb(builder: WorldBuilder, rng: np.random.Generator, road: Road, end: float) -> None:
    """Close a strip beside the own lane with cones or barriers in some worlds."""
    if rng.random() > 0.2 or road.parking[RIGHT] or road.lane < 3.25 or len(builder.solids) > 242:
        return
    y = -road.lane / 2 - 0.03
    start = float(rng.uniform(3, 25))
    for i in range(4):
        x = start + 4.5 * i
        if not road.free(x, 3):
            continue
        if road.kind == 'highway' and rng.random() < 0.5:
            furniture.barrier(builder, rng, x, y - 0.5)
        else:
            furniture.cone(builder, x, y)


def light(builder: WorldBuilder, rng: np.random.Generator) -> None:
    """Draw where the sun is and how much of it clouds leave."""
    height, around = math.radians(float(rng.uniform(12, 65))), float(rng.uniform(-3.15, 3.15))
    flat = math.cos(height)
    builder.sun = (flat * math.cos(around), flat * math.sin(around), math.sin(height))
    builder.sun_strength = 0.0 if rng.random() < 0.3 else float(rng.uniform(0.35, 1.0))


def mirrored(builder: WorldBuilder) -> WorldBuilder:
    """Swap left and right: traffic keeps to the left."""
    a, b = builder.ground_slope
    builder.ground_slope = (a, -b)
    builder.path = [(x, -y, -yaw) for x, y, yaw in builder.path]
    for solid in builder.solids:
        (x, y, z), (ahead, left, up) = solid.centre, solid.velocity
        solid.centre, solid.velocity = (x, -y, z), (ahead, -left, up)
        solid.yaw, solid.roll = -solid.yaw, -solid.roll
    return builder


_WIRE = Surface('plain', 1.0, (0.08, 0.08, 0.08), reflectivity=0.1)
