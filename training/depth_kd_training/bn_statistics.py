"""
What a network's batch norms tell of the images it was trained on: the loss l_BN.

Yin et al., "Dreaming to Distill" (DeepInversion), CVPR 2020; eq. 5 of Hu et al., "Data-free Dense
Depth Distillation". In eval mode a network's running statistics stay those of its training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn, Tensor


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """List the batch norms that keep running statistics; ValueError where there is none."""
    found = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
    ]
    if not found:
        raise ValueError(
            'the teacher has no batch norm with running statistics: nothing tells what its '
            'training images were like; give a teacher that has'
        )
    return found


def distance(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """
    Give the distance of features (B, C, H, W) from statistics (C,): one layer's part of l_BN, ().

    ||mean(x) - mean||_2 + ||var(x) - variance||_2, per channel over batch and pixels; the variance
    is the biased one (ours; the papers leave it open, with so many pixels it hardly matters).
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    own = x.mean((0, 2, 3))
    spread = (x - own.view(-1, 1, 1)).square().mean((0, 2, 3))
    norm = torch.linalg.vector_norm
    return norm(own - mean) + norm(spread - variance)


@contextmanager
def measured(network: nn.Module) -> Iterator[list[Tensor]]:
    """
    Fill a list with the `distance` of each batch norm's input, in the order they are run.

    Their sum is l_BN; it carries the gradient to what the network is called with inside.
    """
    distances: list[Tensor] = []

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        distances.append(
            distance(inputs[0], norm.get_buffer('running_mean'), norm.get_buffer('running_var'))
        )

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms(network)]
    try:
        yield distances
    finally:
        for hook in hooks:
            hook.remove()
