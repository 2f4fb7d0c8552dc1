"""
Token pyramid transformer of Zhang et al., TopFormer, CVPR 2022: a light encoder.

State-dict keys are those of the authors' backbone, so that its weights fit: all those trained for
segmentation, and those of ImageNet but for the injection, which classification does without.
Their attention has no scale: here the queries' batch norm starts at the usual one. Their tokens
are pooled adaptively; whole windows of 64 pixels are the same where 64 divides the input's size,
and elsewhere keep the grid straight and have an equivalent in ONNX.
"""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_ros.networks.encoders.resnet import BRANCH_WEIGHT
from depth_kd_ros.networks.parts.initialisation import initialise
from depth_kd_ros.networks.parts.sizes import crop
import torch
from torch import nn, Tensor
import torch.nn.functional as F

KEY_CHANNELS = 16  # of every attention head
VALUE_CHANNELS = 32
MLP_EXPANSION = 2
TRANSFORMER_BLOCKS = 4
FACTORS = (16, 8, 4, 2)  # from the scales of the tokens to 1/64
STEM_CHANNELS = 16


class Layout(NamedTuple):
    """Give the token channels at 1/4 .. 1/32, the blocks at 1/32, the heads, and the output."""

    tokens: tuple[int, int, int, int]
    blocks: int
    heads: int
    channels: int


LAYOUTS = {
    'topformer_tiny': Layout((16, 32, 64, 96), 2, 4, 128),
    'topformer_small': Layout((24, 48, 96, 128), 3, 6, 192),
    'topformer_base': Layout((32, 64, 128, 160), 3, 8, 256),
}
BLOCKS = (  # kernel and expansion of the inverted residuals at 1/4, 1/8, 1/16 and 1/32
    ((3, 4), (3, 3)),
    ((5, 3), (5, 3)),
    ((3, 3), (3, 3)),
    ((5, 6), (5, 6), (3, 6)),
)


def convolution(
    in_channels: int,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    start: float = 1.0,
) -> nn.Sequential:
    """
    Make a convolution with batch norm: (B, in, H, W) to (B, channels, ceil(H/s), ceil(W/s)).

    `start` is the norm's initial weight.
    """
    layers = nn.Sequential()
    layers.c = nn.Conv2d(
        in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False
    )
    layers.bn = nn.BatchNorm2d(channels)
    nn.init.constant_(layers.bn.weight, start)
    return layers


class InvertedResidual(nn.Module):
    """Expand, filter each channel and project: (B, in, H, W) to (B, out, ceil(H/s), ceil(W/s))."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, expansion: int, stride: int = 1
    ):
        super().__init__()
        self.residual = stride == 1 and in_channels == channels
        inner = in_channels * expansion
        expand = (convolution(in_channels, inner), nn.ReLU(inplace=True))
        self.conv = nn.Sequential(
            *(expand if expansion > 1 else ()),
            convolution(inner, inner, kernel, stride, groups=inner),
            nn.ReLU(inplace=True),
            convolution(inner, channels, start=BRANCH_WEIGHT if self.residual else 1.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class TokenPyramid(nn.Sequential):
    """Encode (B, 3, H, W) into tokens at 1/4, 1/8, 1/16 and 1/32; sizes are rounded up."""

    def __init__(self, layout: Layout):
        super().__init__()
        self.stem = nn.Sequential(convolution(3, STEM_CHANNELS, 3, 2), nn.ReLU(inplace=True))
        self.layer1 = InvertedResidual(STEM_CHANNELS, STEM_CHANNELS, 3, 1)
        self.ends = []
        in_channels = STEM_CHANNELS
        for channels, blocks in zip(layout.tokens, BLOCKS, strict=True):
            for i, (kernel, expansion) in enumerate(blocks[: layout.blocks]):
                stride = 2 if i == 0 else 1
                block = InvertedResidual(in_channels, channels, kernel, expansion, stride)
                self.add_module(f'layer{len(self)}', block)
                in_channels = channels
            self.ends.append(len(self) - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        tokens = []
        for i, layer in enumerate(self):
            x = layer(x)
            if i in self.ends:
                tokens.append(x)
        return tokens


class Attention(nn.Module):
    """Mix the positions of (B, C, H, W) by the similarity of their queries and keys."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = convolution(channels, KEY_CHANNELS * heads, start=KEY_CHANNELS**-0.5)
        self.to_k = convolution(channels, KEY_CHANNELS * heads)
        self.to_v = convolution(channels, VALUE_CHANNELS * heads)
        self.proj = nn.Sequential(
            nn.ReLU6(), convolution(VALUE_CHANNELS * heads, channels, start=BRANCH_WEIGHT)
        )

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).flatten(2).unflatten(1, (self.heads, -1))  # (B, heads, c, H * W)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        weight = (query.transpose(2, 3) @ key).softmax(3)  # (B, heads, queries, keys)
        mixed = value @ weight.transpose(2, 3)  # (B, heads, c, queries)
        return self.proj(mixed.flatten(1, 2).unflatten(2, x.shape[2:]))


