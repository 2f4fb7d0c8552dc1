"""Column by column, linear in inverse depth between successive beams."""

import cv2
from depth_kd_ros.classical.linear_inverse import inverse
import numpy as np

BORDER_MEAN_PX = 65  # columns whose outermost points are averaged for the image's upper, lower row


def complete(sparse_depth: np.ndarray) -> np.ndarray:
    """
    Interpolate (H, W) m up and down the image columns, in 1/m.

    Points are first widened along their row to close the gaps within a beam. Beyond its outermost
    points a column runs towards the mean of its neighbours'; one without points lies between them.
    A 5x5 median removes the streaks of single columns; the points keep their depth.
    """
    given = inverse(sparse_depth)
    reach = 2 * _reach_px(sparse_depth) + 1
    wide = np.where(given > 0, given, cv2.dilate(given, np.ones((1, reach), np.uint8)))
    columns = cv2.transpose(wide)  # (W, H)
    filled = np.flatnonzero(columns.any(1))
    dense = _across(_along(columns[filled]), filled, len(columns))
    dense = cv2.medianBlur(cv2.transpose(dense), 5)
    return 1 / np.where(given > 0, given, dense)


def _reach_px(sparse_depth: np.ndarray) -> int:
    """Tell by how many pixels to widen points (H, W) so that most meet the next of their beam."""
    pixel = np.flatnonzero(sparse_depth > 0)
    row = pixel // sparse_depth.shape[1]
    gap = np.diff(pixel)[np.diff(row) == 0]
    spacing = np.median(gap) if gap.size else np.inf
    scattered = np.sqrt(sparse_depth.size / pixel.size)  # the mean distance without any beams
    return int(np.ceil(min(spacing, scattered) / 2))


def _along(columns: np.ndarray) -> np.ndarray:
    """Interpolate each row of (N, H), 0 = none, at least one per row."""
    each, height = np.arange(len(columns)), columns.shape[1]
    known = columns > 0
    ends = columns.copy()
    for end, outermost in (0, known.argmax(1)), (-1, height - 1 - known[:, ::-1].argmax(1)):
        mean = cv2.blur(columns[each, outermost][:, None], (1, BORDER_MEAN_PX))[:, 0]
        ends[:, end] = np.where(known[:, end], columns[:, end], mean)
    knot = np.flatnonzero(ends > 0)
    value = ends.ravel()[knot]
    count = np.diff(knot, append=ends.size)  # of pixels from this knot to the next
    slope = np.diff(value, append=value[-1:]) / count.astype(np.float32)
    row = np.repeat((knot % height).astype(np.float32), count).reshape(ends.shape)
    dense = np.arange(height, dtype=np.float32) - row
    dense *= np.repeat(slope, count).reshape(ends.shape)
    dense += np.repeat(value, count).reshape(ends.shape)
    return dense


def _across(columns: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """Interpolate columns (N, H) known at the places (N,) to all places: (width, H) float32."""
    if len(at) == width:
        return columns
    place = np.interp(np.arange(width), at, np.arange(len(at)))
    left = place.astype(np.int64)
    right = np.minimum(left + 1, len(at) - 1)
    part = (place - left).astype(np.float32)[:, None]
    return columns[left] * (1 - part) + columns[right] * part
