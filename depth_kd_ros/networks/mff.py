"""
Monocular depth with a light head, Hu et al.: "Boosting LightWeight Depth Estimation Via KD".

The KSEM 2023 paper's network, and the first two teacher-student pairs of "Data-free Dense Depth
Distillation" by the same authors. Each of the encoder's four scales is weighed by channel, fused
and compressed to 16 channels ("FFC" in Figure 3), brought to half the input's size and joined
with the others. The text counts two 5x5 convolutions after that; the published 1.7 M and 21.9 M
parameters ask for three, and the authors' code has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.base import Prediction
from depth_kd_ros.networks.encoders.mobilenet_v2 import MobileNetV2
from depth_kd_ros.networks.encoders.resnet import ResNet
from depth_kd_ros.networks.parts.convolution import convolution
from depth_kd_ros.networks.parts.initialisation import initialise, start_at
from depth_kd_ros.networks.parts.monocular import check_choices, MonocularNetwork
import torch
from torch import nn, Tensor
import torch.nn.functional as F

ENCODERS = ('mobilenet_v2', 'resnet34')
COMPRESSED = 16  # channels of every scale; also what channel attention divides them by


@dataclass(frozen=True)
class Config:
    """
    Choose the encoder, and whether the depth is resampled to the input's size.

    Without `upsample` the depth has the size of the features that predict it, ceil(H / 2) x
    ceil(W / 2): what the papers train on (114x152 for 228x304). Every preset upsamples.
    """

    encoder: str = 'mobilenet_v2'
    upsample: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for an encoder that is not known and an `upsample` that is no bool."""
        check_choices(self.encoder, ENCODERS, self.upsample)


PRESETS = {
    'mff_mobilenet_v2': Config(),  # the papers' student
    'mff_resnet34': Config(encoder='resnet34'),  # the papers' teacher
}


class Compression(nn.Module):
    """
    Weigh an encoder's channels by what they hold on average, and compress them to 16.

    (B, in, h, w) to (B, 16, h, w). The weights are those of Hu, Shen and Sun, "Squeeze-and-
    Excitation Networks", CVPR 2018.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // COMPRESSED, 1, bias=False)
        self.excite = nn.Conv2d(channels // COMPRESSED, channels, 1, bias=False)
        self.compress = convolution(channels, COMPRESSED, 5)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.squeeze(x.mean((2, 3), keepdim=True))  # (B, in / 16, 1, 1)
        weight = self.excite(F.relu(weight)).sigmoid()  # (B, in, 1, 1)
        return self.compress(x * weight)


class Network(MonocularNetwork):
    """
    Estimate depth from one image: (B, 3, H, W) to depth (B, 1, H, W) m, of any H and W.

    The image is normalised as for ImageNet. Features: `E1` .. `E4`, the encoder's at 1/4 to 1/32;
    `FFC1` .. `FFC4`, the same compressed, before they are upsampled; `D0` and `D1`, the outputs
    of the first two convolutions of the joined features, at 1/2.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        light = config.encoder == 'mobilenet_v2'
        self.encoder = MobileNetV2() if light else ResNet(config.encoder)
        self.compressions = nn.ModuleList(Compression(c) for c in self.encoder.channels)
        self.fusion = convolution(4 * COMPRESSED, 4 * COMPRESSED, 5)
        self.refinement = convolution(4 * COMPRESSED, 4 * COMPRESSED, 5)
        self.prediction = nn.Conv2d(4 * COMPRESSED, 1, 5, 1, 2)
        initialise(self)
        start_at(self.prediction)

    def forward(
        self, image: Tensor, sparse_depth: Tensor | None = None, features: bool = True
    ) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        kept: dict[str, Tensor] = {}
        half = tuple((n + 1) // 2 for n in image.shape[2:])
        scales = self.encoder(image)
        joined = []
        for i, compression in enumerate(self.compressions, start=1):
            scale = scales.pop(0)
            compressed = compression(scale)
            if features:
                kept.update({f'E{i}': scale, f'FFC{i}': compressed})
            joined.append(F.interpolate(compressed, half, mode='bilinear', align_corners=True))
        x = torch.cat(joined, 1)  # (B, 64, H/2, W/2)
        joined.clear()
        x = self.fusion(x)
        if features:
            kept['D0'] = x
        x = self.refinement(x)
        if features:
            kept['D1'] = x
        return Prediction(self.sized(self.prediction(x), image), kept)
