"""
LiDAR points to a z-buffered sparse depth image, in torch: the same code on CPU and GPU.

The arithmetic is float64 until the pixel is known: a float32 projection moves about 2 points of
100,000 to the neighbouring pixel, and training and robot must agree to the pixel. The result
does not depend on the device: of all points on a pixel the nearest wins, of equally near ones
the first in the cloud.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from depth_kd_ros.geometry import Camera
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MIN_DEPTH_M = 0.5
_EMPTY = torch.iinfo(torch.int64).max


class SparseDepth(NamedTuple):
    """`depth` (H, W) float32 m, 0 = none; `index` (H, W) int64: which point it came from, -1 = none."""

    depth: Tensor
    index: Tensor


def sparse_depth(
    points_lidar: Tensor, T_cam_lidar: np.ndarray, camera: Camera, min_depth_m: float = MIN_DEPTH_M
) -> SparseDepth:
    """
    Project points (N, 3) m into the camera and keep the nearest per pixel.

    Points nearer than `min_depth_m` along z, behind the camera, outside the image or not finite
    are dropped. Pixel = round(uv), (0, 0) = centre of the top-left pixel. Distortion is applied
    where the camera has any.
    """
    x, y, z = points_cam(points_lidar, T_cam_lidar).unbind(1)
    u, v, usable = pixels(x, y, z, camera)
    u, v = torch.round(u), torch.round(v)
    usable &= (z > min_depth_m) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    index = usable.nonzero().squeeze(1)  # (M,)
    pixel = (v[index] * camera.width + u[index]).long()
    return _nearest(pixel, z[index].float(), index, camera.size)


def points_cam(points_lidar: Tensor, T_cam_lidar: np.ndarray) -> Tensor:
    """Move points (N, 3) m from the LiDAR to the camera frame: (N, 3) float64 m."""
    T = torch.from_numpy(np.asarray(T_cam_lidar, np.float64)).to(points_lidar.device)
    return points_lidar.double() @ T[:3, :3].T + T[:3, 3]


def pixels(x: Tensor, y: Tensor, z: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """Project camera-frame points (N,) m to u, v (N,) px; tell which the lens sees (N,) bool."""
    a, b = x / z, y / z
    seen = z > 0
    if camera.model:
        seen = seen & (a * a + b * b < max_radius(camera) ** 2)
        a, b = distort(a, b, camera)
    K = camera.K
    return K[0, 0] * a + K[0, 1] * b + K[0, 2], K[1, 1] * b + K[1, 2], seen


def distort(a: Tensor, b: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Bend normalised coordinates x/z, y/z (N,) by the lens. Source: OpenCV, CameraInfo.msg."""
    r2 = a * a + b * b
    if camera.model == 'equidistant':
        k1, k2, k3, k4 = camera.D
        r = r2.sqrt()
        t = torch.atan(r)
        t2 = t * t
        bent = t * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        scale = torch.where(r > 1e-12, bent / r.clamp(min=1e-12), torch.ones_like(r))
        return a * scale, b * scale
    k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.D, *(0.0,) * (8 - len(camera.D)))
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    ab = a * b
    return (
        a * radial + 2 * p1 * ab + p2 * (r2 + 2 * a * a),
        b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * ab,
    )


def rays(camera: Camera) -> Tensor:
    """Give the viewing ray (x/z, y/z) of each pixel's centre with distortion undone: (H, W, 2)."""
    v, u = torch.meshgrid(
        torch.arange(camera.height, dtype=torch.float64),
        torch.arange(camera.width, dtype=torch.float64),
        indexing='ij',
    )
    K = camera.K
    goal_b = (v - K[1, 2]) / K[1, 1]
    goal_a = (u - K[0, 2] - K[0, 1] * goal_b) / K[0, 0]
    a, b = goal_a, goal_b
    if camera.model == 'equidistant':
        bent = torch.hypot(goal_a, goal_b).clamp(min=1e-12)
        scale = torch.tan(_incidence(bent, camera)) / bent
        a, b = goal_a * scale, goal_b * scale
    elif camera.model:
        for _ in range(40):  # the lens bends little: the residual shrinks at every step
            bent_a, bent_b = distort(a, b, camera)
            a, b = a + goal_a - bent_a, b + goal_b - bent_b
    return torch.stack([a, b], -1).float()


