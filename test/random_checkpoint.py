"""A checkpoint without training, for tests of everything around the network."""

from __future__ import annotations

from pathlib import Path

from depth_kd_ros import checkpoint
from depth_kd_ros.networks import lspkd
import torch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write(path: Path, seed: int = 0) -> Path:
    """Save the /8 student with random weights that the seed fixes; it predicts about 10 m."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = lspkd.Network(lspkd.PRESETS['lspkd_s8'])
    with torch.no_grad():
        network.dec0.weight *= 0.1
        network.dec0.bias.fill_(10.0)
    checkpoint.save(
        path,
        network,
        normalisation=(MEAN, STD),
        depth_range_m=(0.5, 80.0),
        training={'data': 'none', 'recipe': f'random weights, seed {seed}'},
        licence='Apache-2.0',
    )
    return path
