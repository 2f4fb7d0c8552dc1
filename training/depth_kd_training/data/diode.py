"""
DIODE (Vasiljevic et al., 2019): indoors and outdoors, scanned by laser.

    ROOT/**/NAME.png
    ROOT/**/NAME_depth.npy           (768, 1024, 1) float32 m
    ROOT/**/NAME_depth_mask.npy      (768, 1024), 0 where the depth is not valid
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import rgbd_frame, RgbdConfig, Tree
import numpy as np

K = np.array([[886.81, 0, 512], [0, 927.06, 384], [0, 0, 1]])  # px; source: its development kit


@dataclass(frozen=True)
class Config(RgbdConfig):
    """Options: those of every RGB-D data set."""


class Dataset:
    """Give all frames below the root."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self.paths = self.tree.find('**/*.png')
        for ending in ('_depth', '_depth_mask'):
            self.tree.check_partners(self.paths, partial(npy, ending=ending))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        path = self.paths[index]
        image = self.tree.rgb(path)
        height, width = image.shape[:2]
        depth = self.tree.array(npy(path, '_depth'), (height, width))
        mask = self.tree.array(npy(path, '_depth_mask'), (height, width))
        if not np.issubdtype(depth.dtype, np.floating):
            raise self.tree.error(f'{npy(path, "_depth")} is {depth.dtype}, not float m')
        valid = (mask > 0) & np.isfinite(depth) & (depth > 0)
        metres = np.where(valid, depth, 0).astype(np.float32)
        name = path.relative_to(self.tree.root).with_suffix('').as_posix()
        return rgbd_frame(self.config, index, name, image, metres, K.copy())


def npy(path: Path, ending: str) -> Path:
    """Give the array beside an image."""
    return path.with_name(f'{path.stem}{ending}.npy')
