"""
Public ImageNet weights for an encoder, from a local file.

The one place that reads pickled files, and those with `weights_only`: tensors, never code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import io
from pathlib import Path
import re
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import nn, Tensor

SUFFIXES = ('.safetensors', '.pth', '.pt')
WRAPPERS = ('state_dict', 'model')  # what training programs store the weights under
PREFIX = 'module.'  # of every name that DataParallel saved
COUNTER = 'num_batches_tracked'  # of batch norms; old files lack it, and eval does not read it


class Report(NamedTuple):
    """
    Say what a file gave an encoder.

    `loaded` and `absent` are tensors of the encoder: those that were filled, and batch counters
    that the file lacks. `unused` are entries of the file that the encoder has no use for, such as
    a classifier; whole layers among them may mean that the file is a deeper encoder's.
    """

    path: Path
    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    absent: tuple[str, ...]

    def __str__(self) -> str:
        """Give one line for a log."""
        parts = [f'{self.path}: loaded {len(self.loaded)} tensors into the encoder']
        if self.unused:
            parts.append(f'no use for {_listed(self.unused, ", ")}')
        if self.absent:
            parts.append(f'{len(self.absent)} batch counters are not in the file and stay')
        return '; '.join(parts)


def encoder_of(network: nn.Module) -> nn.Module:
    """Return a network's image encoder; ValueError if it has none for public weights."""
    encoder = getattr(network, 'encoder', None)
    if not isinstance(encoder, nn.Module):
        name = type(network).__module__.rpartition('.')[2]
        raise ValueError(
            f'network {name!r} has no encoder that public weights fit: leave encoder_weights out'
        )
    return encoder


def load_encoder_weights(encoder: nn.Module, path: str | Path) -> Report:
    """
    Fill all tensors of an encoder from a file of public weights and report what was not used.

    The file is a state dict with the encoder's names (for ResNet and MobileNet-V2 torchvision's),
    plain, under `state_dict` or `model`, or saved by DataParallel, as .safetensors, .pth or .pt.
    Other floating-point types are converted. Raises ValueError for a file that cannot be read,
    holds code, lacks a tensor or has one of another shape or kind, or not finite; the encoder is
    unchanged then.
    """
    path = Path(path)
    entries = _entries(_read(path))
    tensors = {name: entry for name, entry in entries.items() if isinstance(entry, Tensor)}
    if not tensors:
        raise ValueError(f'{path}: holds no named tensors; give a state dict')
    odd = [n for n, t in tensors.items() if t.layout != torch.strided or t.device.type == 'meta']
    if odd:
        raise ValueError(f'{path}: no plain tensors: {_listed(odd, ", ")}. Save dense values')
    own = encoder.state_dict()
    absent = tuple(n for n in own if n not in tensors and n.rpartition('.')[2] == COUNTER)
    faults = _faults({n: tensor for n, tensor in own.items() if n not in absent}, tensors)
    if faults:
        raise ValueError(
            f'{path}: does not fit this {type(encoder).__name__}: {_listed(faults, "; ")}. Give '
            'the weights of the same encoder, under the same names'
        )
    fitting = {n: tensors[n].detach().to(own[n].dtype) for n in own if n in tensors}
    bad = [name for name, tensor in fitting.items() if not tensor.isfinite().all()]
    if bad:
        raise ValueError(f'{path}: not finite: {_listed(bad, ", ")}. Fetch the file again')
    encoder.load_state_dict({**own, **fitting})
    unused = tuple(sorted(set(entries) - set(own)))
    return Report(path, tuple(fitting), unused, absent)


def _faults(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Say of each of the encoder's own tensors that the file does not fit why it does not."""
    faults = []
    for name, ours in own.items():
        theirs = tensors.get(name)
        if theirs is None:
            faults.append(f'{name} is missing')
        elif theirs.shape != ours.shape:
            faults.append(f'{name} is {tuple(theirs.shape)}, expected {tuple(ours.shape)}')
        elif theirs.is_floating_point() != ours.is_floating_point():
            faults.append(f'{name} is {theirs.dtype}, expected {ours.dtype}')
    return faults


def _read(path: Path) -> Any:
    """Return what a file holds, without running any of it."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f'{path}: give a file named *{", *".join(SUFFIXES)}')
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f'{path}: cannot read: {error.strerror}; give a local file') from error
    try:
        if path.suffix == '.safetensors':
            return safetensors.torch.load(data)
        return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
    except Exception as error:  # of many kinds, for a file can be damaged anywhere
        refused = re.search(r'GLOBAL (\S+)', str(error))
        if refused:
            raise ValueError(
                f'{path}: refused, for it holds more than tensors ({refused[1]}), which could run '
                'code; save the state_dict() alone, from a program that you trust with the file'
            ) from None  # torch's own text recommends to load it all the same
        raise ValueError(
            f'{path}: cannot be read as weights ({type(error).__name__}): damaged, or no file of '
            'this kind; fetch it again'
        ) from None


def _entries(content: Any) -> dict[str, Any]:
    """Name all entries of a file; those of its state dict as the module does that saved it."""
    outer = dict(content) if isinstance(content, Mapping) else {}
    wrapper = next((key for key in WRAPPERS if isinstance(outer.get(key), Mapping)), None)
    inner, beside = (outer, {}) if wrapper is None else (outer.pop(wrapper), outer)
    if all(str(name).startswith(PREFIX) for name in inner):
        inner = {str(name).removeprefix(PREFIX): entry for name, entry in inner.items()}
    return {str(name): entry for name, entry in {**beside, **inner}.items()}


def _listed(items: Sequence[str], separator: str) -> str:
    """Join the first 8 items and count the others."""
    more = f'{separator}and {len(items) - 8} more' if len(items) > 8 else ''
    return separator.join(items[:8]) + more
