"""
Networks, one per file; the file's name is the network's name in recipes and checkpoints.

A network's file holds

- `Config`: a frozen dataclass of options, checked when it is made (`ValueError`);
- `PRESETS`: named `Config`s, the sizes that were published or measured; each name begins with the
  network's;
- `Network(config)`: a `base.DepthNetwork` with the attribute `config`. Called with the normalised
  image (B, 3, H, W) and the sparse depth (B, 1, H, W) in metres, 0 = none, it returns a
  `Prediction`; called with `features=False` as well, one without features, in less memory. It
  takes any H and W and reads only what its `inputs` name. (In training, batch norm needs more
  than one value per channel: a batch of 2, or an image larger than the network's coarsest scale.)

This module itself imports no torch, so names and options can be listed and checked at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any, TYPE_CHECKING

from depth_kd_ros import plugins

if TYPE_CHECKING:
    from depth_kd_ros.networks.base import DepthNetwork

_NOT_NETWORKS = {'base'}


def available() -> list[str]:
    """List the names of the networks: the files of this folder."""
    return plugins.available(__path__, but=_NOT_NETWORKS)


def find(name: str) -> ModuleType:
    """Import the network's module; raise ValueError for a name that is not available."""
    return plugins.find(__name__, 'network', name, available())


def presets() -> dict[str, tuple[str, dict[str, Any]]]:
    """Map the names of all presets to what `build` takes: the network's name and its options."""
    return {
        preset: (name, asdict(config))
        for name in available()
        for preset, config in find(name).PRESETS.items()
    }


def build(name: str, options: Mapping[str, Any] | None = None) -> DepthNetwork:
    """
    Make a network from its name and options as read from YAML or JSON (lists for tuples).

    Options left out have the defaults of the network's `Config`. Raises ValueError for a name that
    is not available, an option that the network does not have and a value that it does not take.
    """
    module = find(name)
    return module.Network(plugins.configure(module, 'network', name, options or {}))
