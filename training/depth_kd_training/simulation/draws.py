"""
Random numbers that depend on a seed and a purpose only.

So a world's numbers are the same in any batch and on any device, whatever was drawn before. A seed
and a purpose choose where to begin to read in a long list that was drawn once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import zlib

import torch
from torch import Tensor

Seeds = Sequence[int]  # one per world
_Kind = Callable[..., Tensor]  # torch.rand or torch.randn
LENGTH = 1 << 21  # of a list


def uniform(seeds: Seeds, purpose: str, count: int, device: torch.device) -> Tensor:
    """Draw (B, count) numbers of [0, 1) for B seeds."""
    return _read(torch.rand, seeds, purpose, count, device)


def normal(seeds: Seeds, purpose: str, count: int, device: torch.device) -> Tensor:
    """Draw (B, count) standard normal numbers for B seeds."""
    return _read(torch.randn, seeds, purpose, count, device)


def _read(kind: _Kind, seeds: Seeds, purpose: str, count: int, device: torch.device) -> Tensor:
    """Read (B, count) numbers from the list of a kind."""
    numbers = _list(kind, 1 + -(-count // LENGTH), device)
    starts = (zlib.crc32(f'{seed} {purpose}'.encode()) % LENGTH for seed in seeds)
    return torch.stack([numbers[start : start + count] for start in starts])


@functools.lru_cache(maxsize=4)
def _list(kind: _Kind, copies: int, device: torch.device) -> Tensor:
    """Give the list of a kind, several times in a row so that reading never meets its end."""
    return kind(LENGTH, generator=torch.Generator().manual_seed(0)).repeat(copies).to(device)
