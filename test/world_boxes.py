"""The boxes around the solids of a world, worked out without the code under test."""

from __future__ import annotations

import math

import numpy as np


def corners(builder):
    """Give the corners (P, 8, 3) of the solids, turned by Rodrigues' formula."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    at = signs * np.array([s.half for s in builder.solids])[:, None]
    for axis, name in enumerate(('roll', 'pitch', 'yaw')):
        angle = np.array([getattr(s, name) for s in builder.solids])[:, None, None]
        unit = np.eye(3)[axis]
        along = (at @ unit)[..., None] * unit
        at = at * np.cos(angle) + np.cross(unit, at) * np.sin(angle) + along * (1 - np.cos(angle))
    return at + np.array([s.centre for s in builder.solids])[:, None]


def above_ground(builder, points):
    """Give how high points (..., 3) are above the ground."""
    (a, b), x, y = builder.ground_slope, points[..., 0], points[..., 1]
    return points[..., 2] - (builder.ground_height + a * x + b * y + builder.ground_bend * x**2)


def clearance(builder):
    """Give the least distance of a pose to the outline of a box between 5 cm and 2.2 m height."""
    box = corners(builder)
    height = above_ground(builder, box)
    flat = box[(height.max(1) > 0.05) & (height.min(1) < 2.2)][..., :2]  # (Q, 8, 2)
    first, second = np.triu_indices(8, 1)
    least = math.inf
    for x, y, _ in builder.path:
        away = flat - (x, y)
        angles = np.sort(np.arctan2(away[..., 1], away[..., 0]))
        gaps = np.diff(angles, axis=1, append=angles[:, :1] + 2 * math.pi)
        if (gaps.max(1) < math.pi).any():  # corners all around the pose
            return 0.0
        start, line = away[:, first], away[:, second] - away[:, first]
        t = -(start * line).sum(-1) / np.maximum((line**2).sum(-1), 1e-12)
        nearest = start + line * t.clip(0, 1)[..., None]
        least = min(least, np.hypot(nearest[..., 0], nearest[..., 1]).min())
    return least
