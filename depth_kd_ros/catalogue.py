"""Every network that has a name: presets, untrained, and weights, bundled or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from depth_kd_ros import checkpoint, complexity, networks
from depth_kd_ros.checkpoint import CheckpointError, Metadata, Normalisation
from depth_kd_ros.latency import network_ms
from depth_kd_ros.networks.base import DepthNetwork
import torch

SEED = 0  # of random weights, so that they are the same at every call


@dataclass(frozen=True)
class Entry:
    """A name and what it stands for: a preset, or the weights in the file `path`."""

    name: str
    kind: Literal['network', 'weights']
    path: Path | None = None

    def open(self, device: torch.device | str = 'cpu') -> tuple[DepthNetwork, Metadata]:
        """
        Give the deployable network, in eval mode and float32, and what is known about it.

        A preset gets random weights, or on the meta device none; its metadata says so. Raises
        CheckpointError for a file that cannot be used.
        """
        if self.path is not None:
            loaded = checkpoint.load(self.path, device)
            return loaded.model.deployable(), loaded.metadata
        name, options = networks.presets()[self.name]
        home = 'meta' if torch.device(device).type == 'meta' else 'cpu'
        with torch.random.fork_rng(devices=[]), torch.device(home):
            torch.manual_seed(SEED)
            network = networks.build(name, options)
        metadata = Metadata(
            name,
            options,
            Normalisation((0.0,) * 3, (1.0,) * 3),
            depth_range_m=(0.5, 120.0),
            training={'recipe': f'none: random weights, seed {SEED}'},
        )
        return network.to(device).eval().deployable(), metadata


@dataclass(frozen=True)
class Row:
    """What an entry costs at the size (H, W); what could not be read or was not asked is None."""

    entry: Entry
    size: tuple[int, int]
    network: str | None = None
    inputs: tuple[str, ...] = ()
    params: int | None = None
    gflops: float | None = None
    hash: str | None = None
    megabytes: float | None = None
    latency_ms: float | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give name, kind, params, gflops, size; hash, latency_ms and error where there is one."""
        values = {
            'name': self.entry.name,
            'kind': self.entry.kind,
            'params': self.params,
            'gflops': self.gflops,
            'size': list(self.size),
        }
        more = {'hash': self.hash, 'latency_ms': self.latency_ms, 'error': self.error}
        return values | {key: value for key, value in more.items() if value is not None}


def entries(names: Sequence[str] = ()) -> list[Entry]:
    """
    List what names stand for: presets, bundled weights or the paths of checkpoints.

    No names: all presets, then all bundled weights. A name of both stands for both, the weights
    last. Raises CheckpointError for an unknown one.
    """
    presets = {name: Entry(name, 'network') for name in networks.presets()}
    weights = {name: Entry(name, 'weights', path) for name, path in checkpoint.bundled().items()}
    if not names:
        return [*presets.values(), *weights.values()]
    found: list[Entry] = []
    for name in names:
        both = [known[name] for known in (presets, weights) if name in known]
        path = None if both else checkpoint.resolve(name, also=presets)
        found += both or [Entry(name, 'weights', path)]
    return found


def describe(entry: Entry, size: tuple[int, int], measure_on: torch.device | None = None) -> Row:
    """
    Count what an entry costs at the size (H, W), and measure its latency where a device is given.

    Weights are read and checked; those that cannot be used make a row with the error.
    """
    digest = megabytes = None
    try:
        if entry.path is not None:
            data = entry.path.read_bytes()
            digest, megabytes = checkpoint.digest(data), len(data) / 1e6
        network, metadata = entry.open(measure_on or 'meta')
    except (CheckpointError, OSError) as error:
        return Row(entry, size, hash=digest, megabytes=megabytes, error=str(error))
    return Row(
        entry,
        size,
        metadata.network,
        network.inputs,
        complexity.parameters(network),
        complexity.gflops(network, size),
        digest,
        megabytes,
        network_ms(network, size) if measure_on else None,
    )
