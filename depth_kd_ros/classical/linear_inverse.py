"""Linear in inverse depth over the Delaunay triangles, nearest outside their hull."""

from depth_kd_ros.classical import linear
import numpy as np


def inverse(sparse_depth: np.ndarray) -> np.ndarray:
    """Invert depth (H, W) m to 1/m; 0 stays 0."""
    return np.divide(1, sparse_depth, out=np.zeros_like(sparse_depth), where=sparse_depth > 0)


def complete(sparse_depth: np.ndarray) -> np.ndarray:
    """Interpolate (H, W) m as `linear`, in 1/m: planes in space stay planes in the image."""
    return 1 / linear.complete(inverse(sparse_depth))
