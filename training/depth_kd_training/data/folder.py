"""
The simple user format, as `depth_kd complete` reads it, with what training can use besides.

    ROOT/rgb/*.png|jpg
    ROOT/SPARSE/*.png|npy          the same names; 16-bit PNG, or npy in metres
    ROOT/TRUTH/*.png|npy           likewise; optional
    ROOT/ring/*.png                beam + 1 of each sparse pixel, 8- or 16-bit PNG; optional
    ROOT/semantic/*.png            class + 1, likewise; optional
    ROOT/instance/*.png            object + 1, likewise; optional
    ROOT/classes.json              names of the classes, ["road", ...]; optional
    ROOT/about/*.json              of each frame, {"beams": 64, ...}: the LiDAR's beams; optional
    ROOT/K/*.txt                   3x3 numbers of each frame, or one for all:
    ROOT/calib.json, camera_info.yaml or K.txt; optional

SPARSE and TRUTH are the options `sparse` and `depth_gt`; PNG depth is value / `depth_scale` m. A
value of 0 means none or unknown. A folder that is there holds a file for every image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
import json
from pathlib import Path

import cv2
from depth_kd_ros.folders import Folder, FolderError, PNG_SCALE, read_depth
from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import Tree
import numpy as np

INTRINSICS = ('calib.json', 'camera_info.yaml', 'K.txt')
LABELS = {'ring': np.int16, 'semantic': np.int16, 'instance': np.int32}


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
    """Give the frames by the names of their images; `classes` names the semantic classes."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self.K: np.ndarray | None = None
        self.truth: Folder | None = None
        root = self.tree.root
        try:
            self.folder = Folder(root, config.sparse, config.depth_scale)
            if config.depth_gt:
                self.truth = Folder(root, config.depth_gt, config.depth_scale)
            if any((root / name).is_file() for name in INTRINSICS):
                self.K = self.folder.K()
        except FolderError as error:
            raise self.tree.error(str(error)) from None
        self.optional = [name for name in (*LABELS, 'K', 'about') if (root / name).is_dir()]
        for name in self.optional:
            self.tree.check_partners([*self.folder.images.values()], partial(self._path, name))
        self.classes = self._classes(root / 'classes.json')

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, index: int) -> Frame:
        name = self.folder.names[index]
        image = self.folder.images[name]
        try:
            frame = self.folder[name]
            truth = None
            if self.truth:  # not self.truth[name]: it would read the image again
                path = self.truth.depths[name]
                truth = read_depth(path, self.config.depth_scale)
                self.tree.check_size(path, truth, frame.image)
        except FolderError as error:
            raise self.tree.error(str(error)) from None
        K = None if self.K is None else self.K.copy()
        if 'K' in self.optional:
            K = self.tree.matrix(self._path('K', image), (3, 3))
        labels = {
            key: self._labels(self._path(key, image), kind)
            for key, kind in LABELS.items()
            if key in self.optional
        }
        beams = self._beams(self._path('about', image)) if 'about' in self.optional else None
        return Frame(name, frame.image, K, frame.sparse, truth, beams=beams, **labels)

    def _path(self, folder: str, image: Path) -> Path:
        """Give the file in one of the optional folders that belongs to an image."""
        suffix = {'K': '.txt', 'about': '.json'}.get(folder, '.png')
        return self.tree.root / folder / f'{image.stem}{suffix}'

    def _labels(self, path: Path, kind: type) -> np.ndarray:
        """Read a grey PNG whose values are labels + 1; 0 becomes -1."""
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2:
            shape = 'unreadable' if values is None else values.shape
            raise self.tree.error(f'{path}: {shape}; a grey PNG (H, W) is needed')
        if values.max(initial=0) > np.iinfo(kind).max:
            raise self.tree.error(f'{path}: {values.max()} is too large a label')
        return values.astype(kind) - kind(1)

    def _beams(self, path: Path) -> int | None:
        """Read the number of beams of a frame's LiDAR; none, where it is not given."""
        try:
            about = json.loads(path.read_text())
            beams = about.get('beams')
        except (OSError, ValueError, AttributeError) as error:
            raise self.tree.error(f'{path}: not readable as a JSON object: {error}') from None
        if beams is not None and (type(beams) is not int or beams < 1):
            raise self.tree.error(f'{path}: beams = {beams!r}: a whole number expected')
        return beams

    def _classes(self, path: Path) -> tuple[str, ...]:
        """Read the names of the classes; none, where there is no file."""
        if not path.is_file():
            return ()
        try:
            names = json.loads(path.read_text())
        except ValueError as error:
            raise self.tree.error(f'{path}: not readable as JSON: {error}') from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self.tree.error(f'{path}: a list of names is needed')
        return tuple(names)
