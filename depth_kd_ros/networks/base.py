"""What every network is called with, checks and returns."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn, Tensor

CHANNELS = {'image': 3, 'sparse_depth': 1}
UNREAD: dict[str, Tensor | None] = dict.fromkeys(CHANNELS)  # what a network does not read


class Prediction(NamedTuple):
    """
    Hold a network's output: depth (B, 1, H, W) in metres, its features and its confidence.

    The depth of a network that is not `metric` is relative; its option `output` says of what kind.
    `features` are the activations that a distillation method may tap, (B, C, h, w) by the name the
    network's paper gives them, and what training alone needs. They are references, not copies: do
    not write to them. `confidence` is (B, 1, H, W) in 0..1, or None from a network that does not
    estimate it: exp(-e / 0.1), where e is the error expected as a share of the depth. `alignment`
    (B, 3, 1, 1) is the scale, shift and `alignment.Way` by which a network that contains a
    relative one brought it to metres, else None.
    """

    depth: Tensor
    features: dict[str, Tensor]
    confidence: Tensor | None = None
    alignment: Tensor | None = None


class DepthNetwork(nn.Module):
    """
    Be the base of every network: say which inputs it reads, and check them.

    `inputs` names the arguments that are read; the others may be None. `metric` is False where the
    depth is known up to scale and shift only; `output` is then what it is, 'depth' or
    'inverse_depth'. `config` holds the options it was built with.
    """

    inputs: ClassVar[tuple[str, ...]] = ('image', 'sparse_depth')
    metric: bool = True
    output: str = 'depth'
    config: Any

    def check(self, image: Tensor | None, sparse_depth: Tensor | None) -> None:
        """
        Raise ValueError for an input that is missing, of a wrong shape or type, or not finite.

        Whether all values are finite is asked on the CPU in eager mode alone: elsewhere asking
        would wait for the device or break the graph. The caller there must know.
        """
        read: dict[str, Tensor] = {}
        for name, tensor in (('image', image), ('sparse_depth', sparse_depth)):
            if name in self.inputs:
                read[name] = self._checked(name, tensor)
        if len(read) == 2:
            first, second = read['image'], read['sparse_depth']
            if first.shape[0] != second.shape[0] or first.shape[2:] != second.shape[2:]:
                raise ValueError(
                    f'image {tuple(first.shape)} and sparse_depth {tuple(second.shape)} differ in '
                    'batch size, height or width'
                )
            if first.dtype != second.dtype or first.device != second.device:
                raise ValueError(
                    f'image is {first.dtype} on {first.device}, sparse_depth {second.dtype} on '
                    f'{second.device}: give both alike'
                )

    def deployed_config(self) -> Any:
        """Give the options of the deployable network; they differ where training needs more."""
        return self.config

    def deployable(self) -> DepthNetwork:
        """Return this network without what training alone needs; the tensors are its own."""
        config = self.deployed_config()
        if config == self.config:
            return self
        with torch.device('meta'):
            network = type(self)(config)
        state = self.state_dict()
        network.load_state_dict({key: state[key] for key in network.state_dict()}, assign=True)
        return network.train(self.training)

    def _checked(self, name: str, tensor: Tensor | None) -> Tensor:
        """Return an input that can be used, or say what is wrong with it."""
        expected = f'give (B, {CHANNELS[name]}, H, W) floating-point values'
        if not isinstance(tensor, Tensor):
            raise ValueError(f'{name} is {type(tensor).__name__}: {expected}')
        shape = tuple(tensor.shape)
        if len(shape) != 4 or shape[1] != CHANNELS[name] or 0 in shape:
            raise ValueError(f'{name} has shape {shape}: {expected}')
        if not tensor.is_floating_point():
            how = 'normalised' if name == 'image' else 'in metres'
            raise ValueError(f'{name} is {tensor.dtype}: {expected}, {how}')
        own = next(self.parameters(), tensor)
        alike = tensor.dtype == own.dtype or torch.is_autocast_enabled(tensor.device.type)
        if tensor.device != own.device or not alike:
            raise ValueError(
                f'{name} is {tensor.dtype} on {tensor.device}, '
                f'the network {own.dtype} on {own.device}: bring both together'
            )
        eager = not (torch.compiler.is_compiling() or torch.jit.is_tracing())
        if eager and tensor.device.type == 'cpu' and not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise ValueError(
                f'{name} {shape} has {bad} values that are NaN or infinite: no measurement is 0'
            )
        return tensor