class FeedForward(nn.Module):
    """Widen each position of (B, C, H, W), filter with its neighbours, and narrow it again."""

    def __init__(self, channels: int):
        super().__init__()
        inner = channels * MLP_EXPANSION
        self.fc1 = convolution(channels, inner)
        self.dwconv = nn.Conv2d(inner, inner, 3, 1, 1, groups=inner)
        self.act = nn.ReLU6(inplace=True)
        self.fc2 = convolution(inner, channels, start=BRANCH_WEIGHT)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.dwconv(self.fc1(x))))


class TransformerBlock(nn.Module):
    """Add attention, then the result of a feed-forward layer, to (B, C, H, W)."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.attn = Attention(channels, heads)
        self.mlp = FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Embedding(nn.Module):
    """Project (B, in, H, W) to (B, channels, H, W) with batch norm."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Injection(nn.Module):
    """Gate tokens (B, c, h, w) by semantics (B, c, H/64, W/64) and add them: (B, C, h, w)."""

    def __init__(self, in_channels: int, channels: int, factor: int):
        super().__init__()
        self.factor = factor
        self.local_embedding = Embedding(in_channels, channels)
        self.global_embedding = Embedding(in_channels, channels)
        self.global_act = Embedding(in_channels, channels)

    def forward(self, tokens: Tensor, semantics: Tensor) -> Tensor:
        local = self.local_embedding(tokens)
        gate = self.spread(F.hardsigmoid(self.global_act(semantics)), tokens)
        return local * gate + self.spread(self.global_embedding(semantics), tokens)

    def spread(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Upsample x to the grid of its tokens."""
        return crop(F.interpolate(x, scale_factor=self.factor, mode='bilinear'), tokens)


class TopFormer(nn.Module):
    """
    Encode (B, 3, H, W) into tokens (1/4) and tokens with semantics injected (1/8, 1/16, 1/32).

    `name` is one of `LAYOUTS`; `channels` are those of the four outputs. Heights and widths are
    rounded up. The semantics are made at 1/64, from the tokens of all four scales.
    """

    def __init__(self, name: str):
        super().__init__()
        layout = LAYOUTS[name]
        self.tokens = layout.tokens
        self.channels = (layout.tokens[0], *3 * (layout.channels,))
        self.tpm = TokenPyramid(layout)
        width = sum(layout.tokens)
        blocks = (TransformerBlock(width, layout.heads) for _ in range(TRANSFORMER_BLOCKS))
        self.trans = nn.Sequential()
        self.trans.transformer_blocks = nn.Sequential(*blocks)
        self.SIM = nn.ModuleList([nn.Identity()])  # semantic injection, none at 1/4
        for channels, factor in zip(layout.tokens[1:], FACTORS[1:], strict=True):
            self.SIM.append(Injection(channels, layout.channels, factor))
        initialise(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.tpm(x)
        pooled = [
            F.avg_pool2d(tokens, factor, ceil_mode=True, count_include_pad=False)
            for tokens, factor in zip(features, FACTORS, strict=True)
        ]
        semantics = self.trans(torch.cat(pooled, 1)).split(self.tokens, 1)  # (B, c, H/64, W/64)
        for i in (1, 2, 3):
            features[i] = self.SIM[i](features[i], semantics[i])
        return features
