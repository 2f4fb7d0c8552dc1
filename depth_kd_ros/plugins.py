"""Plug-ins: one file each in a package's folder; the file's name is the plug-in's name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
import difflib
import importlib
import pkgutil
from types import ModuleType
from typing import Any


def available(path: Iterable[str], but: Collection[str] = ()) -> list[str]:
    """List the modules of a package's `__path__`; its sub-packages and those of `but` are none."""
    modules = pkgutil.iter_modules(path)
    return sorted(m.name for m in modules if not m.ispkg and m.name not in but)


def find(package: str, kind: str, name: str, names: Collection[str]) -> ModuleType:
    """Import a plug-in of a package; ValueError for a name that is not among `names`."""
    if name not in names:
        listed = ', '.join(names)
        raise ValueError(f'unknown {kind} {unknown(name, names)} Available {kind}s: {listed}')
    return importlib.import_module(f'{package}.{name}')


def configure(module: ModuleType, kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """
    Make a plug-in's `Config` from options as YAML or JSON has them (lists for tuples).

    Raises ValueError for an option that it does not have and a value that it does not take.
    """
    known = [field.name for field in fields(module.Config)]
    strange = sorted(set(options) - set(known))
    if strange:
        raise ValueError(
            f'{kind} {name!r} has no option {", ".join(map(repr, strange))}; '
            f'its options: {", ".join(known)}'
        )
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    try:
        return module.Config(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f'{kind} {name!r}: {error}') from error


def unknown(name: str, names: Collection[str]) -> str:
    """Quote an unknown name, and ask whether the most similar one of `names` was meant."""
    close = difflib.get_close_matches(name, names, n=1)
    return f'{name!r}; did you mean {close[0]!r}?' if close else f'{name!r}.'
