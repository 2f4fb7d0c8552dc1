"""
ScanNet (Dai et al., 2017), exported to images.

    ROOT/scene*/color/*.jpg
    ROOT/scene*/depth/*.png                               16-bit, mm, the same names
    ROOT/scene*/intrinsic/intrinsic_depth.txt             4x4 numbers; optional
    or ROOT/scene*/intrinsics_depth.txt

Images are larger than depth, and are scaled down to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import rgbd_frame, RgbdConfig, Tree
import numpy as np


@dataclass(frozen=True)
class Config(RgbdConfig):
    """Options: those of every RGB-D data set."""


class Dataset:
    """Give the frames of all scenes at the depth's size."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self.paths = self.tree.find('scene*/color/*.jpg')
        self.tree.check_partners(self.paths, depth_of)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        path = self.paths[index]
        depth = self.tree.depth(depth_of(path), 1000)
        image = self.tree.rgb(path)
        if image.shape[:2] != depth.shape:
            image = cv2.resize(image, depth.shape[::-1], interpolation=cv2.INTER_AREA)
        name = f'{path.parents[1].name}/{path.stem}'
        return rgbd_frame(self.config, index, name, image, depth, self._K(path.parents[1]))

    def _K(self, scene: Path) -> np.ndarray | None:  # noqa: N802
        """Read the depth camera's K (3, 3), None where the scene has no intrinsics."""
        for name in ('intrinsic/intrinsic_depth.txt', 'intrinsics_depth.txt'):
            if (scene / name).is_file():
                return self.tree.matrix(scene / name, (4, 4))[:3, :3]
        return None


def depth_of(path: Path) -> Path:
    """Give the depth of an image."""
    return path.parents[1] / 'depth' / f'{path.stem}.png'
