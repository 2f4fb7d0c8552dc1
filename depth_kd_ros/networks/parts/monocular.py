"""What the monocular networks that predict at half the input's size have alike."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_ros.networks.parts.sizes import resize
from torch import Tensor


def check_choices(encoder: Any, encoders: Collection[str], upsample: Any) -> None:
    """Raise ValueError for an encoder that is not there and an `upsample` that is no boolean."""
    if encoder not in tuple(encoders):
        raise ValueError(f'encoder = {encoder!r}: give one of {", ".join(encoders)}')
    if type(upsample) is not bool:
        raise ValueError(f'upsample = {upsample!r}: give True or False')


class MonocularNetwork(DepthNetwork):
    """Be the base of networks that read the image alone; `config.upsample` sets their size."""

    inputs = ('image',)

    def sized(self, depth: Tensor, image: Tensor) -> Tensor:
        """Bring depth (B, 1, H/2, W/2) to the image's size where the options ask for it."""
        return resize(depth, image, align_corners=True) if self.config.upsample else depth

    def deployed_config(self) -> Any:
        """Give depth of the input's size, whatever it was trained at."""
        return replace(self.config, upsample=True)
