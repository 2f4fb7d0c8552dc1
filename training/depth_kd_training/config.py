"""
Recipes as files: YAML that names differences from the defaults of recipe.py only.

`KEY=VALUE` changes it from the command line (`optimisation.rate=0.001`). Unknown keys and values
of a wrong type are errors that name the file, the key and the nearest valid key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
import types
from typing import Any, get_args, get_origin, Union

from depth_kd_ros import plugins
from depth_kd_training.recipe import ConfigError, Recipe
from pydantic import BaseModel, ValidationError
import yaml

RECIPES = Path(__file__).parent / 'recipes'
FREE = ('data.workers', 'save_every_s')  # what a run may go on with otherwise than it began


def available() -> list[str]:
    """List the names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob('*.yaml'))


def summary(name: str) -> str:
    """Give the first line of a recipe of the package, a comment that says what it trains."""
    return (RECIPES / f'{name}.yaml').read_text().partition('\n')[0].lstrip('# ')


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path, change it by `KEY=VALUE`s; raise ConfigError."""
    path = RECIPES / f'{name_or_path}.yaml'
    if str(name_or_path) not in available():
        path = Path(name_or_path)
    if not path.is_file():
        raise ConfigError(
            f'no recipe {plugins.unknown(str(name_or_path), available())} Give one of '
            f'{", ".join(available()) or "(none bundled)"} or the path of a YAML file'
        )
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f'{path}: not readable as YAML: {error}') from error
    if not isinstance(values, dict):
        raise ConfigError(f'{path}: {values!r}: keys and values expected')
    for override in overrides:
        change(values, override)
    return parse(values, str(path))


def change(values: dict[str, Any], override: str) -> None:
    """Set one `a.b=VALUE` in nested values; the value is read as YAML."""
    key, equals, text = override.partition('=')
    if not equals or not key:
        raise ConfigError(f'{override!r}: KEY=VALUE expected, as in optimisation.rate=0.001')
    *parents, last = key.split('.')
    holder: Any = values
    for parent in parents:
        if isinstance(holder, dict):
            holder.setdefault(parent, {})
        holder = holder[_place(holder, parent, override)]
        if not isinstance(holder, (dict, list)):
            raise ConfigError(f'{override!r}: {parent!r} holds {holder!r}, no keys')
    try:
        holder[_place(holder, last, override)] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f'{override!r}: the value is not readable as YAML: {error}') from error


def _place(holder: Any, word: str, override: str) -> Any:
    """Give a key of a mapping as it is, one of a list as a number."""
    if isinstance(holder, dict):
        return word
    if not word.isdigit() or int(word) >= len(holder):
        raise ConfigError(f'{override!r}: {word!r}: give a number from 0 to {len(holder) - 1}')
    return int(word)


def parse(values: Mapping[str, Any], where: str) -> Recipe:
    """Check nested values and make a recipe; ConfigError names `where` and every wrong key."""
    try:
        return Recipe.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError('\n'.join(_told(where, fault) for fault in error.errors())) from error


def differences(one: Recipe, other: Recipe) -> list[str]:
    """List the keys, `FREE` ones aside, in which two recipes differ, as 'key = a, not b'."""
    return [
        f'{key} = {a!r}, not {b!r}'
        for key, a, b in _unequal('', one.model_dump(mode='json'), other.model_dump(mode='json'))
        if key not in FREE
    ]


def _unequal(key: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    """Find where two trees of values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for inner in dict.fromkeys([*a, *b]):
            yield from _unequal(f'{key}.{inner}' if key else inner, a.get(inner), b.get(inner))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, pair in enumerate(zip(a, b, strict=True)):
            yield from _unequal(f'{key}.{place}', *pair)
    elif a != b:
        yield key, a, b


def _told(where: str, fault: Any) -> str:
    """Put one of pydantic's faults into a sentence."""
    parents, key = fault['loc'][:-1], '.'.join(map(str, fault['loc']))
    if fault['type'] == 'extra_forbidden':
        valid = ['.'.join(map(str, (*parents, field))) for field in _fields(Recipe, parents)]
        return f'{where}: unknown key {plugins.unknown(key, valid)}'
    return f'{where}: {key} = {fault["input"]!r}: {fault["msg"]}'


def _fields(model: Any, parents: Sequence[Any]) -> Mapping[str, Any]:
    """Find the fields of the model that lies under the keys `parents`."""
    for key in parents:
        if isinstance(key, str) and isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[key].annotation
        while get_origin(model) in (tuple, Union, types.UnionType):
            model = next(a for a in get_args(model) if a not in (type(None), Ellipsis))
    known = isinstance(model, type) and issubclass(model, BaseModel)
    return model.model_fields if known else {}
