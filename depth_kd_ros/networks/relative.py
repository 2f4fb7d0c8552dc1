"""
Relative depth of one image (poster "label-free distillation"): light students and their teacher.

The students are a TopFormer encoder with a decoder of feature fusion modules, the teacher is the
ResNeXt-101 network of Yin et al., CVPR 2021 (LeReS), with the same, wider decoder. The poster
leaves the decoder's channels open; a student's are ours, the teacher's LeReS's.
"""

from __future__ import annotations

from dataclasses import dataclass

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_ros.networks.encoders import resnet, topformer
from depth_kd_ros.networks.parts.fusion_decoder import FusionDecoder
from torch import Tensor

ENCODERS = (*topformer.LAYOUTS, 'resnet50', 'resnext101_32x8d')
OUTPUTS = ('inverse_depth', 'depth')


@dataclass(frozen=True)
class Config:
    """
    Choose the encoder, the decoder's `channels` and the kind of output.

    `output` says what the prediction is up to scale and shift; the arithmetic is the same.
    """

    encoder: str = 'topformer_small'
    channels: int = 64
    output: str = 'inverse_depth'

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown encoder or output and for an odd number of channels."""
        for key, value, known in (
            ('encoder', self.encoder, ENCODERS),
            ('output', self.output, OUTPUTS),
        ):
            if value not in known:
                raise ValueError(f'{key} = {value!r}: give one of {", ".join(known)}')
        if type(self.channels) is not int or self.channels < 2 or self.channels % 2:
            raise ValueError(f'channels = {self.channels!r}: give a positive even number')


PRESETS = {
    'relative_topformer_tiny': Config('topformer_tiny', 64),
    'relative_topformer_small': Config('topformer_small', 64),
    'relative_topformer_base': Config('topformer_base', 96),
    'relative_teacher': Config('resnext101_32x8d', 256),
}


class Network(DepthNetwork):
    """
    Predict relative depth: image (B, 3, H, W) to (B, 1, H, W), known up to scale and shift.

    Any H and W. Features: `E1` (1/4) .. `E4` (1/32), the encoder's that the decoder meets, and
    `D0` (1/32) .. `D3` (1/4), the decoder's. Those of a TopFormer are the tokens at 1/4 and, after
    the injection of semantics, at 1/8, 1/16 and 1/32. Sizes are rounded up.
    """

    inputs = ('image',)
    metric = False

    def __init__(self, config: Config):
        super().__init__()
        self.config, self.output = config, config.output
        light = config.encoder in topformer.LAYOUTS
        encoder = topformer.TopFormer if light else resnet.ResNet
        self.encoder = encoder(config.encoder)
        self.decoder = FusionDecoder(self.encoder.channels, config.channels)

    def forward(
        self, image: Tensor, sparse_depth: Tensor | None = None, features: bool = True
    ) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        encoded = self.encoder(image)
        kept = {f'E{i}': x for i, x in enumerate(encoded, start=1)} if features else {}
        depth, decoded = self.decoder(encoded, image, features)
        return Prediction(depth, kept | decoded)
