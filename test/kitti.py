"""The real KITTI recording in the tests: clouds of the bag, depth images, calibration."""

from __future__ import annotations

from functools import lru_cache
import json
from pathlib import Path

import cv2
from depth_kd_ros.bags import Bag
from depth_kd_ros.clouds import points
from depth_kd_ros.geometry import Camera
import numpy as np

SIZE = (375, 1242)


@lru_cache(maxsize=1)
def calibration(data: Path) -> tuple[Camera, np.ndarray]:
    """Give the rectified camera and T_cam_lidar (4, 4), unrounded."""
    numbers = json.loads((data / 'kitti_0926_frames' / 'calib.json').read_text())
    return Camera(numbers['K'], *SIZE), np.array(numbers['T_cam2rect_velo'])


@lru_cache(maxsize=1)
def clouds(data: Path) -> list[np.ndarray]:
    """Give the bag's 20 clouds, xyz (N, 3) float32 m in the LiDAR frame."""
    with Bag(data / 'kitti_0926_bag') as bag:
        return [points(frame.points).xyz for frame in bag.frames()]


def depth(data: Path, folder: str, index: int) -> np.ndarray:
    """Read a frame's depth image (H, W) float64 m, 0 = none."""
    path = data / 'kitti_0926_frames' / folder / f'{index:010d}.png'
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED) / 256


def differing(depth_m: np.ndarray, png_m: np.ndarray) -> np.ndarray:
    """List pixels (M, 2) row, column whose depths differ by more than a PNG's step."""
    return np.argwhere(np.abs(depth_m.astype(np.float64) - png_m) > 1 / 256)
