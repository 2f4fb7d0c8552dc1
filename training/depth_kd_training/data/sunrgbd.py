"""
SUN RGB-D (Song et al., 2015): four indoor sensors.

    ROOT/**/SCENE/image/*.jpg           one file
    ROOT/**/SCENE/depth/*.png           one file, 16-bit; depth_bfx/*.png: with filled holes
    ROOT/**/SCENE/intrinsics.txt        9 numbers

The bits of depth are rotated: (v >> 3) | (v << 13) is mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import check_choice, rgbd_frame, RgbdConfig, Tree
import numpy as np


@dataclass(frozen=True)
class Config(RgbdConfig):
    """Choose the depth: as measured, or `depth_bfx` with filled holes."""

    depth: str = 'depth'

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown kind of depth and counts below 0."""
        super().__post_init__()
        check_choice('depth', self.depth, ('depth', 'depth_bfx'))


class Dataset:
    """Give one frame per scene."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self.scenes = sorted({path.parents[1] for path in self.tree.find('**/image/*.jpg')})

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Frame:
        scene = self.scenes[index]
        image = self.tree.rgb(self._only(scene / 'image', '.jpg'))
        path = self._only(scene / self.config.depth, '.png')
        depth = millimetres(self.tree.grey(path, np.uint16)).astype(np.float32) / np.float32(1000)
        self.tree.check_size(path, depth, image)
        K = self.tree.matrix(scene / 'intrinsics.txt', (3, 3))
        name = scene.relative_to(self.tree.root).as_posix()
        return rgbd_frame(self.config, index, name, image, depth, K)

    def _only(self, folder: Path, suffix: str) -> Path:
        """Find the one file of a scene's folder."""
        found = sorted(folder.glob(f'*{suffix}'))
        if len(found) != 1:
            raise self.tree.error(f'{folder}: {len(found)} files *{suffix}, one expected')
        return found[0]


def millimetres(values: np.ndarray) -> np.ndarray:
    """Rotate 16-bit values by three bits to the right."""
    return (values >> 3) | (values << 13)
