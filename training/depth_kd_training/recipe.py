"""What one training run is, typed and strict: the keys of a recipe and their defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class ConfigError(ValueError):
    """Say which file and key of a recipe cannot be used, and what to write instead."""


class Strict(BaseModel):
    """Refuse unknown keys; never change after it is made."""

    model_config = ConfigDict(extra='forbid', frozen=True)


class Source(Strict):
    """Name a data set and its options; `share` is its part of a batch among its like."""

    dataset: str
    options: dict[str, Any] = {}
    share: float = Field(default=1.0, gt=0)


class Network(Strict):
    """
    Choose the network: a preset, options that differ from it, and weights to begin with.

    `parts` gives checkpoints for networks within it, such as {relative: PATH} of two_stage; those
    in `frozen` keep their weights and batch statistics.
    """

    preset: str = 'lspkd_s8'
    options: dict[str, Any] = {}
    checkpoint: str | None = None  # begin with its weights
    encoder_weights: str | None = None  # public ImageNet weights, a local file
    parts: dict[str, str] = {}
    frozen: tuple[str, ...] = ()


class Teacher(Strict):
    """
    Name the checkpoint to distil; with `other_inputs` it may read others than the student.

    With `all_points` it reads the LiDAR as recorded, the student what augmentation leaves of it.
    """

    checkpoint: str
    other_inputs: bool = False
    all_points: bool = False


class Data(Strict):
    """
    Say what is learnt from.

    A batch holds frames of the labelled sources and, where there are any, of the unlabelled ones:
    the share `unlabelled_share` of it; None: in proportion to the number of their frames.
    Validation frames are neither cropped nor augmented.
    """

    labelled: tuple[Source, ...] = (Source(dataset='simulation'),)
    unlabelled: tuple[Source, ...] = ()
    unlabelled_share: float | None = Field(default=None, gt=0, lt=1)
    validation: tuple[Source, ...] = ()
    validation_frames: int = Field(default=100, ge=1)  # at most, evenly spread over the sources
    batch: int = Field(default=8, ge=1)  # frames of all processes together
    augmentation: dict[str, Any] = {}  # `crop: [H, W]` and all else of `augment.Config`
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    workers: int = Field(default=2, ge=0)

    @model_validator(mode='before')
    @classmethod
    def _unlabelled_alone(cls, values: Any) -> Any:
        """Let the simulation be the default of nobody who names unlabelled frames alone."""
        if isinstance(values, dict) and values.get('unlabelled') and 'labelled' not in values:
            return {**values, 'labelled': ()}
        return values


class Supervision(Strict):
    """Weigh the supervised losses, and say what they compare the prediction with."""

    losses: dict[str, float] = {'l1': 1.0}
    target: Literal['ground_truth', 'input_points', 'none'] = 'ground_truth'

    @property
    def used(self) -> bool:
        """Tell whether there is a supervised loss."""
        return self.target != 'none' and bool(self.losses)


class Method(Strict):
    """
    Name a distillation method, its weight and its options.

    `until` is the share of the steps after which it is left out (early-stopped distillation: Cho
    and Hariharan, "On the efficacy of knowledge distillation", ICCV 2019); None: never.
    """

    name: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    until: float | None = Field(default=None, gt=0, lt=1)
    options: dict[str, Any] = {}


class Optimisation(Strict):
    """Choose the optimiser and its schedule; units are optimiser steps."""

    optimiser: Literal['adam', 'adamw'] = 'adam'
    rate: float = Field(default=1e-3, gt=0)
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal['constant', 'staircase', 'cosine'] = 'constant'
    decay: float = Field(default=0.5, gt=0, le=1)  # staircase: factor ...
    decay_every: int = Field(default=1000, ge=1)  # ... after so many steps
    warmup: int = Field(default=0, ge=0)
    accumulate: int = Field(default=1, ge=1)  # batches per step
    clip: float | None = Field(default=None, gt=0)  # norm of the gradient
    ema: float | None = Field(default=None, gt=0, lt=1)  # decay of the averaged weights


class Recipe(Strict):
    """One training run."""

    network: Network = Network()
    teacher: Teacher | None = None
    data: Data = Data()
    supervision: Supervision = Supervision()
    methods: tuple[Method, ...] = ()
    optimisation: Optimisation = Optimisation()
    steps: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)
    precision: Literal['32-true', 'bf16-mixed', '16-mixed'] = '32-true'
    channels_last: bool = True
    depth_range_m: tuple[Positive, Positive] = (0.5, 120.0)  # (nearest, farthest)
    log_every: int = Field(default=10, ge=1)  # steps
    validate_every: int = Field(default=500, ge=1)  # steps
    save_every_s: float = Field(default=300.0, gt=0)
    licence: str = ''

    @field_validator('depth_range_m')
    @classmethod
    def _ascending(cls, pair: tuple[float, float]) -> tuple[float, float]:
        """Refuse a range whose nearest depth is not the smaller."""
        if pair[0] >= pair[1]:
            raise ValueError('give the nearest depth first')
        return pair
