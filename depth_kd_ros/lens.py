"""
Lens distortion in normalised coordinates a = x/z, b = y/z, in torch (float64).

Models of sensor_msgs/CameraInfo: plumb_bob and rational_polynomial (OpenCV's calib3d),
equidistant (OpenCV's fisheye).
"""

from __future__ import annotations

from functools import lru_cache

from depth_kd_ros.geometry import Camera
import numpy as np
import torch
from torch import Tensor

STEPS = 20  # of Newton's method; 3 to 6 do for real lenses, a fisheye's rim takes more
SMALL = 1e-6  # difference quotient of the derivative
CONVERGED = 1e-9


def distort(a: Tensor, b: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Bend coordinates (N,) as the lens does; as they are where the camera has no distortion."""
    if not camera.model:
        return a, b
    r2 = a * a + b * b
    if camera.model == 'equidistant':
        k1, k2, k3, k4 = camera.D
        r = r2.sqrt().clamp(min=1e-12)
        t = torch.atan(r)
        t2 = t * t
        scale = t * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) / r
        return a * scale, b * scale
    k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.D, 0.0, 0.0, 0.0)[:8]
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    ab = a * b
    return (
        a * radial + 2 * p1 * ab + p2 * (r2 + 2 * a * a),
        b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * ab,
    )


def undistort(bent_a: Tensor, bent_b: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Invert `distort` by Newton's method; NaN where no ray within the lens' range ends there."""
    a, b = bent_a, bent_b
    if not camera.model:
        return a, b
    for _ in range(STEPS):
        at_a, at_b = distort(a, b, camera)
        miss_a, miss_b = bent_a - at_a, bent_b - at_b
        if bool(((miss_a.abs() < CONVERGED) & (miss_b.abs() < CONVERGED)).all()):
            break
        right_a, right_b = distort(a + SMALL, b, camera)
        down_a, down_b = distort(a, b + SMALL, camera)
        aa, ba = (right_a - at_a) / SMALL, (right_b - at_b) / SMALL
        ab, bb = (down_a - at_a) / SMALL, (down_b - at_b) / SMALL
        det = aa * bb - ab * ba
        a, b = a + (bb * miss_a - ab * miss_b) / det, b + (aa * miss_b - ba * miss_a) / det
    at_a, at_b = distort(a, b, camera)
    found = (at_a - bent_a).abs() + (at_b - bent_b).abs() < 100 * CONVERGED
    found &= a * a + b * b < max_radius(camera) ** 2
    return torch.where(found, a, torch.nan), torch.where(found, b, torch.nan)


@lru_cache(maxsize=16)
def max_radius(camera: Camera) -> float:
    """
    Find the radius of x/z, y/z up to which the image moves outwards: inf where it always does.

    Beyond it a polynomial folds back and would put points from outside the view into the image.
    """
    angle = torch.linspace(0, np.pi / 2 - 1e-4, 8192, dtype=torch.float64)
    r = torch.tan(angle)
    D = camera.D
    if camera.model != 'equidistant' and D:  # without its tangential part
        D = (*D[:2], 0.0, 0.0, *D[4:])
    radial_only = Camera(camera.K, *camera.size, D, camera.model)
    bent, _ = distort(r, torch.zeros_like(r), radial_only)
    falls = (bent.diff() <= 0).nonzero()
    return float(r[falls[0, 0]]) if len(falls) else float('inf')
