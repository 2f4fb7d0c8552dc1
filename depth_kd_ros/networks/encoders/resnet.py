"""
Residual blocks of He et al., Deep Residual Learning for Image Recognition, CVPR 2016.

State-dict keys are torchvision's, so that public ImageNet weights load from a file.
"""

from __future__ import annotations

from torch import nn, Tensor


class BasicBlock(nn.Module):
    """
    Add two 3x3 convolutions to the identity: (B, in, H, W) to (B, out, ceil(H/s), ceil(W/s)).

    Where the shape changes the shortcut is a 1x1 convolution with batch norm. Its stride is taken
    by slicing: the same arithmetic, but the backward pass of a strided 1x1 convolution with fewer
    than 16 input channels in channels_last corrupts the heap in torch 2.13 on the CPU.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        if self.downsample is not None:
            identity = self.downsample(x[:, :, :: self.stride, :: self.stride])
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + identity)


def stage(in_channels: int, channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Stack `blocks` basic blocks, the first of which changes channels and scale."""
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))
