"""What a recipe names, opened: data sets, augmentation, network, device; else ConfigError."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import os
from typing import Any

from depth_kd_ros import checkpoint, networks
from depth_kd_ros.completer import open_device
from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_ros.networks.encoders.pretrained import encoder_of, load_encoder_weights
from depth_kd_ros.plugins import configure, unknown
from depth_kd_training import augment, data, distillation
from depth_kd_training.data.base import Dataset
from depth_kd_training.distillation.base import Method
from depth_kd_training.recipe import ConfigError, Data, Recipe, Source
from depth_kd_training.recipe import Network as NetworkChoice
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy
import torch


class Autocast(MixedPrecision):
    """
    Compute in 16 bits, but leave the inputs as they are.

    Depth in metres has not enough of them: steps of 0.5 m beyond 64 m in bf16.
    """

    def convert_input(self, data: Any) -> Any:
        """Give the inputs as they came."""
        return data


@contextmanager
def named(key: str) -> Iterator[None]:
    """Turn ValueErrors into ConfigErrors that name the recipe's key."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f'{key}: {error}') from error


def open_sources(key: str, sources: Sequence[Source]) -> list[Dataset]:
    """Open data sets; the key says where in the recipe they stand."""
    opened = []
    for place, source in enumerate(sources):
        with named(f'{key}.{place}'):
            opened.append(data.build(source.dataset, source.options))
    return opened


def open_augmentation(recipe: Recipe) -> augment.Augmentation:
    """Make the augmentation of a recipe."""
    with named('data'):
        config = configure(augment, 'augmentation', 'of frames', recipe.data.augmentation)
    return augment.Augmentation(config, bool(recipe.teacher and recipe.teacher.all_points))


def architecture(chosen: NetworkChoice) -> tuple[str, dict[str, object]]:
    """Give the name and the options of the recipe's network, as `networks.build` takes them."""
    known = networks.presets()
    if chosen.preset not in known:
        raise ConfigError(f'network.preset = {unknown(chosen.preset, list(known))}')
    name, options = known[chosen.preset]
    return name, {**options, **chosen.options}


def open_network(recipe: Recipe) -> DepthNetwork:
    """Build the network with the weights that it and its parts begin with."""
    chosen = recipe.network
    name, options = architecture(chosen)
    with named('network'):
        network = networks.build(name, options)
        parts = open_parts(network, chosen)
        if chosen.checkpoint:
            _begin(network, chosen.checkpoint, recipe.data)
        elif chosen.encoder_weights:
            load_encoder_weights(encoder_of(network), chosen.encoder_weights)
        for part, path in chosen.parts.items():
            _begin(parts[part], path, recipe.data)
        for part in chosen.frozen:
            parts[part].requires_grad_(False)
    return network


def open_parts(network: DepthNetwork, chosen: NetworkChoice) -> dict[str, DepthNetwork]:
    """Give the networks within a network by name; ValueError where a chosen one is not there."""
    parts = {key: part for key, part in network.named_children() if isinstance(part, DepthNetwork)}
    for key, names in (('parts', chosen.parts), ('frozen', chosen.frozen)):
        for name in names:
            if name not in parts:
                raise ValueError(
                    f'{key}: {chosen.preset} has no network {name!r} in it; it has '
                    f'{", ".join(parts) or "none"}'
                )
    for name in chosen.frozen:
        if name not in chosen.parts and not chosen.checkpoint:
            raise ValueError(
                f'frozen: {name} begins with random weights; give parts.{name} or checkpoint'
            )
    held = {p for name in chosen.frozen for p in parts[name].parameters()}
    if held.issuperset(network.parameters()):
        raise ValueError(f'frozen = {list(chosen.frozen)}: nothing is left to train')
    return parts


def check_begins(network: DepthNetwork, begun: DepthNetwork, path: str) -> None:
    """Raise ValueError unless a network can begin with the weights of another."""
    wanted = network.deployed_config()
    if type(begun) is not type(network) or begun.config != wanted:
        raise ValueError(
            f'{path} holds another network: {begun.config}, not {wanted}; give its preset and '
            'options'
        )
    shapes = begun.state_dict()
    for key, value in network.deployable().state_dict().items():
        if key not in shapes or shapes[key].shape != value.shape:
            own = f'{list(shapes[key].shape)}' if key in shapes else 'not there'
            raise ValueError(
                f'{path} holds another network: {key} is {own}, not {list(value.shape)}'
            )


