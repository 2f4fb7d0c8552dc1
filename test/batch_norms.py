"""Batch norms for tests: none the identity, and the norm written with functions."""

from __future__ import annotations

import torch
from torch import nn
import torch.nn.functional as F


def randomise(module):
    """Give all batch norms weights, biases and statistics that are not the identity's."""
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for x in (norm.running_mean, norm.bias.data):
            x.copy_(0.3 * torch.randn_like(x))
        for x in (norm.running_var, norm.weight.data):
            x.copy_(0.7 + 0.6 * torch.rand_like(x))


def normalise(state, x, key, channels=slice(None)):
    """Apply the norm `key` of a state dict, as in eval mode, or the part of it for `channels`."""
    stats = (state[f'{key}.{n}'] for n in ('running_mean', 'running_var', 'weight', 'bias'))
    return F.batch_norm(x, *(s[channels] for s in stats), training=False)
