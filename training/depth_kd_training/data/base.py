"""What a data set gives: frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class DatasetError(ValueError):
    """Say which file or folder does not follow the layout, and show the layout."""


@dataclass(frozen=True, eq=False)
class Frame:
    """
    Hold one example as it was stored; 0 = no depth, -1 = unknown.

    `depth_gt` is None where the frame is unlabelled, `sparse_depth` where there is no LiDAR.
    `ring` tells which beam measured each pixel of the sparse depth, `beams` how many beams the
    LiDAR has, those that miss the picture too. `all_points` is the sparse depth before an
    augmentation took points away, where that is asked for.
    """

    name: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    K: np.ndarray | None = None  # (3, 3) px, of the image without distortion
    sparse_depth: np.ndarray | None = None  # (H, W) float32 m
    depth_gt: np.ndarray | None = None  # (H, W) float32 m
    ring: np.ndarray | None = None  # (H, W) int16
    semantic: np.ndarray | None = None  # (H, W) int16
    instance: np.ndarray | None = None  # (H, W) int32
    beams: int | None = None
    all_points: np.ndarray | None = None  # (H, W) float32 m

    def __post_init__(self) -> None:
        """Raise ValueError unless all maps have the image's height and width."""
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f'frame {self.name}: image is {self.image.dtype} {self.image.shape}, '
                'uint8 (H, W, 3) expected'
            )
        for key in ('sparse_depth', 'depth_gt', 'ring', 'semantic', 'instance', 'all_points'):
            values = getattr(self, key)
            if values is not None and values.shape != self.image.shape[:2]:
                raise ValueError(
                    f'frame {self.name}: {key} is {values.shape}, the image '
                    f'{self.image.shape[:2]} (H, W)'
                )


class Dataset(Protocol):
    """
    Give frames by index: the same index, the same frame, in any process.

    A file of this folder holds a frozen dataclass `Config` and a class `Dataset(config)`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...
