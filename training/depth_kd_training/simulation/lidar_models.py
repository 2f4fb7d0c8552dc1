"""
LiDARs by name: where their beams look, how far and how exactly; numbers of public data sheets.

Beams are numbered from the top down. Elevation and azimuth are those of the LiDAR frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np


class Pattern(Enum):
    """Say how the rays move."""

    SPINNING = 'spinning'  # all beams at once, clockwise seen from above
    RASTER = 'raster'  # a mirror, row by row from the top
    ROSETTE = 'rosette'  # one beam through two turning prisms


@dataclass(frozen=True)
class Model:
    """
    Describe one LiDAR.

    `range_m` is also the distance at which a surface of reflectivity 0.4, seen head-on, is lost
    half the time. `dropout` is the share of returns lost for no reason, `mixed` the share of
    those at depth edges that lie between foreground and background.
    """

    elevation_deg: tuple[float, ...]
    azimuth_step_deg: float = 0.2
    pattern: Pattern = Pattern.SPINNING
    width_deg: float = 360.0  # of the field of view; a rosette's is a circle
    range_min_m: float = 0.5
    range_m: float = 100.0
    noise_m: float = 0.02  # standard deviation
    dropout: float = 0.02
    mixed: float = 0.03
    period_s: float = 0.1
    points: int = 0  # per period, of a rosette

    def __post_init__(self) -> None:
        """Raise ValueError for beams that are not sorted and numbers that cannot be."""
        if not self.elevation_deg or list(self.elevation_deg) != sorted(self.elevation_deg)[::-1]:
            raise ValueError(f'elevation_deg = {self.elevation_deg}: give beams from the top down')
        if not 0 < self.range_min_m < self.range_m:
            raise ValueError(f'range_m = {self.range_m}: must be > range_min_m > 0')
        if self.noise_m < 0 or not 0 <= self.dropout <= 1 or not 0 <= self.mixed <= 1:
            raise ValueError('noise_m must not be negative, dropout and mixed lie in 0..1')
        if self.azimuth_step_deg <= 0 or (self.pattern is Pattern.ROSETTE and self.points < 1):
            raise ValueError('azimuth_step_deg, and the points of a rosette, must be > 0')

    @property
    def beams(self) -> int:
        """Give the number of beams."""
        return len(self.elevation_deg)

    def subset(self, count: int) -> Model:
        """Keep `count` evenly spaced beams, as a cheaper LiDAR of the same field of view."""
        if not 1 <= count <= self.beams:
            raise ValueError(f'count = {count}: the LiDAR has 1 to {self.beams} beams')
        kept = ((np.arange(count) + 0.5) * self.beams / count).astype(int)
        return replace(self, elevation_deg=tuple(self.elevation_deg[i] for i in kept))


def evenly(high_deg: float, low_deg: float, count: int) -> tuple[float, ...]:
    """Give `count` elevations from the highest to the lowest, both included."""
    return tuple(np.linspace(high_deg, low_deg, count).round(4).tolist())


def spinning(beams: int, low_deg: float, high_deg: float, **options: float) -> Model:
    """Make a LiDAR of evenly spaced beams."""
    return Model(evenly(high_deg, low_deg, beams), **options)  # type: ignore[arg-type]


_HDL64 = Model(
    evenly(2, -8.3333, 32) + evenly(-8.8333, -24.3333, 32), 0.1728, range_min_m=0.9, range_m=120
)
_VLP16 = spinning(16, -15, 15, noise_m=0.03)
_VLP32C = (
    15, 10.333, 7, 4.667, 3.333, 2.333, *evenly(5 / 3, -11 / 3, 17), -4, -4.667, -5.333, -6.148,
    -7.254, -8.843, -11.31, -15.639, -25,
)  # fmt: skip
_PANDAR40 = (15, 11, 8, 5, 3, *evenly(2, -6, 25), *evenly(-7, -14, 8), -19, -25)
_PANDAR64 = (15, 11, 8, 5, 3, *evenly(2, -6, 49), *evenly(-7, -14, 8), -19, -25)
_PANDAR128 = (
    14.436, *evenly(13.535, 2.014, 25), *evenly(1.885, -6.099, 64), *evenly(-6.607, -24.897, 38)
)  # fmt: skip
_OUSTER = 360 / 1024  # deg

MODELS: dict[str, Model] = {
    'hdl64e': _HDL64,
    'hdl64e_8': _HDL64.subset(8),
    'hdl64e_4': _HDL64.subset(4),
    'hdl32e': spinning(32, -30.67, 10.67, azimuth_step_deg=0.16),
    'vlp16': _VLP16,
    'vlp16_8': _VLP16.subset(8),
    'vlp16_4': _VLP16.subset(4),
    'vlp32c': Model(_VLP32C, range_m=200, noise_m=0.03),
    'os1_16': spinning(16, -22.5, 22.5, azimuth_step_deg=_OUSTER, range_m=120, noise_m=0.015),
    'os1_32': spinning(32, -22.5, 22.5, azimuth_step_deg=_OUSTER, range_m=120, noise_m=0.015),
    'os1_64': spinning(64, -22.5, 22.5, azimuth_step_deg=_OUSTER, range_m=120, noise_m=0.015),
    'os1_128': spinning(128, -22.5, 22.5, azimuth_step_deg=_OUSTER, range_m=120, noise_m=0.015),
    'os0_128': spinning(128, -45, 45, azimuth_step_deg=_OUSTER, range_m=50, noise_m=0.015),
    'os2_128': spinning(128, -11.25, 11.25, azimuth_step_deg=_OUSTER, range_m=240, noise_m=0.025),
    'pandar40p': Model(_PANDAR40, range_m=200),
    'pandar64': Model(_PANDAR64, range_m=200),
    'pandar128': Model(_PANDAR128, range_m=200),
    'rs16': spinning(16, -15, 15, range_m=150),
    'rosette': Model(
        (0.0,), pattern=Pattern.ROSETTE, width_deg=70.4, range_m=90, points=10_000, dropout=0.01
    ),
    'raster': Model(evenly(12.5, -12.5, 126), 0.2, Pattern.RASTER, 120, range_m=200, noise_m=0.03),
}


def beams_of(name: str) -> int | None:
    """Give how many beams the LiDAR of a name has; None for what is no LiDAR's name."""
    return MODELS[name].beams if name in MODELS else None


def find(name: str) -> Model:
    """Give the LiDAR of a name; ValueError lists the names."""
    if name not in MODELS:
        raise ValueError(f'lidar = {name!r}: give one of {", ".join(MODELS)}')
    return MODELS[name]
