"""Linear over the Delaunay triangles of the points, nearest outside their hull."""

from typing import Any

import cv2
from depth_kd_ros.classical import nearest
import numpy as np

# Half side of the square that Subdiv2D triangulates in. Its corners must be so far away that no
# sliver along the convex hull is lost to them: of 80,000 random layouts 2^20 lost 8, 2^22 none.
REACH_PX = 1 << 22
# Points are inserted strip by strip of columns: each is then close to the one before it.
STRIP_PX = 16
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def complete(sparse_depth: np.ndarray) -> np.ndarray:
    """
    Interpolate (H, W) m linearly over the Delaunay triangles, nearest outside the convex hull.

    Along an image column the triangulated surface is piecewise linear, with knots at the points
    and where edges cross the column: one `np.interp` fills all columns, laid end to end.
    """
    columns = cv2.transpose(sparse_depth)  # (W, H), position of a pixel: x * H + y
    dense = cv2.transpose(nearest.complete(sparse_depth))
    empty = columns == 0
    # A point between four others is no vertex of a triangle that covers an empty pixel.
    x, y = np.nonzero((cv2.dilate(empty.view(np.uint8), CROSS) > 0) & ~empty)
    if x.size:
        position, value = _crossings(_edges(x, y), columns)
        position = np.concatenate((x * columns.shape[1] + y, position))
        value = np.concatenate((columns[x, y], value))
        order = np.argsort(position, kind='stable')
        pixel = np.flatnonzero(empty & _inside(position[order], columns.shape))
        dense.ravel()[pixel] = np.interp(pixel, position[order], value[order])
    return cv2.transpose(dense)


def _edges(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Triangulate pixels (N,), (N,); give the edges (E, 4) as x0, y0, x1, y1 with x0 <= x1."""
    subdivision: Any = cv2.Subdiv2D((-REACH_PX, -REACH_PX, 2 * REACH_PX, 2 * REACH_PX))
    order = np.argsort(x // STRIP_PX * (y.max() + 1) + y, kind='stable')
    subdivision.insert(np.stack((x, y), 1)[order].astype(np.float32))
    edges = subdivision.getEdgeList().reshape(-1, 4)
    edges = edges[(edges >= 0).all(1)].astype(np.int64)  # without those to the outer corners
    return np.where(edges[:, :1] <= edges[:, 2:3], edges, edges[:, [2, 3, 0, 1]])


def _crossings(edges: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut edges (E, 4) at the columns between their ends: positions (M,) and values (M,) there."""
    height = columns.shape[1]
    x0, y0, x1, y1 = edges[edges[:, 2] - edges[:, 0] > 1].T
    value = columns[x0, y0].astype(np.float64)
    count = x1 - x0 - 1
    step = np.arange(1, count.sum() + 1) - np.repeat(np.cumsum(count) - count, count)
    position_step = height + (y1 - y0) / (x1 - x0)
    value_step = (columns[x1, y1] - value) / (x1 - x0)
    return (
        np.repeat(x0 * height + y0, count) + step * np.repeat(position_step, count),
        np.repeat(value, count) + step * np.repeat(value_step, count),
    )


def _inside(position: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mark the pixels (W, H) from the first to the last of the sorted knots of their column."""
    width, height = shape
    start = np.arange(width + 1) * height
    knot = np.searchsorted(position, start - 0.5)
    # Where a column has no knots, these are another column's, on the wrong side of its pixels.
    first = position[np.minimum(knot[:-1], position.size - 1)] - start[:-1]
    last = position[np.maximum(knot[1:] - 1, 0)] - start[:-1]
    row = np.arange(height)
    return (row > first[:, None] - 1e-6) & (row < last[:, None] + 1e-6)
