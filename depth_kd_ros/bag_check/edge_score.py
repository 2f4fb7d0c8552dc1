"""How well depth edges of clouds lie on edges of images, for small rotations and time offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

STRONG = 97  # percentile of the gradient that counts as a full edge
WIDE = 4.0  # the surroundings an edge is compared with, times its own blur
Adjustment = np.ndarray  # (4,): yaw, pitch, roll deg, offset s


class View(NamedTuple):
    """
    One cloud's edges (M, 3) m in the camera frame with their velocity m/s, and an image.

    `late_s` (M,) is image stamp - cloud stamp, of each point where their times are known; `image`
    (H, W) uint8 grey, `K` its intrinsics.
    """

    points_cam: np.ndarray
    velocity: np.ndarray
    upright: np.ndarray
    image: np.ndarray
    K: np.ndarray
    late_s: np.ndarray


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """
    Give the rotation (3, 3) of points in the camera frame.

    Yaw moves them to the right, pitch up, roll clockwise in the image.
    """
    return cv2.Rodrigues(np.deg2rad([pitch_deg, yaw_deg, roll_deg]))[0]


def edge_maps(image: np.ndarray, blur_px: float) -> np.ndarray:
    """
    Give upright and level edges (2, H, W) float32 of a grey image, less their surroundings.

    So the mean over a picture is about 0, and textured regions attract nothing.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    maps = []
    for along in ((1, 0), (0, 1)):
        edge = np.abs(cv2.Sobel(smooth, cv2.CV_32F, *along))
        edge = np.minimum(edge / (np.percentile(edge, STRONG) + 1), 1)
        maps.append(
            cv2.GaussianBlur(edge, (0, 0), blur_px)
            - cv2.GaussianBlur(edge, (0, 0), WIDE * blur_px)
        )
    return np.stack(maps)


class EdgeScore:
    """Score adjustments of extrinsics and clock on views of one image size; higher is better."""

    def __init__(self, views: Sequence[View], blur_px: float) -> None:
        self.frames = len(views)
        counts = [len(view.points_cam) for view in views]
        self._frame = np.repeat(np.arange(self.frames), counts)
        self._points = np.concatenate([view.points_cam for view in views])
        self._velocity = np.concatenate([view.velocity for view in views])
        self._late_s = np.concatenate([view.late_s for view in views])[:, None]
        self._maps = np.stack([edge_maps(view.image, blur_px) for view in views])
        level = ~np.concatenate([view.upright for view in views])
        _, _, self._height, self._width = self._maps.shape
        self._first = (self._frame * 2 + level) * self._height
        self._K = views[0].K

    def __call__(self, adjustment: Adjustment) -> float:
        """Give the mean edge strength below all edge points in the images."""
        value, seen = self._values(adjustment)
        return float(value.sum() / max(1, seen.sum()))

    def by_frame(self, adjustment: Adjustment) -> tuple[np.ndarray, np.ndarray]:
        """Give each frame's sum of edge strength (F,) and its number of points (F,)."""
        value, seen = self._values(adjustment)
        return (
            np.bincount(self._frame, value, self.frames),
            np.bincount(self._frame, seen, self.frames),
        )

    def _values(self, adjustment: Adjustment) -> tuple[np.ndarray, np.ndarray]:
        """Give edge strength (M,), 0 where not seen, and what is seen (M,), bilinear."""
        yaw, pitch, roll, offset_s = adjustment
        points = self._points + self._velocity * (self._late_s - offset_s)
        x, y, z = (self._K @ rotation(yaw, pitch, roll)) @ points.T
        seen = z > 0.5
        z = np.where(seen, z, 1.0)
        u, v = x / z, y / z
        seen &= (u >= 0) & (v >= 0) & (u < self._width - 1) & (v < self._height - 1)
        u, v = np.where(seen, u, 0), np.where(seen, v, 0)
        column, row = u.astype(int), v.astype(int)
        u, v = u - column, v - row
        at = (self._first + row) * self._width + column
        flat, below = self._maps.reshape(-1), at + self._width
        top = flat[at] * (1 - u) + flat[at + 1] * u
        bottom = flat[below] * (1 - u) + flat[below + 1] * u
        return np.where(seen, top * (1 - v) + bottom * v, 0), seen
