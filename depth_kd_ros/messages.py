"""
Images and camera calibrations to arrays and back, for rclpy's and rosbags' message classes alike.

Nothing here imports ROS. Reading checks what a driver may get wrong and raises MessageError naming
field and value; arrays view the message's buffer where they can. 0 = no depth becomes NaN in 32FC1
here and nowhere else (REP 118).
"""

from __future__ import annotations

from array import array as byte_array
from collections.abc import Callable
from typing import Any

import cv2
from depth_kd_ros.geometry import Camera
import numpy as np

ENCODINGS: dict[str, tuple[type, int]] = {  # name: type and channels
    'mono8': (np.uint8, 1), 'mono16': (np.uint16, 1), 'bgr8': (np.uint8, 3), 'rgb8': (np.uint8, 3),
    'bgra8': (np.uint8, 4), 'rgba8': (np.uint8, 4), '8UC1': (np.uint8, 1), '8UC3': (np.uint8, 3),
    '16UC1': (np.uint16, 1), '32FC1': (np.float32, 1),
}  # fmt: skip
TO_RGB = {
    'mono8': cv2.COLOR_GRAY2RGB, 'mono16': cv2.COLOR_GRAY2RGB, '8UC1': cv2.COLOR_GRAY2RGB,
    'bgr8': cv2.COLOR_BGR2RGB, '8UC3': cv2.COLOR_BGR2RGB,
    'bgra8': cv2.COLOR_BGRA2RGB, 'rgba8': cv2.COLOR_RGBA2RGB,
}  # fmt: skip


class MessageError(ValueError):
    """A message that cannot be used; the text names the field and its value."""


def stamp_ns(header: Any) -> int:
    """Give a header's stamp in nanoseconds."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


def pixels(message: Any) -> np.ndarray:
    """View an Image's pixels as (H, W) or (H, W, C) in the encoding's type and channel order."""
    if message.encoding not in ENCODINGS:
        raise MessageError(
            f'encoding {message.encoding!r} is not in the native table: {", ".join(ENCODINGS)}'
        )
    kind, channels = ENCODINGS[message.encoding]
    dtype = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
    height, width, step, data = message.height, message.width, message.step, message.data
    if height < 1 or width < 1:
        raise MessageError(f'image size {height}x{width}: empty')
    if step < width * channels * dtype.itemsize:
        raise MessageError(
            f'image step {step} is shorter than a row: {width} pixels of {message.encoding}'
        )
    if len(data) < step * (height - 1) + width * channels * dtype.itemsize:
        raise MessageError(
            f'image data has {len(data)} bytes, shorter than step {step} x height {height}'
        )
    view = np.ndarray(
        (height, width, channels),
        dtype,
        memoryview(data),
        0,
        (step, channels * dtype.itemsize, dtype.itemsize),
    )
    return view[:, :, 0] if channels == 1 else view


def rgb(message: Any, decode: Callable[[Any], np.ndarray] | None = None) -> np.ndarray:
    """
    Read an Image or CompressedImage as RGB (H, W, 3) uint8.

    `decode(message)` returns RGB for encodings beyond the native table (Bayer, YUV); without it
    they raise MessageError.
    """
    if not hasattr(message, 'encoding'):
        return _compressed_rgb(message)
    if message.encoding in ('16UC1', '32FC1'):
        raise MessageError(
            f'encoding {message.encoding!r} is depth, not colour: choose a camera topic'
        )
    if message.encoding not in ENCODINGS:
        if decode is None:
            raise MessageError(
                f'encoding {message.encoding!r} needs the ROS package cv_bridge, which is not installed; '
                f'without it: {", ".join(TO_RGB)}, rgb8'
            )
        return decode(message)
    image = pixels(message)
    if message.encoding == 'mono16':
        image = (image >> 8).astype(np.uint8)
    if message.encoding == 'rgb8':
        return np.ascontiguousarray(image)
    return cv2.cvtColor(np.ascontiguousarray(image), TO_RGB[message.encoding])


def _compressed_rgb(message: Any) -> np.ndarray:
    """Decode a jpeg or png CompressedImage to RGB (H, W, 3) uint8."""
    if 'compressedDepth' in message.format:
        raise MessageError(
            f'format {message.format!r} is depth, not colour: choose the camera topic'
        )
    image = cv2.imdecode(np.frombuffer(memoryview(message.data), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise MessageError(
            f'format {message.format!r}: {len(message.data)} bytes are no jpeg or png image'
        )
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    channels = 1 if image.ndim == 2 else image.shape[2]
    return cv2.cvtColor(
        image, {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[channels]
    )


def depth(message: Any) -> np.ndarray:
    """Read a depth Image (32FC1 m or 16UC1 mm, REP 118) as (H, W) float32 m, 0 = none."""
    if message.encoding not in ('16UC1', '32FC1'):
        raise MessageError(f'encoding {message.encoding!r}: depth is 16UC1 (mm) or 32FC1 (m)')
    values = pixels(message).astype(np.float32)
    if message.encoding == '16UC1':
        return values / 1000
    return np.where(np.isfinite(values) & (values > 0), values, np.float32(0))


def camera(info: Any, rectified: bool) -> Camera:
    """Read CameraInfo: P for a rectified image, K and D for a raw one; binning and region of interest applied."""
    if rectified:
        K, D, model = np.array(info.p, np.float64).reshape(3, 4)[:, :3], (), ''
    else:
        K, D, model = (
            np.array(info.k, np.float64).reshape(3, 3),
            tuple(info.d),
            info.distortion_model,
        )
    name = 'P' if rectified else 'K'
    if not K.any():
        raise MessageError(
            f'CameraInfo of {info.header.frame_id!r}: {name} is all zeros. Calibrate the camera first.'
        )
    try:
        full = Camera(K, info.height, info.width, D, model)
    except ValueError as error:
        raise MessageError(f'CameraInfo of {info.header.frame_id!r}: {error}') from None
    roi = info.roi
    if roi.height and roi.width:
        full = full.cropped(roi.y_offset, roi.x_offset, roi.height, roi.width)
    return full.resized(
        full.height // max(info.binning_y, 1), full.width // max(info.binning_x, 1)
    )


def rectification(info: Any) -> np.ndarray:
    """Read CameraInfo's R (3, 3): rotation from the raw camera to the rectified one; zeros mean identity."""
    R = np.array(info.r, np.float64).reshape(3, 3)
    return R if R.any() else np.eye(3)


