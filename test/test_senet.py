"""The encoder SENet-154: the public network's keys, counts and blocks."""

from __future__ import annotations

import functools

from depth_kd_ros.networks.encoders.senet import Bottleneck, SENet154, stage
from network_inputs import parameters
import pytest
import torch
import torch.nn.functional as F


@functools.cache
def on_meta():
    with torch.device('meta'):
        return SENet154().eval()


def test_parameters_are_the_published_ones_without_the_classifier():
    assert parameters(on_meta()) == 115_088_984 - (2048 * 1000 + 1000)


def public_shapes():
    """Give the shape of every weight in the public file but those of `last_linear`."""
    shapes = {}

    def norm(key, channels):
        names = ('weight', 'bias', 'running_mean', 'running_var')
        shapes.update({f'{key}.{name}': (channels,) for name in names})
        shapes[f'{key}.num_batches_tracked'] = ()

    for i, (before, after) in enumerate(((3, 64), (64, 64), (64, 128)), start=1):
        shapes[f'layer0.conv{i}.weight'] = (after, before, 3, 3)
        norm(f'layer0.bn{i}', after)
    before = 128
    for layer, (blocks, width) in enumerate(((3, 64), (8, 128), (36, 256), (3, 512)), start=1):
        for block in range(blocks):
            key, out = f'layer{layer}.{block}', 4 * width
            shapes[f'{key}.conv1.weight'] = (2 * width, before, 1, 1)
            shapes[f'{key}.conv2.weight'] = (out, 2 * width // 64, 3, 3)
            shapes[f'{key}.conv3.weight'] = (out, out, 1, 1)
            for i, channels in enumerate((2 * width, out, out), start=1):
                norm(f'{key}.bn{i}', channels)
            shapes[f'{key}.se_module.fc1.weight'] = (out // 16, out, 1, 1)
            shapes[f'{key}.se_module.fc1.bias'] = (out // 16,)
            shapes[f'{key}.se_module.fc2.weight'] = (out, out // 16, 1, 1)
            shapes[f'{key}.se_module.fc2.bias'] = (out,)
            if block == 0:
                kernel = 1 if layer == 1 else 3
                shapes[f'{key}.downsample.0.weight'] = (out, before, kernel, kernel)
                norm(f'{key}.downsample.1', out)
            before = out
    return shapes


def test_state_dict_has_the_public_files_keys_and_shapes():
    expected = public_shapes()
    assert {key: tuple(value.shape) for key, value in on_meta().state_dict().items()} == expected
    assert len(expected) == 1142


@pytest.mark.parametrize(
    ('size', 'sizes'),
    [
        ((224, 320), ((112, 160), (56, 80), (28, 40), (14, 20), (7, 10))),
        ((97, 131), ((49, 66), (25, 33), (13, 17), (7, 9), (4, 5))),
        ((1, 2), ((1, 1),) * 5),
    ],
)
def test_scales(size, sizes):
    encoder = on_meta()
    image = torch.empty(2, 3, *size, device='meta')
    found = [encoder.stem(image), *encoder(image)]
    channels = (128, 256, 512, 1024, 2048)
    assert encoder.channels == channels[1:]
    assert [tuple(f.shape) for f in found] == [
        (2, c, *s) for c, s in zip(channels, sizes, strict=True)
    ]


@pytest.mark.parametrize('size', [(8, 12), (7, 12), (5, 9), (2, 3)])
def test_pooling_is_the_public_networks_and_keeps_the_odd_last_row(size):
    """Windows from the top left, with which an odd last row or column is omitted there."""
    torch.manual_seed(0)
    x = torch.rand(2, 3, *size)
    public = F.max_pool2d(x, 3, 2, ceil_mode=True)
    found = on_meta().maxpool(x)
    assert torch.equal(found[:, :, : size[0] // 2, : size[1] // 2], public)
    assert found.shape[2:] == tuple((n + 1) // 2 for n in size)
    if size[0] % 2:
        assert torch.equal(found[:, :, -1, 0], x[:, :, -1, :3].amax(-1))


def test_pooling_keeps_a_single_pixel():
    assert on_meta().maxpool(torch.full((1, 1, 1, 1), 0.5)).tolist() == [[[[0.5]]]]


def functional_block(state, x, stride):
    """Run a block with functions only; its excitation as matrix products."""

    def norm(x, key):
        stats = (state[f'{key}.{n}'] for n in ('running_mean', 'running_var', 'weight', 'bias'))
        return F.batch_norm(x, *stats, training=False)

    y = F.relu(norm(F.conv2d(x, state['conv1.weight']), 'bn1'))
    y = F.relu(norm(F.conv2d(y, state['conv2.weight'], None, stride, 1, 1, 64), 'bn2'))
    y = norm(F.conv2d(y, state['conv3.weight']), 'bn3')
    fc1, fc2 = (state[f'se_module.{fc}.weight'].flatten(1) for fc in ('fc1', 'fc2'))
    means = y.sum((2, 3)) / (y.shape[2] * y.shape[3])
    hidden = (means @ fc1.T + state['se_module.fc1.bias']).clamp(min=0)
    weights = 1 / (1 + torch.exp(-(hidden @ fc2.T + state['se_module.fc2.bias'])))
    y = y * weights[:, :, None, None]
    if 'downsample.0.weight' in state:
        shortcut = state['downsample.0.weight']
        x = F.conv2d(x, shortcut, stride=stride, padding=shortcut.shape[2] // 2)
        x = norm(x, 'downsample.1')
    return F.relu(y + x)


@pytest.mark.parametrize(
    ('in_channels', 'stride'), [(128, 1), (256, 1), (128, 2)], ids=['wider', 'same', 'halved']
)
def test_block_equals_its_functional_twin(in_channels, stride):
    torch.manual_seed(1)
    block = Bottleneck(in_channels, 64, stride).eval().double()
    assert (block.downsample is None) == (in_channels == 256)
    for key, value in block.state_dict().items():  # so that no norm is the identity
        if value.dim() == 1 and value.is_floating_point():
            value += torch.rand_like(value) if key.endswith(('var', 'weight')) else 0.1
    x = torch.randn(2, in_channels, 7, 10, dtype=torch.float64)
    before = x.clone()
    with torch.no_grad():
        found, expected = block(x), functional_block(block.state_dict(), x, stride)
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 256, -(-7 // stride), -(-10 // stride))
    assert torch.equal(x, before)


def test_a_stage_changes_scale_once():
    with torch.device('meta'):
        blocks = stage(256, 128, 3, stride=2)
    assert [b.conv2.stride for b in blocks] == [(2, 2), (1, 1), (1, 1)]
    assert [b.downsample is None for b in blocks] == [False, True, True]
