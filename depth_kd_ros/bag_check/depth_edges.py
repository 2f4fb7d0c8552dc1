"""Where a LiDAR sees one thing end in front of another: edges that the image shows, too."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NEAR_M, FAR_M = 2.0, 70.0
JUMP, JUMP_M = 0.08, 0.4  # range grows by this share and this much
BREAK = 3  # a jump is so much larger than the step before it
BAND = np.deg2rad((0.15, 0.2))  # width of a row in elevation, of a column in azimuth
GAP = np.deg2rad((0.5, 0.7))  # widest step along a row, along a column
SIDEWAYS = 1.5  # largest |x/z| and |y/z| that a camera may see


class DepthEdges(NamedTuple):
    """
    Edge points (M, 3) m in the LiDAR frame; `upright` (M,): found along a row of the scan.

    `index` (M,) is the nearer point that the edge belongs to.
    """

    points: np.ndarray
    upright: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index

    def upright_ones(self) -> DepthEdges:
        """Keep the upright edges."""
        return DepthEdges(*(values[self.upright] for values in self))

    def at_most(self, count: int) -> DepthEdges:
        """Keep an even choice of the points."""
        if len(self.points) <= count:
            return self
        chosen = np.linspace(0, len(self.points) - 1, count).astype(int)
        return DepthEdges(*(values[chosen] for values in self))


def depth_edges(points_lidar: np.ndarray, T_cam_lidar: np.ndarray) -> DepthEdges:
    """
    Find depth edges in points (N, 3) m that lie roughly in front of the camera.

    Neighbours in a narrow band of elevation (or of azimuth) of which one is much farther have
    the nearer one's edge between them: halfway, at its range. So the edge lies on average right,
    however wide the beams are spaced, and no ring index is needed.
    """
    xyz = np.asarray(points_lidar, np.float64)
    x, y, z = (xyz @ T_cam_lidar[:3, :3].T + T_cam_lidar[:3, 3]).T
    range_m = np.linalg.norm(xyz, axis=1)
    ahead = (z > 1) & (np.abs(x) < SIDEWAYS * z) & (np.abs(y) < SIDEWAYS * z)
    ahead &= (range_m > NEAR_M) & (range_m < FAR_M)
    index, xyz, range_m = np.flatnonzero(ahead), xyz[ahead], range_m[ahead]
    forward = T_cam_lidar[2, :3]  # the optical axis, seen from the LiDAR
    azimuth = np.arctan2(xyz[:, 1], xyz[:, 0]) - np.arctan2(forward[1], forward[0])
    azimuth = (azimuth + np.pi) % (2 * np.pi) - np.pi
    elevation = np.arcsin(xyz[:, 2] / range_m)
    found, upright, indices = [], [], []
    for along, across, band, gap in (
        (azimuth, elevation, BAND[0], GAP[0]),
        (elevation, azimuth, BAND[1], GAP[1]),
    ):
        near, far = _jumps(np.floor(across / band), along, range_m, gap)
        way = xyz[near] / range_m[near, None] + xyz[far] / range_m[far, None]
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        found.append(way * range_m[near, None])
        upright.append(np.full(len(near), along is azimuth))
        indices.append(index[near])
    return DepthEdges(*map(np.concatenate, (found, upright, indices)))


def _jumps(
    band: np.ndarray, along: np.ndarray, range_m: np.ndarray, gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """
    Give the indices near and far (M,) of neighbours along a band whose range jumps.

    The near one's other neighbour must be about as near: so a road seen at a grazing angle has no
    edges, nor have single returns from glass.
    """
    order = np.lexsort((along, band))
    band, along, ranges = band[order], along[order], range_m[order]
    beside = (band[1:] == band[:-1]) & (np.diff(along) < gap)  # (N - 1,) one and the next
    step = np.where(beside, np.diff(ranges), np.inf)  # to the next
    before, after = np.r_[np.inf, step[:-1]], np.r_[step[1:], np.inf]
    rise, fall = JUMP * ranges[:-1] + JUMP_M, JUMP * ranges[1:] + JUMP_M
    rises = beside & (step > np.maximum(rise, BREAK * np.abs(before)))
    falls = beside & (-step > np.maximum(fall, BREAK * np.abs(after)))
    up, down = np.flatnonzero(rises), np.flatnonzero(falls)
    return order[np.r_[up, down + 1]], order[np.r_[up + 1, down]]
