"""Every distillation method in the real loop: trains, resumes, runs on two processes, exports."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

from depth_kd_ros import checkpoint, networks
from depth_kd_training import config, distillation, state
from depth_kd_training.distillation import base
from depth_kd_training.feed import Feed
from depth_kd_training.learning import learn
from depth_kd_training.opening import open_fabric
from depth_kd_training.run import Run
from depth_kd_training.train import train
import pytest
import random_checkpoint
import street_folder
import torch

UNSUPPORTED = {
    ('image_reconstruction', 'lspkd_s8'), ('image_reconstruction', 'mff_mobilenet_v2'),
}  # fmt: skip
METHODS = distillation.available()
RANDOM = ('adversarial', 'data_free', 'geometric', 'random_noise')  # draw their own numbers
OPTIONS = {'data_free': {'transformation': 'small'}, 'geometric': {'points': 64}}
LSPKD = {'preset': 'lspkd_s8', 'options': {'width': 1 / 16, 'blocks': [1, 1, 1, 1]}}
MONO = {'preset': 'mff_mobilenet_v2'}
SIZES = {  # of the other networks
    'relative_topformer_tiny': {}, 'fcrn_resnet18': {}, 'multibranch_resnet18': {},
    'residual_pyramid_resnet34': {}, 'two_stage': {}, 'depth_only_b': {},
    'depth_only': {'reconstruction': True},
}  # fmt: skip


def save(path: Path, network: dict, seed: int = 3) -> Path:
    """Save a network of random weights as a checkpoint."""
    torch.manual_seed(seed)
    name, options = networks.presets()[network['preset']]
    built = networks.build(name, {**options, **network.get('options', {})})
    checkpoint.save(
        path, built, normalisation=(random_checkpoint.MEAN, random_checkpoint.STD),
        depth_range_m=(0.5, 80.0), training={}, licence='Apache-2.0',
    )  # fmt: skip
    return path


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return street_folder.write(tmp_path_factory.mktemp('street'), 6)


@pytest.fixture(scope='module')
def teachers(tmp_path_factory):
    """Give the path of a teacher for a network of a recipe."""
    folder = tmp_path_factory.mktemp('teachers')

    def path(network: dict) -> Path:
        place = folder / f'{network["preset"]}.safetensors'
        return place if place.exists() else save(place, network)

    return path


def recipe(frames, path, methods, network=LSPKD, target='none', **changes):
    """Make a short run with a teacher, on labelled and unlabelled frames."""
    source = street_folder.source(frames)
    data = {'unlabelled': [source], 'unlabelled_share': 0.5, 'validation': []}
    return street_folder.recipe(
        frames, network=network, data=data, supervision={'target': target}, methods=methods,
        **{'steps': 2, 'teacher': {'checkpoint': str(path)}, **changes},
    )  # fmt: skip


def method(name: str, **options: object) -> dict:
    """Give a method as a recipe names it."""
    return {'name': name, 'options': {**OPTIONS.get(name, {}), **options}}


def supported(name: str, network: dict) -> dict | None:
    """Give a method's options for a network as student and teacher, None where it refuses it."""
    preset, own = networks.presets()[network['preset']]
    student = networks.build(preset, {**own, **network.get('options', {})})
    features = [key for key, count in base.channels(student).items() if count > 1]
    teacher = copy.deepcopy(student)
    for options in ({}, {'taps': features[:2]}):
        options = {**OPTIONS.get(name, {}), **options}
        try:
            distillation.build(name, options, student, teacher)
        except ValueError as error:
            assert name in str(error)
            continue
        return options
    return None


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize(
    'network',
    [
        pytest.param(LSPKD, id='lspkd'), pytest.param(MONO, id='mff'),
        *(
            pytest.param({'preset': key, 'options': value}, id=key, marks=pytest.mark.full)
            for key, value in SIZES.items()
        ),
    ],
)  # fmt: skip
def test_a_method_trains_every_network_it_supports(frames, teachers, tmp_path, name, network):
    options = supported(name, network)
    if options is None:
        assert (name, network['preset']) in UNSUPPORTED
        return
    values = recipe(frames, teachers(network), [method(name, **options)], network)
    if name in ('none', 'image_reconstruction'):
        values |= {'supervision': {'target': 'input_points'}, 'teacher': None}
    wanted = config.parse(values, 'test')
    assert train(wanted, tmp_path, open_fabric(wanted, 'cpu')) is None
    header, first, second = (tmp_path / 'log.csv').read_text().splitlines()
    terms = [key for key in header.split(',') if key.startswith(f'{name}.')]
    assert bool(terms) == (name != 'none')
    assert all(torch.tensor([float(x) for x in first.split(',')]).isfinite())
    assert first.split(',')[2:-2] != second.split(',')[2:-2]
    plain = networks.build(*_architecture(network)).deployable().state_dict()
    loaded = checkpoint.load(tmp_path / 'last.safetensors').model.state_dict()
    assert loaded.keys() == plain.keys()  # no adapters


def _architecture(network: dict) -> tuple[str, dict]:
    name, options = networks.presets()[network['preset']]
    return name, {**options, **network.get('options', {})}


@pytest.mark.parametrize('name', METHODS)
def test_a_run_that_is_resumed_goes_on_exactly(frames, teachers, tmp_path, name):
    student = LSPKD if name != 'image_reconstruction' else {'preset': 'depth_only'}
    teacher = None if name == 'image_reconstruction' else {'checkpoint': str(teachers(student))}
    wanted = config.parse(
        recipe(frames, '', [method(name)], student, 'ground_truth', steps=4, teacher=teacher), ''
    )
    fabric = open_fabric(wanted, 'cpu')
    saved = {}
    for out, stops in (('whole', (0, 4)), ('parts', (0, 2, 4))):
        for first, last in itertools.pairwise(stops):
            run = Run(wanted, fabric, tmp_path / out)
            run.resume()
            assert run.step == first
            for batches in Feed(wanted).steps(first, last):
                run.set_rate()
                learn(run, batches)
            run.save({})
        saved[out] = state.load(tmp_path / out / 'state.safetensors')
    assert _equal(saved['whole'], saved['parts'])


def _equal(one, two) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(_equal, one, two))
    return one == two
