"""A drive along a world's path, as a robot records it: frames of one rig, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import NamedTuple

from depth_kd_training.simulation.frame import render, Shot
from depth_kd_training.simulation.rig import Rig
from depth_kd_training.simulation.scene import Config, draw, place, Scene, seed_of
import numpy as np

SPEED_M_S = 5.0  # outdoors
INDOOR_SPEED_M_S = 0.8
HZ = 10.0
STEP = 0.1  # of the path's poses, over which motion is measured


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
        first, config = draw(self.config, seed_of(self.seed, 0)), self.config
        if config.world == 'mixed':  # a street's robot stays in streets
            config = replace(config, world='indoor' if first.builder.indoor else 'street')
        scene = draw(config, seed_of(self.seed, world)) if world else first
        speed = INDOOR_SPEED_M_S if scene.builder.indoor else SPEED_M_S
        return scene._replace(rig=first.rig._replace(speed=speed), sensor=first.sensor)

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

    def shot(self, stop: Stop) -> Shot:
        """Take one frame, with a whole turn of the LiDAR."""
        scene = self.scene(stop.world)
        scene = scene._replace(rig=moving(scene, stop.along))
        return render([scene], [stop.along], seconds=stop.seconds, whole_turn=True)[0]


def moving(scene: Scene, along: float) -> Rig:
    """Give the rig with the heading and yaw rate that it has on its path."""
    last = len(scene.builder.path) - 1
    low, high = max(0.0, along - STEP), min(float(last), along + STEP)
    before, here, after = (place(scene.builder, at) for at in (low, along, high))
    way = (after - before)[:3, 3]
    length = float(np.hypot(*way[:2]))
    if length == 0 or scene.rig.speed == 0:
        return scene.rig._replace(heading=0.0, yaw_rate=0.0)
    ahead, left = (way @ here[:3, :2]).tolist()
    turn = before[:3, :3].T @ after[:3, :3]
    yaw_rate = math.atan2(turn[1, 0], turn[0, 0]) * scene.rig.speed / length
    return scene.rig._replace(heading=math.atan2(left, ahead), yaw_rate=yaw_rate)
