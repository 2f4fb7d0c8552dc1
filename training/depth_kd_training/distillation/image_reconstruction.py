"""
An auxiliary task in place of a teacher: the student reconstructs the grey image.

Lu et al., "From Depth What Can You See?", CVPR 2020, eq. 14: the mean squared error to the grey
image in 0..255. The paper's weight, for a recipe, is 1e-4 beside 1 of the depth (eq. 15).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_training.distillation import base
from depth_kd_training.losses import reconstruction
from depth_kd_training.samples import Batch
from torch import Tensor

FEATURE = 'reconstruction'  # of the student, (B, 1, H, W) in 0..255
LUMA = (0.299, 0.587, 0.114)  # of R, G, B in grey (ITU-R BT.601); the paper names no conversion


@dataclass(frozen=True)
class Config:
    """Say how the recipe normalises images, (rgb / 255 - mean) / std: as `data.mean` and `std`."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Raise ValueError unless both are three numbers, those of `std` positive."""
        base.check_normalisation(self.mean, self.std)


class Method(base.Method):
    """Compare the student's reconstruction with the image that it was not shown."""

    needs_teacher: ClassVar[bool] = False

    def __init__(
        self, config: Config, student: DepthNetwork, teacher: DepthNetwork | None = None
    ) -> None:
        super().__init__()
        if FEATURE not in base.channels(student):
            raise ValueError(
                'the student reconstructs no image: give the network depth_only with '
                'reconstruction = true'
            )
        self.config = config

    @property
    def reads_features(self) -> bool:
        """Tell that the reconstruction is among the student's features."""
        return True

    def forward(
        self, student: Prediction, teacher: Prediction | None, batch: Batch
    ) -> dict[str, Tensor]:
        target = grey(batch.samples.image.float(), self.config.mean, self.config.std)
        return {'grey': reconstruction(student.features[FEATURE].float(), target)}


def grey(
    image: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Give the grey image (B, 1, H, W), 0..255, of (B, 3, H, W), (rgb / 255 - mean) / std."""
    colours = zip(image.split(1, 1), LUMA, mean, std, strict=True)
    red, green, blue = (share * (x * s + m) for x, share, m, s in colours)
    return 255 * (red + green + blue)
