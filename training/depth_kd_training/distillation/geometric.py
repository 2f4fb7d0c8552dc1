"""
Geometric distillation: depth as points in space; the poster "label-free distillation", part (b).

"First convert the 2D depth map into 3D position map, then use PointNet to extract features (input
and feature), then compute the MSE loss." No ground truth is read. Which points, how they are
scaled and which PointNet are left open: `Config` says what is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.point_net import PointNet
from depth_kd_training.samples import Batch
import torch
from torch import Tensor
import torch.nn.functional as F

STAGES = ('input', 'feature', 'global')  # of PointNet: both transforms' outputs and the whole's


@dataclass(frozen=True)
class Config:
    """
    Choose what is compared: `points` pixels of each image, other ones each time.

    `weights` are those of the stages: input transform, feature transform and, which the poster
    does not name, global; ours. `normalise` brings relative depth to a positive one of mean 2;
    None: if a network is relative. `field_of_view_deg`, across the image, is taken where the
    sample's K is unknown; None: K must be known. `point_net` is a file of weights; None: drawn.
    """

    points: int = 1024
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    normalise: bool | None = None
    field_of_view_deg: float | None = None
    point_net: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for values out of range."""
        if type(self.points) is not int or self.points < 1:
            raise ValueError(f'points = {self.points!r}: give a positive whole number')
        numbers = isinstance(self.weights, Sequence) and len(self.weights) == len(STAGES)
        if not numbers or not all(
            type(w) in (int, float) and 0 <= w < math.inf for w in self.weights
        ):
            raise ValueError(
                f'weights = {self.weights!r}: give three numbers >= 0, for {", ".join(STAGES)}'
            )
        if self.normalise is not None and type(self.normalise) is not bool:
            raise ValueError(f'normalise = {self.normalise!r}: give true, false or null')
        view = self.field_of_view_deg
        if view is not None and (type(view) not in (int, float) or not 0 < view < 180):
            raise ValueError(f'field_of_view_deg = {view!r}: give degrees between 0 and 180')


class Method(base.Method):
    """Compare the points that student and teacher see at the same pixels, with the same K."""

    def __init__(self, config: Config, student: DepthNetwork, teacher: DepthNetwork) -> None:
        super().__init__()
        base.check_same_output(student, teacher)
        relative = not (student.metric and teacher.metric)
        if relative and config.normalise is False:
            raise ValueError(
                'normalise = False: relative depth has no points in space as it is; leave '
                'normalise out'
            )
        self.config = config
        self.normalise = relative if config.normalise is None else config.normalise
        self.inverse = student.output == 'inverse_depth'
        self.point_net = PointNet(config.point_net)

    def forward(self, student: Prediction, teacher: Prediction, batch: Batch) -> dict[str, Tensor]:
        depths = [prediction.depth.float() for prediction in (student, teacher)]
        if self.normalise:
            depths = [positive(depth) for depth in depths]
        if self.inverse:
            depths = [1 / depth for depth in depths]
        size = depths[1].shape[2:]
        K = known(batch.samples.K, size, self.config.field_of_view_deg)
        pixels = draw_pixels(depths[1], self.config.points)
        points_s, points_t = scaled(*(unproject(depth, K, pixels) for depth in depths))
        with torch.no_grad():
            stages_t = self.point_net(points_t)
        stages_s = self.point_net(points_s)
        return {
            name: weight * F.mse_loss(f_s, f_t)
            for name, weight, f_s, f_t in zip(
                STAGES, self.config.weights, stages_s, stages_t, strict=True
            )
        }


def positive(depth: Tensor) -> Tensor:
    """
    Shift and scale relative depth (B, 1, H, W) of each image: the least becomes 1, the mean 2.

    Neither the shift nor a positive scale of the input matters. A constant map becomes 1.
    """
    above = depth - depth.amin((1, 2, 3), keepdim=True)
    mean = above.mean((1, 2, 3), keepdim=True)
    return 1 + above / (mean + (mean == 0))


def known(K: Tensor, size: Sequence[int], field_of_view_deg: float | None) -> Tensor:
    """
    Give K (B, 3, 3) px, with those that are unknown (0) replaced by a camera of this view across.

    Raises ValueError for an unknown K without a field of view.
    """
    unknown = K[:, :1, :1] == 0
    if field_of_view_deg is None:
        if bool(unknown.any()):
            raise ValueError(
                'geometric: a sample has no camera matrix K, so its depth has no points in space; '
                'give sources with intrinsics, or the option field_of_view_deg (across the image)'
            )
        return K
    height, width = size
    focal = width / 2 / math.tan(math.radians(field_of_view_deg) / 2)
    rows = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return K + unknown * torch.tensor(rows, dtype=K.dtype, device=K.device)


def draw_pixels(depth: Tensor, points: int) -> Tensor:
    """Draw pixels (B, N) of (B, 1, H, W) as numbers v W + u, each alike, some perhaps twice."""
    _, _, height, width = depth.shape
    return torch.randint(height * width, (len(depth), points), device=depth.device)


def unproject(depth: Tensor, K: Tensor, pixels: Tensor) -> Tensor:
    """Give the points (B, 3, N) of pixels (B, N) numbered v W + u at depth (B, 1, H, W)."""
    z = depth.flatten(1).gather(1, pixels)  # (B, N)
    u, v = pixels % depth.shape[3], pixels // depth.shape[3]
    K = K.to(depth.dtype)
    (fx, skew, cx), (_, fy, cy) = (K[:, row, :, None].unbind(1) for row in (0, 1))  # (B, 1)
    y = (v - cy) / fy
    x = (u - cx - skew * y) / fx
    return torch.stack((x * z, y * z, z), 1)


def scaled(points_s: Tensor, points_t: Tensor) -> tuple[Tensor, Tensor]:
    """
    Move and scale both clouds (B, 3, N) alike, so that the teacher's fills the unit sphere [ours].

    PointNet takes clouds of that size, and the loss has no unit then; an error of the student's
    scale stays one.
    """
    centre = points_t.mean(2, keepdim=True)
    radius = (points_t - centre).norm(dim=1, keepdim=True).amax(2, keepdim=True)
    radius = radius + (radius == 0)
    return (points_s - centre) / radius, (points_t - centre) / radius
