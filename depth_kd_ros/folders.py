"""The simple user format: a folder with rgb/, a folder of sparse depth, and the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path

import cv2
import numpy as np
import yaml

IMAGES = ('.png', '.jpg', '.jpeg')
LAYOUT = (
    'rgb/*.png|jpg, SPARSE/*.png|npy with the same names, '
    'and calib.json, K.txt or camera_info.yaml'
)
PNG_SCALE = 256.0  # value per metre, as KITTI


class FolderError(ValueError):
    """A folder or file that does not follow the layout; the text names it."""


@dataclass(frozen=True)
class FolderFrame:
    """One frame: `image` (H, W, 3) uint8 RGB and `sparse` (H, W) float32 m, 0 = none."""

    name: str
    image: np.ndarray
    sparse: np.ndarray


class Folder:
    """
    Frames of a folder, by the names of their images.

    `sparse` names the folder of LiDAR depth: 16-bit PNG, depth = value / depth_scale m (KITTI:
    256; 1000 for millimetres), or npy in metres. Raises FolderError where a file is missing or
    of another kind.
    """

    def __init__(self, path: Path, sparse: str = 'sparse', depth_scale: float = PNG_SCALE) -> None:
        self.path, self.depth_scale = Path(path), depth_scale
        if not 0 < depth_scale < float('inf'):
            raise FolderError(
                f'depth scale {depth_scale}: must be positive (256 for KITTI, 1000 for mm)'
            )
        self.images = _by_name(self.path / 'rgb', IMAGES)
        depths = _by_name(self.path / sparse, ('.png', '.npy'))
        absent = [name for name in self.images if name not in depths]
        if absent:
            raise FolderError(
                f'{self.path / sparse}: {len(absent)} of {len(self.images)} frames of rgb/ have '
                f'no sparse depth, first {absent[0]}'
            )
        self.depths = {name: depths[name] for name in self.images}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """List the frames, sorted."""
        return list(self.images)

    def __getitem__(self, name: str) -> FolderFrame:
        image = read_rgb(self.images[name])
        sparse = read_depth(self.depths[name], self.depth_scale)
        if image.shape[:2] != sparse.shape:
            raise FolderError(
                f'{self.depths[name]} is {sparse.shape}, '
                f'its image {self.images[name]} {image.shape[:2]}'
            )
        return FolderFrame(name, image, sparse)

    def K(self) -> np.ndarray:  # noqa: N802
        """Read the intrinsics (3, 3) from calib.json, camera_info.yaml or K.txt."""
        return read_intrinsics(self.path)


def _by_name(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """List a folder's files by stem, sorted."""
    if not folder.is_dir():
        beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
        there = ', '.join(sorted(path.name for path in beside if path.is_dir()))
        raise FolderError(
            f'{folder}: no such folder (there are: {there or "none"}). Layout: {LAYOUT}'
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in found:
                raise FolderError(f'{path}: {found[path.stem].name} is the same frame; keep one')
            found[path.stem] = path
    if not found:
        raise FolderError(f'{folder}: no {" or ".join(suffixes)} file here. Layout: {LAYOUT}')
    return found


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file, as it is stored, as RGB (H, W, 3) uint8; raise FolderError."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise FolderError(f'{path}: not a readable image')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_depth(path: Path, depth_scale: float = PNG_SCALE) -> np.ndarray:
    """
    Read depth (H, W) float32 m, 0 = none, from a 16-bit PNG (value / depth_scale) or npy (m).

    Raises FolderError for another kind of file: an 8-bit PNG has lost the depth.
    """
    if path.suffix.lower() == '.npy':
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FolderError(f'{path}: not a readable npy file ({error})') from None
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
            raise FolderError(
                f'{path}: {values.dtype} {values.shape}; a float array (H, W) in metres expected'
            )
        return np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        kind = 'unreadable' if image is None else f'{image.dtype} {image.shape}'
        raise FolderError(f'{path}: {kind}; depth must be a 16-bit grey PNG')
    return image.astype(np.float32) / np.float32(depth_scale)


def write_depth(path: Path, depth: np.ndarray) -> None:
    """
    Write depth (H, W) m as npy (float32 m) or 16-bit PNG (value / 256 m, up to 255.99 m).

    Raises ValueError for another suffix, OSError where the file cannot be written.
    """
    if path.suffix == '.npy':
        np.save(path, depth.astype(np.float32))
        return
    if path.suffix != '.png':
        raise ValueError(f'{path}: depth is written as .png or .npy')
    metres = np.where(depth > 0, depth, 0)  # NaN: none
    values = np.clip(np.rint(metres * PNG_SCALE), 0, 65535).astype(np.uint16)
    try:  # by Python: cv2 would not say why it failed
        path.write_bytes(cv2.imencode('.png', values)[1].tobytes())
    except OSError as error:
        raise OSError(f'{path}: could not be written: {error.strerror}') from error


def read_intrinsics(folder: Path) -> np.ndarray:
    """
    Read K (3, 3) from calib.json (key K), camera_info.yaml (camera_matrix) or K.txt (9 numbers).

    Raises FolderError where there is none of them, or no intrinsics in it.
    """
    for name in ('calib.json', 'camera_info.yaml', 'K.txt'):
        path = folder / name
        if not path.is_file():
            continue
        try:
            K = np.array(_numbers(path), np.float64).reshape(3, 3)
        except (KeyError, ValueError, TypeError, yaml.YAMLError) as error:
            raise FolderError(
                f'{path}: no intrinsics in it ({error!r}); 3x3 numbers expected'
            ) from None
        if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise FolderError(f'{path}: K = {K.tolist()}: focal lengths must be positive')
        return K
    raise FolderError(f'{folder}: none of calib.json, camera_info.yaml, K.txt is here')


def _numbers(path: Path) -> list:
    """Find the nine numbers of K in a calibration file."""
    if path.suffix == '.json':
        return json.loads(path.read_text())['K']
    if path.suffix == '.yaml':
        return yaml.safe_load(path.read_text())['camera_matrix']['data']
    return [float(word) for word in path.read_text().replace(',', ' ').split()]
