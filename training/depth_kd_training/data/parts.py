"""What the readers share: files below a root, checks of options, random sparse points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from depth_kd_ros.folders import FolderError, read_depth, read_rgb
from depth_kd_ros.geometry import Camera
from depth_kd_training.data.base import DatasetError, Frame
import numpy as np

NYU_K = np.array([[518.858, 0, 325.582], [0, 519.470, 253.736], [0, 0, 1]])  # px, at 480x640


class Tree:
    """Files below a root; each DatasetError names the path and shows the layout."""

    def __init__(self, root: str, layout: str | None) -> None:
        self.root, self.layout = Path(root), layout or ''
        if not self.root.is_dir():
            raise self.error(f'{self.root}: no such folder')

    def error(self, problem: str) -> DatasetError:
        """Make the error for a problem whose text names the path."""
        return DatasetError(f'{problem}. Layout expected:\n{self.layout}')

    def find(self, pattern: str) -> list[Path]:
        """List the files of a pattern, sorted; none is an error."""
        found = sorted(self.root.glob(pattern))
        if not found:
            raise self.error(f'{self.root}: no {pattern} here')
        return found

    def check_partners(self, paths: Sequence[Path], partner: Callable[[Path], Path]) -> None:
        """Check that the partner of each file is there."""
        absent = [path for path in paths if not partner(path).is_file()]
        if absent:
            raise self.error(
                f'{partner(absent[0])}: no such file, though there is {absent[0]} '
                f'({len(absent)} of {len(paths)} files lack it)'
            )

    def rgb(self, path: Path) -> np.ndarray:
        """Read an image (H, W, 3) uint8 RGB."""
        try:
            return read_rgb(path)
        except FolderError as error:
            raise self.error(str(error)) from None

    def depth(self, path: Path, depth_scale: float) -> np.ndarray:
        """Read a 16-bit PNG as depth (H, W) float32 m = value / depth_scale."""
        try:
            return read_depth(path, depth_scale)
        except FolderError as error:
            raise self.error(str(error)) from None

    def grey(self, path: Path, dtype: type) -> np.ndarray:
        """Read a grey PNG (H, W) of this type, its values as they are."""
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None or values.dtype != dtype or values.ndim != 2:
            kind = 'unreadable' if values is None else f'{values.dtype} {values.shape}'
            raise self.error(f'{path}: {kind}; a grey PNG of {np.dtype(dtype)} is needed')
        return values

    def array(self, path: Path, size: tuple[int, int]) -> np.ndarray:
        """Read an npy file of H x W numbers as (H, W), whatever axes of length 1 it has."""
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self.error(f'{path}: not a readable npy file ({error})') from None
        if values.size != size[0] * size[1] or values.squeeze().shape != size:
            raise self.error(f'{path} is {values.shape}, its image {size}')
        return values.reshape(size)

    def matrix(self, path: Path, shape: tuple[int, int], key: str = '') -> np.ndarray:
        """Read a matrix of numbers from a text file, or from its line `key: numbers`."""
        try:
            lines = path.read_text().splitlines()
            if key:
                lines = [line.partition(':')[2] for line in lines if line.startswith(f'{key}:')]
            numbers = np.array([float(word) for line in lines for word in line.split()])
            return numbers.reshape(shape)
        except (OSError, ValueError) as error:
            expected = f'{shape[0]}x{shape[1]} numbers' + (f' of {key}' if key else '')
            raise self.error(f'{path}: {expected} expected ({error})') from None

    def check_size(self, path: Path, values: np.ndarray, image: np.ndarray) -> None:
        """Check that a map has its image's height and width."""
        if values.shape != image.shape[:2]:
            raise self.error(f'{path} is {values.shape}, its image {image.shape[:2]} (H, W)')


def check_choice(key: str, value: object, choices: Sequence[object]) -> None:
    """Raise ValueError unless a value is one of the choices."""
    if value not in choices:
        listed = ', '.join(map(str, choices))
        raise ValueError(f'{key} = {value!r}: one of {listed} expected')


def check_count(key: str, value: object, least: int) -> None:
    """Raise ValueError unless a value is a whole number from `least` on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f'{key} = {value!r}: a whole number from {least} on expected')


def check_size(key: str, value: object) -> None:
    """Raise ValueError unless a value is (height, width)."""
    sides = value if isinstance(value, tuple) else ()
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f'{key} = {value!r}: (height, width) in pixels expected')


@dataclass(frozen=True)
class RgbdConfig:
    """
    Options of a data set of images with dense depth.

    The input is `points` random points of the depth (0: no sparse depth); `seed` and the frame's
    index choose them.
    """

    root: str
    points: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for counts below 0."""
        check_count('points', self.points, 0)
        check_count('seed', self.seed, 0)


def rgbd_frame(
    config: RgbdConfig, index: int, name: str, image: np.ndarray, depth: np.ndarray,
    K: np.ndarray | None, instance: np.ndarray | None = None,
) -> Frame:  # fmt: skip
    """Make a frame whose input is random points of its dense depth (H, W) m, 0 = none."""
    sparse = None
    if config.points:
        sparse = random_points(depth, config.points, np.random.default_rng([config.seed, index]))
    return Frame(name, image, K, sparse, depth, instance=instance)


def random_points(depth: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `count` random pixels of depth (H, W) m, or all that are valid if they are fewer."""
    valid = np.flatnonzero(depth)
    chosen = rng.choice(valid, min(count, len(valid)), replace=False)
    sparse = np.zeros_like(depth)
    sparse.flat[chosen] = depth.flat[chosen]
    return sparse


def crop(values: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    """Cut a window of size (height, width) out of (H, W, ...)."""
    return np.ascontiguousarray(values[top : top + size[0], left : left + size[1]])


def cropped_K(K: np.ndarray, top: int, left: int) -> np.ndarray:  # noqa: N802
    """Give K (3, 3) of a window that begins at (top, left)."""
    return np.array(Camera(K, 1, 1).cropped(top, left, 1, 1).K)
