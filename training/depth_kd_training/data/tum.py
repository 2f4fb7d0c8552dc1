"""
TUM RGB-D (Sturm et al., 2012): sequences of a hand-held Kinect.

    ROOT/**/SEQUENCE/rgb.txt        lines `timestamp rgb/FILE.png`, # begins a comment
    ROOT/**/SEQUENCE/depth.txt      lines `timestamp depth/FILE.png`
    the files: depth is 16-bit, value / 5000 m

An image and a depth belong together when their stamps differ by less than 20 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_kd_training.data.base import Frame
from depth_kd_training.data.parts import rgbd_frame, RgbdConfig, Tree
import numpy as np

MOST_APART_S = 0.02
DEPTH_SCALE = 5000
K = np.array([[525.0, 0, 319.5], [0, 525.0, 239.5], [0, 0, 1]])  # the authors' advice for all


@dataclass(frozen=True)
class Config(RgbdConfig):
    """Options: those of every RGB-D data set."""


class Dataset:
    """Give the associated pairs of all sequences."""

    def __init__(self, config: Config) -> None:
        self.config, self.tree = config, Tree(config.root, __doc__)
        self.pairs: list[tuple[Path, Path]] = []
        for images in self.tree.find('**/rgb.txt'):
            depths = images.with_name('depth.txt')
            pairs = associate(self._stamped(images), self._stamped(depths))
            if not pairs:
                raise self.tree.error(
                    f'{images}: no image is within {MOST_APART_S} s of a depth of {depths}'
                )
            self.pairs += pairs
        partner = dict(self.pairs)
        self.tree.check_partners(list(partner), partner.__getitem__)
        self.tree.check_partners(list(partner), Path)

    def _stamped(self, path: Path) -> list[tuple[float, Path]]:
        """Read a list of stamps and files."""
        try:
            lines = path.read_text().splitlines()
            words = [line.split() for line in lines if line.strip() and line[0] != '#']
            return [(float(stamp), path.parent / name) for stamp, name in words]
        except (OSError, ValueError) as error:
            raise self.tree.error(f'{path}: `timestamp file` lines expected ({error})') from None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Frame:
        image_path, depth_path = self.pairs[index]
        image, depth = self.tree.rgb(image_path), self.tree.depth(depth_path, DEPTH_SCALE)
        self.tree.check_size(depth_path, depth, image)
        name = image_path.relative_to(self.tree.root).with_suffix('').as_posix()
        return rgbd_frame(self.config, index, name, image, depth, K.copy())


def associate(
    images: list[tuple[float, Path]], depths: list[tuple[float, Path]]
) -> list[tuple[Path, Path]]:
    """Pair images with depths, the nearest stamps first, each file once; in the images' order."""
    stamps = np.array([stamp for stamp, _ in depths])
    near = [
        (abs(stamp - stamps[j]), i, int(j))
        for i, (stamp, _) in enumerate(images)
        for j in np.flatnonzero(np.abs(stamps - stamp) < MOST_APART_S)
    ]
    found: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(near):
        if i not in found and j not in taken:
            found[i] = j
            taken.add(j)
    return [(images[i][1], depths[found[i]][1]) for i in sorted(found)]
