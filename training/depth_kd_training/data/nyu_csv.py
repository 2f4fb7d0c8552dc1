"""
NYU Depth v2 as prepared by Hu et al. (2019): images and depth listed in CSV files.

    ROOT/data/nyu2_train.csv      50,688 rows `image.jpg,depth.png`, paths from ROOT on
    ROOT/data/nyu2_test.csv       654 rows
    ROOT/data/nyu2_train/SCENE/   8-bit depth, value / 255 * 10 m
    ROOT/data/nyu2_test/          16-bit depth, mm

Frames are 480x640, as stored.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import check_choice, NYU_K, rgbd_frame, RgbdConfig, Tree
import numpy as np

DEPTHS: dict[str, tuple[type, float]] = {  # PNG type and values per metre
    'train': (np.uint8, 25.5),
    'test': (np.uint16, 1000),
}


@dataclass(frozen=True)
class Config(RgbdConfig):
    """Choose the split: train or test."""

    split: str = 'train'

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown split and counts below 0."""
        super().__post_init__()
        check_choice('split', self.split, tuple(DEPTHS))


class Dataset:
    """Give the rows of a CSV file."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        (path,) = self.tree.find(f'data/nyu2_{config.split}.csv')
        with path.open(newline='', encoding='utf-8') as file:
            self.rows = [tuple(row) for row in csv.reader(file) if row]
        wrong = next((row for row in self.rows if len(row) != 2), None)
        if wrong or not self.rows:
            problem = f'row {",".join(wrong)!r}' if wrong else 'no rows'
            raise self.tree.error(f'{path}: {problem}; rows of image,depth expected')
        partner = {self.tree.root / image: self.tree.root / depth for image, depth in self.rows}
        self.tree.check_partners(list(partner), partner.__getitem__)
        self.tree.check_partners(list(partner), Path)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Frame:
        image_path, depth_path = (self.tree.root / name for name in self.rows[index])
        image = self.tree.rgb(image_path)
        dtype, per_metre = DEPTHS[self.config.split]
        depth = self.tree.grey(depth_path, dtype).astype(np.float32) / np.float32(per_metre)
        self.tree.check_size(depth_path, depth, image)
        name = Path(self.rows[index][0]).with_suffix('').as_posix()
        return rgbd_frame(self.config, index, name, image, depth, NYU_K.copy())
