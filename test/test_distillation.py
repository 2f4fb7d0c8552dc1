"""Every distillation method in the real loop: trains, resumes, runs on two processes, exports."""

from __future__ import annotations

import copy
import itertools
import math
import os
from pathlib import Path
import subprocess
import sys

from depth_kd_ros import checkpoint, networks
from depth_kd_training import config, distillation, runs, state
from depth_kd_training.distillation import base
from depth_kd_training.feed import Feed
from depth_kd_training.learning import compare, learn, lessons, TrainingError
from depth_kd_training.opening import open_fabric
from depth_kd_training.recipe import ConfigError
from depth_kd_training.run import Run
from depth_kd_training.train import train
from distillation_inputs import IMAGES
import pytest
import random_checkpoint
import street_folder
import torch
import yaml

METHODS = distillation.available()
RANDOM = (*IMAGES, 'geometric')  # draw their own numbers
OPTIONS = {
    'data_free': {'transformation': 'small'}, 'geometric': {'points': 64},
    'perturbation': {'steps': 2},
}  # fmt: skip
SMALL = {'width': 1 / 8, 'blocks': [1, 1, 1, 1]}
WIDER = {'preset': 'lspkd_s4', 'options': SMALL}  # needs adapters
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
        pytest.param(LSPKD, id='lspkd'), pytest.param(MONO, id='mff', marks=pytest.mark.full),
        *(
            pytest.param({'preset': key, 'options': value}, id=key, marks=pytest.mark.full)
            for key, value in SIZES.items()
        ),
    ],
)  # fmt: skip
def test_a_method_trains_every_network_it_supports(frames, teachers, tmp_path, name, network):
    options = supported(name, network)
    blind = network['preset'].startswith('depth_only')
    rebuilds = network['preset'] == 'depth_only'
    refused = (name in IMAGES and blind) or (name == 'image_reconstruction' and not rebuilds)
    assert (options is None) == refused
    if refused:
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


