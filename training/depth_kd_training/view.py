"""
Other views of a frame: rotated, zoomed, cut out and mirrored, with its depth, points and K.

A camera-frame point (X, Y, Z) of the frame becomes, in the new one,
rotation   Rz(a) (X, Y, Z): the camera rolls; pixels move by K Rz(a) K^-1, K and depth stay.
zoom       (X, Y, Z / s): pixel u moves to (u + 0.5) s - 0.5 and depth is divided by s (Ma and
           Karaman, ICRA 2018); focal lengths stay, so the scene shrinks along the optical axis.
window     (X, Y, Z): the principal point moves by (-left, -top).
mirror     (-X, Y, Z).
Images are resampled bilinearly, dense maps by the nearest pixel. Sparse points move, each to one
pixel, the nearest in depth wins: so zooming in does not multiply what the LiDAR measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
from depth_kd_training.data.base import Frame
import numpy as np

NONE = {
    'sparse_depth': 0, 'all_points': 0, 'depth_gt': 0, 'ring': -1, 'semantic': -1, 'instance': -1,
}  # fmt: skip
DENSE = ('depth_gt', 'semantic', 'instance')
POINTS = {'sparse_depth': {'sparse_depth', 'ring'}, 'all_points': {'all_points'}}


def cut_out(
    frame: Frame, scale: float, degrees: float, top: int, left: int, size: tuple[int, int]
) -> Frame:
    """
    Rotate the frame about its principal point, zoom it, cut a window of `size` (H, W) px.

    Without K the image's centre takes the principal point's place. In corners that a rotation
    empties the image is reflected, and there is no depth.
    """
    if scale == 1 and degrees == 0:
        rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
        maps = {key: values[rows, columns] for key, values in _maps(frame).items()}
        maps['image'] = frame.image[rows, columns]
        return replace(frame, K=_intrinsics(frame, 1, top, left), **maps)
    forward = _pixel_transform(frame, scale, degrees, top, left)
    backward = np.linalg.inv(forward)
    image = cv2.warpAffine(
        frame.image, backward[:2], size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    maps = _resampled(frame, backward, size) | _moved_points(frame, forward, size)
    for key in ('sparse_depth', 'all_points', 'depth_gt'):
        if key in maps:
            maps[key] = maps[key] / np.float32(scale)
    return replace(frame, K=_intrinsics(frame, scale, top, left), image=image, **maps)


def mirrored(frame: Frame) -> Frame:
    """Exchange left and right."""
    K = frame.K
    if K is not None:
        K = K.astype(np.float64)
        K[0, 1:] *= -1
        K[0, 2] += frame.image.shape[1] - 1
    maps = {key: cv2.flip(values, 1) for key, values in _maps(frame).items()}
    return replace(frame, K=K, image=cv2.flip(frame.image, 1), **maps)


def _maps(frame: Frame) -> dict[str, Any]:
    """Give the frame's maps (H, W) that there are."""
    return {key: getattr(frame, key) for key in NONE if getattr(frame, key) is not None}


def _intrinsics(frame: Frame, scale: float, top: int, left: int) -> np.ndarray | None:
    """Give K (3, 3) px after zoom and window."""
    if frame.K is None:
        return None
    K = frame.K.astype(np.float64)
    K[:2, 2] = (K[:2, 2] + 0.5) * scale - 0.5 - (left, top)
    return K


def _pixel_transform(
    frame: Frame, scale: float, degrees: float, top: int, left: int
) -> np.ndarray:
    """Map homogeneous pixels (u, v, 1) of the frame to those of its new view: (3, 3)."""
    height, width = frame.image.shape[:2]
    K = frame.K
    if K is None:
        K = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    angle = np.deg2rad(degrees)
    roll = np.array([
        [np.cos(angle), -np.sin(angle), 0],
        [np.sin(angle), np.cos(angle), 0],
        [0, 0, 1],
    ])  # fmt: skip
    shift = (scale - 1) / 2
    zoom = np.array([[scale, 0, shift - left], [0, scale, shift - top], [0, 0, 1]])
    return zoom @ K @ roll @ np.linalg.inv(K)


def _resampled(frame: Frame, backward: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """Give the dense maps at `size` (H, W): each pixel's is that of the nearest old pixel."""
    height, width = frame.image.shape[:2]
    y, x = np.ogrid[: size[0], : size[1]]
    # In units of 2**-16 px: int32 arithmetic, and a shift rounds down, below 0 as well.
    u, v = (_fixed(a * x) + _fixed(b * y + c + 0.5) for a, b, c in backward[:2])
    u >>= 16
    v >>= 16
    outside = (u.view(np.uint32) >= width) | (v.view(np.uint32) >= height)  # or below 0
    v *= width
    v += u
    v[outside] = 0
    index = v.astype(np.intp)
    maps = {key: values.take(index) for key, values in _maps(frame).items() if key in DENSE}
    for key, values in maps.items():
        values[outside] = NONE[key]
    return maps


def _fixed(values: np.ndarray) -> np.ndarray:
    """Turn numbers below 2**15 into whole multiples of 2**-16."""
    return np.rint(values * 65536).astype(np.int32)


def _moved_points(frame: Frame, forward: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """Give sparse depths and ring at `size` (H, W), each point on its rounded new place."""
    maps = {key: values for key, values in _maps(frame).items() if key not in DENSE}
    moved = {key: np.full(size, NONE[key], values.dtype) for key, values in maps.items()}
    for depth, keys in POINTS.items():
        if depth in maps:
            pixels, place = _ways(maps[depth], forward, size)
            for key in keys & maps.keys():
                moved[key][pixels] = maps[key].take(place)
    return moved


def _ways(
    depth: np.ndarray, forward: np.ndarray, size: tuple[int, int]
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Give the new pixels (y, x) of points that stay in view, and their old flat places."""
    place = np.flatnonzero(depth > 0)
    place = place[np.argsort(-depth.take(place), kind='stable')]  # nearest last
    v, u = np.divmod(place, depth.shape[1])
    x, y = (np.floor(a * u + b * v + c + 0.5).astype(np.int64) for a, b, c in forward[:2])
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    return (y[inside], x[inside]), place[inside]
