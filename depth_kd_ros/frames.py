"""From the three messages of one instant to a completer's arrays: for robot and command alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import re
from typing import Any

from depth_kd_ros import clouds, messages
from depth_kd_ros.geometry import Camera
from depth_kd_ros.messages import MessageError
from depth_kd_ros.rectification import Rectifier, rectifier
import numpy as np

RECTIFY = ('auto', 'none', 'image', 'points')
RECTIFIED_TOPIC = re.compile('(^|[/_])rect')  # image_rect_color, but not /direct/image


@dataclass(frozen=True)
class Frame:
    """One instant: `image` (H, W, 3) uint8 RGB, points in the LiDAR frame, T_cam_lidar (4, 4)."""

    image: np.ndarray
    points: clouds.Points
    camera: Camera
    T_cam_lidar: np.ndarray
    stamp_ns: int
    frame_id: str


@dataclass(frozen=True)
class _Lens:
    """How images of one CameraInfo are treated: `raw` is their camera, `camera` the output's."""

    raw: Camera
    camera: Camera
    rectify: Rectifier | None = None


class FrameReader:
    """
    Read matched messages as a Frame; keeps camera and rectification maps between frames.

    `rectify` says how the image relates to CameraInfo: `none`: it is rectified, P holds; `image`:
    it is raw and gets rectified, the output lies on the rectified grid; `points`: it is raw and
    stays so, points are projected with K and D; `auto`: `none` where "rect" begins a word of the
    topic, else `image` where D is not zero, else P, or K where P is not given. The camera frame
    is the rectified one, as in image_geometry.
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
        self._prepared: tuple[Any, _Lens] | None = None

    def __call__(self, image: Any, camera_info: Any, cloud: Any, T_cam_lidar: np.ndarray) -> Frame:
        """Decode the messages of one instant; raise MessageError where one is unusable."""
        pixels, camera = self.image(image, camera_info), self.camera(camera_info)
        header = image.header
        stamp = messages.stamp_ns(header)
        return Frame(pixels, clouds.points(cloud), camera, T_cam_lidar, stamp, header.frame_id)

    def image(self, image: Any, camera_info: Any) -> np.ndarray:
        """Decode an image to the output grid, (H, W, 3) uint8 RGB; raise MessageError."""
        pixels = messages.rgb(image, self.decode)  # (H, W, 3)
        lens = self._lens(camera_info)
        found, expected = pixels.shape[:2], lens.raw.size
        if found != expected:
            raise MessageError(
                f'image is {found[0]}x{found[1]}, its CameraInfo says {expected[0]}x{expected[1]} '
                '(height x width): is it the camera_info of this image?'
            )
        return lens.rectify(pixels) if lens.rectify else pixels

    def camera(self, info: Any) -> Camera:
        """Give the camera of the output grid for a CameraInfo; raise MessageError."""
        return self._lens(info).camera

    def mode(self, info: Any) -> str:
        """Resolve `auto` for a camera: none, image or points."""
        if self.rectify != 'auto':
            return self.rectify
        if RECTIFIED_TOPIC.search(self.topic):
            return 'none'
        if any(info.d):
            return 'image'
        return 'none' if any(info.p) or not any(info.k) else 'points'

    def _lens(self, info: Any) -> _Lens:
        """Give the treatment for a CameraInfo, prepared anew only when its numbers change."""
        key = (
            *(tuple(getattr(info, name)) for name in 'kdrp'),
            info.distortion_model, info.height, info.width, info.binning_x, info.binning_y,
            info.roi.x_offset, info.roi.y_offset, info.roi.height, info.roi.width,
        )  # fmt: skip
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = key, self._prepare(info)
        return self._prepared[1]

    def _prepare(self, info: Any) -> _Lens:
        """Choose how the lens is treated and build what that needs."""
        mode = self.mode(info)
        if mode == 'none':
            camera = messages.camera(info, rectified=True)
            return _Lens(camera, camera)
        raw, R = messages.camera(info, rectified=False), messages.rectification(info)
        if mode == 'points':
            if not np.allclose(R, np.eye(3), atol=1e-6):
                raise MessageError(
                    f'CameraInfo of {info.header.frame_id!r}: R is no identity (a stereo camera), '
                    'so depth along the raw axis would not belong to its frame: set rectify to '
                    'image, or use the rectified topic'
                )
            return _Lens(raw, raw)
        target = Camera(raw.K, *raw.size)
        if any(info.p):
            target = messages.camera(info, rectified=True)
        return _Lens(raw, target, rectifier(raw, R, target))
