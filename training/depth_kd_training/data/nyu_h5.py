"""
NYU Depth v2 as HDF5, one file a frame, as prepared for sparse-to-dense (Ma and Karaman, 2018).

    ROOT/train/SCENE/*.h5
    ROOT/val/official/*.h5
    each: `rgb` (3, 480, 640) uint8 and `depth` (480, 640) float32 m

Frames are halved to 240x320 and cut to the central 228x304.
"""

from __future__ import annotations

from dataclasses import dataclass
import importlib
from pathlib import Path
from typing import Any

import cv2
from depth_kd_ros.geometry import Camera
from depth_kd_training.data.base import DatasetError, Frame
from depth_kd_training.data.parts import (
    check_choice,
    check_count,
    crop,
    NYU_K,
    rgbd_frame,
    RgbdConfig,
    Tree,
)  # fmt: skip
import numpy as np

STORED, HALVED, SIZE = (480, 640), (240, 320), (228, 304)
TOP, LEFT = 6, 8
PATTERNS = {'train': 'train/*/*.h5', 'held_out': 'train/*/*.h5', 'val': 'val/official/*.h5'}


@dataclass(frozen=True)
class Config(RgbdConfig):
    """
    Choose the split: train, val, or held_out, which is `held_out` random frames less in train.

    47,584 frames to train with and 654 for val; with held_out 2,379 it is 45,205, 2,379 and 654.
    """

    split: str = 'train'
    held_out: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown split and counts below 0."""
        super().__post_init__()
        check_choice('split', self.split, tuple(PATTERNS))
        check_count('held_out', self.held_out, 1 if self.split == 'held_out' else 0)


class Dataset:
    """Give the frames of a split, 228x304."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        _h5py()
        self.paths = self.tree.find(PATTERNS[config.split])
        if config.split != 'val' and config.held_out:
            if config.held_out >= len(self.paths):
                raise self.tree.error(
                    f'{config.root}/train: held_out = {config.held_out} of {len(self.paths)} '
                    'frames leaves none to train with'
                )
            order = np.random.default_rng(0).permutation(len(self.paths))  # whatever the seed
            chosen = np.split(order, [config.held_out])[config.split == 'train']
            self.paths = [self.paths[i] for i in sorted(chosen)]
        camera = Camera(NYU_K, *STORED).resized(*HALVED).cropped(TOP, LEFT, *SIZE)
        self.K = np.array(camera.K)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        path = self.paths[index]
        rgb, depth = self._read(path)
        image = cv2.resize(
            np.ascontiguousarray(rgb.transpose(1, 2, 0)), HALVED[::-1],
            interpolation=cv2.INTER_AREA,
        )  # fmt: skip
        metres = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)
        image, metres = (crop(a, TOP, LEFT, SIZE) for a in (image, metres[::2, ::2]))
        name = path.relative_to(self.tree.root).with_suffix('').as_posix()
        return rgbd_frame(self.config, index, name, image, metres, self.K.copy())

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Read rgb (3, 480, 640) uint8 and depth (480, 640) m."""
        try:
            with _h5py().File(path, 'r') as file:
                rgb, depth = np.array(file['rgb']), np.array(file['depth'])
        except (OSError, KeyError) as error:
            raise self.tree.error(f'{path}: cannot be read ({error})') from None
        if rgb.shape != (3, *STORED) or rgb.dtype != np.uint8:
            raise self.tree.error(f'{path}: rgb is {rgb.dtype} {rgb.shape}')
        if depth.shape != STORED or not np.issubdtype(depth.dtype, np.floating):
            raise self.tree.error(f'{path}: depth is {depth.dtype} {depth.shape}')
        return rgb, depth


def _h5py() -> Any:
    try:
        return importlib.import_module('h5py')
    except ImportError:
        raise DatasetError('data set nyu_h5 needs h5py: pip install h5py') from None
