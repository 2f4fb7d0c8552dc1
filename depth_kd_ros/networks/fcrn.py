"""
Monocular depth of Laina et al., 3DV 2016, and the small pair of its data-free distillation.

"Deeper Depth Prediction with Fully Convolutional Residual Networks": a ResNet, a 1x1 convolution
that halves its channels and four up-projections that halve them again. Hu et al., "Data-free Dense
Depth Distillation", distil it from ResNet-50 (63.6 M) into ResNet-18 (13.7 M). No more than the
encoder has to change for both counts to be met [fit]. Convolutions before a batch norm have no
bias, the last one has.

Ours: a decoder feature is cropped to the encoder's at the same scale, so that any input keeps its
geometry. The original enlarges the coarsest feature 16 times, to 128x160 for an input of 228x304,
whose half is 114x152, and learns the stretch. At multiples of 32 both are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.base import Prediction
from depth_kd_ros.networks.encoders.resnet import LAYOUTS, ResNet
from depth_kd_ros.networks.parts.initialisation import initialise, start_at
from depth_kd_ros.networks.parts.monocular import check_choices, MonocularNetwork
from depth_kd_ros.networks.parts.up_projection import UpProjection
from torch import nn, Tensor


@dataclass(frozen=True)
class Config:
    """Choose the encoder, and whether the depth is `upsample`d from half to the input's size."""

    encoder: str = 'resnet50'
    upsample: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for an encoder that is not there and a value that is not a boolean."""
        check_choices(self.encoder, LAYOUTS, self.upsample)


PRESETS = {
    'fcrn_resnet50': Config(),  # Laina et al.
    'fcrn_resnet18': Config('resnet18'),  # student of the distillation
}


class Network(MonocularNetwork):
    """
    Predict depth: image (B, 3, H, W) to depth (B, 1, H, W) m, or ceil(H/2) x ceil(W/2).

    Any H and W. Features: `E1` (1/4) .. `E4` (1/32), the outputs of the encoder's layers; `D0`
    (1/32), the halved channels; `D1` (1/16) .. `D4` (1/2), the outputs of the up-projections.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoder = ResNet(config.encoder)
        *_, c = self.encoder.channels
        self.conv2 = nn.Sequential(nn.Conv2d(c, c // 2, 1, bias=False), nn.BatchNorm2d(c // 2))
        self.up = nn.ModuleList(
            UpProjection(c >> i, c >> i + 1, unpool=True) for i in (1, 2, 3, 4)
        )
        self.conv3 = nn.Conv2d(c // 32, 1, 3, 1, 1)
        initialise(self)
        start_at(self.conv3)

    def forward(
        self, image: Tensor, sparse_depth: Tensor | None = None, features: bool = True
    ) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        encoded = self.encoder(image)
        kept: dict[str, Tensor] = {}
        if features:
            kept.update({f'E{i}': e for i, e in enumerate(encoded, start=1)})
        x = self.conv2(encoded.pop())  # (B, c / 2, H/32, W/32)
        if features:
            kept['D0'] = x
        encoded.insert(0, image[:, :, ::2, ::2])  # a decoder feature's size, nothing else
        for i, up in enumerate(self.up, start=1):
            x = up(x, encoded.pop())
            if features:
                kept[f'D{i}'] = x
        depth = self.conv3(x)  # (B, 1, H/2, W/2)
        return Prediction(self.sized(depth, image), kept)
