"""No distillation: the student learns from its supervision alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_training.distillation import base
from depth_kd_training.samples import Batch


@dataclass(frozen=True)
class Config:
    """There is nothing to choose."""


class Method(base.Method):
    """Compare nothing: the baseline."""

    needs_teacher: ClassVar[bool] = False

    def __init__(
        self, config: Config, student: DepthNetwork, teacher: DepthNetwork | None
    ) -> None:
        super().__init__()
        self.config = config

    def views(self, batch: Batch, teacher: DepthNetwork) -> Sequence[base.View]:
        return ()
