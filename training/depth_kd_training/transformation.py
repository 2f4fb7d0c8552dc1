"""
The transformation network G of Hu et al., Data-free Dense Depth Distillation.

It learns to change simulated images so that the teacher's batch norms see in them what they saw in
the images that the teacher was trained on. The paper says of it only "dilated convolution based
encoder-decoder network modified from the saliency prediction network by adding symmetric skip
connections"; the saliency network is DRN-D-22 with three up-projections (Hu et al., ICCV 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.encoders.resnet import BasicBlock, stage
from depth_kd_ros.networks.parts.initialisation import initialise
from depth_kd_ros.networks.parts.up_projection import UpProjection
from torch import nn, Tensor

CHANNELS = (16, 32, 64, 128, 256, 512)  # of the encoder at width 1


@dataclass(frozen=True)
class Config:
    """
    Choose the size and the start: `width` multiplies all channels.

    With `residual` the network adds its output to the image, and starts as the identity: the paper
    has no such connection, and does not rule it out.
    """

    width: float = 1.0
    residual: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError unless channels are whole numbers and `residual` is a boolean."""
        width = self.width
        if type(width) not in (int, float) or width <= 0 or (CHANNELS[0] * width) % 1:
            raise ValueError(f'width = {width!r}: give a positive multiple of 1/{CHANNELS[0]}')
        if type(self.residual) is not bool:
            raise ValueError(f'residual = {self.residual!r}: give true or false')


PRESETS = {
    'paper': Config(),
    'small': Config(width=3 / 16, residual=True),  # ours: the cost of the paper's student
}


class DilatedBlock(BasicBlock):
    """Be a residual block whose 3x3 convolutions skip `dilation - 1` pixels between their taps."""

    def __init__(self, in_channels: int, channels: int, dilation: int):
        super().__init__(in_channels, channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, dilation, dilation, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False)


def convolution(
    in_channels: int, channels: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Make a layer: (B, in, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
    padding = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class Encoder(nn.Module):
    """
    Encode (B, 3, H, W) into the outputs of layer1 (1/1), 2 (1/2), 3 (1/4) and 8 (1/8).

    DRN-D-22 of Yu et al., CVPR 2017, without its classifier; state-dict keys are the published
    ones. Stages 5 to 8 see further by dilation instead of a coarser scale.
    """

    def __init__(self, channels: list[int]):
        super().__init__()
        c1, c2, c3, c4, c5, c6 = channels
        self.layer0 = convolution(3, c1, kernel=7)
        self.layer1 = convolution(c1, c1)
        self.layer2 = convolution(c1, c2, stride=2)
        self.layer3 = stage(c2, c3, 2, stride=2)
        self.layer4 = stage(c3, c4, 2, stride=2)
        self.layer5 = nn.Sequential(DilatedBlock(c4, c5, 2), DilatedBlock(c5, c5, 2))
        self.layer6 = nn.Sequential(DilatedBlock(c5, c6, 4), DilatedBlock(c6, c6, 4))
        self.layer7 = convolution(c6, c6, dilation=2)
        self.layer8 = convolution(c6, c6)

    def forward(self, x: Tensor) -> list[Tensor]:
        x1 = self.layer1(self.layer0(x))
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        x = x3
        for layer in (self.layer4, self.layer5, self.layer6, self.layer7, self.layer8):
            x = layer(x)
        return [x1, x2, x3, x]


class TransformationNetwork(nn.Module):
    """
    Transform images: (B, 3, H, W) to (B, 3, H, W), any H and W, both normalised, not limited.

    A skip leads the encoder's feature of each scale through a 1x1 convolution with batch norm and
    adds it to the decoder's (ours).
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        channels = [int(c * config.width) for c in CHANNELS]
        c1, c2, c3, c4, c5, c6 = channels
        self.encoder = Encoder(channels)
        self.decoder = nn.ModuleList(
            (UpProjection(c6, c5), UpProjection(c5, c4), UpProjection(c4, c3))
        )
        self.skips = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
            for c_in, c_out in ((c3, c5), (c2, c4), (c1, c3))
        )
        self.output = nn.Conv2d(c3, 3, 3, 1, 1)
        initialise(self)
        if config.residual:
            nn.init.zeros_(self.output.weight)

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder(image)
        x = features.pop()
        for up, skip in zip(self.decoder, self.skips, strict=True):
            feature = features.pop()
            x = up(x, feature) + skip(feature)
        x = self.output(x)
        return image + x if self.config.residual else x
