"""Images of random pixels, the lower bound of data-free distillation; no files, no depth."""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import check_count, check_size
import numpy as np


@dataclass(frozen=True)
class Config:
    """Choose how many frames, their size (height, width), and the seed."""

    frames: int = 1000
    size: tuple[int, int] = (240, 320)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for counts that are none and a size that is none."""
        check_count('frames', self.frames, 1)
        check_size('size', self.size)
        check_count('seed', self.seed, 0)


class Dataset:
    """Give unlabelled frames without LiDAR."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __len__(self) -> int:
        return self.config.frames

    def __getitem__(self, index: int) -> Frame:
        frame = range(self.config.frames)[index]  # IndexError beyond the last
        rng = np.random.default_rng([self.config.seed, frame])
        image = rng.integers(0, 256, (*self.config.size, 3), np.uint8)
        return Frame(f'noise_{frame:06d}', image)
