"""
Batch norm over the batch of all processes, so that many small batches train as one large one.

torch's own, `nn.SyncBatchNorm`, runs on CUDA only; there it is used, elsewhere the one below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn, Tensor
from torch.distributed import all_reduce, get_world_size


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Normalise (B, C, H, W), of the same shape in every process, by the statistics of all."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        values = x.float()
        mean = over_processes(values.mean((0, 2, 3), keepdim=True))  # (1, C, 1, 1)
        variance = over_processes(((values - mean) ** 2).mean((0, 2, 3), keepdim=True))
        with torch.no_grad():
            count = get_world_size() * x.numel() // x.shape[1]
            momentum = 0.1 if self.momentum is None else self.momentum
            unbiased = variance * count / max(count - 1, 1)
            self.running_mean.lerp_(mean.flatten(), momentum)
            self.running_var.lerp_(unbiased.flatten(), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        normal = (values - mean) * torch.rsqrt(variance + self.eps)
        weight, bias = self.weight.view(1, -1, 1, 1), self.bias.view(1, -1, 1, 1)
        return (normal * weight + bias).to(x.dtype)


class Sum(torch.autograd.Function):
    """Add a tensor up over the processes; so are the gradients on their way back."""

    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:
        total = local.clone(memory_format=torch.contiguous_format)
        all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return Sum.forward(context, gradient)


def over_processes(local: Tensor) -> Tensor:
    """Average a tensor over the processes."""
    return Sum.apply(local) / get_world_size()


def synchronise(network: nn.Module, cuda: bool) -> None:
    """Let a network's batch norms see all processes, in place; tensors and names stay."""
    if cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm
