"""Random input for networks, and networks made of shapes alone."""

from __future__ import annotations

import functools

from depth_kd_ros import networks
import torch


def inputs(height, width, batch=1, device='cpu'):
    """Draw an image and a sparse depth with a value at one pixel in ten."""
    image = torch.randn(batch, 3, height, width, device=device)
    depth = 1 + 40 * torch.rand(batch, 1, height, width, device=device)
    return image, depth * (torch.rand_like(depth) < 0.1)


def on_meta(name, config):
    """Build a network that has shapes only."""
    with torch.device('meta'):
        return networks.find(name).Network(config).eval()


def parameters(network):
    """Count the network's parameters."""
    return sum(p.numel() for p in network.parameters())


@functools.cache
def smallest(name):
    """Give the network's preset with the fewest parameters."""
    return min(networks.find(name).PRESETS.values(), key=lambda c: parameters(on_meta(name, c)))
