"""
KITTI depth completion: LiDAR depth, truth accumulated over scans, images and calibration.

    DEPTH/data_depth_velodyne/{train,val}/DRIVE_sync/proj_depth/velodyne_raw/image_0{2,3}/*.png
    DEPTH/data_depth_annotated/{train,val}/DRIVE_sync/proj_depth/groundtruth/image_0{2,3}/*.png
    RAW/DATE/DRIVE_sync/image_0{2,3}/data/*.png
    RAW/DATE/calib_cam_to_cam.txt                                        (P_rect_02, P_rect_03)
    DEPTH/SELECTION/val_selection_cropped/{image,velodyne_raw,groundtruth_depth}/*.png
    DEPTH/SELECTION/test_depth_completion_anonymous/{image,velodyne_raw}/*.png
    DEPTH/SELECTION/*/intrinsics/*.txt                                               (9 numbers)

DEPTH and RAW are the options `depth` and `raw`; SELECTION is depth_selection or
data_depth_selection. Depth is 16-bit PNG, value / 256 m, 0 = none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from depth_kd_ros.folders import PNG_SCALE
from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import check_choice, check_size, crop, cropped_K, Tree
import numpy as np

SELECTIONS = {
    'selection': 'val_selection_cropped',
    'test_anonymous': 'test_depth_completion_anonymous',
}
SPLITS = ('train', 'val', *SELECTIONS)


@dataclass(frozen=True)
class Config:
    """
    Roots and split; `crop` (height, width) keeps the bottom rows and the central columns.

    `raw` is needed for train and val only; `crop` None leaves the images whole, and their sizes
    differ from drive to drive.
    """

    depth: str
    raw: str = ''
    split: str = 'train'
    crop: tuple[int, int] | None = (352, 1216)

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown split, a missing root, a crop that is no size."""
        check_choice('split', self.split, SPLITS)
        if not self.raw and self.split not in SELECTIONS:
            raise ValueError(
                f"raw = '': split {self.split} needs the folder of the raw recordings"
            )
        if self.crop is not None:
            check_size('crop', self.crop)


class Files(NamedTuple):
    """Say where a frame lies; `key` names the line of the calibration."""

    image: Path
    sparse: Path
    truth: Path | None
    calibration: Path
    key: str = ''


class Dataset:
    """Give the frames of a split; those of test_anonymous have no truth."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.depth, __doc__)
        if config.split in SELECTIONS:
            folder = f'*depth_selection/**/{SELECTIONS[config.split]}/velodyne_raw/*.png'
        else:
            Tree(config.raw, __doc__)
            folder = f'data_depth_velodyne/{config.split}/*_sync/proj_depth/velodyne_raw/*/*.png'
        self.paths = [str(path) for path in self.tree.find(folder)]  # strings: 86,000 are light
        files = [self.files(path) for path in self.paths]
        for wanted in zip(*files, strict=True):
            absent = [path for path in wanted if isinstance(path, Path) and not path.is_file()]
            if absent:
                raise self.tree.error(
                    f'{absent[0]}: no such file, though its frame is in velodyne_raw '
                    f'({len(absent)} of {len(files)} frames lack theirs)'
                )

    def files(self, path: str) -> Files:
        """Find what belongs to a file of LiDAR depth."""
        sparse = Path(path)
        if self.config.split in SELECTIONS:
            folder = sparse.parents[1]
            image, truth = (
                folder / kind / sparse.name.replace('velodyne_raw', kind)
                for kind in ('image', 'groundtruth_depth')
            )
            labelled = self.config.split == 'selection'
            intrinsics = folder / 'intrinsics' / f'{image.stem}.txt'
            return Files(image, sparse, truth if labelled else None, intrinsics)
        camera, drive = sparse.parent.name, sparse.parents[3].name
        truth = Path(
            self.config.depth, 'data_depth_annotated', self.config.split, drive, 'proj_depth',
            'groundtruth', camera, sparse.name,
        )  # fmt: skip
        date = Path(self.config.raw, drive[:10])
        image = date / drive / camera / 'data' / sparse.name
        key = camera.replace('image', 'P_rect')
        return Files(image, sparse, truth, date / 'calib_cam_to_cam.txt', key)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        files = self.files(self.paths[index])
        image = self.tree.rgb(files.image)
        name, shape = files.image.stem, (3, 3)
        if files.key:
            name = f'{files.sparse.parents[3].name}/{files.sparse.parent.name}/{name}'
            shape = (3, 4)
        K = self.tree.matrix(files.calibration, shape, files.key)[:, :3]
        maps = [self._depth(file, image) for file in (files.sparse, files.truth)]
        if self.config.crop:
            image, K, maps = self._cropped(files.image, self.config.crop, image, K, maps)
        sparse, truth = maps
        return Frame(name, image, K, sparse, truth)

    def _depth(self, path: Path | None, image: np.ndarray) -> np.ndarray | None:
        if path is None:
            return None
        depth = self.tree.depth(path, PNG_SCALE)
        self.tree.check_size(path, depth, image)
        return depth

    def _cropped(
        self, path: Path, size: tuple[int, int], image: np.ndarray, K: np.ndarray,
        maps: list[np.ndarray | None],
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray | None]]:  # fmt: skip
        """Keep the bottom rows and the central columns, where the LiDAR measures."""
        height, width = image.shape[:2]
        top, left = height - size[0], (width - size[1]) // 2
        if top < 0 or left < 0:
            raise self.tree.error(
                f'{path} is {height}x{width}, smaller than crop = {size[0]}x{size[1]}: choose a '
                'smaller crop, or null for none'
            )
        cut = [None if values is None else crop(values, top, left, size) for values in maps]
        return crop(image, top, left, size), cropped_K(K, top, left), cut
