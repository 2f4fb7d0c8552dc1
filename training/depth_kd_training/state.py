"""
A run's state as one file: safetensors for tensors, JSON for the rest; nothing unpickles.

Nested dicts, lists and tuples of tensors, numbers, strings, booleans and None go in and come back
equal. The file appears complete or not at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from depth_kd_ros import files
import safetensors
import safetensors.torch
import torch
from torch import Tensor

KEY = 'depth_kd_training.state'
FORMAT_VERSION = 3


class StateError(ValueError):
    """Say which file is no state of a run, and why."""


def save(path: Path, state: Any) -> None:
    """Write a state; raise OSError where the disk is full or read-only, the old file stays."""
    tensors: dict[str, Tensor] = {}
    tree = _without_tensors(state, tensors, '')
    header = {KEY: json.dumps({'format_version': FORMAT_VERSION, 'tree': tree})}
    files.replace(path, safetensors.torch.save(tensors, header))


def load(path: Path, device: torch.device | str = 'cpu') -> Any:
    """Read a state; raise StateError for a file that is missing, damaged or not a state."""
    try:
        with safetensors.safe_open(str(path), 'pt', device=str(device)) as file:
            header = (file.metadata() or {}).get(KEY)
            if header is None:
                raise StateError(f'{path}: not the state of a training run')
            content = json.loads(header)
            if content['format_version'] != FORMAT_VERSION:
                raise StateError(
                    f'{path}: format_version {content["format_version"]}, this package reads '
                    f'{FORMAT_VERSION}: finish the run with the version that began it'
                )
            return _with_tensors(content['tree'], file)
    except OSError as error:
        raise StateError(f'{path}: cannot read: {error}') from error
    except safetensors.SafetensorError as error:
        raise StateError(f'{path}: damaged or no safetensors file: {error}') from error


def _without_tensors(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Move the tensors of a tree into `tensors`; every node becomes [type, content]."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return ['tensor', name]
    if isinstance(value, dict):
        pairs = [
            [key, _without_tensors(inner, tensors, f'{name}/{key}')]
            for key, inner in value.items()
        ]
        return ['dict', pairs]  # pairs, because keys may be numbers
    if isinstance(value, (list, tuple)):
        kind = 'list' if isinstance(value, list) else 'tuple'
        return [kind, [_without_tensors(v, tensors, f'{name}/{i}') for i, v in enumerate(value)]]
    if value is None or isinstance(value, (bool, int, float, str)):
        return ['plain', value]
    raise TypeError(f'{name}: a {type(value).__name__} cannot be saved')


def _with_tensors(node: Any, file: Any) -> Any:
    """Undo `_without_tensors`."""
    kind, content = node
    if kind == 'tensor':
        return file.get_tensor(content)
    if kind == 'dict':
        return {key: _with_tensors(inner, file) for key, inner in content}
    if kind in ('list', 'tuple'):
        values = [_with_tensors(inner, file) for inner in content]
        return values if kind == 'list' else tuple(values)
    return content
