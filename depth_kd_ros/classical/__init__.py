"""
Classical depth completion: no weights, no image; the floor that networks must beat.

One method per file; the file's name is the method's name. Its `complete` may assume a float32 map
(H, W) in metres with at least one point; `find` adds the contract that all methods keep.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from types import ModuleType

from depth_kd_ros import plugins
import numpy as np


def available() -> list[str]:
    """List the names of the methods: the files of this folder."""
    return plugins.available(__path__)


def find(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """
    Give the method as a function from sparse to dense depth, both (H, W) float32 m, 0 = none.

    The result is a new array, dense within the range of the input's depths, and all 0 where the
    input has no point. Raises ValueError for a name that is not available; the function raises
    it for an input that is not (H, W) float32, is empty, or holds NaN, infinite or negative depth.
    """
    return functools.partial(_complete, _method(name))


def summary(name: str) -> str:
    """Describe the method in one line; ValueError for a name that is not available."""
    return (_method(name).__doc__ or '').strip().splitlines()[0]


def _method(name: str) -> ModuleType:
    return plugins.find(__name__, 'method', name, available())


def _complete(method: ModuleType, sparse_depth: np.ndarray) -> np.ndarray:
    """Check (H, W) m, complete it with the method's module, and bound the result."""
    if sparse_depth.ndim != 2 or sparse_depth.dtype != np.float32 or sparse_depth.size == 0:
        raise ValueError(
            f'sparse_depth is {sparse_depth.dtype} of shape {sparse_depth.shape}: '
            'pass float32 metres of shape (H, W), 0 = none'
        )
    lowest, farthest = sparse_depth.min(), sparse_depth.max()
    if not (lowest >= 0 and np.isfinite(farthest)):
        bad = sparse_depth[~((sparse_depth >= 0) & np.isfinite(sparse_depth))]
        raise ValueError(
            f'sparse_depth holds {bad.size} depths such as {bad[0]}: '
            'mark pixels without a measurement with 0'
        )
    if farthest == 0:
        return np.zeros_like(sparse_depth)
    nearest = np.min(sparse_depth, initial=farthest, where=sparse_depth > 0)
    dense = method.complete(sparse_depth)
    return np.clip(dense, nearest, farthest, out=dense)