def _begin(network: DepthNetwork, path: str, seen: Data) -> None:
    """Load the weights that a network begins with."""
    begun = _load(path, seen)
    check_begins(network, begun, path)
    network.deployable().load_state_dict(begun.state_dict())  # it shares its tensors


def _load(path: str, seen: Data) -> DepthNetwork:
    """Load a network; ValueError where it was trained on other images than `seen` gives."""
    loaded = checkpoint.load(checkpoint.resolve(path))
    own = loaded.metadata.normalisation
    if (tuple(own.mean), tuple(own.std)) != (seen.mean, seen.std):
        raise ValueError(
            f'{path} was trained on images of mean {list(own.mean)} and std {list(own.std)}: '
            'give data.mean and data.std these values'
        )
    return loaded.model


def open_teacher(recipe: Recipe) -> DepthNetwork | None:
    """Load the teacher, frozen; it must see images as the student does."""
    if recipe.teacher is None:
        return None
    with named('teacher.checkpoint'):
        return _load(recipe.teacher.checkpoint, recipe.data).requires_grad_(False)


def open_methods(
    recipe: Recipe, student: DepthNetwork, teacher: DepthNetwork | None
) -> dict[str, tuple[float, Method]]:
    """Make the recipe's methods, by name, with their weights."""
    if teacher and recipe.teacher and not recipe.teacher.other_inputs:
        kinds = [' and '.join(network.inputs) for network in (student, teacher)]
        if kinds[0] != kinds[1]:
            raise ConfigError(
                f'teacher: the student reads {kinds[0]}, the teacher {kinds[1]}; if that is '
                'meant, give teacher.other_inputs = true'
            )
    methods: dict[str, tuple[float, Method]] = {}
    for place, wanted in enumerate(recipe.methods):
        with named(f'methods.{place}'):
            if wanted.name in methods:
                raise ValueError(f'{wanted.name!r} is there twice: give one, with all its taps')
            method = distillation.build(wanted.name, wanted.options, student, teacher)
            for key in ('mean', 'std'):
                own, given = getattr(method.config, key, None), getattr(recipe.data, key)
                if own not in (None, given):
                    raise ValueError(
                        f'{wanted.name!r}: {key} = {own}, but data.{key} = {given}: give both '
                        'alike'
                    )
            methods[wanted.name] = wanted.weight, method
    return methods


def open_fabric(recipe: Recipe, device: str = 'auto') -> Fabric:
    """
    Open the device, and join the other processes where torchrun or `fabric run` started several.

    A device that is asked for and absent is an error, never replaced by another.
    """
    device = os.environ.get('LT_ACCELERATOR', device) if device == 'auto' else device
    with named('--device'):
        place = open_device(device)
    world, here = (int(os.environ.get(k, '1')) for k in ('WORLD_SIZE', 'LOCAL_WORLD_SIZE'))
    if world == 1:
        devices: int | list[int] = 1 if place.index is None else [place.index]
        strategy: str | DDPStrategy = 'auto'
    else:
        with torch.device('meta'):
            network = networks.build(*architecture(recipe.network))
        # What training alone needs, and what no tap depends on, may get no gradient; asking for
        # that in vain costs time.
        spare = network.deployed_config() != network.config or not recipe.supervision.used
        devices, strategy = here, DDPStrategy(find_unused_parameters=spare)
    if world > 1 and place.index is not None:
        raise ConfigError(f'--device {device}: {world} processes choose theirs; give cuda or auto')
    plugins: list[Any] = []
    if recipe.precision != '32-true':
        plugins.append(Autocast(recipe.precision, place.type))
    with named('--device'):
        fabric = Fabric(
            accelerator=place.type, devices=devices, num_nodes=world // here, strategy=strategy,
            plugins=plugins,
        )  # fmt: skip
        if os.environ.get('LT_CLI_USED') != '1':  # `fabric run` has launched
            fabric.launch()
    return fabric


def close_fabric() -> None:
    """Leave the other processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
