"""
LiDAR points to a z-buffered sparse depth image, in torch: the same code on CPU and GPU.

The arithmetic is float64 until the pixel is known: a float32 projection moves about 2 points of
100,000 to the neighbouring pixel, and training and robot must agree to the pixel. The result
does not depend on the device: of all points on a pixel the nearest wins, of equally near ones
the first in the cloud.
"""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_ros.geometry import Camera
from depth_kd_ros.lens import distort, max_radius, undistort
import numpy as np
import torch
from torch import Tensor

MIN_DEPTH_M = 0.5
_NOTHING = torch.iinfo(torch.int64).max


class SparseDepth(NamedTuple):
    """Depth (H, W) float32 m, 0 = none, and index (H, W) int64 of its point, -1 = none."""

    depth: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index


def sparse_depth(
    points_lidar: Tensor, T_cam_lidar: np.ndarray, camera: Camera, min_depth_m: float = MIN_DEPTH_M
) -> SparseDepth:
    """
    Project points (N, 3) m into the camera and keep the nearest per pixel.

    Points nearer than `min_depth_m` along z, behind the camera, outside the image or not finite
    are dropped. Pixel = round(uv), (0, 0) = centre of the top-left pixel. Distortion is applied
    where the camera has any.
    """
    x, y, z = points_cam(points_lidar, T_cam_lidar)
    ahead = (z > min_depth_m) & (x.abs() < z * _widest(camera))  # cheap: before any division
    index = ahead.nonzero().squeeze(1)  # (M,)
    x, y, z = (values.index_select(0, index) for values in (x, y, z))
    u, v, usable = pixels(x, y, z, camera)
    u, v = torch.round(u), torch.round(v)
    usable &= (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    inside = usable.nonzero().squeeze(1)  # (P,)
    pixel = (v * camera.width + u).index_select(0, inside).long()
    depth = z.index_select(0, inside).float()
    return _nearest(pixel, depth, index.index_select(0, inside), camera.size)


def points_cam(points_lidar: Tensor, T_cam_lidar: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Move points (N, 3) m from the LiDAR to the camera frame: x, y, z (N,) float64 m."""
    T = torch.from_numpy(np.asarray(T_cam_lidar, np.float64)).to(points_lidar.device)
    x, y, z = torch.addmm(T[:3, 3:], T[:3, :3], points_lidar.double().T)  # (3, N): 5x the speed
    return x, y, z


def _widest(camera: Camera) -> float:
    """Bound |x/z| of the points in the image (from above)."""
    if camera.model or camera.K[0, 1]:
        return max_radius(camera)
    fx, cx = camera.K[0, 0], camera.K[0, 2]
    return float((max(cx, camera.width - cx) + 1) / fx)


def pixels(x: Tensor, y: Tensor, z: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """Project camera-frame points (N,) m to u, v (N,) px; tell which the lens sees (N,) bool."""
    a, b = x / z, y / z
    seen = z > 0
    if camera.model:
        seen = seen & (a * a + b * b < max_radius(camera) ** 2)
        a, b = distort(a, b, camera)
    K = camera.K
    return K[0, 0] * a + K[0, 1] * b + K[0, 2], K[1, 1] * b + K[1, 2], seen


def rays(camera: Camera) -> Tensor:
    """Give each pixel's viewing ray x/z, y/z: (H, W, 2) float32, NaN where the lens sees none."""
    K = camera.K
    v = torch.arange(camera.height, dtype=torch.float64)
    u = torch.arange(camera.width, dtype=torch.float64)
    b = ((v - K[1, 2]) / K[1, 1])[:, None].expand(camera.size)
    a = (u - K[0, 2] - K[0, 1] * b) / K[0, 0]
    return torch.stack(undistort(a, b, camera), -1).float()


def _nearest(pixel: Tensor, depth: Tensor, index: Tensor, size: tuple[int, int]) -> SparseDepth:
    """Z-buffer: depth bits above the point index in one int64; its minimum decides both."""
    key = (depth.view(torch.int32).long() << 32) | index
    best = torch.full((size[0] * size[1],), _NOTHING, device=key.device)
    best.scatter_reduce_(0, pixel, key, 'amin')
    winner = (best.index_select(0, pixel) == key).nonzero().squeeze(1)
    pixel = pixel.index_select(0, winner)  # each once
    depths = torch.zeros(best.shape, device=key.device)
    depths[pixel] = depth.index_select(0, winner)
    indices = torch.full(best.shape, -1, device=key.device)
    indices[pixel] = index.index_select(0, winner)
    return SparseDepth(depths.view(size), indices.view(size))


def without_bleed_through(
    depth: Tensor, reach_px: int = 32, relative: float = 0.12, absolute_m: float = 1.0
) -> Tensor:
    """
    Drop points of depth (H, W) m that the LiDAR sees past a surface nearer to the camera.

    A point goes when its next neighbour above and its next neighbour below, both at most
    `reach_px` away in its own or an adjoining column, are both nearer by `relative` and by
    `absolute_m`. So the reach adapts to the beams, and at a one-sided depth edge points stay.
    """
    column, row = depth.T.nonzero().unbind(1)  # sorted by column, then row
    z = depth[row, column]
    pitch = depth.shape[0] + reach_px + 1  # so far apart that no column reaches the next
    place = column * pitch + row  # (N,) ascending
    ends = place.new_full((1,), _NOTHING // 2)
    places, depths = torch.cat([-ends, place, ends]), torch.cat([z[:1], z, z[:1]])
    above, below = (_next_depth(places, depths, pitch, reach_px, step) for step in (-1, 1))
    hidden = torch.maximum(above, below) < torch.minimum(z / (1 + relative), z - absolute_m)
    kept = depth.clone()
    kept[row[hidden], column[hidden]] = 0
    return kept


def _next_depth(places: Tensor, depths: Tensor, pitch: int, reach_px: int, step: int) -> Tensor:
    """Find the depth (N,) of the next point up (step -1) or down (1), inf = none in reach."""
    place = places[1:-1]
    distance = torch.full_like(place, reach_px + 1)
    found = torch.full_like(depths[1:-1], torch.inf)
    for beside in (0, -pitch, pitch):  # own column, left, right
        start = place + beside
        at = torch.searchsorted(places, start, right=step > 0) - (step < 0)
        away = (places.index_select(0, at) - start) * step
        z = depths.index_select(0, at)
        better = (away < distance) | ((away == distance) & (z < found) & (away <= reach_px))
        distance, found = torch.where(better, away, distance), torch.where(better, z, found)
    return found
