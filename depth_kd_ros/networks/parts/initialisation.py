"""Draw the weights of layers that no pretrained file fills."""

from __future__ import annotations

from typing import Literal

from torch import nn

ROOM_M = 2.5  # a depth that occurs in rooms [ours]


def initialise(network: nn.Module, slope: float = 0.0) -> None:
    """
    Draw weights so that activations keep their variance (He et al. 2015); biases are 0.

    `slope` is that of the leaky ReLU which follows. A deconvolution's fan-in is what torch calls
    its fan-out, because its weight is stored as (in, out, k, k); one of stride s divides the
    variance by s^2, which its batch norm undoes.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            transposed = isinstance(module, nn.ConvTranspose2d)
            mode: Literal['fan_in', 'fan_out'] = 'fan_out' if transposed else 'fan_in'
            nn.init.kaiming_normal_(module.weight, slope, mode, 'leaky_relu')
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def start_at(layer: nn.Conv2d, metres: float = ROOM_M) -> None:
    """Let a network's last layer give nearly `metres` everywhere before it is trained."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.get_parameter('bias'), metres)
