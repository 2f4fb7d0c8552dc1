"""Raw lenses: rectify images with CameraInfo's K, D, R and P."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    """Map `raw` (K, D) over rotation R (3, 3) to `rectified` (P). Source: OpenCV."""
    D, size = np.array(raw.D or (0.0,) * 4), (rectified.width, rectified.height)
    lens: Any = cv2.fisheye if raw.model == 'equidistant' else cv2
    maps = lens.initUndistortRectifyMap(
        np.array(raw.K), D, R, np.array(rectified.K), size, cv2.CV_16SC2
    )
    return Rectifier(rectified, maps)
