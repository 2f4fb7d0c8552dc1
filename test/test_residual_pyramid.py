"""The residual pyramid: the papers' numbers, and an independent second writing."""

from __future__ import annotations

import functools

from batch_norms import normalise
from depth_kd_ros import networks
from depth_kd_ros.networks import residual_pyramid
from network_inputs import inputs, on_meta, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

PRESETS = residual_pyramid.PRESETS
TEACHER, STUDENT = 'residual_pyramid_senet154', 'residual_pyramid_resnet34'
TINY = residual_pyramid.Config('resnet18', projected=32, fused=64)


@functools.cache
def of_shapes(preset):
    return on_meta('residual_pyramid', PRESETS[preset])


# --- options


@pytest.mark.parametrize('encoder', ['resnet35', 'senet', '', None, 34])
def test_it_rejects_an_unknown_encoder(encoder):
    with pytest.raises(
        ValueError, match=r"'residual_pyramid': encoder = .*: give one of senet154, resnet18, res"
    ):
        networks.build('residual_pyramid', {'encoder': encoder})


@pytest.mark.parametrize(
    ('key', 'value', 'unit'),
    [
        ('projected', 24, 16),
        ('projected', 0, 16),
        ('projected', -16, 16),
        ('projected', 32.0, 16),
        ('projected', True, 16),
        ('fused', 48, 32),
        ('fused', 0, 32),
        ('fused', '64', 32),
        ('fused', None, 32),
    ],
)
def test_it_rejects_channels_that_do_not_halve(key, value, unit):
    message = rf'{key} = {value!r}: give a positive multiple of {unit}$'
    with pytest.raises(ValueError, match=message):
        networks.build('residual_pyramid', {key: value})


@pytest.mark.parametrize('upsample', ['yes', 1, None])
def test_it_rejects_an_upsample_that_is_not_a_boolean(upsample):
    with pytest.raises(ValueError, match=r'upsample = .*: give True or False'):
        networks.build('residual_pyramid', {'upsample': upsample})


@pytest.mark.parametrize('encoder', ['resnet50', 'resnext101_32x8d'])
def test_it_takes_the_encoders_of_no_preset(encoder):
    network = on_meta('residual_pyramid', residual_pyramid.Config(encoder))
    assert network(*inputs(33, 50, device='meta')).depth.shape == (1, 1, 33, 50)


def test_without_upsampling_the_depth_is_the_finest_levels():
    torch.manual_seed(0)
    network = residual_pyramid.Network(TINY).eval()
    half = residual_pyramid.Config('resnet18', projected=32, fused=64, upsample=False)
    twin = residual_pyramid.Network(half).eval()
    twin.load_state_dict(network.state_dict())
    image, _ = inputs(41, 54)
    with torch.no_grad():
        full, small = network(image), twin(image)
    assert small.depth.shape == (1, 1, 21, 27)
    assert torch.equal(small.depth, full.features['D1'])
    # From corner to corner: the corners of both are the same.
    assert torch.equal(full.depth[..., :: 41 - 1, :: 54 - 1], small.depth[..., ::20, ::26])


# --- the papers' numbers


@pytest.mark.parametrize(
    ('preset', 'expected', 'millions'),
    [(TEACHER, 258_400_149, 258.4), (STUDENT, 38_651_349, 38.7)],
)
def test_parameters_to_the_unit_and_as_published(preset, expected, millions):
    count = parameters(of_shapes(preset))
    assert count == expected
    assert round(count / 1e6, 1) == millions


PARTS = {  # by hand from the channels of the authors' code, weights + batch norms (+ biases)
    TEACHER: {
        'encoder': 115_088_984 - 2_049_000,  # pretrainedmodels' senet154, no classifier
        'top': 2048 * 1024 + 2 * 1024,
        'fusions': 118_066_848,
        'residuals': 22_029_632,
        'refinements': 3_164_485,
    },
    STUDENT: {
        'encoder': 21_797_672 - 513_000,  # torchvision's resnet34, no classifier
        'top': 512 * 256 + 2 * 256,
        'fusions': 15_652_272,
        'residuals': 1_380_944,
        'refinements': 201_877,
    },
}


def fusion_count(scales, projected, fused):
    """Count one level's fusion: per scale 5x5 twice and 3x3, three norms; then a 3x3, a norm."""
    up = sum(2 * 25 * c * projected + 9 * projected**2 + 6 * projected for c in scales)
    return up + 9 * 5 * projected * fused + 2 * fused


@pytest.mark.parametrize('preset', PARTS)
def test_parameters_of_each_part(preset):
    network = of_shapes(preset)
    found = {name: parameters(part) for name, part in network.named_children()}
    assert found == PARTS[preset]
    scales = {TEACHER: (128, 256, 512, 1024, 2048), STUDENT: (64, 64, 128, 256, 512)}[preset]
    projected, fused = {TEACHER: (256, 1024), STUDENT: (128, 256)}[preset]
    for level in (5, 4, 3, 2, 1):
        i, p, f = level - 1, projected, fused
        assert parameters(network.fusions[i]) == fusion_count(scales, p, f)
        inside = 2 * f if level == 5 else f
        assert parameters(network.residuals[i]) == 9 * inside * f + 2 * f + 9 * f
        h = f // 2
        assert parameters(network.refinements[i]) == 9 * h + 9 * h * h + 9 * h + 4 * h + 1
        projected, fused = projected // 2, fused // 2