def depth_image(depth: np.ndarray, header: Any, Image: type) -> Any:
    """Build a 32FC1 Image from depth (H, W) m: 0 = none becomes NaN (REP 118)."""
    values = depth.astype('<f4')  # a copy: the caller keeps its zeros
    values[values <= 0] = np.nan
    return _image(values, '32FC1', header, Image)


def float_image(values: np.ndarray, header: Any, Image: type) -> Any:
    """Build a 32FC1 Image from (H, W) numbers as they are (confidence 0..1)."""
    return _image(np.ascontiguousarray(values, '<f4'), '32FC1', header, Image)


def rgb_image(rgb: np.ndarray, header: Any, Image: type) -> Any:
    """Build a bgr8 Image from RGB (H, W, 3) uint8."""
    return _image(
        cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR), 'bgr8', header, Image
    )


def _image(values: np.ndarray, encoding: str, header: Any, Image: type) -> Any:
    height, width = values.shape[:2]
    return Image(
        header=header, height=height, width=width, encoding=encoding, is_bigendian=0,
        step=values.strides[0], data=buffer(values, Image),
    )  # fmt: skip


def camera_info(camera: Camera, header: Any, CameraInfo: type, RegionOfInterest: type) -> Any:
    """Build the CameraInfo of an image taken by `camera`: P = K, R = identity, distortion where there is any."""
    K = camera.K
    P = np.c_[K, np.zeros(3)]
    model = camera.model or 'plumb_bob'
    numbers = {
        'd': np.array(camera.D or (0.0,) * 5), 'k': K.ravel().copy(), 'r': np.eye(3).ravel(), 'p': P.ravel()
    }  # fmt: skip
    roi = RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return CameraInfo(
        header=header, height=camera.height, width=camera.width, distortion_model=model, **numbers,
        binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def buffer(values: np.ndarray, message_class: type) -> Any:
    """
    Give an array's bytes in the form a message class takes: uint8 array for rosbags, array.array
    for rclpy.

    rclpy checks every element of `bytes` when assigned, and copies an array.array('B') at once.
    """
    octets = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if hasattr(message_class, '__msgtype__'):
        return octets
    data = byte_array('B')
    data.frombytes(octets)
    return data
