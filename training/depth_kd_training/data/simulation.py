"""The built-in simulated worlds: rendered when they are asked for, from a seed; needs no files."""

from __future__ import annotations

from dataclasses import dataclass, replace

from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import check_count
from depth_kd_training.simulation import frame, scene
from depth_kd_training.simulation.world import CLASSES


@dataclass(frozen=True)
class Config(scene.Config):
    """Choose the scenes as `depth_kd_training simulate` does, how many, and the first seed."""

    frames: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a choice that does not exist and counts that are none."""
        super().__post_init__()
        check_count('frames', self.frames, 1)
        check_count('seed', self.seed, 0)


class Dataset:
    """Give frame i of the seed: the same frame, in any process; `classes` names the classes."""

    classes = CLASSES

    def __init__(self, config: Config) -> None:
        self.config = config

    def __len__(self) -> int:
        return self.config.frames

    def __getitem__(self, index: int) -> Frame:
        number = range(self.config.frames)[index]  # IndexError beyond the last
        shot = frame.shot(self.config, scene.seed_of(self.config.seed, number))
        return replace(shot.frame, name=f'{self.config.world}_{number:06d}')
