"""The road of a street world: its lanes, curbs, pavements and markings."""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_training.simulation.barriers import stations
from depth_kd_training.simulation.palette import MARKING, shade
from depth_kd_training.simulation.place import pick, Place, strip
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

KINDS = ('canyon', 'residential', 'suburb', 'highway', 'works')
START_M, END_M = -25.0, 130.0
LEFT, RIGHT = 1, -1
_FLAT_M = (-0.03, 0.012)  # a marking's bottom and top above the ground


@dataclass(frozen=True)
class Road:
    """
    Lay out a road along x; the sensor's lane is around y = 0 and traffic keeps to the right.

    `jam`: vehicles queue in all lanes of the sensor's direction. `edge`, `walk`, `parking` hold
    one value per side (RIGHT, LEFT): y of the curb, width of the pavement, width of the parking
    lane inside the curb (0: none).
    """

    kind: str
    lane: float
    lanes: tuple[tuple[float, int], ...]  # y, direction
    edge: dict[int, float]
    walk: dict[int, float]
    parking: dict[int, float]
    curb: float
    junction: tuple[float, float] | None
    jam: bool = False

    def out(self, side: int, distance: float) -> float:
        """Give the y at a distance outside the curb of a side."""
        return self.edge[side] + side * distance

    def spans(self, setback: float = 0.0) -> list[tuple[float, float]]:
        """Give the stretches of x beside which there is no side road."""
        if self.junction is None:
            return [(START_M, END_M)]
        low, high = self.junction
        return [(START_M, low - setback), (high + setback, END_M)]

    def free(self, x: float, margin: float = 0.0) -> bool:
        """Tell whether x is beside no side road."""
        return self.junction is None or not (
            self.junction[0] - margin < x < self.junction[1] + margin
        )


def draw_road(rng: np.random.Generator, jam: bool | None = None) -> Road:
    """Draw the kind and the layout of a road; in some, or where asked for, traffic is jammed."""
    jam = bool(rng.random() < 0.12) if jam is None else jam
    kind = KINDS[int(np.searchsorted(np.cumsum((0.28, 0.24, 0.2, 0.14, 0.14)), rng.random()))]
    lane = float(rng.uniform(3.4, 3.75) if kind == 'highway' else rng.uniform(3.0, 3.5))
    same, other, median = 1, 1, 0.0
    if kind == 'highway':
        same, other, median = int(rng.integers(2, 4)), 2, float(rng.uniform(2, 4))
    elif kind == 'canyon' and rng.random() < 0.35:
        same, other = 2, 2
    elif kind in ('canyon', 'residential') and rng.random() < 0.2:
        other = 0  # one way
    if jam:
        same, lane = 3, float(rng.uniform(2.9, 3.3))
    own = 1 if jam else int(rng.integers(same))  # lanes to the right of the sensor's
    low = -(own + 0.5) * lane
    lanes = [(low + (i + 0.5) * lane, 1) for i in range(same)]
    middle = low + same * lane + median
    lanes += [(middle + (i + 0.5) * lane, -1) for i in range(other)]
    shares = {'canyon': 0.65, 'residential': 0.6, 'works': 0.4}
    park = {s: 2.1 * (rng.random() < shares.get(kind, 0.0) and not jam) for s in (RIGHT, LEFT)}
    hard = 1.5 if kind == 'highway' else 0.25
    edge = {
        RIGHT: low - max(park[RIGHT], hard), LEFT: middle + other * lane + max(park[LEFT], hard)
    }  # fmt: skip
    wide = {'canyon': (2.4, 4.5), 'residential': (1.5, 2.2), 'suburb': (1.4, 2.0)}
    limits = wide.get(kind, (1.2, 2.0))
    walk = {s: float(rng.uniform(*limits)) for s in (RIGHT, LEFT)}
    if kind == 'suburb' and rng.random() < 0.6:
        walk[pick(rng, (RIGHT, LEFT))] = 0.0
    elif kind == 'highway':
        walk = {RIGHT: 0.0, LEFT: 0.0}
    junction = None
    if kind != 'highway' and rng.random() < 0.6:
        start = float(rng.uniform(18, 75))
        junction = (start, start + float(rng.uniform(7, 11)))
    curb = float(rng.uniform(0.1, 0.15))
    return Road(kind, lane, tuple(lanes), edge, walk, park, curb, junction, jam)


