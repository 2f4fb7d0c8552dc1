"""How the camera moves, from points tracked in two images and their depth."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

CELL_PX = 20  # one tracked point in each such square
MARGIN_PX = 8
ENOUGH = 15  # tracked points
WEAK = 1e-4  # smallest eigenvalue of a texture that can be tracked


class Motion(NamedTuple):
    """
    Velocity of static points in the camera frame: `turn` (3,) rad/s and `shift` (3,) m/s.

    A point p moves with turn x p + shift. `flow_px` is the median way of the tracked points.
    """

    turn: np.ndarray
    shift: np.ndarray
    flow_px: float

    def velocity(self, points_cam: np.ndarray) -> np.ndarray:
        """Give the velocity (N, 3) m/s of static points (N, 3) m."""
        return np.cross(self.turn, points_cam) + self.shift


def motion(
    image: np.ndarray, later: np.ndarray, seconds: float, K: np.ndarray, points_cam: np.ndarray
) -> Motion | None:
    """
    Track points (N, 3) m of the camera frame from one grey image (H, W) to a later one.

    Robust perspective-n-point (RANSAC, then Levenberg-Marquardt) leaves moving things out. None
    where too little can be tracked.
    """
    start, points = _trackable(image, K, points_cam)
    if len(start) < ENOUGH:
        return None
    end, there = _track(image, later, start)
    back, again = _track(later, image, end)
    good = there & again & (np.hypot(*(start - back).T) < 0.7)
    if good.sum() < ENOUGH:
        return None
    points, pixels = points[good], end[good].astype(np.float64)
    cv2.setRNGSeed(0)
    found, turn, shift, inliers = cv2.solvePnPRansac(
        points, pixels, K, None, iterationsCount=200, reprojectionError=1.5,
        flags=cv2.SOLVEPNP_SQPNP,
    )  # fmt: skip
    if not found or inliers is None or len(inliers) < ENOUGH:
        return None
    chosen = inliers[:, 0]
    turn, shift = cv2.solvePnPRefineLM(points[chosen], pixels[chosen], K, None, turn, shift)
    flow = float(np.median(np.hypot(*(end - start)[good].T)))
    return Motion(turn[:, 0] / seconds, shift[:, 0] / seconds, flow)


def _track(
    image: np.ndarray, later: np.ndarray, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow pixels (M, 2) float32 with Lucas and Kanade's method; tell which were found (M,)."""
    guess = pixels.copy()
    end, found, _ = cv2.calcOpticalFlowPyrLK(image, later, pixels, guess, None, None, (17, 17), 4)
    return end, found[:, 0] > 0


def _trackable(
    image: np.ndarray, K: np.ndarray, points_cam: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the best textured point of each cell: pixels (M, 2) float32 and points (M, 3)."""
    points = points_cam[points_cam[:, 2] > 1]
    uv = (points @ K.T)[:, :2] / points[:, 2:]
    height, width = image.shape
    limits = np.array([width, height]) - MARGIN_PX
    inside = ((uv >= MARGIN_PX) & (uv < limits)).all(1)
    points, uv = points[inside], uv[inside]
    column, row = uv.astype(int).T
    texture = cv2.cornerMinEigenVal(image, 7)[row, column]
    cell = row // CELL_PX * width + column // CELL_PX
    order = np.lexsort((-texture, cell))
    best = order[np.diff(cell[order], prepend=-1) > 0]
    best = best[texture[best] > WEAK]
    return uv[best].astype(np.float32), points[best]
