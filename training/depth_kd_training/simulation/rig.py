"""What is drawn for one picture: the sensors' mounting, the weather, the camera's settings."""

from __future__ import annotations

import math
from typing import NamedTuple

from depth_kd_training.simulation.camera import Look
from depth_kd_training.simulation.sky import Sky
from depth_kd_training.simulation.world import rotation
import numpy as np
import torch

OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # camera axes in a forward frame's
RIGS = ('random', 'kitti')
KITTI_FOCAL, KITTI_CENTRE, KITTI_WIDTH = 721.5, 609.6, 1242  # px; Geiger et al. 2013, camera 2
KITTI_ROW = 172.9 / 375  # of the principal point, as a share of the height
Rng = np.random.Generator


class Rig(NamedTuple):
    """Hold a camera and a LiDAR on a platform whose frame is x forward, y left, z up, at z = 0."""

    K: np.ndarray  # (3, 3) px
    T_base_cam: np.ndarray  # (4, 4)
    T_base_lidar: np.ndarray  # (4, 4)
    speed: float  # m/s
    yaw_rate: float  # rad/s
    heading: float = 0.0  # rad from x, of the motion

    @property
    def T_cam_lidar(self) -> np.ndarray:  # noqa: N802
        """Give the extrinsics (4, 4): p_cam = T_cam_lidar @ p_lidar."""
        return np.linalg.inv(self.T_base_cam) @ self.T_base_lidar


def draw(rng: Rng, kind: str, size: tuple[int, int], indoor: bool) -> Rig:
    """Draw a rig for images of `size` (H, W); 'kitti' is that car's, up to its pitch and speed."""
    height, width = size
    if kind == 'kitti':
        scale = width / KITTI_WIDTH
        focal, centre = KITTI_FOCAL * scale, (KITTI_CENTRE * scale, height * KITTI_ROW)
        camera, lidar = (0.0, 0.0, 1.65), (-0.27, 0.0, 1.73)
        angles, turns = (0.0, math.radians(rng.normal(0, 0.5)), 0.0), (0.0, 0.0, 0.0)
    else:
        focal = width / 2 / math.tan(math.radians(rng.uniform(45, 100)) / 2)
        centre = (width * rng.uniform(0.46, 0.54), height * rng.uniform(0.35, 0.6))
        at = rng.uniform(0.3, 1.6) if indoor else rng.choice([0.7, 1.5, 2.2], p=[0.2, 0.6, 0.2])
        camera = (0.0, rng.normal(0, 0.1), at * rng.uniform(0.8, 1.2))
        lidar = (
            camera[0] + rng.uniform(-0.8, 0.3) * (0.3 if indoor else 1),
            camera[1] + rng.normal(0, 0.2),
            camera[2] + rng.uniform(0.05, 0.25 if indoor else 0.7),
        )
        angles = tuple(np.radians(rng.normal([0, 1.5, 0], [2, 2.5, 0.7])))
        turns = tuple(np.radians(rng.normal(0, [2, 1, 0.7])))
    K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    speed = rng.uniform(0, 1.0 if indoor else 14.0) * (rng.random() < 0.85)
    yaw_rate = rng.normal(0, 0.3 if indoor else 0.05)
    T_base_cam = pose(camera, angles)
    T_base_cam[:3, :3] = T_base_cam[:3, :3] @ OPTICAL
    return Rig(K, T_base_cam, pose(lidar, turns), float(speed), float(yaw_rate))


def pose(at: tuple, angles: tuple) -> np.ndarray:
    """Make a transform (4, 4) from x, y, z m and yaw, pitch, roll rad."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation(*angles), at
    return T


def sky(rng: Rng, indoor: bool, overcast: bool) -> Sky:
    """Draw a sky, one of a batch of 1; indoors it is what lights the shade."""
    warm = rng.uniform(0, 1)
    horizon = np.array([0.85, 0.87, 0.9]) * rng.uniform(0.7, 1.1)
    zenith = np.array([0.2, 0.38, 0.75]) * rng.uniform(0.6, 1.2)
    sun = np.array([1.6, 1.6 - 0.25 * warm, 1.6 - 0.6 * warm]) * rng.uniform(0.8, 1.4)
    clouds, visibility = rng.uniform(0, 0.7), 10 ** rng.uniform(2.3, 3.7)
    if overcast:
        zenith = horizon * rng.uniform(0.7, 1.0)
        clouds = 1.0
    if indoor:
        horizon = np.array([0.9, 0.85, 0.78]) * rng.uniform(0.3, 0.8)
        zenith, visibility = horizon * rng.uniform(0.6, 1.1), 1e4
    return Sky(_row(zenith).T, _row(horizon).T, _row(sun).T, _row(clouds), _row(visibility))


def look(rng: Rng, randomised: bool) -> Look:
    """Draw a camera's settings, one of a batch of 1; `randomised` ones are farther from usual."""
    wide = 2.0 if randomised else 1.0
    values = (
        rng.normal(0.1, 0.35 * wide), 1 + rng.normal(0, 0.05 * wide, 3).clip(-0.4, 0.4),
        rng.uniform(1.9, 2.5), rng.uniform(max(0.0, 1 - 0.35 * wide), 1 + 0.3 * wide),
        rng.uniform(0.3, 0.7 + 0.4 * wide), max(0.0, rng.normal(0, 1.2 * wide)),
        rng.uniform(0, 0.35), 0.004 + 0.02 * rng.random() ** 2 * wide,
        max(0.0, rng.normal(-0.15, 0.12)) * wide,
    )  # fmt: skip
    return Look(*(_row(x) for x in values))


def _row(value: object) -> torch.Tensor:
    """Make a tensor (1, ...) of one value of a batch."""
    return torch.as_tensor(np.asarray(value, np.float32))[None]
