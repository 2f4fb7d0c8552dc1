"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """
    Hold a network's output: depth (B, 1, H, W) in metres, its features and its confidence.

    `features` are the activations that a distillation method may tap, (B, C, h, w) by the name the
    network's paper gives them. They are references, not copies: do not write to them.
    `confidence` is (B, 1, H, W) in 0..1, or None from a network that does not estimate it.
    """

    depth: Tensor
    features: dict[str, Tensor]
    confidence: Tensor | None = None
