"""
What may differ about the LiDAR: its beams, its mounting, its losses and errors.

Every function gives a frame with other sparse points; the image and the ground truth stay.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
from depth_kd_ros.geometry import Camera
from depth_kd_ros.projection import sparse_depth
from depth_kd_training.data.base import Frame
import numpy as np
import torch


def fewer_beams(frame: Frame, count: int, phase: float) -> Frame:
    """
    Keep `count` of the LiDAR's beams, evenly spaced; all, if there are no more.

    Where it is not known how many the LiDAR has, those seen in the frame are counted.

    The phase in [0, 1) says which: 0 begins with the first beam.
    """
    depth = points_of(frame, 'beams')
    place = np.flatnonzero(depth > 0)
    rings = np.full(len(place), -1) if frame.ring is None else frame.ring.take(place)
    seen = np.flatnonzero(np.bincount(rings[rings >= 0]))
    if len(place) and not len(seen):
        raise ValueError(
            f'frame {frame.name}: no ring of its points is known, beams cannot be dropped: '
            'give dropout instead, or a data set with rings'
        )
    if frame.beams and len(seen):
        seen = np.arange(max(frame.beams, seen[-1] + 1))
    if len(seen) > count:
        seen = seen[((np.arange(count) + phase) * len(seen) / count).astype(int)]
    return _without(frame, depth, place[~np.isin(rings, seen)])


def miscalibrated(frame: Frame, degrees: float, metres: float, rng: np.random.Generator) -> Frame:
    """
    Project the points with wrong extrinsics: standard deviations of the error about each axis.

    Rotation and translation are those of the camera frame.
    """
    depth = points_of(frame, 'miscalibration')
    if frame.K is None:
        raise ValueError(
            f'frame {frame.name} has no K, which miscalibration_deg and miscalibration_m need: '
            'set both to 0 for its data set'
        )
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.deg2rad(rng.normal(0, degrees, 3)))[0]
    T[:3, 3] = rng.normal(0, metres, 3)
    v, u = np.nonzero(depth > 0)
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(frame.K).T  # (N, 3), z = 1
    points = torch.from_numpy(rays * depth[v, u, None])
    moved = sparse_depth(points, T, Camera(frame.K, *depth.shape), min_depth_m=0)
    ring = frame.ring
    if ring is not None:
        index = moved.index.numpy()
        ring = np.append(ring[v, u], ring.dtype.type(-1))[index]  # -1: the one appended
    return replace(frame, sparse_depth=moved.depth.numpy(), ring=ring)


def sampled(frame: Frame, count: int, rng: np.random.Generator) -> Frame:
    """Measure at `count` random pixels of the ground truth, or at all if there are no more."""
    if frame.depth_gt is None:
        raise ValueError(
            f'frame {frame.name} has no depth_gt, of which points takes its pixels: '
            'leave points out for its data set'
        )
    known = np.flatnonzero(frame.depth_gt > 0)
    chosen = rng.choice(known, min(count, len(known)), replace=False)
    depth = np.zeros_like(frame.depth_gt)
    np.put(depth, chosen, frame.depth_gt.take(chosen))
    return replace(frame, sparse_depth=depth, ring=None)


def thinned(frame: Frame, share: float, rng: np.random.Generator) -> Frame:
    """Lose each point with the probability `share`."""
    depth = points_of(frame, 'dropout')
    place = np.flatnonzero(depth > 0)
    return _without(frame, depth, place[rng.random(len(place)) < share])


def noisy(frame: Frame, metres: float, relative: float, rng: np.random.Generator) -> Frame:
    """
    Add normal errors, of the standard deviation hypot(metres, relative * depth).

    Points whose depth would no longer be positive are lost.
    """
    depth = points_of(frame, 'noise').copy()
    place = np.flatnonzero(depth > 0)
    z = depth.take(place)
    z = z + np.hypot(metres, relative * z) * rng.standard_normal(len(z))
    np.put(depth, place, z)
    return _without(frame, depth, place[z <= 0])


def with_outliers(frame: Frame, share: float, rng: np.random.Generator) -> Frame:
    """Replace each depth, with the probability `share`, by any between the least and largest."""
    depth = points_of(frame, 'outliers').copy()
    place = np.flatnonzero(depth > 0)
    if len(place):
        z = depth.take(place)
        wrong = place[rng.random(len(place)) < share]
        np.put(depth, wrong, rng.uniform(z.min(), z.max(), len(wrong)))
    return replace(frame, sparse_depth=depth)


def points_of(frame: Frame, option: str) -> np.ndarray:
    """Give the sparse depth (H, W) m; ValueError if there is none."""
    if frame.sparse_depth is None:
        raise ValueError(
            f'frame {frame.name} has no sparse_depth, which {option} needs: leave {option} out '
            'for its data set'
        )
    return frame.sparse_depth


def _without(frame: Frame, depth: np.ndarray, lost: np.ndarray) -> Frame:
    """Set sparse depth (H, W) m without the points, and rings, at the flat indices `lost` (N,)."""
    depth, ring = depth.copy(), frame.ring
    np.put(depth, lost, 0)
    if ring is not None:
        ring = ring.copy()
        np.put(ring, lost, -1)
    return replace(frame, sparse_depth=depth, ring=ring)
