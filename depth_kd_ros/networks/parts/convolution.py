"""A convolution with batch norm and an activation: the layer that most networks are made of."""

from __future__ import annotations

from torch import nn


def convolution(
    in_channels: int,
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.ReLU] | type[nn.ReLU6] = nn.ReLU,
) -> nn.Sequential:
    """Make a layer: (B, in, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        activation(inplace=True),
    )
