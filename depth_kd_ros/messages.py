"""
Images and camera calibrations to arrays and back, for rclpy's and rosbags' message classes alike.

Nothing here imports ROS. Reading checks what a driver may get wrong and raises MessageError naming
field and value; arrays view the message's buffer where they can. 0 = no depth becomes NaN in 32FC1
here and nowhere else (REP 118).
"""

from __future__ import annotations

from array import array as typed_array
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
DEPTH = ('16UC1', '32FC1')  # mm and m, REP 118


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
    pixel = channels * dtype.itemsize
    if step < width * pixel:
        raise MessageError(
            f'image step {step} is shorter than a row: {width} pixels of {message.encoding}'
        )
    if len(data) < step * (height - 1) + width * pixel:
        raise MessageError(
            f'image data has {len(data)} bytes, shorter than step {step} x height {height}'
        )
    strides = (step, pixel, dtype.itemsize)
    view = np.ndarray((height, width, channels), dtype, memoryview(data), 0, strides)
    return view[:, :, 0] if channels == 1 else view


def rgb(message: Any, decode: Callable[[Any], np.ndarray] | None = None) -> np.ndarray:
    """
    Read an Image or CompressedImage as RGB (H, W, 3) uint8.

    `decode(message)` returns RGB for encodings beyond the native table (Bayer, YUV); without it
    they raise MessageError, as do depth images and data that do not fit their description.
    """
    if not hasattr(message, 'encoding'):
        return _compressed_rgb(message)
    if message.encoding in DEPTH:
        raise MessageError(
            f'encoding {message.encoding!r} is depth, not colour: choose a camera topic'
        )
    if message.encoding not in ENCODINGS:
        if decode is None:
            raise MessageError(
                f'encoding {message.encoding!r} needs the ROS package cv_bridge, which is not '
                f'installed; without it: {", ".join(TO_RGB)}, rgb8'
            )
        return decode(message)
    image = pixels(message)
    if message.encoding == 'mono16':
        image = (image >> 8).astype(np.uint8)
    if message.encoding == 'rgb8':
        return np.array(image)  # a copy: the message may be read-only
    return cv2.cvtColor(np.ascontiguousarray(image), TO_RGB[message.encoding])


def _compressed_rgb(message: Any) -> np.ndarray:
    """Decode a jpeg or png CompressedImage to RGB (H, W, 3) uint8."""
    if 'compressedDepth' in message.format or message.format.startswith(DEPTH):
        raise MessageError(
            f'format {message.format!r} is depth, not colour: choose the camera topic'
        )
    data = np.frombuffer(memoryview(message.data), np.uint8)
    image: Any = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None:
        raise MessageError(
            f'format {message.format!r}: {len(message.data)} bytes are no jpeg or png image'
        )
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3 and 'compressed rgb' in message.format:
        return image  # red and blue lie swapped in the file, as compressed_image_transport says
    codes = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    return cv2.cvtColor(image, codes[channels])


def depth(message: Any) -> np.ndarray:
    """Read a depth Image (32FC1 m or 16UC1 mm, REP 118) as (H, W) float32 m, 0 = none."""
    if message.encoding not in DEPTH:
        raise MessageError(f'encoding {message.encoding!r}: depth is 16UC1 (mm) or 32FC1 (m)')
    values = pixels(message).astype(np.float32)
    if message.encoding == '16UC1':
        return values / 1000
    return np.where(np.isfinite(values) & (values > 0), values, np.float32(0))


def camera(info: Any, rectified: bool) -> Camera:
    """
    Read CameraInfo: P for a rectified image, K and D for a raw one; region and binning applied.

    P's fourth column (a stereo pair's baseline) is not used: points come to the image's own
    frame. Raises MessageError where the numbers cannot belong to a camera.
    """
    name, D, model = 'P', (), ''
    K = np.array(info.p, np.float64).reshape(3, 4)[:, :3]
    if not rectified:
        name, D, model = 'K', tuple(info.d), info.distortion_model
        K = np.array(info.k, np.float64).reshape(3, 3)
    who = f'CameraInfo of {info.header.frame_id!r}'
    if not K.any():
        raise MessageError(f'{who}: {name} is all zeros. Calibrate the camera first.')
    bin_x, bin_y, roi = max(info.binning_x, 1), max(info.binning_y, 1), info.roi
    top, left, height, width = 0, 0, info.height, info.width
    if roi.height and roi.width:
        top, left, height, width = roi.y_offset, roi.x_offset, roi.height, roi.width
    rows, columns = height // bin_y, width // bin_x  # a rest that fills no binned pixel is lost
    try:
        full = Camera(K, info.height, info.width, D, model)
        return full.cropped(top, left, rows * bin_y, columns * bin_x).resized(rows, columns)
    except ValueError as error:
        raise MessageError(f'{who}: {error}') from None


def rectification(info: Any) -> np.ndarray:
    """Read CameraInfo's R (3, 3), raw to rectified camera; zeros mean identity. MessageError."""
    R = np.array(info.r, np.float64).reshape(3, 3)
    if not R.any():
        return np.eye(3)
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise MessageError(
            f'CameraInfo of {info.header.frame_id!r}: R = {R.tolist()} is not a rotation'
        )
    return R


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
    bgr = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR)
    return _image(bgr, 'bgr8', header, Image)


def _image(values: np.ndarray, encoding: str, header: Any, Image: type) -> Any:
    """Build an Image of contiguous pixels (H, W) or (H, W, C)."""
    height, width = values.shape[:2]
    return Image(
        header=header, height=height, width=width, encoding=encoding, is_bigendian=0,
        step=values.nbytes // height, data=buffer(values, Image),
    )  # fmt: skip


def camera_info(camera: Camera, header: Any, CameraInfo: type, RegionOfInterest: type) -> Any:
    """Build the CameraInfo of an image by `camera`: P = K, R = identity, its distortion if any."""
    K = camera.K
    D: Any = np.array(camera.D or (0.0,) * 5)
    if not _of_rosbags(CameraInfo):
        D = typed_array('d', D)
    roi = RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return CameraInfo(
        header=header, height=camera.height, width=camera.width,
        distortion_model=camera.model or 'plumb_bob', d=D, k=K.ravel().copy(),
        r=np.eye(3).ravel(), p=np.c_[K, np.zeros(3)].ravel(), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def buffer(values: np.ndarray, message_class: type) -> Any:
    """
    Give an array's bytes in the form a message class takes: array.array for rclpy, uint8 else.

    rclpy checks every element of `bytes` when assigned, and copies an array.array('B') at once.
    """
    octets = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if _of_rosbags(message_class):
        return octets
    data = typed_array('B')
    data.frombytes(octets.data)
    return data


def _of_rosbags(message_class: type) -> bool:
    """Tell rosbags' message classes, which hold NumPy arrays, from rclpy's."""
    return hasattr(message_class, '__msgtype__')
