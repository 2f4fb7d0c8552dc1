"""DepthCompleter: image + LiDAR points + calibration -> dense depth. THE one prediction path."""

from __future__ import annotations

import logging
from pathlib import Path
import time
from typing import NamedTuple, Protocol

from depth_kd_ros import checkpoint, classical
from depth_kd_ros.geometry import Camera
from depth_kd_ros.networks.parts.alignment import align, Way
from depth_kd_ros.projection import sparse_depth, without_bleed_through
import numpy as np
import torch
from torch import Tensor

MIN_DEPTH_M, MAX_DEPTH_M = 0.5, 120.0
MAKESHIFT = (
    'relative depth is scaled roughly, not fitted, because the points are too few, too alike or '
    'contradict it: distances are a guess'
)

log = logging.getLogger(__name__)


class NoPointsError(ValueError):
    """No LiDAR point falls into the image, so there is nothing to complete."""


class Completion(NamedTuple):
    """
    Hold depth and sparse depth (H, W) m, 0 = none; confidence (H, W) 0..1 or None; stage seconds.

    `caveat` says why the depth is not to be trusted as usual; it is empty where nothing is wrong.
    """

    depth: np.ndarray
    sparse_depth: np.ndarray
    confidence: np.ndarray | None
    seconds: dict[str, float]
    caveat: str = ''


class Estimate(NamedTuple):
    """Hold what a model returns: depth (H, W) m, confidence (H, W) or None, and its caveat."""

    depth: Tensor
    confidence: Tensor | None = None
    caveat: str = ''


class Model(Protocol):
    """
    Turn image (H, W, 3) uint8 RGB and sparse depth (H, W) m into an estimate.

    `needs_points` tells whether it can do nothing without a single measurement.
    """

    name: str
    hash: str
    needs_points: bool

    def __call__(self, image: np.ndarray, sparse: Tensor) -> Estimate: ...


class ClassicalModel:
    """A completer without weights; it runs on the CPU whatever the device."""

    hash = 'classical'
    needs_points = True

    def __init__(self, name: str) -> None:
        self.name, self.complete = name, classical.find(name)

    def __call__(self, image: np.ndarray, sparse: Tensor) -> Estimate:
        return Estimate(torch.from_numpy(self.complete(sparse.cpu().numpy())))


