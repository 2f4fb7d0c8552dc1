"""
Worlds as lists of solids with their surfaces, and batches of worlds as tensors.

Generators (`street`, `indoor`) fill a `WorldBuilder` with a NumPy generator; `stack` turns the
builders into one batch that the ray caster and the sensors take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from depth_kd_training.simulation.solids import Ground, Kind, Solids
import numpy as np
import torch
from torch import Tensor

CLASSES = (  # semantic classes, by index
    'ground', 'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'sign', 'vegetation',
    'person', 'car', 'truck', 'bicycle', 'bridge', 'wire', 'furniture', 'ceiling', 'object', 'sky',
)  # fmt: skip
SKY = CLASSES.index('sky')


class Surface(NamedTuple):
    """
    Say how a solid looks and reflects.

    `texture` names a texture of the bank, one tile of which is `tile_m` wide; `tint` multiplies
    it. `gloss` 0..1 mirrors the sky; `glass` passes or loses LiDAR; `reflectivity` 0..1 is that
    of LiDAR light.
    """

    texture: str = 'plain'
    tile_m: float = 1.0
    tint: tuple[float, float, float] = (0.5, 0.5, 0.5)
    gloss: float = 0.0
    glass: bool = False
    reflectivity: float = 0.3


_PLAIN, _ASPHALT = Surface(), Surface('asphalt', 4.0, (0.35, 0.35, 0.36))


@dataclass(slots=True)
class Solid:
    """Describe one solid: its shape and pose in the world, what it is and how it looks."""

    kind: Kind
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    semantic: str
    surface: Surface = _PLAIN
    yaw: float = 0.0  # rad about z
    pitch: float = 0.0  # rad about y, before the yaw
    roll: float = 0.0  # rad about x, before the pitch
    taper: tuple[float, float] = (0.0, 0.0)
    cutout: float = 0.0
    pore_m: float = 0.1
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)  # m/s
    instance: int = 0  # 0: none

    def __post_init__(self) -> None:
        """Raise ValueError for a class that is not one of CLASSES and a size that is none."""
        if min(self.half) <= 0:
            raise ValueError(f'half = {self.half}: the half extents of a solid must be > 0')
        if self.semantic not in CLASSES:
            raise ValueError(f'semantic = {self.semantic!r}: give one of {", ".join(CLASSES)}')


@dataclass
class WorldBuilder:
    """
    Collect one world: solids, the ground under them, the light, and where sensors may be.

    `path` lists poses (x m, y m, yaw rad) of the platform on the ground, in the order of a drive.
    """

    solids: list[Solid] = field(default_factory=list)
    path: list[tuple[float, float, float]] = field(default_factory=lambda: [(0.0, 0.0, 0.0)])
    ground_height: float = 0.0
    ground_slope: tuple[float, float] = (0.0, 0.0)
    ground_bend: float = 0.0
    ground_surface: Surface = _ASPHALT
    ground_semantic: str = 'road'
    sun: tuple[float, float, float] = (0.4, 0.3, 0.85)  # direction to it
    sun_strength: float = 1.0  # 0: overcast
    indoor: bool = False
    instances: int = 0

    def add(self, *solids: Solid) -> None:
        """Add solids."""
        self.solids.extend(solids)

    def instance(self) -> int:
        """Draw the next instance number."""
        self.instances += 1
        return self.instances

    def ground_at(self, x: float, y: float) -> float:
        """Give the ground's height at x, y m."""
        a, b = self.ground_slope
        return self.ground_height + a * x + b * y + self.ground_bend * x * x


class World(NamedTuple):
    """Hold a batch of B worlds of P solids; surfaces by solid, the ground's in the last column."""

    solids: Solids
    ground: Ground
    velocity: Tensor  # (B, P, 3) m/s
    texture: Tensor  # (B, P + 1) int64, index into the bank
    tile_m: Tensor  # (B, P + 1)
    tint: Tensor  # (B, P + 1, 3)
    gloss: Tensor  # (B, P + 1)
    glass: Tensor  # (B, P + 1) bool
    reflectivity: Tensor  # (B, P + 1)
    semantic: Tensor  # (B, P + 1) int64, index into CLASSES
    instance: Tensor  # (B, P + 1) int64, 0: none
    sun: Tensor  # (B, 3) unit vector to the sun
    sun_strength: Tensor  # (B,)
    indoor: Tensor  # (B,) bool

    def one(self, number: int) -> World:
        """Give one world of the batch, as a batch of 1."""
        part = slice(number, number + 1)
        solids = Solids(*(t[part] for t in self.solids))
        ground = Ground(*(t[part] for t in self.ground))
        return World(solids, ground, *(t[part] for t in self[2:]))

    def after(self, seconds: float) -> World:
        """Move what moves on by so many seconds."""
        centre = self.solids.centre + seconds * self.velocity
        return self._replace(solids=self.solids._replace(centre=centre))

    def to(self, device: torch.device | str) -> World:
        """Move all tensors to a device."""
        solids = Solids(*(t.to(device) for t in self.solids))
        ground = Ground(*(t.to(device) for t in self.ground))
        return World(solids, ground, *(t.to(device) for t in self[2:]))


def rotation(
    yaw: float | np.ndarray, pitch: float | np.ndarray, roll: float | np.ndarray
) -> np.ndarray:
    """Give the rotations (..., 3, 3) of yaw about z after pitch about y after roll about x."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def stack(builders: Sequence[WorldBuilder], textures: Sequence[str]) -> World:
    """Make a batch of worlds; `textures` names the bank's textures in their order."""
    index = {name: i for i, name in enumerate(textures)}
    most = max(1, *(len(builder.solids) for builder in builders))
    nothing = Solid(Kind.NONE, (0, 0, 0), (1, 1, 1), 'object')
    padded = [b.solids + [nothing] * (most - len(b.solids)) for b in builders]

    def table(values: list | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.from_numpy(np.array(values)).to(dtype)

    def shape(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        return table([[getattr(s, name) for s in row] for row in padded], dtype)

    surfaces = [
        [*(s.surface for s in row), b.ground_surface]
        for row, b in zip(padded, builders, strict=True)
    ]

    def look(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        return table([[getattr(s, name) for s in row] for row in surfaces], dtype)

    solids = Solids(
        shape('kind', torch.int64), shape('centre'),
        table(rotation(*(shape(k, torch.float64).numpy() for k in ('yaw', 'pitch', 'roll')))),
        shape('half'), shape('taper'), shape('cutout'), shape('pore_m'),
    )  # fmt: skip
    ground = Ground(
        table([b.ground_height for b in builders]), table([b.ground_slope for b in builders]),
        table([b.ground_bend for b in builders]),
    )  # fmt: skip
    semantic = [
        [*(CLASSES.index(s.semantic) for s in row), CLASSES.index(b.ground_semantic)]
        for row, b in zip(padded, builders, strict=True)
    ]
    sun = torch.nn.functional.normalize(table([b.sun for b in builders]), dim=-1)
    return World(
        solids, ground, shape('velocity'),
        table([[index[s.texture] for s in row] for row in surfaces], torch.int64),
        look('tile_m'), look('tint'), look('gloss'), look('glass', torch.bool),
        look('reflectivity'), table(semantic, torch.int64),
        table([[*(s.instance for s in row), 0] for row in padded], torch.int64),
        sun, table([b.sun_strength for b in builders]),
        table([b.indoor for b in builders], torch.bool),
    )  # fmt: skip
