"""
Trained networks as files: safetensors with the metadata that running them needs.

Nothing here unpickles. Only `save` and `load` import torch: names and metadata are read at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
import hashlib
from pathlib import Path
from typing import Any, TYPE_CHECKING

from depth_kd_ros import files, networks
from depth_kd_ros.metadata import CheckpointError, Metadata, Normalisation, parse, read_metadata
from depth_kd_ros.plugins import unknown

if TYPE_CHECKING:
    from depth_kd_ros.networks.base import DepthNetwork
    import torch
    from torch import nn, Tensor

__all__ = [
    'Checkpoint',
    'CheckpointError',
    'Metadata',
    'Normalisation',
    'bundled',
    'load',
    'read_metadata',
    'resolve',
    'save',
]

SUFFIX = '.safetensors'
WEIGHTS = Path(__file__).parent / 'weights'


@dataclass(frozen=True)
class Checkpoint:
    """
    Hold a loaded network.

    `model` is in eval mode and float32; `hash` is the first 12 hex digits of the file's sha256.
    """

    model: DepthNetwork
    metadata: Metadata
    path: Path
    hash: str


def save(
    path: str | Path,
    network: nn.Module,
    *,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    depth_range_m: tuple[float, float],
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    licence: str = '',
) -> None:
    """
    Write a network of this package, in the precision that its tensors have, to a checkpoint.

    The file appears complete or not at all, and replaces an older one of the same name. Raises
    CheckpointError for another suffix than .safetensors, a module that is none of our networks,
    settings outside `Metadata`'s limits, values that are not JSON and tensors that are not finite.
    """
    import safetensors.torch

    path = Path(path)
    package, _, name = type(network).__module__.rpartition('.')
    if path.suffix != SUFFIX:
        raise CheckpointError(f'{path}: a checkpoint is named *{SUFFIX}')
    if package != networks.__name__ or name not in networks.available():
        raise CheckpointError(
            f'{path}: cannot save a {type(network).__module__}.{type(network).__qualname__}; '
            f'give a network of {", ".join(networks.available())}, not a wrapped or compiled one'
        )
    options: dict[str, Any] = asdict(network.config)  # type: ignore[call-overload]
    try:
        header = Metadata(
            name,
            options,
            Normalisation(*normalisation),
            depth_range_m,
            dict(training or {}),
            dict(metrics or {}),
            licence,
        ).to_header()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: cannot write this metadata: {error}') from error
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    _check_finite(path, tensors)
    files.replace(path, safetensors.torch.save(tensors, header))


def load(path: str | Path, device: str | torch.device = 'cpu') -> Checkpoint:
    """
    Read a checkpoint and build its network, in eval mode and float32, on the device.

    Raises CheckpointError for a file that is missing, damaged, not ours or of another format
    version, for a network or option that this package does not have, for tensors that are missing,
    unexpected, of another shape or type, or not finite. A device that torch cannot use raises
    torch's own error.
    """
    import safetensors.torch
    import torch

    path = Path(path)
    try:
        data = path.read_bytes()  # once, so that hash, metadata and tensors are of the same file
    except OSError as error:
        raise CheckpointError(f'{path}: cannot read: {error.strerror}') from error
    metadata = parse(path, data)
    try:
        with torch.device('meta'):  # no memory, no random numbers: the file has all the values
            model = networks.build(metadata.network, metadata.options)
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f'{path}: damaged, fetch it again: {error}') from error
    model.load_state_dict(_matched(path, tensors, model.state_dict()), assign=True)
    return Checkpoint(model.to(device).eval(), metadata, path, digest(data))


def digest(data: bytes) -> str:
    """Give the hash by which a checkpoint's file is known: 12 hex digits of its sha256."""
    return hashlib.sha256(data).hexdigest()[:12]


def _matched(path: Path, tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the file's tensors in the types of the network's own, or say what does not match."""
    faults = [f'missing {name}' for name in own if name not in tensors]
    faults += [f'unexpected {name}' for name in sorted(tensors) if name not in own]
    for name, ours in own.items():
        theirs = tensors.get(name, ours)
        if theirs.shape != ours.shape:
            faults.append(f'{name} is {tuple(theirs.shape)}, expected {tuple(ours.shape)}')
        elif theirs.is_floating_point() != ours.is_floating_point():
            faults.append(f'{name} is {theirs.dtype}, expected {ours.dtype}')
    if faults:
        more = f'; and {len(faults) - 8} more' if len(faults) > 8 else ''
        raise CheckpointError(
            f'{path}: tensors do not fit the network: {"; ".join(faults[:8])}{more}'
        )
    _check_finite(path, tensors)
    return {name: tensors[name].to(ours.dtype) for name, ours in own.items()}


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        more = f' and {len(bad) - 8} more' if len(bad) > 8 else ''
        raise CheckpointError(
            f'{path}: not finite: {", ".join(bad[:8])}{more}; take a state from before the '
            'training diverged'
        )


def bundled() -> dict[str, Path]:
    """List the checkpoints that come with the package, by name."""
    return {path.stem: path for path in sorted(WEIGHTS.glob(f'*{SUFFIX}'))}


def resolve(name_or_path: str | Path, also: Iterable[str] = ()) -> Path:
    """
    Find a checkpoint by its bundled name or its path.

    Raises CheckpointError for neither; it lists the names, with `also` those the caller knows.
    """
    models = bundled()
    if str(name_or_path) in models:
        return models[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    names = [*models, *also]
    raise CheckpointError(
        f'no model {unknown(str(name_or_path), names)} Give one of '
        f'{", ".join(names) or "(none bundled)"} or the path of a {SUFFIX} file'
    )
