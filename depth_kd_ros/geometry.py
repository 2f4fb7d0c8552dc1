"""
Cameras, transforms and the conventions of the whole package (written here once).

Frames     REP 103. LiDAR: x forward, y left, z up. Camera optical: x right, y down, z forward.
Transforms `T_a_b` is (4, 4) and maps points of frame b to frame a: `p_a = T_a_b @ p_b`. It equals
           tf2's `lookup_transform(target=a, source=b)`. Extrinsics are always `T_cam_lidar`.
Pixels     `uv`: u right, v down; (0, 0) is the centre of the top-left pixel [-0.5, 0.5).
Depth      metres along the optical z axis; 0 = no measurement. Euclidean distance is `range`.
Sizes      (height, width), written H x W.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

DISTORTION_MODELS = {
    'plumb_bob': 5,
    'rational_polynomial': 8,
    'equidistant': 4,
}  # name: length of D


@dataclass(frozen=True, eq=False)
class Camera:
    """
    Pinhole camera: `K` (3, 3) pixels, image size, lens distortion `D` of `model` (empty: none).

    Distortion models are those of sensor_msgs/CameraInfo: plumb_bob, rational_polynomial,
    equidistant. Raises ValueError where K, the size or D cannot belong to a camera.
    """

    K: np.ndarray
    height: int
    width: int
    D: tuple[float, ...] = ()
    model: str = ''

    def __post_init__(self) -> None:
        K = np.array(self.K, dtype=np.float64)
        if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise ValueError(
                f'camera K = {K.tolist()}: focal lengths must be positive. Is it calibrated?'
            )
        if self.height < 1 or self.width < 1:
            raise ValueError(f'camera size {self.height}x{self.width}: must be at least 1x1')
        D = tuple(float(d) for d in self.D)
        if any(D):
            if self.model not in DISTORTION_MODELS:
                known = ', '.join(DISTORTION_MODELS)
                raise ValueError(f'distortion_model {self.model!r} is unknown; known: {known}')
            if not np.isfinite(D).all() or len(D) < 4:
                raise ValueError(f'distortion D = {D}: {self.model} needs finite coefficients')
            if any(D[DISTORTION_MODELS[self.model] :]):
                raise ValueError(
                    f'distortion D = {D}: {self.model} takes {DISTORTION_MODELS[self.model]}'
                )
        K.setflags(write=False)
        object.__setattr__(self, 'K', K)
        object.__setattr__(self, 'D', D[: DISTORTION_MODELS[self.model]] if any(D) else ())
        object.__setattr__(self, 'model', self.model if any(D) else '')

    @property
    def size(self) -> tuple[int, int]:
        """Give (height, width)."""
        return self.height, self.width

    def resized(self, height: int, width: int) -> Camera:
        """Scale to another image size; pixel centres sit at integers: half-pixel shift."""
        scale = np.array([width / self.width, height / self.height])
        K = self.K.copy()
        K[0, :2] *= scale[0]
        K[1, :2] *= scale[1]
        K[:2, 2] = (self.K[:2, 2] + 0.5) * scale - 0.5
        return replace(self, K=K, height=height, width=width)

    def cropped(self, top: int, left: int, height: int, width: int) -> Camera:
        """Cut a window of the image: the principal point moves by (left, top)."""
        K = self.K.copy()
        K[:2, 2] -= (left, top)
        return replace(self, K=K, height=height, width=width)


def rotation(quaternion: np.ndarray | list[float]) -> np.ndarray:
    """Turn a quaternion (x, y, z, w) into a rotation (3, 3); ValueError unless of norm 1."""
    q = np.asarray(quaternion, dtype=np.float64)
    norm = np.linalg.norm(q)
    if q.shape != (4,) or not abs(norm - 1) < 1e-3:
        raise ValueError(
            f'quaternion {q.tolist()}: (x, y, z, w) of norm 1 expected, norm is {norm:.4g}'
        )
    x, y, z, w = q / norm
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def transform(xyz: np.ndarray | list[float], quaternion: np.ndarray | list[float]) -> np.ndarray:
    """Build T_parent_child (4, 4) from TF: translation m, quaternion (x, y, z, w)."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation(quaternion), np.asarray(xyz, dtype=np.float64)
    return check_rigid(T, f'transform xyz={list(xyz)}')


def check_rigid(T: np.ndarray | list, name: str) -> np.ndarray:
    """Return T as (4, 4) float64; raise ValueError unless it is a rigid transform."""
    T = np.asarray(T, dtype=np.float64)
    if T.size == 16:
        T = T.reshape(4, 4)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise ValueError(f'{name}: 4x4 finite numbers expected, got shape {T.shape}')
    R = T[:3, :3]
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise ValueError(
            f'{name}: the upper left 3x3 is not a rotation (det {np.linalg.det(R):.4g})'
        )
    if not np.allclose(T[3], [0, 0, 0, 1], atol=1e-9):
        raise ValueError(f'{name}: the last row must be 0 0 0 1, got {T[3].tolist()}')
    return T


def invert(T: np.ndarray) -> np.ndarray:
    """Invert a rigid transform: T_b_a from T_a_b, (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = T[:3, :3].T
    inverse[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return inverse


def unproject(depth: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Lift depth (H, W) m of an undistorted camera to points_cam (H, W, 3) m; 0 to the origin."""
    v, u = np.indices(depth.shape, dtype=np.float32)
    x, y = (
        (u - np.float32(K[0, 2])) / np.float32(K[0, 0]),
        (v - np.float32(K[1, 2])) / np.float32(K[1, 1]),
    )
    return np.stack([x * depth, y * depth, depth], axis=-1).astype(np.float32)  # (H, W, 3)
