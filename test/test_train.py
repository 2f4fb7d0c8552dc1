"""The loop: against one written by hand, its scores, its mixing, and one frame learnt by heart."""

from __future__ import annotations

import math

from depth_kd_ros import checkpoint, networks
from depth_kd_ros.folders import read_depth, read_rgb
from depth_kd_training import config, data, state
from depth_kd_training.augment import Augmentation
from depth_kd_training.augment import Config as AugmentationConfig
from depth_kd_training.data.loading import as_tensors, Loader
from depth_kd_training.feed import Feed
from depth_kd_training.opening import open_fabric, open_network
from depth_kd_training.recipe import ConfigError
from depth_kd_training.run import Run
from depth_kd_training.train import train
import numpy as np
import pytest
import street_folder
import torch


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return street_folder.write(tmp_path_factory.mktemp('street'), 6)


def run(recipe, out):
    """Train by a recipe of plain values on this CPU."""
    wanted = config.parse(recipe, 'test')
    assert train(wanted, out, open_fabric(wanted, 'cpu')) is None
    return state.load(out / 'state.safetensors')


def test_a_loop_written_by_hand_learns_the_same(frames, tmp_path):
    optimisation = {
        'optimiser': 'adamw', 'rate': 2e-3, 'weight_decay': 0.1, 'schedule': 'cosine', 'warmup': 2,
        'accumulate': 2, 'clip': 0.5, 'ema': 0.6,
    }  # fmt: skip
    recipe = street_folder.recipe(
        frames, optimisation=optimisation, steps=5, supervision={'losses': {'l1': 0.5, 'l2': 0.01}}
    )
    found = run(recipe, tmp_path)

    torch.manual_seed(0)
    network = open_network(config.parse(recipe, 'test'))
    network.to(memory_format=torch.channels_last)
    average = {name: value.clone() for name, value in network.named_parameters()}
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.1)
    augment = Augmentation(AugmentationConfig(crop=(32, 64), flip=0.5))
    options = {'root': str(frames), 'depth_gt': 'depth_gt'}
    normalise = as_tensors((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    batches = Loader([data.build('folder', options)], [1], augment, normalise, 4, 0).batches(0, 10)
    losses = []
    for step in range(5):
        for group in optimiser.param_groups:
            group['lr'] = 2e-3 * min(1, (step + 1) / 2) * (1 + math.cos(math.pi * step / 5)) / 2
        losses.append(0)
        for batch in (next(batches), next(batches)):
            depth = network(batch.image, batch.sparse_depth).depth
            error = (depth - batch.depth_gt)[(batch.depth_gt >= 0.5) & (batch.depth_gt <= 120)]
            assert error.numel() == depth.numel()  # every pixel is valid here
            loss = 0.5 * error.abs().mean() + 0.01 * error.square().mean()
            (loss / 2).backward()
            losses[-1] += loss.item() / 2
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimiser.step()
        optimiser.zero_grad()
        decay = min(0.6, (2 + step) / (11 + step))
        for name, value in network.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * value.detach()

    for name, value in network.state_dict().items():
        assert torch.allclose(found['network'][name], value, rtol=1e-4, atol=1e-5), name
    for name, value in average.items():
        assert torch.allclose(found['average']['tensors'][name], value, rtol=1e-4, atol=1e-5), name
    lines = (tmp_path / 'log.csv').read_text().splitlines()
    assert lines[0] == 'step,rate,l1,l2,samples_per_s,waiting'
    logged = [list(map(float, line.split(',')))[1:4] for line in lines[1:]]
    assert [row[1] + row[2] for row in logged] == pytest.approx(losses, rel=1e-3)
    assert logged[1][0] == pytest.approx(2e-3 * (1 + math.cos(math.pi / 5)) / 2, rel=1e-5)


def test_the_score_is_that_of_the_saved_network(frames, tmp_path):
    """Validate whole frames with averaged weights: the checkpoint gives the numbers by itself."""
    recipe = street_folder.recipe(frames, steps=4, validate_every=2, licence='Apache-2.0')
    run(recipe, tmp_path)
    loaded = checkpoint.load(tmp_path / 'last.safetensors')
    mean, std = (np.array(v) for v in loaded.metadata.normalisation)
    errors = []
    for name in ('0000', '0005'):  # two frames, evenly spread over six
        image = (read_rgb(frames / 'rgb' / f'{name}.png') / 255 - mean) / std
        sparse = read_depth(frames / 'sparse' / f'{name}.png')
        truth = read_depth(frames / 'depth_gt' / f'{name}.png')
        with torch.no_grad():
            depth = loaded.model(
                torch.from_numpy(image).permute(2, 0, 1)[None].float(),
                torch.from_numpy(sparse)[None, None],
            ).depth
        errors.append(np.abs(depth[0, 0].clamp(0.5, 120).numpy() - truth).mean())
    rows = (tmp_path / 'validation.csv').read_text().splitlines()
    assert [row.split(',')[:2] for row in rows[1:]] == [['2', '8'], ['4', '16']]
    scores = dict(zip(rows[0].split(','), map(float, rows[-1].split(',')), strict=True))
    assert scores['mae'] == pytest.approx(np.mean(errors), rel=1e-4)
    assert loaded.metadata.metrics['mae'] == pytest.approx(np.mean(errors), rel=1e-4)
    about = loaded.metadata.training
    assert (about['seed'], about['steps'], about['samples'], about['averaged']) == (0, 4, 16, True)
    assert about['recipe']['data']['augmentation'] == {'crop': [32, 64], 'flip': 0.5}
    assert loaded.metadata.licence == 'Apache-2.0'
    assert config.load(tmp_path / 'recipe.yaml') == config.parse(recipe, 'test')


def test_the_best_is_kept(frames, tmp_path, monkeypatch):
    from depth_kd_training.validation import Validation

    maes = iter([3.0, 1.0, 2.0, 1.0, 1.5])
    monkeypatch.setattr(Validation, '__call__', lambda *_: {'mae': next(maes), 'rmse': 4.0})
    recipe = street_folder.recipe(frames, steps=5, validate_every=1)
    run(recipe | {'optimisation': {}}, tmp_path)
    best, last = (
        checkpoint.read_metadata(tmp_path / f'{n}.safetensors') for n in ('best', 'last')
    )
    assert (best.training['steps'], best.metrics['mae']) == (2, 1.0)
    assert (last.training['steps'], last.metrics['mae'], last.training['averaged']) == (
        5,
        1.5,
        False,
    )


def test_unlabelled_frames_are_mixed_in_by_ratio(frames, tmp_path):
    other = street_folder.write(tmp_path / 'u', 2, seed=9)
    mixed = {'unlabelled': [street_folder.source(other)], 'batch': 8}
    for share, count in ((None, 2), (0.5, 4), (0.05, 1)):
        values = street_folder.recipe(frames, data={**mixed, 'unlabelled_share': share})
        (batch,) = next(Feed(config.parse(values, 'test')).steps(0, 1))
        assert batch.labelled == 8 - count and batch.samples.image.shape == (8, 3, 32, 64)
        truths = batch.samples.depth_gt.flatten(1).any(1)
        assert truths.tolist() == [True] * (8 - count) + [False] * count  # hidden, though there
        assert batch.samples.sparse_depth.flatten(1).any(1).all()
    values = street_folder.recipe(frames, data={**mixed, 'unlabelled_share': 0.97})
    with pytest.raises(ConfigError, match=r'data\.batch = 8: no room for labelled frames'):
        Feed(config.parse(values, 'test'))


def test_worker_processes_change_nothing(frames, tmp_path):
    saved = []
    for workers in (0, 1):
        recipe = street_folder.recipe(frames, steps=3, data={'workers': workers})
        run(recipe, tmp_path / str(workers))
        saved.append((tmp_path / f'{workers}/last.safetensors').read_bytes()[100_000:])
    assert saved[0] == saved[1]


@pytest.mark.parametrize('precision', ['bf16-mixed', '32-true'])
def test_precisions(frames, tmp_path, precision):
    channels_last = precision == 'bf16-mixed'
    recipe = street_folder.recipe(frames, precision=precision, channels_last=channels_last)
    saved = run(recipe, tmp_path)
    assert all(v.dtype == torch.float32 for n, v in saved['network'].items() if 'weight' in n)
    assert checkpoint.load(tmp_path / 'best.safetensors')


@pytest.mark.parametrize(
    ('preset', 'rate', 'batch', 'steps'),
    [
        ('lspkd_s8', 0.01, 4, 200),
        pytest.param('mff_mobilenet_v2', 0.004, 8, 300, marks=pytest.mark.full),
        pytest.param('depth_only_b', 0.004, 4, 250, marks=pytest.mark.full),
    ],
)
def test_one_frame_is_learnt_by_heart(tmp_path, preset, rate, batch, steps):
    """
    MAE below 2 cm, whole frame and saved weights, within 300 steps of the whole loop.

    The batch repeats the frame: batch norm's running variance must be near that of a batch.
    """
    frames = street_folder.write(tmp_path / 'one', 1, (33, 65))
    v, u = np.indices((33, 65))
    depth = 1 + 0.2 * np.sin(u / 9) + v / 66  # a wavy wall and a box, 0.8 m to 1.7 m
    depth[10:22, 24:40] = 0.8
    measured = read_depth(frames / 'sparse/0000.png') > 0
    street_folder.save_depth(frames / 'depth_gt/0000.png', depth)
    street_folder.save_depth(frames / 'sparse/0000.png', depth * measured)
    recipe = street_folder.recipe(
        frames,
        network={'preset': preset, 'options': {}},
        data={'batch': batch, 'augmentation': {}},
        optimisation={'rate': rate, 'ema': None, 'warmup': 10, 'clip': None},
        steps=steps, validate_every=steps, save_every_s=1e9,
    )  # fmt: skip
    run(recipe, tmp_path / 'run')
    scores = checkpoint.read_metadata(tmp_path / 'run/last.safetensors').metrics
    assert scores['mae'] < 0.02, scores
    print(f'{preset}: MAE {scores["mae"] * 100:.2f} cm')


class Probe(torch.nn.Module):
    """Note what it is called with."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        self.seen = x
        return self.weight * x


def test_sixteen_bits_do_not_round_what_the_lidar_measured(frames):
    wanted = config.parse(street_folder.recipe(frames, precision='bf16-mixed'), 'test')
    probe = Probe()
    depth = torch.tensor([[100.3]])  # 100.5 in bf16
    open_fabric(wanted, 'cpu').setup(probe)(depth)
    assert torch.equal(probe.seen, depth)


def test_weights_of_a_network_with_other_options_are_refused(frames, tmp_path):
    recipe = street_folder.recipe(frames, steps=1)
    run(recipe, tmp_path / 'first')
    begun = recipe['network'] | {'checkpoint': str(tmp_path / 'first/last.safetensors')}
    run(recipe | {'network': begun}, tmp_path / 'second')
    other = begun | {'options': begun['options'] | {'output': 'log'}}
    with pytest.raises(ConfigError, match=r'network: .*last.safetensors holds another network'):
        open_network(config.parse(recipe | {'network': other}, 'test'))


TWO_STAGE = {
    'preset': 'two_stage',
    'options': {'relative': 'relative_topformer_tiny', 'width': 1 / 16, 'blocks': [1, 1, 1, 1]},
}
NORMALISED = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def save_relative(path, normalisation=NORMALISED, **options):
    """Save a relative network of random weights."""
    torch.manual_seed(5)
    name, preset = networks.presets()['relative_topformer_tiny']
    network = networks.build(name, {**preset, **options})
    checkpoint.save(path, network, normalisation=normalisation, depth_range_m=(0.5, 80.0))
    return network.state_dict()


def test_a_network_within_begins_with_its_weights_and_keeps_them(frames, tmp_path):
    path = tmp_path / 'relative.safetensors'
    given = save_relative(path)
    network = TWO_STAGE | {'parts': {'relative': str(path)}, 'frozen': ['relative']}
    recipe = street_folder.recipe(frames, network=network, steps=2)
    begun = open_network(config.parse(recipe, 'test')).state_dict()
    trained = run(recipe, tmp_path / 'run')['network']
    deployed = checkpoint.load(tmp_path / 'run/last.safetensors').model.state_dict()
    for key, value in given.items():
        assert torch.equal(deployed[f'relative.{key}'], value), key
        assert torch.equal(begun[f'relative.{key}'], value), key
        assert torch.equal(trained[f'relative.{key}'], value), key  # batch statistics, too
    rest = [key for key in begun if not key.startswith('relative.')]
    assert not any(torch.equal(begun[key], trained[key]) for key in rest if 'weight' in key)


@pytest.mark.parametrize(
    ('saved', 'network', 'text'),
    [
        ({'output': 'depth'}, {}, r'network: .*r.safetensors holds another network'),
        ({'normalisation': ((0.0,) * 3, (1.0,) * 3)}, {}, 'give data.mean and data.std these'),
        (
            {},
            {'frozen': ['relatif']},
            "frozen: two_stage has no network 'relatif' in it; it has ",
        ),
        ({}, street_folder.TINY, "parts: lspkd_s8 has no network 'relative' in it; .* none"),
    ],
)
def test_networks_within_that_do_not_fit_are_told(frames, tmp_path, saved, network, text):
    save_relative(tmp_path / 'r.safetensors', **saved)
    chosen = TWO_STAGE | {'parts': {'relative': str(tmp_path / 'r.safetensors')}} | network
    with pytest.raises(ConfigError, match=text):
        open_network(config.parse(street_folder.recipe(frames, network=chosen), 'test'))


def test_parts_of_other_shapes_and_nothing_to_train_are_told(frames, tmp_path):
    """The completion within reads two depths; a network of its own one."""
    torch.manual_seed(5)
    name, options = networks.presets()['lspkd_s8']
    own = networks.build(name, {**options, 'width': 1 / 16, 'blocks': [1, 1, 1, 1]})
    path = str(tmp_path / 'own.safetensors')
    checkpoint.save(path, own, normalisation=NORMALISED, depth_range_m=(0.5, 80.0))
    chosen = TWO_STAGE | {'parts': {'completion': path}}
    with pytest.raises(ConfigError, match=r'own.safetensors holds another network: .* is \['):
        open_network(config.parse(street_folder.recipe(frames, network=chosen), 'test'))
    chosen = TWO_STAGE | {'checkpoint': path, 'frozen': ['relative', 'completion']}
    with pytest.raises(ConfigError, match='nothing is left to train'):
        open_network(config.parse(street_folder.recipe(frames, network=chosen), 'test'))


def test_the_scores_of_a_checkpoint_are_those_of_its_weights(frames, tmp_path):
    """Step 2 is validated; the checkpoint of step 3 has no scores."""
    recipe = street_folder.recipe(frames, steps=3, validate_every=2)
    wanted = config.parse(recipe, 'test')
    fabric = open_fabric(wanted, 'cpu')
    folder = Run(wanted, fabric, tmp_path)
    folder.resume()
    folder.step = 2
    assert folder.judge({'mae': 1.0})
    assert checkpoint.read_metadata(tmp_path / 'best.safetensors').metrics == {'mae': 1.0}
    folder.step = 3
    folder.deploy(tmp_path / 'last.safetensors')
    assert not checkpoint.read_metadata(tmp_path / 'last.safetensors').metrics
