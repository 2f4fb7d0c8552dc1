"""
Recipes as files: YAML that names differences from the defaults of recipe.py only.

`KEY=VALUE` changes it from the command line (`optimisation.rate=0.001`). Unknown keys and values
of a wrong type are errors that name the file, the key and the nearest valid key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from depth_kd_training.bundled import Folder, validated
from depth_kd_training.recipe import ConfigError, Recipe
import yaml

RECIPES = Folder('recipe', Path(__file__).parent / 'recipes')
FREE = ('data.workers', 'save_every_s')  # what a run may go on with otherwise than it began


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path, change it by `KEY=VALUE`s; raise ConfigError."""
    values, path = RECIPES.read(name_or_path)
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
    return validated(Recipe, values, where)


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
