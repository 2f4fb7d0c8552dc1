"""
Predictions as the KITTI depth completion benchmark takes them.

16-bit PNGs of 352x1216, depth = value / 256 m, named as the images of the test set
(0000000000.png ... 0000000999.png), together in the root of one zip.
"""

from __future__ import annotations

from pathlib import Path
import re
import zipfile

from depth_kd_ros.completer import Completion
from depth_kd_ros.folders import write_depth
from depth_kd_training.data.base import Frame
import numpy as np

SIZE, COUNT = (352, 1216), 1000
FARTHEST_M = 65535 / 256
SELECTED = re.compile(r'\d{4}_\d\d_\d\d_drive_\d{4}_sync_image_\d{10}_image_0[23]')


class Submission:
    """Write the frames of test_depth_completion_anonymous or val_selection_cropped."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, 0
        old = sorted(folder.glob('*.png')) if folder.is_dir() else []
        if old:
            raise ValueError(
                f'{folder} holds {len(old)} PNGs already, first {old[0].name}: choose another '
                'folder for the submission'
            )

    def __call__(self, frame: Frame, beams: int | None, model: str, done: Completion) -> None:
        """Write a frame's prediction; ValueError for one that the benchmark would refuse."""
        if not (re.fullmatch(r'\d{10}', frame.name) or SELECTED.fullmatch(frame.name)):
            raise ValueError(
                f'frame {frame.name!r} is none of the benchmark: give --dataset kitti_dc with '
                'split=test_anonymous (to submit) or split=selection (to check)'
            )
        self.write(frame.name, done.depth)

    def write(self, name: str, depth: np.ndarray) -> Path:
        """Write depth (352, 1216) m, dense, as NAME.png; ValueError for any other."""
        if depth.shape != SIZE:
            raise ValueError(
                f'frame {name} is {depth.shape[0]}x{depth.shape[1]}; the benchmark takes '
                f'{SIZE[0]}x{SIZE[1]}'
            )
        if not (np.isfinite(depth) & (depth > 0) & (depth <= FARTHEST_M)).all():
            raise ValueError(
                f'frame {name}: the benchmark needs a depth above 0 and up to {FARTHEST_M:.1f} m '
                'at every pixel'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f'{name}.png'
        write_depth(path, np.maximum(depth, 1 / 256))  # 0 would mean none
        self.written += 1
        return path

    def zip(self) -> str:
        """Pack the PNGs into FOLDER.zip; say what to do with it."""
        archive = self.folder.with_name(f'{self.folder.name}.zip')
        with zipfile.ZipFile(archive, 'w', zipfile.ZIP_STORED) as packed:
            for path in sorted(self.folder.glob('*.png')):
                packed.write(path, path.name)
        said = f'{self.written} PNGs (value / 256 m) in {self.folder}, packed as {archive}'
        if self.written != COUNT:
            return f'{said}; the benchmark wants all {COUNT} frames of split=test_anonymous'
        return f'{said}: upload it to the KITTI depth completion benchmark'
