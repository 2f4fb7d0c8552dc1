"""YAML files that come with the package, or a user's own: found by name, typed, strict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import types
from typing import Any, get_args, get_origin, TypeVar, Union

from depth_kd_ros import plugins
from depth_kd_training.recipe import ConfigError
from pydantic import BaseModel, ValidationError
import yaml

Model = TypeVar('Model', bound=BaseModel)


class Folder:
    """A folder of the package with files of a kind, `recipe` or `study`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder

    def available(self) -> list[str]:
        """List the names of the files that come with the package."""
        return sorted(path.stem for path in self.folder.glob('*.yaml'))

    def summary(self, name: str) -> str:
        """Give the first line of a file of the package, a comment that says what it is."""
        return (self.folder / f'{name}.yaml').read_text().partition('\n')[0].lstrip('# ')

    def read(self, name_or_path: str | Path) -> tuple[dict[str, Any], Path]:
        """Read a file by name or path, and give its path; raise ConfigError."""
        path, names = self.folder / f'{name_or_path}.yaml', self.available()
        if str(name_or_path) not in names:
            path = Path(name_or_path)
        if not path.is_file():
            raise ConfigError(
                f'no {self.kind} {plugins.unknown(str(name_or_path), names)} Give one of '
                f'{", ".join(names)} or the path of a YAML file'
            )
        try:
            values = yaml.safe_load(path.read_text()) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f'{path}: not readable as YAML: {error}') from error
        if not isinstance(values, dict):
            raise ConfigError(f'{path}: {values!r}: keys and values expected')
        return values, path


def validated(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Check nested values and make a model; ConfigError names `where` and every wrong key."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        faults = (_told(model, where, fault) for fault in error.errors())
        raise ConfigError('\n'.join(faults)) from error


def _told(model: type[BaseModel], where: str, fault: Any) -> str:
    """Put one of pydantic's faults into a sentence."""
    parents, key = fault['loc'][:-1], '.'.join(map(str, fault['loc']))
    if fault['type'] == 'extra_forbidden':
        valid = ['.'.join(map(str, (*parents, field))) for field in _fields(model, parents)]
        return f'{where}: unknown key {plugins.unknown(key, valid)}'
    if fault['type'] == 'missing':
        return f'{where}: {key} is missing'
    return f'{where}: {key} = {fault["input"]!r}: {fault["msg"].removeprefix("Value error, ")}'


def _fields(model: Any, parents: Sequence[Any]) -> Mapping[str, Any]:
    """Find the fields of the model that lies under the keys `parents`."""
    for key in parents:
        if isinstance(key, str) and isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[key].annotation
        elif get_origin(model) is dict:
            model = get_args(model)[1]
        while get_origin(model) in (tuple, Union, types.UnionType):
            model = next(a for a in get_args(model) if a not in (type(None), Ellipsis))
    return model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
