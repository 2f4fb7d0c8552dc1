"""A tree of static transforms and the way from any frame of it to any other."""

from __future__ import annotations

from depth_kd_ros import geometry
import numpy as np


class TransformTree:
    """
    Static transforms T_parent_child (4, 4) by (parent, child), as /tf_static holds them.

    Frame ids lose a leading slash, as in tf2. Errors are ValueErrors that name the frames.
    """

    def __init__(self) -> None:
        self.transforms: dict[tuple[str, str], np.ndarray] = {}
        self._parents: dict[str, str] = {}

    def add(self, parent: str, child: str, T_parent_child: np.ndarray) -> None:
        """
        Add a transform; an identical repetition is harmless.

        Raises ValueError: same frames with other values, a second parent of `child`, a loop.
        """
        parent, child = parent.lstrip('/'), child.lstrip('/')
        known = self._parents.get(child, parent)
        if known != parent:
            raise ValueError(f'frame {child!r} has two parents, {known!r} and {parent!r}')
        if child in self._ancestors(parent):
            raise ValueError(f'{parent!r} -> {child!r} closes a loop: transforms must form a tree')
        self._parents[child] = parent
        before = self.transforms.setdefault((parent, child), T_parent_child)
        if not np.allclose(before, T_parent_child, rtol=0, atol=1e-9):
            raise ValueError(
                f'{parent!r} -> {child!r} is given twice with different values, translations '
                f'{before[:3, 3].tolist()} and {T_parent_child[:3, 3].tolist()}'
            )

    def lookup(self, target: str, source: str) -> np.ndarray:
        """
        Chain to T_target_source (4, 4), p_target = T @ p_source, as tf2's lookup_transform.

        Raises ValueError listing the known frames where the tree does not connect the two.
        """
        from_target = self._ancestors(target.lstrip('/'))
        from_source = self._ancestors(source.lstrip('/'))
        common = next((frame for frame in from_target if frame in from_source), None)
        if common is None:
            frames = ', '.join(sorted({frame for pair in self.transforms for frame in pair}))
            raise ValueError(
                f'{target!r} and {source!r} are not connected; frames: {frames or "none"}'
            )
        return geometry.invert(from_target[common]) @ from_source[common]

    def _ancestors(self, frame: str) -> dict[str, np.ndarray]:
        """Give T_ancestor_frame of the frame itself, its parent, and so on up to the root."""
        ancestors = {frame: np.eye(4)}
        T, child = np.eye(4), frame
        while child in self._parents:
            parent = self._parents[child]
            T = self.transforms[parent, child] @ T
            ancestors[parent], child = T, parent
        return ancestors
