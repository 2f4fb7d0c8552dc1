"""Pictures of example frames: image, points, truth, and each model's depth and its error."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
from depth_kd_ros import pictures
from depth_kd_ros.completer import Completion
from depth_kd_training.data.base import Frame
import numpy as np

WIDEST = 720  # px
LARGEST_M, LINEAR_M = 10.0, 0.3  # of the scale of errors: its end, and where it turns logarithmic
STOPS = ((0, 40, 90, 180), (0.25, 110, 170, 225), (0.5, 245, 245, 245), (0.75, 240, 150, 100),
         (1, 175, 25, 40))  # fmt: skip
"""The scale of errors, RGB: blue = too near, white = right, red = too far."""
DENSE = 0.2  # share of pixels with truth, below which its points are drawn larger


def position(error_m: np.ndarray) -> np.ndarray:
    """Place errors in m on the scale, 0 to 1, 0.5 = none: logarithmic beyond `LINEAR_M`."""
    part = np.log1p(np.abs(error_m) / LINEAR_M) / np.log1p(LARGEST_M / LINEAR_M)
    return 0.5 + 0.5 * np.sign(error_m) * np.minimum(part, 1)


def error_picture(depth: np.ndarray, depth_gt: np.ndarray) -> np.ndarray:
    """Colour depth - truth (H, W) m as RGB (H, W, 3) uint8; black = no truth."""
    known = depth_gt > 0
    error = np.where(known, depth - depth_gt, 0).astype(np.float32)
    if known.mean() < DENSE:  # single points: the larger error shows
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
        high, low = cv2.dilate(error, disc), cv2.erode(error, disc)
        error = np.where(high > -low, high, low)
        known = cv2.dilate(known.view(np.uint8), disc) > 0
    at, *colours = np.transpose(STOPS)
    place = position(error)
    picture = np.stack([np.interp(place, at, channel) for channel in colours], -1)
    return np.where(known[..., None], picture, 0).astype(np.uint8)


class Examples:
    """
    Write pictures of the frames numbered `chosen` as they are evaluated, with one number of beams.

    `entries` is what the evaluation's file says of them; paths are relative to its folder.
    """

    def __init__(self, folder: Path, chosen: Collection[int], beams: int | None) -> None:
        self.folder, self.chosen, self.beams = folder, chosen, beams
        self.seen: dict[str, int] = {}  # frames, numbered as they come
        self.by_frame: dict[str, dict[str, Any]] = {}

    @property
    def entries(self) -> list[dict[str, Any]]:
        """List the frames in the order of their evaluation."""
        return list(self.by_frame.values())

    def __call__(self, frame: Frame, beams: int | None, model: str, done: Completion) -> None:
        """Write what a model made of a frame, if it is one of ours."""
        number = self.seen.setdefault(frame.name, len(self.seen))
        if number not in self.chosen or beams != self.beams:
            return
        entry = self.by_frame.setdefault(frame.name, {})
        stem = f'frame{number}'
        radius = 1 if frame.image.shape[1] < 1500 else 2
        if not entry:
            self.folder.mkdir(parents=True, exist_ok=True)
            points = pictures.overlay(frame.image, done.sparse_depth, radius_px=radius)
            entry |= {
                'frame': frame.name,
                'beams': 'all' if beams is None else beams,
                'image': self._write(f'{stem}_image.jpg', frame.image),
                'sparse': self._write(f'{stem}_sparse.jpg', points),
                'truth': None,
                'models': {},
            }
            if frame.depth_gt is not None:
                entry['truth'] = self._write(f'{stem}_truth.jpg', _coloured(frame.depth_gt))
        stem = f'{stem}_model{len(entry["models"])}'
        made = {'depth': self._write(f'{stem}_depth.jpg', pictures.colour(done.depth))}
        if frame.depth_gt is not None:
            error = error_picture(done.depth, frame.depth_gt)
            made['error'] = self._write(f'{stem}_error.jpg', error)
        entry['models'][model] = made

    def _write(self, name: str, picture: np.ndarray) -> str:
        """Write a picture at most `WIDEST` wide; give its path beside the evaluation's file."""
        height, width = picture.shape[:2]
        if width > WIDEST:
            size = WIDEST, max(1, round(height * WIDEST / width))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        pictures.write(str(self.folder / name), picture)
        return f'{self.folder.name}/{name}'


def _coloured(depth_gt: np.ndarray) -> np.ndarray:
    """Colour truth (H, W) m; its points are drawn larger where they are few."""
    if (depth_gt > 0).mean() >= DENSE:
        return pictures.colour(depth_gt)
    return pictures.overlay(np.zeros((*depth_gt.shape, 3), np.uint8), depth_gt, radius_px=2)
