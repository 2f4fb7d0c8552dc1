"""An exponential moving average of a network's weights, which is often better than the last."""

from __future__ import annotations

import torch
from torch import nn, Tensor


class Average:
    """
    Follow a network: average = decay * average + (1 - decay) * weights, after every step.

    The decay grows from 0 as (1 + n) / (10 + n), so that the start is soon forgotten. Buffers
    (batch statistics) are taken as they are.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.tensors = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the network's present weights in."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        parameters = {name for name, _ in network.named_parameters()}
        for name, value in network.state_dict().items():
            if name in parameters:
                self.tensors[name].lerp_(value, 1 - decay)
            else:
                self.tensors[name].copy_(value)

    def state_dict(self) -> dict[str, object]:
        """Give what `load_state_dict` needs."""
        return {'updates': self.updates, 'tensors': self.tensors}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""
        self.updates = state['updates']
        for name, tensor in self.tensors.items():
            tensor.copy_(state['tensors'][name])

    def weights(self) -> dict[str, Tensor]:
        """Give the averaged weights as a state dict."""
        return self.tensors
