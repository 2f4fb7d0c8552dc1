"""Push-pull pyramid: coarse averages fill the gaps of the finer levels."""

import cv2
import numpy as np

GAIN = 8  # sum of a level's weights over the next coarser level's: > 4 trusts single points more


def complete(sparse_depth: np.ndarray) -> np.ndarray:
    """
    Fill (H, W) m from a Gaussian pyramid of weighted averages (Gortler et al., Lumigraph, 1996).

    Push: average the points into ever coarser levels, with weights that saturate at 1. Pull: where
    the weight of a level is below 1, the upsampled coarser level makes up the rest. The first
    level halves the rows only: LiDAR points lie denser along a beam than across beams.
    """
    valid = sparse_depth > 0
    levels = [_halve_rows(sparse_depth, valid)]
    while levels[-1][1].min() < 1 and max(levels[-1][1].shape) > 1:
        levels.append(_halve(*levels[-1]))
    dense, weight = levels.pop()
    dense = dense / weight
    while levels:
        finer, weight = levels.pop()
        height, width = weight.shape
        dense = finer + (1 - weight) * cv2.pyrUp(dense, dstsize=(width, height))
    height, width = sparse_depth.shape
    dense = cv2.resize(dense, (width, 2 * dense.shape[0]), interpolation=cv2.INTER_LINEAR)[:height]
    return np.where(valid, sparse_depth, dense)


def _halve_rows(depth: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average pairs of rows of (H, W): depth times weight and weight 0 or 1, (ceil(H / 2), W)."""
    odd = depth.shape[0] % 2
    total = cv2.copyMakeBorder(depth, 0, odd, 0, 0, cv2.BORDER_CONSTANT)
    count = cv2.copyMakeBorder(valid.astype(np.float32), 0, odd, 0, 0, cv2.BORDER_CONSTANT)
    total, count = total[::2] + total[1::2], count[::2] + count[1::2]
    return total / np.maximum(count, 1), np.minimum(count, 1)


def _halve(depth: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth and halve depth times weight and weight (H, W); saturate the weight."""
    depth, weight = cv2.pyrDown(depth), cv2.pyrDown(weight)
    saturated = np.minimum(GAIN * weight, 1)
    return depth * (saturated / np.maximum(weight, 1e-9)), saturated
