"""
What a checkpoint says about itself, in the header of its safetensors file; no torch here.

The header's `__metadata__` has one entry, `depth_kd_ros.checkpoint`: the JSON of `Metadata`. One
entry because safetensors writes several in random order, and equal files should have equal hashes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
import importlib.metadata
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

KEY = 'depth_kd_ros.checkpoint'
FORMAT_VERSION = 1
_MAX_HEADER_BYTES = 100_000_000  # the safetensors format's own limit


class CheckpointError(ValueError):
    """Say which checkpoint cannot be used, why, and what to do."""


class Normalisation(NamedTuple):
    """Hold per-channel (red, green, blue) constants: the input is `(rgb / 255 - mean) / std`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def package_version() -> str:
    """Return the installed version of this package; a bare clone has none."""
    try:
        return importlib.metadata.version('depth_kd_ros')
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'


@dataclass(frozen=True)
class Metadata:
    """
    Describe a checkpoint: what it is, what it expects and where it comes from.

    `options` are those of the network's `Config`. The depth is to be limited to `depth_range_m`.
    `training` (data, recipe) and `metrics` are free JSON objects. Raises ValueError for values
    that no network could have been trained with.
    """

    network: str
    options: dict[str, Any]
    normalisation: Normalisation
    depth_range_m: tuple[float, ...]
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ''
    package_version: str = field(default_factory=package_version)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Check every value and turn lists into tuples."""
        for key in ('network', 'licence', 'package_version'):
            if not isinstance(getattr(self, key), str):
                raise ValueError(f'{key} = {getattr(self, key)!r}: give a string')
        for key in ('options', 'training', 'metrics'):
            if not isinstance(getattr(self, key), dict):
                raise ValueError(f'{key} = {getattr(self, key)!r}: give a mapping')
        mean = _numbers('normalisation.mean', self.normalisation[0], 3)
        std = _numbers('normalisation.std', self.normalisation[1], 3)
        if min(std) <= 0:
            raise ValueError(f'normalisation.std = {std}: give positive numbers')
        depth_range_m = _numbers('depth_range_m', self.depth_range_m, 2)
        if not 0 <= depth_range_m[0] < depth_range_m[1]:
            raise ValueError(f'depth_range_m = {depth_range_m}: give 0 <= min < max')
        object.__setattr__(self, 'normalisation', Normalisation(mean, std))
        object.__setattr__(self, 'depth_range_m', depth_range_m)

    def to_header(self) -> dict[str, str]:
        """Return the safetensors metadata; raise ValueError or TypeError for what JSON lacks."""
        values = asdict(self) | {'normalisation': self.normalisation._asdict()}
        return {KEY: json.dumps(values, allow_nan=False)}


def _numbers(key: str, value: Any, length: int) -> tuple[float, ...]:
    """Return the value as floats; raise ValueError unless it is `length` finite numbers."""
    sequence = isinstance(value, (tuple, list)) and len(value) == length
    if not sequence or not all(type(v) in (int, float) and math.isfinite(v) for v in value):
        raise ValueError(f'{key} = {value!r}: give {length} finite numbers')
    return tuple(float(v) for v in value)


def read_metadata(path: str | Path) -> Metadata:
    """Read what a checkpoint says about itself, without its tensors; raise CheckpointError."""
    path = Path(path)
    try:
        with path.open('rb') as file:
            start = file.read(8)
            size = int.from_bytes(start, 'little')
            return parse(path, start + (file.read(size) if size <= _MAX_HEADER_BYTES else b''))
    except OSError as error:
        raise CheckpointError(f'{path}: cannot read: {error.strerror}') from error


def parse(path: Path, data: bytes) -> Metadata:
    """
    Read the start of a file: 8 bytes with the header's length, then the header as JSON.

    Raises CheckpointError, naming `path`, for anything but a checkpoint of this format version.
    """
    try:
        values = json.loads(_entry(path, data))
        version = values['format_version']
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise CheckpointError(f'{path}: {KEY} has no readable format_version') from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f'{path}: format_version {version!r}, written by depth_kd_ros '
            f'{values.get("package_version")}; this package reads {FORMAT_VERSION}: update it, or '
            'save the checkpoint again'
        )
    known = {f.name for f in fields(Metadata)}
    if set(values) != known:
        missing, unknown = sorted(known - set(values)), sorted(set(values) - known)
        raise CheckpointError(f'{path}: metadata lacks {missing}, has unknown {unknown}')
    normalisation = values['normalisation']
    if not isinstance(normalisation, dict) or set(normalisation) != {'mean', 'std'}:
        raise CheckpointError(f'{path}: normalisation = {normalisation!r}: needs mean and std')
    try:
        return Metadata(**values | {'normalisation': Normalisation(**normalisation)})
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error


def _entry(path: Path, data: bytes) -> str:
    """Return our entry of the header's `__metadata__`, or say what the file is instead."""
    size = int.from_bytes(data[:8], 'little')
    try:
        header = json.loads(data[8 : 8 + size]) if 0 < size <= len(data) - 8 else None
    except ValueError:  # neither UTF-8 nor JSON
        header = None
    # A header's length may begin with the byte that begins a pickle: ask for the header first.
    if not isinstance(header, dict) and data.startswith((b'PK\x03\x04', b'\x80')):
        raise CheckpointError(
            f'{path}: a pickle (torch.save), which can run code and will not be loaded; '
            'write it with depth_kd_ros.checkpoint.save'
        )
    if not isinstance(header, dict):
        raise CheckpointError(f'{path}: not a safetensors file, or cut off; fetch it again')
    entries = header.get('__metadata__')
    if not isinstance(entries, dict) or KEY not in entries:
        raise CheckpointError(
            f'{path}: a safetensors file without {KEY!r} in its metadata, so no checkpoint of '
            'this package; write it with depth_kd_ros.checkpoint.save'
        )
    return entries[KEY]
