"""
Distillation methods, one per file; the file's name is the method's name in recipes.

A method's file holds

- `Config`: a frozen dataclass of options, checked when it is made (`ValueError`);
- the mathematics as free functions;
- `Method(config, student, teacher)`: a `base.Method`, which compares two predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, TYPE_CHECKING

from depth_kd_ros import plugins

if TYPE_CHECKING:
    from depth_kd_ros.networks.base import DepthNetwork
    from depth_kd_training.distillation.base import Method

_NOT_METHODS = {'base'}


def available() -> list[str]:
    """List the names of the methods: the files of this folder."""
    return plugins.available(__path__, but=_NOT_METHODS)


def find(name: str) -> ModuleType:
    """Import the method's module; raise ValueError for a name that is not available."""
    return plugins.find(__name__, 'distillation method', name, available())


def needs_teacher(name: str) -> bool:
    """Tell whether a method compares with a teacher; of an unknown one say so."""
    return name not in available() or find(name).Method.needs_teacher


def build(
    name: str, options: Mapping[str, Any], student: DepthNetwork, teacher: DepthNetwork | None
) -> Method:
    """
    Make a method for two networks from its options as read from YAML (lists for tuples).

    Raises ValueError for a name that is not available, an option that the method does not have,
    a value that it does not take and networks that it cannot compare.
    """
    module = find(name)
    config = plugins.configure(module, 'distillation method', name, options)
    if teacher is None and module.Method.needs_teacher:
        raise ValueError(f'distillation method {name!r} needs a teacher: give teacher.checkpoint')
    try:
        return module.Method(config, student, teacher)
    except ValueError as error:
        raise ValueError(f'distillation method {name!r}: {error}') from error
