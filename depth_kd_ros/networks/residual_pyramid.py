"""
Residual pyramid of Chen et al., IJCAI 2019 (SARPN): depth from an image alone, coarse to fine.

"Structure-Aware Residual Pyramid Network for Monocular Depth Estimation": every level of five
fuses the encoder's features of all scales and adds its residual to the depth of the level above.
Channels are those of the authors' code. Teacher and student of the data-free distillation paper,
which prints 258.4 M and 38.7 M parameters; the tests assert 258,400,149 and 38,651,349.
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.base import Prediction
from depth_kd_ros.networks.encoders.resnet import LAYOUTS, outputs, ResNet
from depth_kd_ros.networks.encoders.senet import SENet154
from depth_kd_ros.networks.parts.convolution import convolution
from depth_kd_ros.networks.parts.initialisation import initialise
from depth_kd_ros.networks.parts.monocular import check_choices, MonocularNetwork
from depth_kd_ros.networks.parts.sizes import resize
from depth_kd_ros.networks.parts.up_projection import UpProjection
import torch
from torch import nn, Tensor

ENCODERS = ('senet154', *LAYOUTS)
LEVELS = 5
FINEST = 2 ** (LEVELS - 1)  # the coarsest level's channels are so many times the finest's
START_M = 3.0  # of every depth before training: a room's
CHANGE = 0.1  # of the weights that change it: a level starts as a small correction


@dataclass(frozen=True)
class Config:
    """
    Choose the encoder and the channels of the coarsest level; each finer level has half of them.

    A level has `projected` channels per encoder scale, and `fused` from all of them. The depth has
    the input's size, or half of it without `upsample`.
    """

    encoder: str = 'senet154'
    projected: int = 256
    fused: int = 1024
    upsample: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError unless the encoder is known and all channels are whole numbers."""
        check_choices(self.encoder, ENCODERS, self.upsample)
        # A refinement has half of its level's fused channels.
        for key, value, unit in (
            ('projected', self.projected, FINEST),
            ('fused', self.fused, 2 * FINEST),
        ):
            if type(value) is not int or value <= 0 or value % unit:
                raise ValueError(f'{key} = {value!r}: give a positive multiple of {unit}')


PRESETS = {
    'residual_pyramid_senet154': Config(),
    'residual_pyramid_resnet34': Config('resnet34', projected=128, fused=256),
}


class Fusion(nn.Module):
    """
    Fuse features of all scales at one: five (B, C, h, w) to (B, fused, H, W).

    The paper's adaptive dense feature fusion (ADFF): each scale is projected on its own.
    """

    def __init__(self, scales: tuple[int, ...], projected: int, fused: int):
        super().__init__()
        self.projections = nn.ModuleList(UpProjection(c, projected) for c in scales)
        self.mix = convolution(len(scales) * projected, fused)

    def forward(self, scales: list[Tensor], like: Tensor) -> Tensor:
        """Fuse at the height and width of `like` (B, any, H, W)."""
        projected = [p(x, like) for p, x in zip(self.projections, scales, strict=True)]
        return self.mix(torch.cat(projected, 1))


class Refinement(nn.Module):
    """Add to a depth (B, 1, H, W) what three convolutions find in it: the paper's RRM."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            convolution(1, channels),
            convolution(channels, channels),
            nn.Conv2d(channels, 1, 3, 1, 1),
        )

    def forward(self, depth: Tensor) -> Tensor:
        return depth + self.layers(depth)


class Network(MonocularNetwork):
    """
    Estimate depth: image (B, 3, H, W) to depth (B, 1, H, W) m.

    Any H and W. The depth is not limited to a range. Features, numbered by level from 1 at half
    the input's size to 5 at a 32nd, rounded up: `E1` .. `E5` of the encoder, `F1` .. `F5` fused
    and `D1` .. `D5`, the depth of each level in metres. The paper's loss is on all five depths.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        senet = config.encoder == 'senet154'
        self.encoder: SENet154 | ResNet = SENet154() if senet else ResNet(config.encoder)
        scales = (128 if senet else 64, *self.encoder.channels)
        projected = [config.projected // FINEST * 2**i for i in range(LEVELS)]
        fused = [config.fused // FINEST * 2**i for i in range(LEVELS)]
        self.top = convolution(scales[-1], fused[-1], 1)
        self.fusions = nn.ModuleList(
            Fusion(scales, p, f) for p, f in zip(projected, fused, strict=True)
        )
        inside = [*fused[:-1], 2 * fused[-1]]  # the coarsest level meets the top as well
        self.residuals = nn.ModuleList(
            nn.Sequential(convolution(i, f), nn.Conv2d(f, 1, 3, 1, 1, bias=False))
            for i, f in zip(inside, fused, strict=True)
        )
        self.refinements = nn.ModuleList(Refinement(f // 2) for f in fused)
        initialise(self)
        changes = [*self.residuals, *(refinement.layers for refinement in self.refinements)]
        with torch.no_grad():
            for layers in changes:
                layers[-1].weight.mul_(CHANGE)
            changes[-1][-1].bias.fill_(START_M)  # in the coarsest refinement

    def forward(
        self, image: Tensor, sparse_depth: Tensor | None = None, features: bool = True
    ) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        kept: dict[str, Tensor] = {}
        scales = self.scales(image)
        depth = torch.zeros_like(image[:, :1, :1, :1])  # nothing is above the coarsest level
        for i in reversed(range(LEVELS)):
            fused = x = self.fusions[i](scales, scales[i])
            if i == LEVELS - 1:
                x = torch.cat((self.top(scales[i]), x), 1)
            x = self.residuals[i](x)  # (B, 1, H / 2 ** (i + 1), W / 2 ** (i + 1))
            depth = self.refinements[i](x + resize(depth, x, align_corners=True))
            if features:
                kept.update({f'E{i + 1}': scales[i], f'F{i + 1}': fused, f'D{i + 1}': depth})
        return Prediction(self.sized(depth, image), kept)

    def scales(self, image: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W) into E1 .. E5, at 1/2 .. 1/32."""
        stem = self.encoder.stem(image)
        return [stem, *outputs(self.encoder, self.encoder.maxpool(stem))]
