"""What a seed stands for: a world, the sensors in it, the weather and the camera's settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
import math
from typing import NamedTuple

from depth_kd_training.simulation import indoor, lidar_models, rig, street
from depth_kd_training.simulation.camera import Look
from depth_kd_training.simulation.rig import Rig
from depth_kd_training.simulation.sky import Sky
from depth_kd_training.simulation.textures import DRAW
from depth_kd_training.simulation.world import Surface, WorldBuilder
import numpy as np

WORLDS: dict[str, Callable[[np.random.Generator], WorldBuilder]] = {
    'street': street.build,
    'indoor': indoor.build,
    'jam': partial(street.build, jam=True),
}
MIXED = ('street', 'indoor')
SENSORS = ('random', 'rgbd', 'none', *lidar_models.MODELS)
OVERCAST = 0.3  # a weaker sun stands behind clouds


@dataclass(frozen=True)
class Config:
    """
    Choose the kind of scenes.

    `world` is street, jam (a street full of vehicles), indoor or mixed; `sensor` a LiDAR by name,
    'random' among them, 'rgbd' or 'none'; `rig` how sensors are mounted, 'random' or 'kitti'.
    `randomised` is the share of scenes in random colours and textures.
    """

    world: str = 'street'
    size: tuple[int, int] = (240, 608)  # (H, W) px
    sensor: str = 'random'
    rig: str = 'random'
    randomised: float = 0.2

    def __post_init__(self) -> None:
        """Raise ValueError for a choice that does not exist and a size or share that is none."""
        choices = {'world': (*WORLDS, 'mixed'), 'sensor': SENSORS, 'rig': rig.RIGS}
        for key, known in choices.items():
            if getattr(self, key) not in known:
                raise ValueError(f'{key} = {getattr(self, key)!r}: give one of {", ".join(known)}')
        if len(self.size) != 2 or not all(type(n) is int and n >= 16 for n in self.size):
            raise ValueError(f'size = {self.size!r}: (height, width) from 16 px on expected')
        if not 0 <= self.randomised <= 1:
            raise ValueError(f'randomised = {self.randomised!r}: a share from 0 to 1 expected')


class Scene(NamedTuple):
    """Hold all that a picture is made from, but where the platform stands."""

    seed: int
    builder: WorldBuilder
    rig: Rig
    sky: Sky
    look: Look
    sensor: str
    size: tuple[int, int]


def seed_of(seed: int, number: int) -> int:
    """Give the seed of frame `number` of a set: those of two sets have nothing in common."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint32)[0])


def draw(config: Config, seed: int) -> Scene:
    """Draw the scene of a seed."""
    rng = np.random.default_rng([seed, 20])
    kind = config.world if config.world != 'mixed' else MIXED[rng.integers(len(MIXED))]
    builder = WORLDS[kind](rng)
    randomised = rng.random() < config.randomised
    if randomised:
        surfaces = [*(solid.surface for solid in builder.solids), builder.ground_surface]
        *others, builder.ground_surface = _others(surfaces, rng)
        for solid, surface in zip(builder.solids, others, strict=True):
            solid.surface = surface
    overcast = builder.sun_strength < OVERCAST
    # Streams of their own, so that the choice of one thing leaves all others as they are.
    mounted = rig.draw(np.random.default_rng([seed, 22]), config.rig, config.size, builder.indoor)
    sensor = config.sensor
    if sensor == 'random':
        sensor = str(np.random.default_rng([seed, 23]).choice(list(lidar_models.MODELS)))
    return Scene(
        seed, builder, mounted, rig.sky(rng, builder.indoor, overcast), rig.look(rng, randomised),
        sensor, config.size,
    )  # fmt: skip


def _others(surfaces: Sequence[Surface], rng: np.random.Generator) -> list[Surface]:
    """Give surfaces other colours and textures, but not another nature."""
    textures = rng.choice(list(DRAW), len(surfaces)).tolist()
    tiles_m, tints = rng.uniform(0.3, 4, len(surfaces)).tolist(), rng.random((len(surfaces), 3))
    return [
        surface._replace(texture=texture, tile_m=tile_m, tint=tuple(tint))
        for surface, texture, tile_m, tint in zip(
            surfaces, textures, tiles_m, tints.tolist(), strict=True
        )
    ]


def place(builder: WorldBuilder, along: float) -> np.ndarray:
    """Give T_world_base (4, 4) on the path: `along` counts its poses, fractions lie between."""
    path = np.array(builder.path)
    path[:, 2] = np.unwrap(path[:, 2])
    last = len(path) - 1
    low = min(int(along), max(0, last - 1))
    x, y, yaw = path[low] + (along - low) * (path[min(low + 1, last)] - path[low])
    a, b = builder.ground_slope
    slope_x, slope_y = a + 2 * builder.ground_bend * x, b
    rise = slope_x * math.cos(yaw) + slope_y * math.sin(yaw)
    lean = -slope_x * math.sin(yaw) + slope_y * math.cos(yaw)
    angles = (yaw, -math.atan(rise), math.atan(lean))
    return rig.pose((x, y, builder.ground_at(x, y)), angles)
