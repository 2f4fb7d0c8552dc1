"""Morphological: middle of dilation and erosion in growing windows, then median and Gaussian."""

import cv2
from depth_kd_ros.classical import nearest
from depth_kd_ros.classical.linear_inverse import inverse
import numpy as np

# (height, width) in pixels. Taller than wide: LiDAR points lie denser along a beam than across,
# and a column of the world changes less than a row of it, indoors as well.
WINDOWS = (7, 3), (15, 3), (31, 7), (63, 15)


def complete(sparse_depth: np.ndarray) -> np.ndarray:
    """
    Fill (H, W) m hole by hole in ever larger windows, then smooth: measured depth is not kept.

    The order of steps is IP-Basic's (Ku, Harakeh, Waslander, CRV 2018). There a hole takes the
    nearest surface of its window; here the mean, in 1/m, of the nearest and the farthest one.
    """
    near = inverse(sparse_depth)
    near = np.where(near > 0, near, cv2.dilate(near, np.ones((1, 3), np.uint8)))
    far = np.where(near > 0, near, np.float32(np.inf))
    for size in WINDOWS:
        window = np.ones(size, np.uint8)
        nearest_inside = cv2.dilate(near, window)
        middle = (nearest_inside + cv2.erode(far, window)) / 2
        reached = ((near == 0) & (nearest_inside > 0)).view(np.uint8)
        near, far = cv2.copyTo(middle, reached, near), cv2.copyTo(middle, reached, far)
    dense = cv2.medianBlur(nearest.complete(near), 5)
    return 1 / cv2.GaussianBlur(dense, (5, 21), 0)
