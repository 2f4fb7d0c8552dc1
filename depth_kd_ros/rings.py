"""
Which beam measured each point: the ring index of a LiDAR cloud.

Beams matter for withholding whole rings (self-check), dropping beams (training) and reporting by
beam count.
"""

from __future__ import annotations

import numpy as np

MAX_RINGS = 512
MIN_POINTS = 8  # per ring on average, to believe in rings found by counting turns or by clusters


def ring_index(
    xyz: np.ndarray, ring: np.ndarray | None = None, row: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """
    Give the ring (N,) int32 of points xyz (N, 3) m in the LiDAR frame, and where it came from.

    The first that applies: the cloud's own `ring` field, the `row` of an organised cloud where
    rows are beams, azimuth wraps in file order (a spinning LiDAR stored beam by beam, as KITTI),
    clusters of elevation. Raises ValueError where none does.
    """
    for name, values in (('ring', ring), ('row', row)):
        if values is not None and values.shape != (len(xyz),):
            raise ValueError(
                f'{name} has shape {values.shape}, not one number for {len(xyz)} points'
            )
    if ring is not None:
        return ring.astype(np.int32), 'field'
    if len(xyz) == 0:
        return np.zeros(0, np.int32), 'none'
    elevation = np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]))  # (N,) rad
    if row is not None and _narrow(row, elevation):
        return row.astype(np.int32), 'rows'
    for name in ('azimuth', 'elevation'):
        found = azimuth_wraps(xyz) if name == 'azimuth' else elevation_clusters(elevation)
        count = int(found.max()) + 1
        if 2 <= count <= min(MAX_RINGS, len(found) // MIN_POINTS) and _narrow(found, elevation):
            return found, name
    raise ValueError(
        f'cloud of {len(xyz)} points: no ring field, no rows that are beams, and neither azimuth '
        'wraps nor elevation clusters show beams. Let the driver publish the ring field.'
    )


def azimuth_wraps(xyz: np.ndarray) -> np.ndarray:
    """Count turns (N,) int32 in file order: a ring starts where azimuth passes the x axis."""
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


def _narrow(ring: np.ndarray, elevation: np.ndarray) -> bool:
    """Tell whether each ring (N,) is narrow in elevation (N,) rad, as a beam is."""
    count = np.bincount(ring)
    filled = np.maximum(count, 1)
    mean = np.bincount(ring, elevation) / filled
    variance = np.bincount(ring, (elevation - mean[ring]) ** 2) / filled
    return bool(np.sqrt(np.average(variance, weights=count)) < 0.25 * elevation.std())
