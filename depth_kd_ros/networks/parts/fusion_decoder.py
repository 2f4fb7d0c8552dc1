"""
Feature fusion decoder of Yin et al., Learning to Recover 3D Scene Shape, CVPR 2021 (LeReS).

The arithmetic and the parameters are those of the authors' code. Theirs doubles each feature; here
it is resized to the skip that it meets, the same where 32 divides the input's size.
"""

from __future__ import annotations

from collections.abc import Sequence

from depth_kd_ros.networks.parts.initialisation import initialise
from depth_kd_ros.networks.parts.sizes import resize
import torch
from torch import nn, Tensor
import torch.nn.functional as F


class TransferBlock(nn.Module):
    """
    Bring (B, in, H, W) to (B, channels, H, W) and add a residual branch: the paper's FTB.

    The identity is rectified too: the first ReLU of the authors' branch works in place.
    """

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        return F.relu(x + self.conv3(F.relu(self.bn(self.conv2(x)))))


class FusionModule(nn.Module):
    """Add a decoder's feature, upsampled, to its skip (B, in, H, W): the paper's FFM."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.ftb1 = TransferBlock(in_channels, channels)
        self.ftb2 = TransferBlock(channels, channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.ftb2(self.ftb1(skip) + resize(x, skip, align_corners=True))


class FusionDecoder(nn.Module):
    """
    Decode an encoder's features at 1/4 .. 1/32, of `in_channels`, into (B, 1, H, W).

    Its own features, (B, channels, h, w), are D0 (1/32) .. D3 (1/4). The block at 1/32 is twice as
    wide. The output starts at about 1 with little spread: about 0 it would, before training, be
    off by 4 to 7 % of its size in bfloat16. `forward` empties the list of skips, so that each is
    freed after its use.
    """

    def __init__(self, in_channels: Sequence[int], channels: int):
        super().__init__()
        c1, c2, c3, c4 = in_channels
        self.ftb = TransferBlock(c4, 2 * channels)
        self.conv = nn.Conv2d(2 * channels, channels, 3, 1, 1)
        self.fuse = nn.ModuleList(FusionModule(c, channels) for c in (c3, c2, c1))
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, 1, 1),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
        )
        self.last = nn.Conv2d(channels // 2, 1, 3, 1, 1)
        initialise(self)
        self.last.bias = nn.Parameter(torch.ones(1))
        with torch.no_grad():
            self.last.weight *= 0.1

    def forward(
        self, skips: list[Tensor], image: Tensor, features: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the output at the image's size, and the features."""
        kept: dict[str, Tensor] = {}
        x = self.conv(self.ftb(skips.pop()))
        for i, fuse in enumerate(self.fuse):
            if features:
                kept[f'D{i}'] = x
            x = fuse(x, skips.pop())
        if features:
            kept['D3'] = x
        x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)
        return resize(self.last(self.head(x)), image, align_corners=True), kept
