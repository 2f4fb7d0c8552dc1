"""
RGB + LiDAR completion of Jeong et al., Sensors 2022: teacher and students.

"Lightweight Depth Completion Network with Local Similarity-Preserving Knowledge Distillation":
two ResNet encoders without max-pooling, one for the image and one for the sparse depth, and a
decoder of six deconvolutions that meets both encoders' features at every scale. What the paper
leaves open is fitted to its parameter counts; the tests assert them to the unit. The options
validity, output, prefill and confidence are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_ros.networks.encoders.resnet import stage
from depth_kd_ros.networks.parts.candidates import candidates, NAMES, SHOWN
from depth_kd_ros.networks.parts.initialisation import initialise
from depth_kd_ros.networks.parts.prefill import PREFILLS, TYPICAL_M
from depth_kd_ros.networks.parts.sizes import crop
import torch
from torch import nn, Tensor
import torch.nn.functional as F

SLOPE = 0.2  # of every leaky ReLU
CHANNELS = (64, 128, 256, 512)  # of the encoder's layers at width 1
BOUND = 4.0  # of an exponent: a depth is at most e^4 = 55 times what it is relative to
TYPICAL_ERROR = 0.1  # as a share of the depth: there the confidence is 1/e
CHOICES = {
    'validity': (False, True),
    'output': ('metric', 'log', 'inverse'),
    'prefill': ('none', *PREFILLS, 'blend'),
    'confidence': (False, True),
}


@dataclass(frozen=True)
class Config:
    """
    Choose the size: `width` multiplies all channels, `blocks` are counted per encoder layer.

    `validity` shows the LiDAR encoder where depth was measured. `output` says how the last layer's
    number becomes depth, `to_depth`; with a `prefill` of the sparse depth it is a residual to
    that. The prefill 'blend' weighs several depths at each pixel, `blended`; the LiDAR encoder
    reads these, and a layer at full resolution sees them beside the image. `confidence` adds a
    channel that estimates the relative error.
    """

    width: float = 1.0
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    validity: bool = False
    output: str = 'metric'
    prefill: str = 'none'
    confidence: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError unless channels are whole, layers have blocks and choices exist."""
        width, blocks = self.width, self.blocks
        if type(width) not in (int, float) or width <= 0 or (CHANNELS[0] * width) % 1:
            raise ValueError(f'width = {width!r}: give a positive multiple of 1/{CHANNELS[0]}')
        whole = isinstance(blocks, tuple) and all(type(n) is int and n > 0 for n in blocks)
        if not whole or len(blocks) != len(CHANNELS):
            raise ValueError(f'blocks = {blocks!r}: give {len(CHANNELS)} positive whole numbers')
        for key, choices in CHOICES.items():
            value = getattr(self, key)
            if type(value) is not type(choices[0]) or value not in choices:
                raise ValueError(f'{key} = {value!r}: give {" or ".join(map(repr, choices))}')


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


def bounded(x: Tensor) -> Tensor:
    """Limit an exponent to +-`BOUND`, smoothly: near 0 it stays what it is."""
    return BOUND * torch.tanh(x / BOUND)


def positive(x: Tensor) -> Tensor:
    """Keep x >= 0.5 as it is and let the rest fall off smoothly to e^-`BOUND`."""
    return 0.5 + F.celu(x - 0.5, 0.5 - math.exp(-BOUND))


def to_depth(raw: Tensor, prefill: Tensor | None, output: str) -> Tensor:
    """
    Turn the last layer's numbers (B, 1, H, W) into depth in m; 0 leaves the prefill as it is.

    'metric' adds metres; 'log' multiplies by the exponential; 'inverse' adds to the inverse depth,
    in units of 1 / `TYPICAL_M`. Without a prefill these start from 0 m, `TYPICAL_M` and
    `TYPICAL_M`. 'log' and 'inverse' give positive depth, at most e^`BOUND` = 55 times the start;
    'log' at least 1/55 of it.
    """
    if output == 'metric':
        return raw if prefill is None else prefill + raw
    base = TYPICAL_M if prefill is None else prefill
    if output == 'log':
        return base * bounded(raw).exp()
    return base / positive(1 + raw * (base / TYPICAL_M))


