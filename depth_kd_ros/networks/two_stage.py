"""
Completion from a relative network (poster "label-free distillation").

A monocular network predicts relative depth, `alignment` brings it to metres with the sparse depth,
and lspkd completes from the image, the aligned and the sparse depth. The poster fixes these three;
which completion network, its size and its two depth channels are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from depth_kd_ros.networks import lspkd, relative
from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_ros.networks.parts.alignment import align
import torch
from torch import Tensor


@dataclass(frozen=True)
class Config:
    """
    Choose the relative network by its preset and its kind of output, and the completion's size.

    `width`, `blocks` and `confidence` are lspkd's.
    """

    relative: str = 'relative_topformer_small'
    relative_output: str = 'inverse_depth'
    width: float = 1 / 8
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    confidence: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown preset or output and for a size that lspkd refuses."""
        if self.relative not in relative.PRESETS:
            known = ', '.join(relative.PRESETS)
            raise ValueError(f'relative = {self.relative!r}: give one of {known}')
        if self.relative_output not in relative.OUTPUTS:
            known = ', '.join(relative.OUTPUTS)
            raise ValueError(f'relative_output = {self.relative_output!r}: give one of {known}')
        lspkd.Config(self.width, self.blocks, confidence=self.confidence)


PRESETS = {'two_stage': Config()}


class Network(DepthNetwork):
    """
    Complete depth: image (B, 3, H, W), sparse depth (B, 1, H, W) m to depth (B, 1, H, W) m.

    Any H and W. Features: those of both networks as `relative.*` and `completion.*`, the relative
    depth `relative.depth` (B, 1, H, W) and `aligned` (B, 1, H, W) m. Gradients reach the relative
    network through the alignment; to train the completion alone, switch them off in `relative` and
    keep it in eval mode (a recipe's `network.parts` and `network.frozen` do).
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        stage = replace(relative.PRESETS[config.relative], output=config.relative_output)
        self.relative = relative.Network(stage)
        size = lspkd.Config(config.width, config.blocks, confidence=config.confidence)
        self.completion = lspkd.Network(size, 2)

    def forward(self, image: Tensor, sparse_depth: Tensor, features: bool = True) -> Prediction:
        """Predict; `features=False` returns none of them and frees each after its last use."""
        self.check(image, sparse_depth)
        first = self.relative(image, features=features)
        aligned, fit = align(first.depth, sparse_depth, self.config.relative_output)
        depths = torch.cat((aligned.to(sparse_depth.dtype), sparse_depth), 1)  # (B, 2, H, W)
        second = self.completion.complete(image, depths, sparse_depth, features)
        alignment = torch.stack([x.to(aligned.dtype) for x in fit], 1)[..., None, None]
        second = second._replace(alignment=alignment)
        if not features:
            return second
        kept = {f'relative.{tap}': feature for tap, feature in first.features.items()}
        kept |= {f'completion.{tap}': feature for tap, feature in second.features.items()}
        kept['relative.depth'], kept['aligned'] = first.depth, aligned
        return second._replace(features=kept)
