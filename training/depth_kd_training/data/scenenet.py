"""
SceneNet RGB-D (McCormac et al., 2017): rendered rooms.

    ROOT/**/photo/*.jpg
    ROOT/**/depth/*.png         16-bit, mm of ray length, the same names
    ROOT/**/instance/*.png      16-bit, 0 = none; optional

Field of view: 60 degrees horizontally, 45 vertically. Depth is converted to depth along z.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import rgbd_frame, RgbdConfig, Tree
import numpy as np

HFOV_DEG, VFOV_DEG = 60.0, 45.0


@dataclass(frozen=True)
class Config(RgbdConfig):
    """Options: those of every RGB-D data set."""


class Dataset:
    """Give the frames of all trajectories."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self.paths = self.tree.find('**/photo/*.jpg')
        self.tree.check_partners(self.paths, lambda path: beside(path, 'depth'))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        path = self.paths[index]
        image = self.tree.rgb(path)
        ray_length = self.tree.depth(beside(path, 'depth'), 1000)
        self.tree.check_size(beside(path, 'depth'), ray_length, image)
        K = intrinsics(*ray_length.shape)
        depth = z_of_ray_length(ray_length, K)
        instance = None
        if beside(path, 'instance').is_file():
            ids = self.tree.grey(beside(path, 'instance'), np.uint16).astype(np.int32)
            self.tree.check_size(beside(path, 'instance'), ids, image)
            instance = np.where(ids > 0, ids, -1)
        name = path.relative_to(self.tree.root).with_suffix('').as_posix()
        return rgbd_frame(self.config, index, name, image, depth, K, instance)


def beside(path: Path, folder: str) -> Path:
    """Give the file of an image in another folder of its trajectory."""
    return path.parents[1] / folder / f'{path.stem}.png'


def intrinsics(height: int, width: int) -> np.ndarray:
    """Give K (3, 3) of the renderer's camera, whose axis meets the middle of the image."""
    fx = width / 2 / np.tan(np.deg2rad(HFOV_DEG / 2))
    fy = height / 2 / np.tan(np.deg2rad(VFOV_DEG / 2))
    return np.array([[fx, 0, (width - 1) / 2], [0, fy, (height - 1) / 2], [0, 0, 1]])


def z_of_ray_length(ray_length: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Turn ray length (H, W) m into depth along z (H, W) float32 m."""
    v, u = np.indices(ray_length.shape)
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    return (ray_length / np.sqrt(x * x + y * y + 1)).astype(np.float32)
