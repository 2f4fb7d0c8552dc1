"""
RGB + LiDAR completion of Jeong et al., Sensors 2022: teacher and students.

"Lightweight Depth Completion Network with Local Similarity-Preserving Knowledge Distillation":
two ResNet encoders without max-pooling, one for the image and one for the sparse depth, and a
decoder of six deconvolutions that meets both encoders' features at every scale. What the paper
leaves open is fitted to its parameter counts; the tests assert them to the unit.
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_ros.networks.encoders.resnet import stage
from depth_kd_ros.networks.parts.initialisation import initialise
from depth_kd_ros.networks.parts.sizes import crop
import torch
from torch import nn, Tensor

SLOPE = 0.2  # of every leaky ReLU
CHANNELS = (64, 128, 256, 512)  # of the encoder's layers at width 1


@dataclass(frozen=True)
class Config:
    """Choose the size: `width` multiplies all channels, `blocks` are counted per encoder layer."""

    width: float = 1.0
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        """Raise ValueError unless channels are whole numbers and every layer has a block."""
        width, blocks = self.width, self.blocks
        if type(width) not in (int, float) or width <= 0 or (CHANNELS[0] * width) % 1:
            raise ValueError(f'width = {width!r}: give a positive multiple of 1/{CHANNELS[0]}')
        whole = isinstance(blocks, tuple) and all(type(n) is int and n > 0 for n in blocks)
        if not whole or len(blocks) != len(CHANNELS):
            raise ValueError(f'blocks = {blocks!r}: give {len(CHANNELS)} positive whole numbers')


PRESETS = {
    'lspkd_teacher': Config(),  # paper: "ResNet34"
    'lspkd_s2': Config(width=1 / 2, blocks=(2, 2, 2, 2)),  # paper: "ResNet18" on KITTI
    'lspkd_s4': Config(width=1 / 4, blocks=(2, 2, 2, 2)),  # ours: between the paper's two
    'lspkd_s8': Config(width=1 / 8, blocks=(2, 2, 2, 2)),  # paper: "ResNet18" on NYU
}


class Encoder(nn.Module):
    """Encode (B, in, H, W) into E0, E1 (1/2), E2 (1/4), E3 (1/8), E4 (1/16) and conv6 (1/16)."""

    taps = ('E0', 'E1', 'E2', 'E3', 'E4', 'conv6')

    def __init__(self, in_channels: int, channels: list[int], blocks: tuple[int, ...]):
        super().__init__()
        c1, c2, c3, c4 = channels
        self.conv1 = nn.Sequential(
            nn.Conv2d(in_channels, c1, 3, 2, 1), nn.LeakyReLU(SLOPE, inplace=True)
        )
        self.layer1 = stage(c1, c1, blocks[0])
        self.layer2 = stage(c1, c2, blocks[1], stride=2)
        self.layer3 = stage(c2, c3, blocks[2], stride=2)
        self.layer4 = stage(c3, c4, blocks[3], stride=2)
        self.conv6 = nn.Sequential(
            nn.Conv2d(c4, c4, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c4),
            nn.LeakyReLU(SLOPE, inplace=True),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for layer in (self.conv1, self.layer1, self.layer2, self.layer3, self.layer4, self.conv6):
            x = layer(x)
            features.append(x)
        return features


def deconvolution(in_channels: int, channels: int, stride: int = 2) -> nn.Sequential:
    """Make a decoder layer: (B, in, h, w) to (B, channels, stride * h, stride * w)."""
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, channels, 3, stride, 1, stride - 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


class Network(DepthNetwork):
    """
    Complete depth: image (B, 3, H, W), sparse depth (B, 1, H, W) m to depth (B, 1, H, W) m.

    Any H and W: a decoder feature is cropped at its bottom and right to the size of the encoder
    feature that it meets. The depth is not limited to a range. Features: `rgb.E0` .. `rgb.E4` and
    `rgb.conv6`, the same for `lidar`, and `D0` .. `D4`, the outputs of the first five
    deconvolutions (the paper's Figure 1 and Table 3).
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        c1, c2, c3, c4 = channels = [int(c * config.width) for c in CHANNELS]
        self.rgb = Encoder(3, channels, config.blocks)
        self.lidar = Encoder(1, channels, config.blocks)
        self.dec5 = deconvolution(2 * c4, c3, stride=1)
        self.dec4 = deconvolution(c3 + 2 * c4, c2)
        self.dec3 = deconvolution(c2 + 2 * c3, c1)
        self.dec2 = deconvolution(c1 + 2 * c2, c1)
        self.dec1 = deconvolution(c1 + 2 * c1, c1)
        self.dec0 = nn.ConvTranspose2d(c1, 1, 3, 1, 1)
        initialise(self, SLOPE)

    def forward(self, image: Tensor, sparse_depth: Tensor, features: bool = True) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        kept: dict[str, Tensor] = {}
        rgb, lidar = self.rgb(image), self.lidar(sparse_depth)
        if features:
            kept.update({f'rgb.{tap}': f for tap, f in zip(Encoder.taps, rgb, strict=True)})
            kept.update({f'lidar.{tap}': f for tap, f in zip(Encoder.taps, lidar, strict=True)})
        del rgb[0], lidar[0]  # E0 meets no decoder feature
        x = torch.cat((rgb.pop(), lidar.pop()), 1)  # (B, 1024 * width, H/16, W/16)
        for i, layer in enumerate((self.dec5, self.dec4, self.dec3, self.dec2)):
            skip_rgb, skip_lidar = rgb.pop(), lidar.pop()
            x = crop(layer(x), skip_rgb)
            if features:
                kept[f'D{i}'] = x
            x = torch.cat((x, skip_rgb, skip_lidar), 1)
        x = crop(self.dec1(x), image)  # (B, 64 * width, H, W)
        if features:
            kept['D4'] = x
        return Prediction(self.dec0(x), kept)
