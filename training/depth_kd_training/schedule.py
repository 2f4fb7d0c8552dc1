"""How the learning rate goes over the optimiser's steps."""

from __future__ import annotations

import math

from depth_kd_training.recipe import Optimisation


def factor(optimisation: Optimisation, step: int, steps: int) -> float:
    """Give what the base rate is multiplied by at a step (0 = the first) of `steps`."""
    warm = min(1.0, (step + 1) / optimisation.warmup) if optimisation.warmup else 1.0
    if optimisation.schedule == 'staircase':
        return warm * optimisation.decay ** (step // optimisation.decay_every)
    if optimisation.schedule == 'cosine':
        return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm
