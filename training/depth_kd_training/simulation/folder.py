"""Simulated frames as a data set of files, in the layout that the data set `folder` reads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from depth_kd_ros import files
from depth_kd_ros.folders import write_depth
from depth_kd_training.data.base import Frame
from depth_kd_training.simulation.world import CLASSES
import numpy as np

LABELS = ('ring', 'semantic', 'instance')  # stored as label + 1, 0 = none


def prepare(root: Path, beams: int | None = None) -> None:
    """
    Make the folder for frames of a LiDAR of so many beams, where there is but one kind of it.

    It must be new or empty. Raises ValueError, OSError.
    """
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise ValueError(f'{root} is not empty: choose another folder, or remove it')
    for name in ('rgb', 'sparse', 'depth_gt', *LABELS, 'K'):
        (root / name).mkdir()
    files.replace(root / 'classes.json', json.dumps(CLASSES).encode())
    if beams:
        files.replace(root / 'beams.txt', f'{beams}\n'.encode())


def write(root: Path, frame: Frame) -> None:
    """Write one frame; raise OSError where that fails."""
    name = f'{frame.name}.png'
    _png(root / 'rgb' / name, cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    none = np.zeros(frame.image.shape[:2], np.float32)
    for key, depth in (('sparse', frame.sparse_depth), ('depth_gt', frame.depth_gt)):
        write_depth(root / key / name, none if depth is None else depth)
    for key in LABELS:
        values = getattr(frame, key)
        labels = none if values is None else values + 1
        _png(root / key / name, labels.astype(np.uint8 if labels.max() < 256 else np.uint16))
    lines = '\n'.join(' '.join(f'{x:.9g}' for x in row) for row in np.asarray(frame.K))
    (root / 'K' / f'{frame.name}.txt').write_text(lines + '\n')


def _png(path: Path, values: np.ndarray) -> None:
    """Write a PNG; cv2 says nothing about a full disk but False."""
    if not cv2.imwrite(str(path), values):
        raise OSError(f'{path}: could not be written: is the disk full or read-only?')