class NetworkModel:
    """
    A network from a checkpoint, with the checkpoint's own normalisation and depth range.

    Relative depth is aligned to each frame's sparse depth.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        loaded = checkpoint.load(path, device)
        self.name, self.hash = path.stem, loaded.hash
        self.network = loaded.model.deployable()
        self.needs_points = 'sparse_depth' in self.network.inputs or not self.network.metric
        mean, std = loaded.metadata.normalisation
        self.mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(std, device=device).view(3, 1, 1)
        self.depth_range_m = loaded.metadata.depth_range_m

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, sparse: Tensor) -> Estimate:
        pixels = torch.from_numpy(image).to(sparse.device).permute(2, 0, 1).float() / 255
        given = sparse[None, None]
        prediction = self.network(((pixels - self.mean) / self.std)[None], given, features=False)
        depth, confidence, way = prediction.depth, prediction.confidence, None
        if prediction.alignment is not None:
            way = prediction.alignment[0, 2, 0, 0]
        if not self.network.metric:
            depth, fit = align(depth, given, self.network.output)
            way = fit.way[0]
        caveat = '' if way is None or way.item() == Way.FITTED else MAKESHIFT
        depth = depth[0, 0].clamp(*self.depth_range_m)
        return Estimate(depth, None if confidence is None else confidence[0, 0], caveat)


def open_model(name: str, device: torch.device) -> Model:
    """Open a classical model, a bundled or a given checkpoint; ValueError lists what there is."""
    if name in classical.available():
        return ClassicalModel(name)
    return NetworkModel(checkpoint.resolve(name, also=classical.available()), device)


def open_device(name: str) -> torch.device:
    """Give the device of `auto`, `cpu`, `cuda`, `cuda:N`; ValueError where CUDA is absent."""
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    kind, _, number = name.partition(':')
    if kind not in ('cpu', 'cuda') or (number and not number.isdigit()):
        raise ValueError(f'device {name!r}: one of auto, cpu, cuda, cuda:N expected')
    found = torch.cuda.device_count()
    if kind == 'cuda' and int(number or 0) >= found:
        raise ValueError(
            f'device {name!r}: torch {torch.__version__} finds {found} CUDA devices here. '
            'Install a CUDA build of torch and the driver, or choose device auto or cpu.'
        )
    return torch.device(name)


class DepthCompleter:
    """
    Complete depth frame by frame with one model on one device.

    `model` is a classical name, a bundled model or a checkpoint's path. `bleed_filter` drops
    points that the LiDAR sees past a surface which hides them from the camera.
    """

    def __init__(
        self,
        model: str = 'push_pull',
        device: str = 'auto',
        min_depth_m: float = MIN_DEPTH_M,
        max_depth_m: float = MAX_DEPTH_M,
        bleed_filter: bool = True,
    ) -> None:
        if not 0 < min_depth_m < max_depth_m:
            raise ValueError(
                f'min_depth_m {min_depth_m} must be > 0 and < max_depth_m {max_depth_m}'
            )
        self.device = open_device(device)
        self.model = open_model(model, self.device)
        self.min_depth_m, self.max_depth_m = min_depth_m, max_depth_m
        self.bleed_filter = bleed_filter
        self._caveat = ''

    @property
    def needs_points(self) -> bool:
        """Tell whether the model can do nothing without a single measurement."""
        return self.model.needs_points

    def __call__(
        self, image: np.ndarray, points_lidar: np.ndarray, camera: Camera, T_cam_lidar: np.ndarray
    ) -> Completion:
        """Complete image (H, W, 3) uint8 RGB and points (N, 3) m; may raise NoPointsError."""
        start = time.perf_counter()
        sparse = self._projected(points_lidar, camera, T_cam_lidar)
        return self._told(self._complete(image, sparse, start, len(points_lidar)))

    def _projected(self, points: np.ndarray, camera: Camera, T_cam_lidar: np.ndarray) -> Tensor:
        on_device = torch.from_numpy(points).to(self.device)
        return sparse_depth(on_device, T_cam_lidar, camera, self.min_depth_m).depth

    def project(
        self, points_lidar: np.ndarray, camera: Camera, T_cam_lidar: np.ndarray
    ) -> Completion:
        """Go as far as the sparse depth, without the model: depth is what was measured."""
        start = time.perf_counter()
        sparse = self._projected(points_lidar, camera, T_cam_lidar)
        given = self._checked(sparse, len(points_lidar)).cpu().numpy()
        return Completion(given, given, None, {'project': time.perf_counter() - start})

    def from_sparse(self, image: np.ndarray, sparse: np.ndarray) -> Completion:
        """Complete image (H, W, 3) uint8 RGB and sparse depth (H, W) float32 m, 0 = none."""
        start = time.perf_counter()
        given = torch.from_numpy(sparse).to(self.device)
        return self._told(self._complete(image, given, start, int(np.count_nonzero(sparse))))

    def warm_up(self, height: int, width: int) -> None:
        """Run the model once at a size, so that the first real frame pays for nothing."""
        sparse = torch.zeros(height, width, device=self.device)
        sparse[height // 2, width // 2] = self.min_depth_m
        self._complete(np.zeros((height, width, 3), np.uint8), sparse, 0.0, 1)

    def _complete(self, image: np.ndarray, sparse: Tensor, start: float, count: int) -> Completion:
        sparse = self._checked(sparse, count)
        projected = time.perf_counter()
        depth, confidence, caveat = self.model(image, sparse)
        dense = depth.clamp(self.min_depth_m, self.max_depth_m).cpu().numpy()
        certain = None if confidence is None else confidence.cpu().numpy()
        seconds = {'project': projected - start, 'infer': time.perf_counter() - projected}
        return Completion(dense, sparse.cpu().numpy(), certain, seconds, caveat)

    def _told(self, done: Completion) -> Completion:
        """Log a caveat when it begins, not at every frame; return the frame as it is."""
        if done.caveat and done.caveat != self._caveat:
            log.warning('model %s: %s', self.model.name, done.caveat)
        self._caveat = done.caveat
        return done

    def _checked(self, sparse: Tensor, count: int) -> Tensor:
        """Drop depth outside the limits and seen past nearer surfaces; NoPointsError if all."""
        allowed = (sparse >= self.min_depth_m) & (sparse <= self.max_depth_m)
        sparse = torch.where(allowed, sparse, 0.0)
        if self.needs_points and not bool(sparse.any()):
            size = f'{sparse.shape[0]}x{sparse.shape[1]}'
            raise NoPointsError(
                f'none of {count} points falls into the {size} image between {self.min_depth_m} '
                f'and {self.max_depth_m} m: empty cloud, wrong extrinsics or depth scale, or '
                'LiDAR turned away?'
            )
        return without_bleed_through(sparse) if self.bleed_filter else sparse
