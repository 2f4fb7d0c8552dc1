"""
Random numbers that depend on a seed and a purpose only, drawn on the CPU for every device.

So a world's numbers are the same in any batch, on any device, whatever was drawn before.
"""

from __future__ import annotations

from collections.abc import Sequence
import zlib

import torch
from torch import Tensor

Seeds = Sequence[int]  # one per world


def uniform(seeds: Seeds, purpose: str, count: int, device: torch.device) -> Tensor:
    """Draw (B, count) numbers of [0, 1) for B seeds."""
    rows = [torch.rand(count, generator=_generator(seed, purpose)) for seed in seeds]
    return torch.stack(rows).to(device)


def normal(seeds: Seeds, purpose: str, count: int, device: torch.device) -> Tensor:
    """Draw (B, count) standard normal numbers for B seeds."""
    rows = [torch.randn(count, generator=_generator(seed, purpose)) for seed in seeds]
    return torch.stack(rows).to(device)


def _generator(seed: int, purpose: str) -> torch.Generator:
    """Start a generator for a purpose."""
    return torch.Generator().manual_seed(zlib.crc32(f'{seed} {purpose}'.encode()))