@pytest.mark.parametrize(('preset', 'expected'), [(TEACHER, 296.5), (STUDENT, 40.73)])
def test_gflops_at_228x304(preset, expected):
    network = of_shapes(preset)
    with FlopCounterMode(display=False) as counter:
        network(*inputs(228, 304, device='meta'))
    assert float(f'{counter.get_total_flops() / 1e9:.4g}') == expected


SIZES = {  # levels 1 .. 5; the first is the authors' own
    (228, 304): ((114, 152), (57, 76), (29, 38), (15, 19), (8, 10)),
    (97, 131): ((49, 66), (25, 33), (13, 17), (7, 9), (4, 5)),
}
CHANNELS = {
    TEACHER: ((128, 256, 512, 1024, 2048), (64, 128, 256, 512, 1024)),
    STUDENT: ((64, 64, 128, 256, 512), (16, 32, 64, 128, 256)),
}


@pytest.mark.parametrize('preset', CHANNELS)
@pytest.mark.parametrize('size', SIZES)
def test_taps(preset, size):
    encoder, fused = CHANNELS[preset]
    expected = {}
    for i, at in enumerate(SIZES[size]):
        expected[f'E{i + 1}'] = (encoder[i], *at)
        expected[f'F{i + 1}'] = (fused[i], *at)
        expected[f'D{i + 1}'] = (1, *at)
    prediction = of_shapes(preset)(*inputs(*size, device='meta'))
    found = {tap: tuple(feature.shape[1:]) for tap, feature in prediction.features.items()}
    assert found == expected


# --- an independent second writing, from the description of its levels


def functional_pyramid(state, encoded):
    """Run the decoder with functions only: E1 .. E5 to D1 .. D5 by name."""

    def norm(x, key):
        return normalise(state, x, key)

    def conv(x, key):
        weight = state[f'{key}.weight']
        return F.conv2d(x, weight, state.get(f'{key}.bias'), padding=weight.shape[2] // 2)

    def layer(x, key):
        return F.relu(norm(conv(x, f'{key}.0'), f'{key}.1'))

    def bilinear(x, size):
        """Resample so that the corners' centres stay: a product with a matrix per axis."""
        for axis, n in ((2, size[0]), (3, size[1])):
            m = x.shape[axis]
            at = torch.linspace(0, m - 1, n, dtype=x.dtype) if n > 1 else torch.zeros(1).to(x)
            weights = (1 - (at[:, None] - torch.arange(m).to(x)).abs()).clamp(min=0)  # (n, m)
            x = (x.transpose(axis, 3) @ weights.T).transpose(axis, 3)
        return x

    def project(x, key):
        x = norm(conv(x, f'{key}.project.0'), f'{key}.project.1')
        half = x.shape[1] // 2
        branch = norm(conv(F.relu(x[:, :half]), f'{key}.refine.0'), f'{key}.refine.1')
        return F.relu(branch + x[:, half:])

    depths, above = {}, None
    for level in (5, 4, 3, 2, 1):
        i, size = level - 1, encoded[level - 1].shape[2:]
        projected = [
            project(bilinear(e, size), f'fusions.{i}.projections.{j}')
            for j, e in enumerate(encoded)
        ]
        x = layer(torch.cat(projected, 1), f'fusions.{i}.mix')
        if level == 5:
            x = torch.cat((layer(encoded[4], 'top'), x), 1)
        x = conv(layer(x, f'residuals.{i}.0'), f'residuals.{i}.1')
        if above is not None:
            x = x + bilinear(above, size)
        y = layer(layer(x, f'refinements.{i}.layers.0'), f'refinements.{i}.layers.1')
        above = depths[f'D{level}'] = x + conv(y, f'refinements.{i}.layers.2')
    return depths


@pytest.mark.parametrize('size', [(64, 96), (37, 51), (1, 3)])
def test_it_equals_its_functional_twin(size):
    torch.manual_seed(2)
    network = residual_pyramid.Network(TINY).eval().double()
    for key, value in network.state_dict().items():  # so that no norm is the identity
        if value.dim() == 1 and value.is_floating_point():
            value += torch.rand_like(value) if key.endswith(('var', 'weight')) else 0.1
    image = inputs(*size, batch=2)[0].double()
    with torch.no_grad():
        features = network(image).features
        encoded = [network.encoder.stem(image), *network.encoder(image)]
        expected = functional_pyramid(network.state_dict(), encoded)
    for level, e in enumerate(encoded, start=1):
        torch.testing.assert_close(features[f'E{level}'], e)
    for tap, depth in expected.items():
        torch.testing.assert_close(features[tap], depth)
    assert expected['D1'].std() > 1e-3 or size == (1, 3)


# --- at the start


def test_every_level_starts_near_three_metres():
    torch.manual_seed(0)
    network = residual_pyramid.Network(PRESETS[STUDENT]).train()
    with torch.no_grad():
        features = network(*inputs(96, 128, batch=2)).features
    for level in (5, 4, 3, 2, 1):
        assert 0.1 < features[f'E{level}'].std() < 10
        assert 0.1 < features[f'F{level}'].std() < 10
        depth = features[f'D{level}']
        assert 2 < depth.mean() < 4
        assert 0.01 < depth.std() < 1
