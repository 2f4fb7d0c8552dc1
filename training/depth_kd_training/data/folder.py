"""
The simple user format, as `depth_kd complete` reads it, with ground truth where there is any.

    ROOT/rgb/*.png|jpg
    ROOT/SPARSE/*.png|npy          the same names; 16-bit PNG, or npy in metres
    ROOT/TRUTH/*.png|npy           likewise; optional
    ROOT/calib.json, camera_info.yaml or K.txt; optional

SPARSE and TRUTH are the options `sparse` and `depth_gt`; PNG depth is value / `depth_scale` m.
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.folders import Folder, FolderError, PNG_SCALE
from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import Tree
import numpy as np

INTRINSICS = ('calib.json', 'camera_info.yaml', 'K.txt')


@dataclass(frozen=True)
class Config:
    """Name the folders; without `depth_gt` the frames are unlabelled."""

    root: str
    sparse: str = 'sparse'
    depth_gt: str = ''
    depth_scale: float = PNG_SCALE

    def __post_init__(self) -> None:
        """Raise ValueError for an empty folder name and a scale that is not positive."""
        if not self.sparse:
            raise ValueError("sparse = '': give the name of the folder of sparse depth")
        if not 0 < self.depth_scale < float('inf'):
            raise ValueError(
                f'depth_scale = {self.depth_scale!r}: must be positive (256 as KITTI, 1000 for mm)'
            )


class Dataset:
    """Give the frames by the names of their images."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self.K: np.ndarray | None = None
        self.truth: Folder | None = None
        try:
            self.folder = Folder(self.tree.root, config.sparse, config.depth_scale)
            if config.depth_gt:
                self.truth = Folder(self.tree.root, config.depth_gt, config.depth_scale)
            if any((self.tree.root / name).is_file() for name in INTRINSICS):
                self.K = self.folder.K()
        except FolderError as error:
            raise self.tree.error(str(error)) from None

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, index: int) -> Frame:
        name = self.folder.names[index]
        try:
            frame = self.folder[name]
            truth = self.truth[name].sparse if self.truth else None
        except FolderError as error:
            raise self.tree.error(str(error)) from None
        K = None if self.K is None else self.K.copy()
        return Frame(name, frame.image, K, frame.sparse, truth)