def _incidence(bent: Tensor, camera: Camera) -> Tensor:
    """Invert the equidistant polynomial by Newton's method: angle from the axis in rad."""
    k1, k2, k3, k4 = camera.D
    t = bent.clone()
    for _ in range(20):
        t2 = t * t
        value = t * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) - bent
        slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
        t = t - value / slope
    return t


@lru_cache(maxsize=16)
def max_radius(camera: Camera) -> float:
    """
    Find the normalised radius up to which the distortion still grows.

    Beyond it a polynomial folds back and would put points from outside the view into the image.
    """
    r = torch.linspace(0, 20, 20001, dtype=torch.float64)
    radial_only = Camera(camera.K, *camera.size, _radial(camera), camera.model)
    bent = distort(r, torch.zeros_like(r), radial_only)[0] if radial_only.model else r
    falls = (bent.diff() <= 0).nonzero()
    return float(r[falls[0, 0]]) if len(falls) else float('inf')


def _radial(camera: Camera) -> tuple[float, ...]:
    """Give D without its tangential part."""
    if camera.model == 'equidistant':
        return camera.D
    return (*camera.D[:2], 0.0, 0.0, *camera.D[4:])


def _nearest(pixel: Tensor, z: Tensor, index: Tensor, size: tuple[int, int]) -> SparseDepth:
    """Z-buffer: depth bits above the point index in one int64; its minimum decides both."""
    key = (z.view(torch.int32).long() << 32) | index
    best = torch.full((size[0] * size[1],), _EMPTY, device=z.device)
    best.scatter_reduce_(0, pixel, key, 'amin')
    hit = best != _EMPTY
    depth = torch.where(hit, (best >> 32).int().view(torch.float32), 0.0)
    return SparseDepth(depth.view(size), torch.where(hit, best & 0xFFFFFFFF, -1).view(size))


def without_bleed_through(
    depth: Tensor, reach_px: int = 5, relative: float = 0.12, absolute_m: float = 1.0
) -> Tensor:
    """
    Drop points (H, W) m that the LiDAR sees past a nearer surface which hides them from the
    camera.

    A point goes when clearly nearer points (by `relative` and `absolute_m`) enclose it: within
    `reach_px` to its left and right, or above and below. One-sided neighbours are an ordinary
    depth edge and stay.
    """
    near = torch.where(depth > 0, 1 / depth.clamp(min=1e-6), 0.0)[
        None, None
    ]  # inverse depth, 0 = none
    limit = 1 / torch.minimum(depth / (1 + relative), depth - absolute_m).clamp(min=1e-6)
    r, s = reach_px, reach_px // 2
    across = F.max_pool2d(near, (2 * s + 1, 1), 1, (s, 0))
    along = F.max_pool2d(near, (1, 2 * s + 1), 1, (0, s))
    left, right = _one_sided(across, r, 3)
    above, below = _one_sided(along, r, 2)
    enclosed = ((left > limit) & (right > limit)) | ((above > limit) & (below > limit))
    return torch.where(enclosed & (depth > absolute_m), 0.0, depth)


def _one_sided(near: Tensor, reach: int, dim: int) -> tuple[Tensor, Tensor]:
    """Maximum over the `reach` pixels before and after each along `dim`: two (H, W)."""
    kernel = (reach, 1) if dim == 2 else (1, reach)
    pad = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
    pooled = F.max_pool2d(F.pad(near, pad), kernel, 1)[0, 0]  # longer by reach + 1 along dim
    length = near.shape[dim]
    return pooled.narrow(dim - 2, 0, length), pooled.narrow(dim - 2, reach + 1, length)
