"""Raw lenses: rectify an image with CameraInfo's K, D, R, P, and find the viewing ray of each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
from depth_kd_ros.geometry import Camera
import numpy as np


@dataclass(frozen=True)
class Rectifier:
    """Map images of a raw camera to the rectified `camera`; build with `rectifier()`."""

    camera: Camera
    map_uv: tuple[np.ndarray, np.ndarray]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Rectify an image (H, W, C) bilinearly; pixels from outside the raw image are black."""
        return cv2.remap(image, *self.map_uv, cv2.INTER_LINEAR)


def rectifier(raw: Camera, R: np.ndarray, rectified: Camera) -> Rectifier:
    """Prepare the map from `raw` (K, D) over rotation R (3, 3) to `rectified` (P). Source: OpenCV."""
    D, size = np.array(raw.D or (0.0,) * 4), (rectified.width, rectified.height)
    make = cv2.initUndistortRectifyMap
    if raw.model == 'equidistant':
        make = cv2.fisheye.initUndistortRectifyMap
    maps = make(np.array(raw.K), D, R, np.array(rectified.K), size, cv2.CV_16SC2)
    return Rectifier(rectified, maps)


def rays(camera: Camera) -> np.ndarray:
    """Give the viewing ray (x/z, y/z) of each pixel's centre: (H, W, 2) float32, distortion undone."""
    v, u = np.indices(camera.size, dtype=np.float64)
    uv = np.stack([u, v], -1).reshape(-1, 1, 2)
    K, D = np.array(camera.K), np.array(camera.D or (0.0,) * 4)
    if camera.model == 'equidistant':
        xy = cv2.fisheye.undistortPoints(uv, K, D)
    else:
        until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        xy = cv2.undistortPointsIter(uv, K, D, np.eye(3), np.eye(3), until)
    return xy.reshape(*camera.size, 2).astype(np.float32)
