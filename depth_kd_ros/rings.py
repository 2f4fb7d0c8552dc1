"""
Which beam measured each point: the ring index of a LiDAR cloud.

Beams matter for withholding whole rings (self-check), dropping beams (training) and reporting by
beam count.
"""

from __future__ import annotations

import numpy as np

MAX_RINGS = 512


def ring_index(
    xyz: np.ndarray, ring: np.ndarray | None = None, row: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """
    Give the ring (N,) int32 of points xyz (N, 3) m in the LiDAR frame, and where it came from.

    The first that applies: the cloud's own `ring` field, the `row` of an organised cloud,
    azimuth wraps in file order (a spinning LiDAR stored beam by beam, KITTI), clusters of
    elevation. Raises ValueError where none does.
    """
    if ring is not None:
        return ring.astype(np.int32), 'field'
    if row is not None:
        return row.astype(np.int32), 'rows'
    if len(xyz) == 0:
        return np.zeros(0, np.int32), 'none'
    elevation = np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]))  # (N,) rad
    wraps = azimuth_wraps(xyz)
    if _explains(wraps, elevation):
        return wraps, 'azimuth'
    clusters = elevation_clusters(elevation)
    if _explains(clusters, elevation):
        return clusters, 'elevation'
    raise ValueError(
        f'cloud of {len(xyz)} points: no ring field, not organised, and neither azimuth wraps '
        'nor elevation clusters show beams. Let the driver publish the ring field.'
    )


def azimuth_wraps(xyz: np.ndarray) -> np.ndarray:
    """Count turns in file order: a ring starts where azimuth passes the forward axis. (N,) int32."""
    azimuth = np.arctan2(xyz[:, 1], xyz[:, 0])
    turn = np.mod(azimuth, 2 * np.pi)  # 0 at the forward axis, growing to the left
    jump = np.abs(np.diff(turn, prepend=turn[:1])) > np.pi
    return np.cumsum(jump).astype(np.int32)


def elevation_clusters(elevation: np.ndarray) -> np.ndarray:
    """Group points by elevation (N,) rad from the top, parted at wide gaps: (N,) int32."""
    order = np.argsort(-elevation, kind='stable')
    gap = -np.diff(elevation[order], prepend=elevation[order[:1]])
    wide = gap > max(np.deg2rad(0.04), 20 * float(np.median(gap)))
    ring = np.empty(len(elevation), np.int32)
    ring[order] = np.cumsum(wide)
    return ring


def _explains(ring: np.ndarray, elevation: np.ndarray) -> bool:
    """Tell whether rings (N,) are beams: several, well filled, each narrow in elevation."""
    count = np.bincount(ring)
    if not 2 <= len(count) <= MAX_RINGS or len(ring) < 8 * len(count):
        return False
    filled = np.maximum(count, 1)
    mean = np.bincount(ring, elevation) / filled
    variance = np.bincount(ring, (elevation - mean[ring]) ** 2) / filled
    return bool(np.sqrt(np.average(variance, weights=count)) < 0.25 * elevation.std())
