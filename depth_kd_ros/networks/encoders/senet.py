"""
SENet-154 of Hu et al., Squeeze-and-Excitation Networks, CVPR 2018.

State-dict keys are those of the public ImageNet file (`senet154` of the package pretrainedmodels),
so that it loads.
"""

from __future__ import annotations

from collections import OrderedDict

from depth_kd_ros.networks.encoders.resnet import BRANCH_WEIGHT, outputs
import torch
from torch import nn, Tensor
import torch.nn.functional as F

GROUPS = 64  # of every 3x3 convolution in a block
REDUCTION = 16  # of channels inside a squeeze and excitation
BLOCKS = (3, 8, 36, 3)


class SqueezeExcitation(nn.Module):
    """Weigh the channels of (B, C, H, W), each by 0..1, from the means of all of them."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // REDUCTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(mean))))


class Bottleneck(nn.Module):
    """
    Add 1x1, grouped 3x3 and 1x1 convolutions to the identity: (B, in, H, W) to (B, 4 * channels).

    The first has 2 * channels, the other two 4 * channels. Where the scale changes the shortcut is
    a 3x3 convolution of the same stride, where only the channels do a 1x1.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        inner, out = 2 * channels, 4 * channels
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, out, 3, stride, 1, groups=GROUPS, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv3 = nn.Conv2d(out, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        nn.init.constant_(self.bn3.weight, BRANCH_WEIGHT)
        self.relu = nn.ReLU(inplace=True)
        self.se_module = SqueezeExcitation(out)
        self.downsample = None
        if in_channels != out:
            kernel = 1 if stride == 1 else 3
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(out),
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.se_module(self.bn3(self.conv3(x))) + identity)


def stage(in_channels: int, channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Stack `blocks` blocks, the first of which changes channels and scale."""
    rest = (Bottleneck(4 * channels, channels) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(in_channels, channels, stride), *rest)


class SENet154(nn.Module):
    """
    Encode (B, 3, H, W) into the outputs of layer1 (1/4), layer2 (1/8), layer3 and layer4 (1/32).

    `channels` are those of the four outputs. There is no classifier. Heights and widths are
    rounded up, as in a ResNet.
    """

    channels = (256, 512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (before, after, stride) in enumerate(((3, 64, 2), (64, 64, 1), (64, 128, 1)), 1):
            layers[f'conv{i}'] = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            layers[f'bn{i}'] = nn.BatchNorm2d(after)
            layers[f'relu{i}'] = nn.ReLU(inplace=True)
        self.layer0 = nn.Sequential(layers)
        c1, c2, c3, _ = self.channels
        self.layer1 = stage(128, 64, BLOCKS[0])
        self.layer2 = stage(c1, 128, BLOCKS[1], stride=2)
        self.layer3 = stage(c2, 256, BLOCKS[2], stride=2)
        self.layer4 = stage(c3, 512, BLOCKS[3], stride=2)

    def stem(self, x: Tensor) -> Tensor:
        """Encode (B, 3, H, W) into (B, 128, H/2, W/2), what comes before the pooling."""
        return self.layer0(x)

    def maxpool(self, x: Tensor) -> Tensor:
        """
        Halve the positive (B, C, H, W), rounded up, with 3x3 windows from the top left corner.

        The windows are those of the public network, which omits an odd last row or column, so
        fails at 1x1; here each gets a window of its own. Zeros at the end never win: nothing is
        below.
        """
        return F.max_pool2d(F.pad(x, (0, 2, 0, 2)), 3, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        return outputs(self, self.maxpool(self.stem(x)))
