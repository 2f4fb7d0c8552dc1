"""
Data sets, one per file; the file's name is the data set's name in recipes.

A file holds a frozen dataclass `Config`, checked when it is made, and a class `Dataset(config)`
as `base.Dataset` describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, TYPE_CHECKING

from depth_kd_ros import plugins

if TYPE_CHECKING:
    from depth_kd_training.data.base import Dataset

_NOT_DATA_SETS = {'base', 'loading', 'parts'}


def available() -> list[str]:
    """List the names of the data sets: the files of this folder."""
    return plugins.available(__path__, but=_NOT_DATA_SETS)


def find(name: str) -> ModuleType:
    """Import the data set's module; raise ValueError for a name that is not available."""
    return plugins.find(__name__, 'dataset', name, available())


def build(name: str, options: Mapping[str, Any] | None = None) -> Dataset:
    """Open a data set; raise ValueError for a wrong name or option, DatasetError for its files."""
    module = find(name)
    return module.Dataset(plugins.configure(module, 'dataset', name, options or {}))
