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
_FAR_AWAY = 1 << 40


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
    points = points_lidar.double()
    x, y, z = (torch.mv(points, row[:3]).add_(row[3]) for row in T[:3])  # twice a matmul's speed
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
    """Z-buffer (P,) points: per pixel the smallest depth, then the smallest index at it."""
    nearest = torch.full((size[0] * size[1],), torch.inf, device=depth.device)
    nearest.scatter_reduce_(0, pixel, depth, 'amin')
    first = (nearest.index_select(0, pixel) == depth).nonzero().squeeze(1)
    pixel, depth, index = (t.index_select(0, first) for t in (pixel, depth, index))
    depths = torch.zeros_like(nearest).scatter_(0, pixel, depth)
    indices = torch.full(nearest.shape, -1, device=depth.device)
    indices.scatter_reduce_(0, pixel, index, 'amin', include_self=False)
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
    above, below = _next_depths(place, z, pitch, reach_px)
    hidden = torch.maximum(above, below) < torch.minimum(z / (1 + relative), z - absolute_m)
    kept = depth.clone()
    kept[row[hidden], column[hidden]] = 0
    return kept


def _next_depths(place: Tensor, z: Tensor, pitch: int, reach_px: int) -> list[Tensor]:
    """Find the depths (N,) of the next point above and of the next below, inf = none in reach."""
    end = place.new_full((1,), _FAR_AWAY)
    places, depths = torch.cat([-end, place, end]), torch.cat([z[:1], z, z[:1]])
    distances = [torch.full_like(place, reach_px + 1) for _ in range(2)]
    found = [torch.full_like(z, torch.inf) for _ in range(2)]
    for beside in (0, -pitch, pitch):  # own column, left, right
        start = place + beside
        at = torch.searchsorted(places, start)
        level = places.index_select(0, at) == start  # a point beside: neither above nor below
        for side, there in enumerate((at - 1, at + level)):
            away = (places.index_select(0, there) - start).abs()
            depth, distance = depths.index_select(0, there), distances[side]
            nearer = (away == distance) & (away <= reach_px) & (depth < found[side])
            better = (away < distance) | nearer
            distances[side] = torch.where(better, away, distance)
            found[side] = torch.where(better, depth, found[side])
    return found
