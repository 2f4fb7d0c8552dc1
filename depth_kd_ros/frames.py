"""From the three messages of one instant to the arrays that a completer takes: one way for robot, command and training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from depth_kd_ros import clouds, messages
from depth_kd_ros.geometry import Camera
from depth_kd_ros.messages import MessageError
from depth_kd_ros.rectification import Rectifier, rectifier
import numpy as np

RECTIFY = ('auto', 'none', 'image', 'points')


@dataclass(frozen=True)
class Frame:
    """One instant: `image` (H, W, 3) uint8 RGB, `points` in the LiDAR frame, `camera`, `T_cam_lidar` (4, 4)."""

    image: np.ndarray
    points: clouds.Points
    camera: Camera
    T_cam_lidar: np.ndarray
    stamp_ns: int
    frame_id: str


class FrameReader:
    """
    Read matched messages as a Frame; keeps the camera model and rectification maps between frames.

    `rectify` says how the image relates to CameraInfo: `none`: it is rectified, P holds; `image`: it is
    raw and gets rectified, the output lies on the rectified grid; `points`: it is raw and stays so,
    points are projected with K and D; `auto`: `none` where the topic's name contains "rect" or D is
    zero, else `image`. The camera frame is the rectified one, as in image_geometry.
    """

    def __init__(
        self,
        rectify: str = 'auto',
        topic: str = '',
        decode: Callable[[Any], np.ndarray] | None = None,
    ) -> None:
        if rectify not in RECTIFY:
            raise ValueError(f'rectify {rectify!r}: one of {", ".join(RECTIFY)} expected')
        self.rectify, self.topic, self.decode = rectify, topic, decode
        self._calibration: tuple | None = None
        self._mode, self._R = 'none', np.eye(3)
        self._camera: Camera | None = None
        self._rectifier: Rectifier | None = None

    def __call__(self, image: Any, camera_info: Any, cloud: Any, T_cam_lidar: np.ndarray) -> Frame:
        """Decode the messages of one instant; raise MessageError where one is unusable."""
        pixels = messages.rgb(image, self.decode)  # (H, W, 3)
        camera = self.camera(camera_info)
        expected = self._camera.size if self._camera else camera.size
        if pixels.shape[:2] != expected:
            raise MessageError(
                f'image is {pixels.shape[0]}x{pixels.shape[1]}, its CameraInfo says {expected[0]}x{expected[1]} '
                '(height x width): is it the camera_info of this image?'
            )
        if self._rectifier:
            pixels = self._rectifier(pixels)
        if self._mode == 'points':
            T_cam_lidar = _rotated(self._R.T) @ T_cam_lidar
        header = image.header
        stamp = messages.stamp_ns(header)
        return Frame(pixels, clouds.points(cloud), camera, T_cam_lidar, stamp, header.frame_id)

    def camera(self, info: Any) -> Camera:
        """Give the camera of the output grid for a CameraInfo; prepared anew only when it changes."""
        key = tuple(tuple(getattr(info, name)) for name in 'kdrp') + (
            info.distortion_model, info.height, info.width, info.binning_x, info.binning_y,
            info.roi.x_offset, info.roi.y_offset, info.roi.height, info.roi.width,
        )  # fmt: skip
        if key != self._calibration:
            self._prepare(info)
            self._calibration = key
        assert self._camera is not None
        return self._rectifier.camera if self._rectifier else self._camera

    def _prepare(self, info: Any) -> None:
        """Choose how the lens is treated and build what that needs."""
        self._mode, self._rectifier = self.mode(info), None
        if self._mode == 'none':
            self._camera = messages.camera(info, rectified=True)
            return
        self._camera = messages.camera(info, rectified=False)
        self._R = messages.rectification(info)
        if self._mode == 'image':
            raw = self._camera
            has_P = bool(np.any(info.p))
            target = messages.camera(info, rectified=True) if has_P else Camera(raw.K, *raw.size)
            self._rectifier = rectifier(raw, self._R, target)

    def mode(self, info: Any) -> str:
        """Resolve `auto` for a camera: none, image or points."""
        if self.rectify != 'auto':
            return self.rectify
        return 'none' if 'rect' in self.topic or not any(info.d) else 'image'


def _rotated(R: np.ndarray) -> np.ndarray:
    """Extend a rotation (3, 3) to a transform (4, 4)."""
    T = np.eye(4)
    T[:3, :3] = R
    return T
