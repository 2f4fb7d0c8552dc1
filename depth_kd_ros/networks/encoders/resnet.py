"""
Residual encoders of He et al., Deep Residual Learning for Image Recognition, CVPR 2016.

State-dict keys are torchvision's, so that public ImageNet weights load from a file.
"""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_ros.networks.parts.initialisation import initialise
from torch import nn, Tensor

# The last batch norm of every residual branch multiplies by this at the start: nearly the
# identity, as from the 0 of Goyal et al. 2017, but gradients reach the branch. A random ResNet-34
# in bfloat16 is then off by 2 % of its output at 1/32; from 1 it is by 11 %.
BRANCH_WEIGHT = 0.1


class BasicBlock(nn.Module):
    """
    Add two 3x3 convolutions to the identity: (B, in, H, W) to (B, out, ceil(H/s), ceil(W/s)).

    Where the shape changes the shortcut is a 1x1 convolution with batch norm. Its stride is taken
    by slicing: the same arithmetic, but the backward pass of a strided 1x1 convolution with fewer
    than 16 input channels in channels_last corrupts the heap in torch 2.13 on the CPU.
    """

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, groups: int = 1, width: int = 64
    ):
        super().__init__()
        if (groups, width) != (1, 64):
            raise ValueError(f'groups = {groups}, width = {width}: a basic block has 1 and 64')
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        if self.downsample is not None:
            identity = self.downsample(x[:, :, :: self.stride, :: self.stride])
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + identity)


class Bottleneck(nn.Module):
    """
    Add 1x1, 3x3 and 1x1 convolutions to the identity: (B, in, H, W) to 4 * channels.

    The stride is in the 3x3 convolution, as in torchvision. With `groups` of `width` channels per
    64 it is the block of ResNeXt (Xie et al., CVPR 2017).
    """

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, groups: int = 1, width: int = 64
    ):
        super().__init__()
        inner, out = channels * width // 64 * groups, channels * self.expansion
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        if self.downsample is not None:
            identity = self.downsample(x[:, :, :: self.stride, :: self.stride])
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + identity)


def shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    """Make the shortcut for an input that is sliced already; None where the identity fits."""
    if stride == 1 and in_channels == channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))


def stage(
    in_channels: int,
    channels: int,
    blocks: int,
    stride: int = 1,
    block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
    groups: int = 1,
    width: int = 64,
) -> nn.Sequential:
    """Stack `blocks` blocks, the first of which changes channels and scale."""
    out = channels * block.expansion
    first = block(in_channels, channels, stride, groups, width)
    rest = (block(out, channels, 1, groups, width) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class Layout(NamedTuple):
    """Say of which blocks an encoder is built, and how many are in each layer."""

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]
    groups: int = 1
    width: int = 64


LAYOUTS = {
    'resnet18': Layout(BasicBlock, (2, 2, 2, 2)),
    'resnet34': Layout(BasicBlock, (3, 4, 6, 3)),
    'resnet50': Layout(Bottleneck, (3, 4, 6, 3)),
    'resnext101_32x8d': Layout(Bottleneck, (3, 4, 23, 3), groups=32, width=8),
}


class ResNet(nn.Module):
    """
    Encode (B, 3, H, W) into the outputs of layer1 (1/4), layer2 (1/8), layer3 and layer4 (1/32).

    `name` is one of `LAYOUTS`; `channels` are those of the four outputs. There is no classifier.
    Heights and widths are rounded up.
    """

    def __init__(self, name: str):
        super().__init__()
        block, blocks, groups, width = LAYOUTS[name]
        self.channels = tuple(c * block.expansion for c in (64, 128, 256, 512))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        c1, c2, c3, _ = self.channels
        self.layer1 = stage(64, 64, blocks[0], 1, block, groups, width)
        self.layer2 = stage(c1, 128, blocks[1], 2, block, groups, width)
        self.layer3 = stage(c2, 256, blocks[2], 2, block, groups, width)
        self.layer4 = stage(c3, 512, blocks[3], 2, block, groups, width)
        initialise(self)
        for module in self.modules():
            if isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                nn.init.constant_(last.weight, BRANCH_WEIGHT)

    def stem(self, x: Tensor) -> Tensor:
        """Encode (B, 3, H, W) into (B, 64, H/2, W/2), what comes before the pooling."""
        return self.relu(self.bn1(self.conv1(x)))

    def forward(self, x: Tensor) -> list[Tensor]:
        return outputs(self, self.maxpool(self.stem(x)))


def outputs(encoder: nn.Module, x: Tensor) -> list[Tensor]:
    """Give the outputs of layer1 to layer4 of an encoder, x (B, C, H/4, W/4) being pooled."""
    features = []
    for number in (1, 2, 3, 4):
        x = encoder.get_submodule(f'layer{number}')(x)
        features.append(x)
    return features
