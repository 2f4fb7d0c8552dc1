"""
Random numbers that depend on a seed and a purpose only.

So a world's numbers are the same in any batch, whatever was drawn before. They are drawn on the
CPU and are the same for every device, but for `grain`: what a picture needs by the million.
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


def grain(seeds: Seeds, purpose: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw (B, *shape) standard normal numbers on the device; each kind of it has its own."""
    rows = []
    for seed in seeds:
        generator = torch.Generator(device).manual_seed(_number(seed, purpose))
        rows.append(torch.randn(shape, generator=generator, device=device))
    return torch.stack(rows)


def _generator(seed: int, purpose: str) -> torch.Generator:
    """Start a generator for a purpose."""
    return torch.Generator().manual_seed(_number(seed, purpose))


def _number(seed: int, purpose: str) -> int:
    """Mix a seed and a purpose."""
    return zlib.crc32(f'{seed} {purpose}'.encode())
