"""
Completion from sparse depth alone, of Lu et al., CVPR 2020.

"From Depth What Can You See? Depth Completion via Auxiliary Image Reconstruction": the network
learns to reconstruct the grey image beside the depth, and shares what it learns there with the
depth's features. It never reads an image: the grey image is a target of training. The paper prints
no channel counts; those here are ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_ros.networks.parts.convolution import convolution
from depth_kd_ros.networks.parts.initialisation import initialise
from depth_kd_ros.networks.parts.sizes import crop
import torch
from torch import nn, Tensor

KERNELS = (3, 5, 7, 9)  # of the encoder's four towers
TOWER = (1, 16, 32, 64, 128)  # channels at 1/1 .. 1/16
EXTRACTOR = (512, 128, 64, 32)  # channels at 1/16 .. 1/2, of the depth's and the image's features
START_M, START_GREY = 5.0, 127.5  # what the decoders' biases start at, not to learn the mean first


@dataclass(frozen=True)
class Config:
    """
    Choose the form: with `reconstruction` the network has the image decoder, which trains only.

    `sharing` sums the features of depth and image (the paper's S). Both: the paper's network in
    training, B+I+S. Sharing alone: that network at test. Reconstruction alone: B+I. Neither: B.
    """

    reconstruction: bool = True
    sharing: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for values that are not booleans."""
        for key in ('reconstruction', 'sharing'):
            if type(getattr(self, key)) is not bool:
                raise ValueError(f'{key} = {getattr(self, key)!r}: give true or false')


PRESETS = {
    'depth_only': Config(),  # paper, Table 2: B+I+S
    'depth_only_bi': Config(sharing=False),
    'depth_only_b': Config(reconstruction=False, sharing=False),
}


def deconvolution(in_channels: int, channels: int) -> nn.Sequential:
    """Make a layer: (B, in, H, W) to (B, channels, 2 H, 2 W)."""
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, channels, 3, 2, 1, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def deconvolutions(channels: tuple[int, ...]) -> nn.ModuleList:
    """Make a layer between each two of `channels`; none of fewer than two."""
    return nn.ModuleList(deconvolution(*pair) for pair in pairwise(channels))


def outputs(layers: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """Run x through the layers and return the output of each."""
    found = []
    for layer in layers:
        x = layer(x)
        found.append(x)
    return found


class Decoder(nn.Module):
    """Decode (B, in, >= H/2, >= W/2) into (B, 1, H, W), the size of `like`; not limited."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.deconvolution = deconvolution(in_channels, 32)
        self.convolution = convolution(32, 16)
        self.output = nn.Conv2d(16, 1, 3, 1, 1)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return self.output(self.convolution(crop(self.deconvolution(x), like)))


class Network(DepthNetwork):
    """
    Complete depth: sparse depth (B, 1, H, W) m to depth (B, 1, H, W) m; the image is not read.

    Any H and W: they are rounded up to multiples of 16 inside and cropped at the end. The depth is
    not limited to a range. Features, as in the paper's equations 8 to 10: `f_0` (1/16), `f_d1` ..
    `f_d3` of the depth (1/8 .. 1/2), `f_r1` .. `f_r3` of the image and the shared `f_s1` ..
    `f_s3`; and `reconstruction` (B, 1, H, W), the image decoder's grey image in 0..255.
    """

    inputs = ('sparse_depth',)

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        image = EXTRACTOR if config.reconstruction or config.sharing else ()
        shared = EXTRACTOR[1:] if config.sharing else ()
        decoded = sum(channels[-1] for channels in (EXTRACTOR, shared) if channels)
        self.feature_encoder = nn.ModuleList(
            nn.Sequential(*(convolution(*pair, kernel, stride=2) for pair in pairwise(TOWER)))
            for kernel in KERNELS
        )
        self.depth_features = deconvolutions(EXTRACTOR)
        self.image_features = deconvolutions(image)
        self.shared_features = deconvolutions(shared)
        self.depth_decoder = Decoder(decoded)
        self.image_decoder = Decoder(decoded) if config.reconstruction else None
        initialise(self)
        for decoder, start in ((self.depth_decoder, START_M), (self.image_decoder, START_GREY)):
            if decoder is not None and decoder.output.bias is not None:
                nn.init.constant_(decoder.output.bias, start)

    def forward(
        self, image: Tensor | None, sparse_depth: Tensor, features: bool = True
    ) -> Prediction:
        """Predict; `features=False` computes only what the depth needs."""
        self.check(image, sparse_depth)
        f_0 = torch.cat([tower(sparse_depth) for tower in self.feature_encoder], 1)
        shared = len(self.shared_features)  # so many image features reach the depth
        f_d = outputs(self.depth_features, f_0)
        f_r = outputs(self.image_features if features else self.image_features[:shared], f_0)
        f_s = self.share(f_d, f_r) if shared else []
        depth = self.depth_decoder(torch.cat((f_d[-1], *f_s[-1:]), 1), sparse_depth)
        if not features:
            return Prediction(depth, {})
        kept = {'f_0': f_0}
        for name, levels in (('f_d', f_d), ('f_r', f_r), ('f_s', f_s)):
            kept.update({f'{name}{n}': level for n, level in enumerate(levels, start=1)})
        if self.image_decoder is not None:
            image_levels = torch.cat((f_r[-1], *f_s[-1:]), 1)
            kept['reconstruction'] = self.image_decoder(image_levels, sparse_depth)
        return Prediction(depth, kept)

    def share(self, f_d: list[Tensor], f_r: list[Tensor]) -> list[Tensor]:
        """Sum depth and image features at 1/8 and 1/4, and lead the sum to 1/2 (eq. 8 to 10)."""
        f_s1 = f_r[0] + f_d[0]
        f_s2 = f_r[1] + f_d[1] + self.shared_features[0](f_s1)
        return [f_s1, f_s2, self.shared_features[1](f_s2)]

    def deployed_config(self) -> Config:
        """
        Leave the image decoder out.

        Without sharing the image's features go, too: nothing of them reaches the depth.
        """
        return replace(self.config, reconstruction=False)
