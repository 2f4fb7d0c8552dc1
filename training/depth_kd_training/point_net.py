"""
PointNet as a fixed measure of point clouds: Qi et al., CVPR 2017, "PointNet".

It is never trained: its weights come from a file, or are drawn the same everywhere and always.
Layers and their names are those of the classifiers in PyTorch that are public, which have one
layer of 64 channels before the feature transform where the paper has two.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from depth_kd_ros.networks.encoders.pretrained import load_encoder_weights
import torch
from torch import nn, Tensor
import torch.nn.functional as F

SEED = 0
DEPARTURE = 0.1  # of drawn transforms from the identity, at which the paper starts them


class Stages(NamedTuple):
    """Hold what is read of a cloud of N points."""

    input: Tensor  # (B, 3, N): points after the input transform
    feature: Tensor  # (B, 64, N): features after the feature transform
    whole: Tensor  # (B, 1024): of the whole cloud


class Transform(nn.Module):
    """Predict from (B, C, N) the matrix (B, C, C) that transforms it; the paper's T-Net."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv1 = nn.Conv1d(channels, 64, 1)
        self.conv2 = nn.Conv1d(64, 128, 1)
        self.conv3 = nn.Conv1d(128, 1024, 1)
        self.fc1 = nn.Linear(1024, 512)
        self.fc2 = nn.Linear(512, 256)
        self.fc3 = nn.Linear(256, channels**2)
        self.bn1 = nn.BatchNorm1d(64)
        self.bn2 = nn.BatchNorm1d(128)
        self.bn3 = nn.BatchNorm1d(1024)
        self.bn4 = nn.BatchNorm1d(512)
        self.bn5 = nn.BatchNorm1d(256)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = F.relu(self.bn3(self.conv3(y))).max(2).values  # (B, 1024)
        y = F.relu(self.bn4(self.fc1(y)))
        y = F.relu(self.bn5(self.fc2(y)))
        matrix = self.fc3(y).view(-1, self.channels, self.channels)
        return matrix + torch.eye(self.channels, dtype=x.dtype, device=x.device)


class PointNet(nn.Module):
    """
    Describe points (B, 3, N) of clouds in the unit sphere, in any order, at three stages.

    `weights` is a local file: .safetensors, .pth or .pt with the names of this module, which are a
    public classifier's without its `feat.`. Without a file the weights are drawn by a generator of
    their own. It is in eval mode and stays there. Raises ValueError for a file that does not fit.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.stn = Transform(3)
        self.fstn = Transform(64)
        self.conv1 = nn.Conv1d(3, 64, 1)
        self.conv2 = nn.Conv1d(64, 128, 1)
        self.conv3 = nn.Conv1d(128, 1024, 1)
        self.bn1 = nn.BatchNorm1d(64)
        self.bn2 = nn.BatchNorm1d(128)
        self.bn3 = nn.BatchNorm1d(1024)
        self.eval().requires_grad_(False)
        if weights is None:
            draw(self, torch.Generator().manual_seed(SEED))
        else:
            load_encoder_weights(self, weights)

    def train(self, mode: bool = True) -> PointNet:
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, points: Tensor) -> Stages:
        moved = self.stn(points).transpose(1, 2) @ points  # (B, 3, N)
        x = F.relu(self.bn1(self.conv1(moved)))
        feature = self.fstn(x).transpose(1, 2) @ x  # (B, 64, N)
        x = F.relu(self.bn2(self.conv2(feature)))
        x = self.bn3(self.conv3(x)).max(2).values  # (B, 1024)
        return Stages(moved, feature, x)


def draw(network: nn.Module, generator: torch.Generator) -> None:
    """Draw weights so that activations keep their variance; transforms close to the identity."""
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity='relu', generator=generator)
            nn.init.zeros_(module.get_parameter('bias'))
    for module in network.modules():
        if isinstance(module, Transform):
            std = DEPARTURE / (module.fc3.in_features * module.channels) ** 0.5
            nn.init.normal_(module.fc3.weight, std=std, generator=generator)
