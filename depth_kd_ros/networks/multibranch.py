"""
Monocular depth of Hu et al., WACV 2019, and the small pair of its data-free distillation.

"Revisiting Single Image Depth Estimation: Toward Higher Resolution Maps with Accurate Object
Boundaries": an encoder (E); a decoder (D) of a 1x1 convolution and four up-projections, each
halving the channels; multi-scale feature fusion (MFF), which brings every scale of the encoder to
16 channels at half the input's size; and a refinement (R) of both by three 5x5 convolutions. Hu et
al., "Data-free Dense Depth Distillation", distil it from ResNet-50 (67.6 M) into ResNet-18
(14.9 M). No more than the encoder has to change for both counts to be met: the widths of D and R
follow the encoder's last, those of MFF stay [fit].
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.base import Prediction
from depth_kd_ros.networks.encoders.resnet import LAYOUTS, ResNet
from depth_kd_ros.networks.parts.convolution import convolution
from depth_kd_ros.networks.parts.initialisation import initialise, start_at
from depth_kd_ros.networks.parts.monocular import check_choices, MonocularNetwork
from depth_kd_ros.networks.parts.up_projection import UpProjection
import torch
from torch import nn, Tensor

SCALE_CHANNELS = 16  # of each scale in the fusion


@dataclass(frozen=True)
class Config:
    """Choose the encoder, and whether the depth is `upsample`d from half to the input's size."""

    encoder: str = 'resnet50'
    upsample: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for an encoder that is not there and a value that is not a boolean."""
        check_choices(self.encoder, LAYOUTS, self.upsample)


PRESETS = {
    'multibranch_resnet50': Config(),  # Hu et al. 2019
    'multibranch_resnet18': Config('resnet18'),  # student of the distillation
}


class Network(MonocularNetwork):
    """
    Predict depth: image (B, 3, H, W) to depth (B, 1, H, W) m, or ceil(H/2) x ceil(W/2).

    Any H and W. Features: `E1` (1/4) .. `E4` (1/32), the outputs of the encoder's layers; `D0`
    (1/32), the halved channels; `D1` (1/16) .. `D4` (1/2), the outputs of the up-projections; `M`
    (1/2), the fusion of all scales.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoder = ResNet(config.encoder)
        *_, c = self.encoder.channels
        self.conv2 = convolution(c, c // 2, 1)
        self.up = nn.ModuleList(UpProjection(c >> i, c >> i + 1) for i in (1, 2, 3, 4))
        self.scales = nn.ModuleList(UpProjection(e, SCALE_CHANNELS) for e in self.encoder.channels)
        m = len(self.scales) * SCALE_CHANNELS
        self.fusion = convolution(m, m, 5)
        r = c // 32 + m
        self.refinement = nn.Sequential(convolution(r, r, 5), convolution(r, r, 5))
        self.prediction = nn.Conv2d(r, 1, 5, 1, 2)
        initialise(self)
        start_at(self.prediction)

    def forward(
        self, image: Tensor, sparse_depth: Tensor | None = None, features: bool = True
    ) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        encoded = self.encoder(image)
        kept: dict[str, Tensor] = {}
        if features:
            kept.update({f'E{i}': e for i, e in enumerate(encoded, start=1)})
        half = image[:, :, ::2, ::2]  # a size, nothing else
        likes = [half, *encoded[:-1]]
        x = self.conv2(encoded[-1])  # (B, c / 2, H/32, W/32)
        if features:
            kept['D0'] = x
        for i, up in enumerate(self.up, start=1):
            x = up(x, likes.pop())
            if features:
                kept[f'D{i}'] = x
        scales = [up(encoded.pop(0), half) for up in self.scales]
        fused = self.fusion(torch.cat(scales, 1))  # (B, 64, H/2, W/2)
        if features:
            kept['M'] = fused
        x = self.refinement(torch.cat((x, fused), 1))  # (B, 64 + c / 32, H/2, W/2)
        depth = self.prediction(x)  # (B, 1, H/2, W/2)
        return Prediction(self.sized(depth, image), kept)
