"""
Study files: tables of recipes x seeds, typed and strict.

A study's YAML names the sets of simulated frames, what its rows have in common (`base`,
differences from a recipe's defaults), the rows (differences from `base`), what they are scored on,
and what is claimed of them. `set:NAME` stands for the folder of a set, `row:NAME` for the weights
of another row's run of the same seed. Where values lie over others, mappings join, all else
replaces, and null takes a key away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from depth_kd_training.bundled import validated
from depth_kd_training.recipe import Positive, Strict
from pydantic import Field, field_validator, model_validator

SET, ROW = 'set:', 'row:'
Beams = Annotated[int, Field(ge=1)] | Literal['all']
Values = dict[str, Any]


class Simulated(Strict):
    """Choose a set of simulated frames, as the options of `simulate` do."""

    world: str = 'street'
    sensor: str = 'random'
    rig: str = 'random'
    randomised: float = 0.2
    frames: int = Field(default=100, ge=1)
    size: tuple[int, int] = (240, 608)  # (H, W) px
    seed: int = Field(default=0, ge=0)

    @model_validator(mode='after')
    def _known(self) -> Simulated:
        """Refuse what the simulator does not have."""
        from depth_kd_training.simulation import scene

        scene.Config(self.world, self.size, self.sensor, self.rig, self.randomised)
        return self


class Scored(Strict):
    """Name a data set to score on; `depth_range_m` bounds its truth as `evaluate` does."""

    dataset: str
    options: Values = Field(default={})
    beams: tuple[Beams, ...] = Field(default=('all',), min_length=1)
    frames: int | None = Field(default=None, ge=1)  # evenly spaced; else all
    depth_range_m: tuple[Positive, Positive] = (0.9, 120.0)


class Gap(Strict):
    """Name the rows between which the gap lies that others close."""

    student: str
    teacher: str


class Order(Strict):
    """
    Claim that rows are in this order, from better to worse; each is judged against the next.

    The difference must exceed one standard deviation; and `at_least` a share of the gap, `by` an
    amount of the metric. With `ratio` it need only reach that share of the next row's score, with
    `not_worse` not be worse by more than one standard deviation. Where: the first set, its first
    number of beams and the first metric, unless they are named.
    """

    rows: tuple[str, ...] = Field(min_length=2)
    set: str | None = None
    beams: Beams | None = None
    metric: str | None = None
    at_least: float | None = None
    by: float | None = None
    ratio: float | None = Field(default=None, gt=0)
    not_worse: bool = False

    @model_validator(mode='before')
    @classmethod
    def _short(cls, given: Any) -> Any:
        """Take a list for its rows."""
        return {'rows': given} if isinstance(given, (list, tuple)) else given


class Preset(Strict):
    """Hold what is laid over a study."""

    seeds: tuple[int, ...] | None = None
    sets: Values = Field(default={})
    base: Values = Field(default={})
    rows: Values = Field(default={})
    evaluate: Values = Field(default={})


class Study(Strict):
    """One table; `paper` holds published values by row and metric."""

    title: str = ''
    sets: dict[str, Simulated] = Field(default={})
    base: Values = Field(default={})
    rows: dict[str, Values] = Field(min_length=1)
    evaluate: dict[str, Scored] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(default=('rmse', 'mae'), min_length=1)
    gap: Gap | None = None
    orders: tuple[Order, ...] = ()
    paper: dict[str, dict[str, float]] = Field(default={})
    paper_units: str | dict[str, str] = ''
    paper_note: str = ''
    presets: dict[Literal['tiny', 'full'], Preset] = Field(default={})
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2), min_length=1)

    @field_validator('rows', mode='before')
    @classmethod
    def _empty(cls, rows: Any) -> Any:
        """Take a row without values for one that does not differ."""
        return {k: v or {} for k, v in rows.items()} if isinstance(rows, dict) else rows


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    """Lay values over others: mappings join, all else replaces, null takes a key away."""
    merged = dict(below)
    for key, value in above.items():
        if value is None and key in below:
            merged.pop(key)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def values_of(study: Study, row: str) -> Values:
    """Give a row's differences from a recipe's defaults."""
    return merge(study.base, study.rows[row])


def references(values: Any, mark: str) -> list[str]:
    """List the names that stand behind `set:` or `row:` anywhere in nested values."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        return [name for value in values for name in references(value, mark)]
    own = isinstance(values, str) and values.startswith(mark)
    return [values[len(mark) :]] if own else []


def replaced(values: Any, names: Mapping[str, str]) -> Any:
    """Put something else in the place of each string that is a key of `names`."""
    if isinstance(values, Mapping):
        return {key: replaced(value, names) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [replaced(value, names) for value in values]
    return names.get(values, values) if isinstance(values, str) else values


def parse(values: Values, where: str) -> Study:
    """Check nested values and make a study; ConfigError names `where` and every wrong key."""
    return validated(Study, values, where)
