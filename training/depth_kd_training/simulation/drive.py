"""A drive along a world's path, as a robot records it: frames of one rig, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from depth_kd_training.simulation.frame import render, Shot
from depth_kd_training.simulation.scene import Config, draw, Scene, seed_of
import numpy as np

SPEED = 5.0  # m/s outdoors
INDOOR_SPEED = 0.8
HZ = 10.0


class Stop(NamedTuple):
    """Say which world a frame is taken in, where on its path, and when."""

    world: int
    along: float
    seconds: float


@dataclass(frozen=True)
class Drive:
    """
    Plan `frames` frames at HZ; where a path ends, the next world begins.

    The rig and the LiDAR are those of the first world throughout, as on one robot.
    """

    config: Config
    seed: int
    frames: int

    def scene(self, world: int) -> Scene:
        """Draw the scene of a world, with the drive's own rig."""
        first = draw(self.config, seed_of(self.seed, 0))
        scene = first if not world else draw(self.config, seed_of(self.seed, world))
        speed = INDOOR_SPEED if scene.builder.indoor else SPEED
        rig = first.rig._replace(speed=speed, yaw_rate=0.0)
        return scene._replace(rig=rig, sensor=first.sensor)

    def stops(self) -> list[Stop]:
        """List where the frames are taken."""
        found: list[Stop] = []
        world = 0
        while len(found) < self.frames:
            scene = self.scene(world)
            path = np.array(scene.builder.path)[:, :2]
            driven = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
            count = min(int(driven[-1] / scene.rig.speed * HZ) + 1, self.frames - len(found))
            seconds = np.arange(count) / HZ
            along = np.interp(seconds * scene.rig.speed, driven, np.arange(len(path)))
            found += [Stop(world, float(a), float(t)) for a, t in zip(along, seconds, strict=True)]
            world += 1
        return found

    def shots(self) -> Iterator[Shot]:
        """Take the frames, with whole turns of the LiDAR."""
        for stop in self.stops():
            yield self.shot(stop)

    def shot(self, stop: Stop) -> Shot:
        """Take one frame."""
        scene = self.scene(stop.world)
        return render([scene], [stop.along], seconds=stop.seconds, whole_turn=True)[0]
