"""
What a network costs, from shapes alone: no weight is read, none is made.

GFLOPs are 1e9 floating-point operations, 2 per multiply-accumulate of convolutions, deconvolutions
and matrix products, attention's too; norms, activations and resampling are left out.
"""

from __future__ import annotations

from contextlib import ExitStack
import itertools

from depth_kd_ros.example_inputs import example_inputs
from depth_kd_ros.networks.base import DepthNetwork, Prediction, UNREAD
import torch
from torch import nn, Tensor
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


def parameters(network: nn.Module) -> int:
    """Count the network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def gflops(network: DepthNetwork, size: tuple[int, int]) -> float:
    """
    Count the GFLOPs of one prediction at the size (H, W): the work that is physically done.

    A strided deconvolution counts on its input: every input pixel meets every weight once.
    """
    with FlopCounterMode(display=False) as counter:
        shapes(network, size, features=False)
    return counter.get_total_flops() / 1e9


def shapes(network: DepthNetwork, size: tuple[int, int], features: bool = True) -> Prediction:
    """Predict at the size (H, W) on the meta device, whatever device the network is on."""
    tensors = itertools.chain(network.named_parameters(), network.named_buffers())
    state = {name: tensor.to('meta') for name, tensor in tensors}
    given = UNREAD | example_inputs(network, size, device='meta')
    with torch.no_grad():
        return functional_call(network, state, (), {**given, 'features': features})


def lspkd_paper_gflops(
    network: DepthNetwork, size: tuple[int, int], teacher: DepthNetwork | None = None
) -> float:
    """
    Count GFLOPs as the LSPKD paper prints them (Jeong et al., Sensors 2022, Tables 1 and 2).

    The paper states no convention. All of its numbers are twice what the package THOP counts, at
    240x912 for Table 1 (KITTI) and 228x304 for Table 2 (NYU). THOP's rules per element of a
    layer's output: a convolution and likewise a deconvolution in / groups * kernel area, and 1 for
    a bias; batch norm 2; leaky ReLU 1; plain ReLU, sums and concatenations 0. So a deconvolution
    of stride 2 counts on its output, four times its work. A student, whose `teacher` is given, is
    counted with the distillation's adapters: a 1x1 convolution without bias from each of its
    features to the teacher's channels.
    """
    operations = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal operations
        operations += _thop(module) * output.numel()

    with ExitStack() as stack:
        for module in network.modules():
            if _thop(module):
                stack.enter_context(module.register_forward_hook(count))
        features = shapes(network, size).features
    if teacher is not None:
        for tap, feature in shapes(teacher, size).features.items():
            operations += features[tap].shape[1] * feature.numel()
    return 2 * operations / 1e9


def _thop(module: nn.Module) -> int:
    """Give what THOP counts per element of the module's output."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        kernel_area = module.kernel_size[0] * module.kernel_size[1]
        return module.in_channels // module.groups * kernel_area + (module.bias is not None)
    return {nn.BatchNorm2d: 2, nn.LeakyReLU: 1}.get(type(module), 0)
