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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

DISTORTION_MODELS = {  # name in CameraInfo: numbers in D
    'plumb_bob': 5,  # k1 k2 p1 p2 k3
    'rational_polynomial': 8,  # k1 k2 p1 p2 k3 k4 k5 k6
    'equidistant': 4,  # k1 k2 k3 k4
}


@dataclass(frozen=True, eq=False)
class Camera:
    """
    Pinhole camera: `K` (3, 3) pixels, image size, lens distortion `D` of `model` (empty: none).

    Distortion models are those of sensor_msgs/CameraInfo: plumb_bob, rational_polynomial,
    equidistant; a D of zeros means no distortion, as in image_geometry. Raises ValueError where
    K, the size or D cannot belong to a camera.
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
        if K[1, 0] or K[2].tolist() != [0, 0, 1]:
            raise ValueError(
                f'camera K = {K.tolist()}: must be [fx s cx], [0 fy cy], [0 0 1] row by row'
            )
        if self.height < 1 or self.width < 1:
            raise ValueError(f'camera size {self.height}x{self.width}: must be at least 1x1')
        K.setflags(write=False)
        D = _checked(tuple(float(d) for d in self.D), self.model)
        object.__setattr__(self, 'K', K)
        object.__setattr__(self, 'height', int(self.height))
        object.__setattr__(self, 'width', int(self.width))
        object.__setattr__(self, 'D', D)
        object.__setattr__(self, 'model', self.model if D else '')

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


def _checked(D: tuple[float, ...], model: str) -> tuple[float, ...]:
    """Give D as the model's full set of coefficients, () where all are zero."""
    if not any(D):
        return ()
    if model not in DISTORTION_MODELS:
        known = ', '.join(DISTORTION_MODELS)
        raise ValueError(f'distortion_model {model!r} is unknown; known: {known}')
    count = DISTORTION_MODELS[model]
    if not np.isfinite(D).all() or len(D) < 4:
        raise ValueError(f'distortion D = {D}: {model} needs at least 4 finite coefficients')
    if any(D[count:]):
        raise ValueError(f'distortion D = {D}: {model} takes {count} coefficients')
    return (*D, *(0.0,) * count)[:count]


def rotation(quaternion: np.ndarray | Sequence[float]) -> np.ndarray:
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


def transform(
    xyz: np.ndarray | Sequence[float], quaternion: np.ndarray | Sequence[float]
) -> np.ndarray:
    """Build T_parent_child (4, 4) from TF: translation m, quaternion (x, y, z, w)."""
    t = np.asarray(xyz, dtype=np.float64)
    if t.shape != (3,):
        raise ValueError(f'translation {t.tolist()}: (x, y, z) in metres expected')
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation(quaternion), t
    return check_rigid(T, f'transform xyz={t.tolist()}')


def check_rigid(T: np.ndarray | Sequence, name: str) -> np.ndarray:
    """Return T as (4, 4) float64; raise ValueError unless it is a rigid transform."""
    try:
        T = np.array(T, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f'{name}: 4x4 finite numbers expected, got {T!r}') from None
    if T.shape == (16,):
        T = T.reshape(4, 4)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise ValueError(f'{name}: 4x4 finite numbers expected, got {T.tolist()}')
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
    v, u = np.indices(depth.shape, dtype=np.float64)
    y = (v - K[1, 2]) / K[1, 1]
    x = (u - K[0, 2] - K[0, 1] * y) / K[0, 0]
    return np.stack([x * depth, y * depth, depth], axis=-1).astype(np.float32)  # (H, W, 3)
