"""
Encoder of Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.

State-dict keys are torchvision's, so that public ImageNet weights load from a file.
"""

from __future__ import annotations

from depth_kd_ros.networks.encoders.resnet import BRANCH_WEIGHT
from depth_kd_ros.networks.parts.convolution import convolution
from depth_kd_ros.networks.parts.initialisation import initialise
from torch import nn, Tensor

# Rows of the paper's Table 2 up to 1/32: expansion, output channels, blocks, stride of the first.
# The rows of 320 and 1280 channels are left out, as the classifier is.
ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
TAPS = (3, 6, 13, 16)  # the last of `features` at 1/4, 1/8, 1/16 and 1/32


class InvertedResidual(nn.Module):
    """
    Widen by a 1x1 convolution, filter each channel by a 3x3 one, narrow by a linear 1x1 one.

    (B, in, H, W) to (B, channels, ceil(H/s), ceil(W/s)); the input is added where shapes agree.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int):
        super().__init__()
        inner = in_channels * expansion
        self.residual = stride == 1 and in_channels == channels
        norm = nn.BatchNorm2d(channels)
        nn.init.constant_(norm.weight, BRANCH_WEIGHT if self.residual else 1.0)
        widen = [convolution(in_channels, inner, 1, activation=nn.ReLU6)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            convolution(inner, inner, 3, stride, inner, nn.ReLU6),
            nn.Conv2d(inner, channels, 1, bias=False),
            norm,
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """
    Encode (B, 3, H, W) into 24 channels at 1/4, 32 at 1/8, 96 at 1/16 and 160 at 1/32.

    `channels` are those of the four outputs. Heights and widths are rounded up.
    """

    channels = (24, 32, 96, 160)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolution(3, 32, 3, 2, activation=nn.ReLU6)]
        in_channels = 32
        for expansion, channels, blocks, stride in ROWS:
            for i in range(blocks):
                first = stride if i == 0 else 1
                layers.append(InvertedResidual(in_channels, channels, first, expansion))
                in_channels = channels
        self.features = nn.Sequential(*layers)
        initialise(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS:
                outputs.append(x)
        return outputs
