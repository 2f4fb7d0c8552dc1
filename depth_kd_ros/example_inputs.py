"""What a network can be called with, where only its cost or its equality to another matters."""

from __future__ import annotations

from depth_kd_ros.networks.base import CHANNELS, DepthNetwork
import torch
from torch import Tensor

MEASURED = 0.05  # share of the pixels with a depth, about that of a 64-beam LiDAR
NEAREST_M, FARTHEST_M = 2.0, 50.0


def example_inputs(
    network: DepthNetwork,
    size: tuple[int, int],
    batch: int = 1,
    device: torch.device | str = 'cpu',
) -> dict[str, Tensor]:
    """
    Draw the inputs that a network reads, by name: (batch, C, H, W) for the size (H, W).

    The image is as a normalised one; the sparse depth falls from the top row to the bottom one as
    on a road, is 0 at most pixels and has one measurement at least.
    """
    height, width = size
    image = torch.randn(batch, CHANNELS['image'], height, width, device=device)
    rows = torch.linspace(1, 0, height, device=device).view(1, 1, -1, 1)
    chance = torch.rand(batch, CHANNELS['sparse_depth'], height, width, device=device)
    depth = NEAREST_M + (FARTHEST_M - NEAREST_M) * rows * (0.8 + 0.2 * chance / MEASURED)
    sparse_depth = torch.where(chance < MEASURED, depth, 0.0)
    sparse_depth[:, :, -1, -1] = NEAREST_M
    drawn = {'image': image, 'sparse_depth': sparse_depth}
    return {name: drawn[name] for name in network.inputs}