def lay_pavements(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> None:
    """Lay a curb and a pavement on each side that has one; without it, a grass verge follows."""
    texture, grey = pick(
        rng, (('paving', (0.5, 0.49, 0.47)), ('concrete', (0.52, 0.51, 0.5)),
              ('cobbles', (0.42, 0.41, 0.4)), ('asphalt', (0.3, 0.3, 0.31))),
    )  # fmt: skip
    slab = Surface(texture, 1.5, shade(rng, grey), reflectivity=0.25)
    stone = Surface('concrete', 1.0, shade(rng, (0.6, 0.59, 0.57)), reflectivity=0.3)
    for side in (RIGHT, LEFT):
        if not road.walk[side]:
            continue
        inner, outer = road.edge[side], road.out(side, road.walk[side] + 0.2)
        across = (min(inner, outer), max(inner, outer))
        for start, end in road.spans():
            xs = stations(start, end, 17)
            strip(builder, xs, across, (-0.4, road.curb), slab, 'sidewalk')
            near = [x for x in xs if x < 40]
            if len(near) > 1:
                rim = (inner - 0.08, inner + 0.08)
                strip(builder, near, rim, (-0.4, road.curb + 0.008), stone, 'sidewalk')


def lay_verges(
    builder: WorldBuilder, road: Road, surface: Surface, semantic: str, top: float, wide: float
) -> None:
    """Lay land (lawns, fields, yards) outside the pavements, `wide` m on each side."""
    for side in (RIGHT, LEFT):
        ends = (road.out(side, road.walk[side] + 0.1), road.out(side, wide))
        for start, end in road.spans():
            if end > 90:
                xs = [*stations(start, 90, 17), END_M, END_M + 60] if start < 90 else [start, 190]
            else:
                xs = stations(start, end, 17)
            strip(builder, xs, (min(ends), max(ends)), (-0.4, top), surface, semantic)


def mark(builder: WorldBuilder, rng: np.random.Generator, road: Road) -> None:
    """Paint lane markings, edge lines and crossings, a few flat boxes."""
    ys = sorted({round(y + s * road.lane / 2, 3) for y, _ in road.lanes for s in (-1, 1)})
    forward = [y for y, direction in road.lanes if direction > 0]
    borders = [y for y in ys if ys[0] < y < ys[-1]]
    if road.kind == 'residential' and rng.random() < 0.6:
        borders = []
    dash, period = (6.0, 18.0) if road.kind == 'highway' else (3.0, 9.0)
    first = float(rng.uniform(0, period))
    for y in borders:
        apart = y > max(forward) + 0.1 and road.kind == 'highway'  # the edges of the median
        if apart or (abs(y - max(forward) - road.lane / 2) < 0.1 and rng.random() < 0.3):
            strip(
                builder, stations(START_M, 95, 24), (y - 0.07, y + 0.07), _FLAT_M, MARKING, 'road'
            )
            continue
        for i in range(7 if road.kind != 'highway' else 6):
            x = first - 9 + i * period
            if road.free(x, dash):
                place = Place(builder, x, y, semantic='road', tilt=True)
                place.box((0, 0, _FLAT_M[0]), (dash, 0.13, 0.042), MARKING)
    if road.kind in ('highway', 'suburb') or rng.random() < 0.15:
        for y in (ys[0] + 0.1, ys[-1] - 0.1):
            for start, end in road.spans():
                xs = stations(start, min(end, 100), 24)
                strip(builder, xs, (y - 0.07, y + 0.07), _FLAT_M, MARKING, 'road')
    if road.junction and rng.random() < 0.75:
        _crossing(builder, rng, road, road.junction[0] - 3.2, ys)


def _crossing(
    builder: WorldBuilder, rng: np.random.Generator, road: Road, x: float, ys: list[float]
) -> None:
    """Paint a crossing of stripes and the line to stop at before it."""
    paint, zebra = MARKING, rng.random() < 0.8
    step = 1.0 if zebra else 99.0
    for i in range(int((ys[-1] - ys[0]) / step) if zebra else 0):
        place = Place(builder, x, ys[0] + 0.5 + i * step, semantic='road', tilt=True)
        place.box((0, 0, _FLAT_M[0]), (3.0, 0.5, 0.042), paint)
    lane = road.lane / 2 - 0.15
    line = Place(builder, x - 2.6, 0.0, semantic='road', tilt=True)
    line.box((0, 0, _FLAT_M[0]), (0.4, 2 * lane, 0.042), paint)