def blended(depth: Tensor, weights: Tensor) -> Tensor:
    """Average depths (B, K, H, W) m in their logarithm, by the softmax of weights of that size."""
    return (depth.log() * weights.softmax(1)).sum(1, keepdim=True).exp()


class Network(DepthNetwork):
    """
    Complete depth: image (B, 3, H, W), sparse depth (B, 1, H, W) m to depth (B, 1, H, W) m.

    Any H and W: a decoder feature is cropped at its bottom and right to the size of the encoder
    feature that it meets. The depth of the paper is not limited to a range; `to_depth` says what
    limits the others. Features: `rgb.E0` .. `rgb.E4` and `rgb.conv6`, the same for `lidar`, and
    `D0` .. `D4`, the outputs of the first five deconvolutions (the paper's Figure 1 and Table 3).
    With confidence also `log_sigma_rel` (B, 1, H, W), for its loss: the logarithm of the error
    expected as a share of the depth, from -6.3 to 1.7.

    `depth_channels` is the number of dense and sparse depths that `complete` gives the encoder.
    """

    def __init__(self, config: Config, depth_channels: int = 1):
        super().__init__()
        self.config = config
        c1, c2, c3, c4 = channels = [int(c * config.width) for c in CHANNELS]
        self.rgb = Encoder(3, channels, config.blocks)
        self.blends = config.prefill == 'blend'
        more = config.validity + (SHOWN if self.blends else 0)
        self.lidar = Encoder(depth_channels + more, channels, config.blocks)
        self.dec5 = deconvolution(2 * c4, c3, stride=1)
        self.dec4 = deconvolution(c3 + 2 * c4, c2)
        self.dec3 = deconvolution(c2 + 2 * c3, c1)
        self.dec2 = deconvolution(c1 + 2 * c2, c1)
        self.dec1 = deconvolution(c1 + 2 * c1, c1)
        if self.blends:
            self.fusion = nn.Sequential(
                nn.Conv2d(c1 + 3 + SHOWN, 2 * c1, 3, 1, 1), nn.LeakyReLU(SLOPE, inplace=True)
            )
        outputs = 1 + config.confidence + (len(NAMES) if self.blends else 0)
        self.dec0 = nn.ConvTranspose2d(2 * c1 if self.blends else c1, outputs, 3, 1, 1)
        initialise(self, SLOPE)
        drawn = int(config.output == 'metric' and config.prefill == 'none')  # as in the paper
        with torch.no_grad():  # other channels begin at 0: the prefill, or what is typical
            self.dec0.weight[:, drawn:] = 0

    def forward(self, image: Tensor, sparse_depth: Tensor, features: bool = True) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        return self.complete(image, sparse_depth, sparse_depth, features)

    def complete(
        self, image: Tensor, depth_input: Tensor, sparse_depth: Tensor, features: bool = True
    ) -> Prediction:
        """Predict as `forward`; the LiDAR encoder reads depth_input (B, depth_channels, H, W)."""
        kept: dict[str, Tensor] = {}
        if self.config.validity:
            valid = (sparse_depth > 0).to(depth_input.dtype)
            depth_input = torch.cat((depth_input, valid), 1)
        if self.blends:
            fills, shown = candidates(sparse_depth)
            shown = shown.to(image.dtype)
            depth_input = torch.cat((depth_input, shown), 1)
        rgb, lidar = self.rgb(image), self.lidar(depth_input)
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
        if self.blends:
            x = self.fusion(torch.cat((x, image, shown), 1))  # (B, 128 * width, H, W)
        raw = self.dec0(x)  # (B, 1 or 2, H, W), and weights of the depths to blend
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        prefill: Tensor | None = None
        if self.blends:
            raw, weights = raw.split((1 + self.config.confidence, len(NAMES)), 1)
            prefill = blended(fills, weights)
        elif self.config.prefill != 'none':
            prefill = PREFILLS[self.config.prefill](sparse_depth)
        depth = to_depth(raw[:, :1], prefill, self.config.output)
        if not self.config.confidence:
            return Prediction(depth, kept)
        log_error = bounded(raw[:, 1:])  # in units of the typical error
        if features:
            kept['log_sigma_rel'] = log_error + math.log(TYPICAL_ERROR)
        return Prediction(depth, kept, torch.exp(-log_error.exp()))
