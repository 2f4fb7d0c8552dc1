"""Up-projection of Laina et al. (3DV 2016), and as Hu et al. (WACV 2019) changed it."""

from __future__ import annotations

from depth_kd_ros.networks.parts.sizes import crop, resize
from torch import nn, Tensor
import torch.nn.functional as F


class UpProjection(nn.Module):
    """
    Enlarge (B, in, h, w) to (B, channels, H, W) with a residual block: branch plus shortcut.

    Both upsample the same input and convolve it 5x5 with batch norm; the branch goes on with ReLU,
    3x3 and batch norm, and a ReLU follows their sum. Their 5x5 convolutions are stored as one: the
    first half of its channels is the branch's, the second the shortcut's. Upsampling is bilinear
    between the corners' centres, to any size (Hu et al.). With `unpool` it is Laina et al.'s: each
    value goes to the top left of a 2x2 cell of zeros, which with the convolution is a
    deconvolution of stride 2; the size is then at most twice the input's.
    """

    def __init__(self, in_channels: int, channels: int, unpool: bool = False):
        super().__init__()
        self.unpool = unpool
        self.project = nn.Sequential(
            nn.ConvTranspose2d(in_channels, 2 * channels, 5, 2, 2, 1, bias=False)
            if unpool
            else nn.Conv2d(in_channels, 2 * channels, 5, 1, 2, bias=False),
            nn.BatchNorm2d(2 * channels),
        )
        self.refine = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """Enlarge x to the height and width of `like` (B, any, H, W)."""
        if self.unpool:
            x = crop(self.project(x), like)
        else:
            x = self.project(resize(x, like, align_corners=True))
        branch, shortcut = x.chunk(2, 1)  # each (B, channels, H, W)
        return F.relu(self.refine(F.relu(branch)) + shortcut)
