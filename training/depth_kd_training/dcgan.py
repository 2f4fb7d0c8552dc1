"""
The generator of Fang et al., "Data-Free Adversarial Distillation" (DFAD): DCGAN's, from noise.

Theirs makes 128x128 images from an 8x8 grid. Ours resizes the grid's features to a 16th of the
wanted size, so that any size can be had from the same weights, and standardises what it puts out
as their smaller generator does: about what normalised images are like.
"""

from __future__ import annotations

from torch import nn, Tensor
import torch.nn.functional as F

SCALE = 16  # of the image to the grid: four layers that double
GRID = 8  # cells a side


class Generator(nn.Module):
    """Make images (B, 3, H, W), of mean 0 and variance 1 per channel, of noise (B, `noise`)."""

    def __init__(self, noise: int = 256, width: int = 64) -> None:
        super().__init__()
        self.noise, self.channels = noise, 8 * width
        self.project = nn.Linear(noise, self.channels * GRID**2)
        self.start = nn.BatchNorm2d(self.channels)
        self.layers = nn.Sequential(
            *(doubling(i * width, o * width) for i, o in ((8, 4), (4, 2), (2, 1), (1, 1)))
        )
        self.output = nn.Conv2d(width, 3, 3, 1, 1)
        self.standardise = nn.BatchNorm2d(3, affine=False)
        for module in self.modules():
            if isinstance(module, (nn.ConvTranspose2d, nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d) and module.affine:
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, noise: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.start(self.project(noise).view(-1, self.channels, GRID, GRID))
        coarse = [-(-n // SCALE) for n in size]
        x = F.interpolate(x, coarse, mode='bilinear', align_corners=False)
        x = self.layers(x)[..., : size[0], : size[1]]
        return self.standardise(self.output(x).tanh())


def doubling(in_channels: int, channels: int) -> nn.Sequential:
    """Make a layer: (B, in, h, w) to (B, channels, 2h, 2w)."""
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, channels, 4, 2, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.2, inplace=True),
    )
