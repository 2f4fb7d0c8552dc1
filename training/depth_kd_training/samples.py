"""What the training loop gets of frames: samples, in batches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NONE = torch.zeros(0)


class Sample(NamedTuple):
    """Hold what the loop needs of one frame; a batch is the same with B in front."""

    image: Tensor  # (3, H, W) float32, (rgb / 255 - mean) / std
    sparse_depth: Tensor  # (1, H, W) m, 0 = none
    depth_gt: Tensor  # (1, H, W) m, 0 = none; all 0: unlabelled
    semantic: Tensor  # (H, W) int64, -1 = unknown
    instance: Tensor  # (H, W) int64, -1 = unknown
    K: Tensor  # (3, 3) float32 px; all 0: unknown
    index: Tensor  # type: ignore[assignment]  # () int64, of the frame; hides tuple.index
    all_points: Tensor = NONE  # (1, H, W) m, the sparse depth that the teacher reads; (0,): that


class Batch(NamedTuple):
    """Hold this process's part of a batch: `labelled` samples, then those without truth."""

    samples: Sample
    labelled: int