@pytest.mark.parametrize(
    ('name', 'until'),
    [*((name, None) for name in METHODS), ('local_similarity', 0.5), ('data_free', 0.25)],
)
def test_a_run_that_is_resumed_goes_on_exactly(frames, teachers, tmp_path, name, until):
    student = LSPKD if name != 'image_reconstruction' else {'preset': 'depth_only'}
    path = teachers(WIDER if until else student)
    teacher = None if name == 'image_reconstruction' else {'checkpoint': str(path)}
    methods = [method(name) | {'until': until}]
    wanted = config.parse(
        recipe(frames, '', methods, student, 'ground_truth', steps=4, teacher=teacher), ''
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


def test_a_method_is_left_out_after_its_end(frames, teachers, tmp_path):
    """Of 4 steps the first 2 are distilled; then the teacher is not even asked."""
    ends = [method('response') | {'until': 0.5}, method('local_similarity') | {'until': 0.7}]
    wanted = config.parse(
        recipe(frames, teachers(LSPKD), ends, target='input_points', steps=4, log_every=2), ''
    )
    fabric = open_fabric(wanted, 'cpu')
    run, asked = Run(wanted, fabric, tmp_path / 'by_hand'), []
    run.teacher.register_forward_hook(lambda *_: asked.append(run.step))
    means = []
    for batches in Feed(wanted).steps(0, 4):
        run.set_rate()
        means.append(learn(run, batches))
    terms = [set(found) for found in means]
    similar = {'local_similarity.feature', 'local_similarity.similarity'}
    assert terms == [{'l1', 'response.depth', *similar}] * 2 + [{'l1', *similar}, {'l1'}]
    assert asked == [0, 1, 2]
    assert train(wanted, tmp_path / 'run', fabric) is None
    log = runs.curves(tmp_path / 'run/log.csv')
    for key, found in log.items():
        for row, value in enumerate(found):  # of two steps, or of that one in which it acted
            own = [mean[key] for mean in means[2 * row : 2 * row + 2] if key in mean]
            if key in means[0]:
                expected = sum(own) / len(own) if own else math.nan
                assert value == pytest.approx(expected, rel=1e-4, nan_ok=True), (key, row)


TORCHRUN = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
SAME = [  # of each image by itself, and without numbers of their own
    'attention', 'channel_wise', 'global_similarity', 'local_similarity', 'response',
    'structure_response',
]  # fmt: skip


def finish(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=os.environ | {'OMP_NUM_THREADS': '1'}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_two_processes_learn_what_one_does(frames, teachers, tmp_path):
    teacher = teachers(WIDER)
    slow = {'rate': 5e-5, 'schedule': 'constant', 'warmup': 0, 'ema': None, 'accumulate': 2}
    values = recipe(frames, teacher, [method(name) for name in SAME], optimisation=slow)
    (tmp_path / 'r.yaml').write_text(yaml.safe_dump(values | {'save_every_s': 1e9}))
    words = ['-m', 'depth_kd_training', 'train', tmp_path / 'r.yaml', '--device', 'cpu', '--out']
    finish(*words, tmp_path / 'one')
    finish(*TORCHRUN, *words, tmp_path / 'two')
    one, two = (state.load(tmp_path / out / 'state.safetensors') for out in ('one', 'two'))
    parts = [(one['network'], two['network'])]
    parts += [(one['methods'][name]['state'], two['methods'][name]['state']) for name in SAME]
    assert sum(len(part) for part, _ in parts[1:]) == 18  # phi where channels differ
    for first, second in parts:
        for key, tensor in first.items():
            scale = max(1.0, float(tensor.abs().max()))
            assert (tensor - second[key]).abs().max() <= 1e-5 * scale, key


def test_methods_with_their_own_numbers_run_on_two_processes(frames, teachers, tmp_path):
    names = [name for name in METHODS if name not in (*SAME, 'none', 'image_reconstruction')]
    values = recipe(frames, teachers(LSPKD), [method(name) for name in names])
    (tmp_path / 'r.yaml').write_text(yaml.safe_dump(values))
    words = ['-m', 'depth_kd_training', 'train', tmp_path / 'r.yaml', '--device', 'cpu', '--out']
    finish(*TORCHRUN, *words, tmp_path / 'two')
    assert (tmp_path / 'two/log.csv').read_text().count('\n') == 3
    assert checkpoint.load(tmp_path / 'two/last.safetensors')


ERRORS = [
    ({'methods': [{'name': 'respons'}]}, r"methods\.0: unknown distillation method 'respons'"),
    ({'methods': [{'name': 'attention', 'options': {'taps': ['E9']}}]},
     r"methods\.0: .*'attention': taps: the student has no feature 'E9'; its features: rgb\.E0"),
    ({'methods': [{'name': 'attention', 'options': {'taps': 'D1'}}]}, r"taps = 'D1': give a list"),
    ({'methods': [{'name': 'response'}] * 2}, r"methods\.1: 'response' is there twice"),
    ({'methods': [{'name': 'response', 'options': {'los': 'l2'}}]}, r"has no option 'los'"),
    ({'teacher': None}, r"methods\.0: .*'response' needs a teacher: give teacher\.checkpoint"),
    ({'teacher': {'checkpoint': 'none.safetensors'}}, r"teacher\.checkpoint: no model 'none\."),
    ({'network': MONO}, r'the student reads image, the teacher image and sparse_depth; if that'),
    ({'data': {'mean': [0.5, 0.5, 0.5]}}, r'on images of mean \[0\.485, .* data\.mean'),
    ({'network': {'preset': 'relative_topformer_tiny'}}, r'the network predicts relative depth'),
    ({'methods': [{'name': 'response', 'weight': 0}]}, r'methods\.0\.weight = 0: Input'),
    ({'network': {'preset': 'depth_only'}, 'teacher': None, 'data': {'mean': [0, 0, 0]},
      'methods': [{'name': 'image_reconstruction'}]},
     r"'image_reconstruction': mean = \(0\.485, .*, but data\.mean = \(0\.0, .*: give both alike"),
    ({'methods': [{'name': 'random_noise'}], 'data': {'unlabelled': []}, 'supervision':
      {'losses': {}, 'target': 'none'}, 'teacher': None}, r"'random_noise' needs a teacher"),
    ({'methods': [{'name': 'response', 'until': 0.5}], 'supervision': {'target': 'none'}},
     r'methods: after the last `until` there is nothing to learn'),
    ({'methods': [{'name': 'response', 'until': 0.5}]},
     r'data\.unlabelled: after the last `until` nothing is learnt from frames without truth'),
    ({'methods': [{'name': 'response', 'until': 1.5}]}, r'methods\.0\.until = 1\.5: Input'),
    ({'methods': []}, r'data\.unlabelled: without a teacher nothing is learnt'),
    ({'methods': [], 'data': {'unlabelled': []}}, r'teacher: no method uses it'),
    ({'methods': [{'name': 'none'}], 'supervision': {'target': 'none'}}, 'nothing to learn'),
    ({'data': {'labelled': []}}, r'data\.labelled: empty, but supervision\.target = ground_truth'),
    ({'data': {'labelled': [], 'unlabelled': []}, 'supervision': {'target': 'none'}},
     r'data\.labelled, data\.unlabelled: both are empty'),
]  # fmt: skip


@pytest.mark.parametrize(('changes', 'message'), ERRORS)
def test_what_cannot_be_distilled_is_told(frames, teachers, tmp_path, changes, message):
    values = recipe(frames, teachers(LSPKD), [method('response')], target='ground_truth')
    for key, change in changes.items():
        both = isinstance(change, dict) and key != 'network'
        values[key] = values[key] | change if both else change
    with pytest.raises(ConfigError, match=message):
        wanted = config.parse(values, 'test')
        train(wanted, tmp_path, open_fabric(wanted, 'cpu'))


def test_a_student_may_learn_from_a_teacher_that_sees_more(frames, teachers, tmp_path):
    values = recipe(frames, teachers(LSPKD), [method('response')], MONO)
    values['teacher']['other_inputs'] = True
    wanted = config.parse(values, 'test')
    assert train(wanted, tmp_path, open_fabric(wanted, 'cpu')) is None


def test_a_teacher_may_read_points_that_the_student_lacks(frames, teachers, tmp_path):
    values = recipe(frames, teachers(LSPKD), [method('response')])
    values['data'] |= {'augmentation': {'beams': [4], 'flip': 0.5}, 'labelled': []}
    terms = []
    for all_points in (False, True):
        values['teacher']['all_points'] = all_points
        wanted = config.parse(values, 'test')
        run = Run(wanted, open_fabric(wanted, 'cpu'), tmp_path)
        ((batch,),) = Feed(wanted).steps(0, 1)
        (lesson,) = lessons(run, batch)
        terms.append(compare(run, lesson)['response.depth'])
        samples = batch.samples
        shown = samples.all_points if all_points else samples.sparse_depth
        with torch.no_grad():
            target = run.teacher(samples.image, shown).depth
            given = run.student(samples.image, samples.sparse_depth).depth
        assert terms[-1].item() == pytest.approx((target - given).abs().mean().item(), rel=1e-4)
    counts = [int((depth > 0).sum()) for depth in (samples.sparse_depth, samples.all_points)]
    assert 0 < 3 * counts[0] < counts[1]
    assert terms[0].item() != pytest.approx(terms[1].item(), rel=1e-3)


@pytest.mark.parametrize('said', [True, False])
def test_unlabelled_frames_alone_suffice(frames, teachers, tmp_path, said):
    values = recipe(frames, teachers(LSPKD), [method('response')])
    values['data'] |= {'labelled': [], 'unlabelled_share': None}
    if not said:
        del values['data']['labelled']  # it is then not the simulation
    wanted = config.parse(values, 'test')
    ((batch,),) = Feed(wanted).steps(0, 1)
    assert batch.labelled == 0 and len(batch.samples.image) == 4
    assert not batch.samples.depth_gt.any()
    assert train(wanted, tmp_path, open_fabric(wanted, 'cpu')) is None


@pytest.mark.parametrize('target', ['ground_truth', 'input_points'])
def test_frames_without_anything_to_compare_with_are_told(frames, tmp_path, target):
    changes = {'depth_range_m': [70, 80], 'steps': 30, 'supervision': {'target': target}}
    wanted = config.parse(street_folder.recipe(frames, data={'validation': []}, **changes), 'test')
    what = 'sparse depth' if target == 'input_points' else 'ground truth'
    with pytest.raises(TrainingError, match=rf'step 10: no frame had any {what} within depth_ran'):
        train(wanted, tmp_path, open_fabric(wanted, 'cpu'))


def test_terms_are_weighted_summed_over_views_and_reach_the_adapters(frames, teachers, tmp_path):
    teacher = teachers(WIDER)
    names = [{**method('local_similarity'), 'weight': 3.0}, {**method('data_free'), 'weight': 0.5}]
    wanted = config.parse(recipe(frames, teacher, names, target='ground_truth'), 'test')
    run = Run(wanted, open_fabric(wanted, 'cpu'), tmp_path)
    before = [adapter.detach().clone() for adapter in run.adapters]
    assert len(before) == 9 and not any(p.requires_grad for p in run.teacher.parameters())
    (batches,) = Feed(wanted).steps(0, 1)
    run.seed_batch(0)
    both, transformed = lessons(run, batches[0])
    assert both.supervised and both.methods == ('local_similarity', 'data_free')
    assert not transformed.supervised and transformed.methods == ('data_free',)
    terms = compare(run, both)
    again = compare(run, transformed)
    for name, (weight, _) in run.methods.items():
        run.methods[name] = 2 * weight, run.methods[name][1]
    doubled = compare(run, both)
    assert doubled['l1'].item() == pytest.approx(terms['l1'].item(), rel=1e-4)
    for key in ('local_similarity.feature', 'data_free.depth'):
        assert doubled[key].item() == pytest.approx(2 * terms[key].item(), rel=1e-3)
    assert again.keys() == {'data_free.depth'}
    means = learn(run, batches)
    assert {'l1', 'local_similarity.similarity', 'data_free.bn', 'data_free.mixed'} <= means.keys()
    for old, new in zip(before, run.adapters, strict=True):
        assert not torch.equal(old, new)
