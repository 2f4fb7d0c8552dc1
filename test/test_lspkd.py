"""The lspkd network: the paper's numbers, and an independent second writing."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

from batch_norms import normalise
from depth_kd_ros import networks
from depth_kd_ros.networks import lspkd
from network_inputs import inputs, on_meta, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize('width', [0, -1, 0.01, 1 / 3, float('nan'), float('inf'), '1', None])
def test_lspkd_rejects_a_width_with_fractional_channels(width):
    with pytest.raises(ValueError, match=r"network 'lspkd': width = .* multiple of 1/64"):
        networks.build('lspkd', {'width': width})


@pytest.mark.parametrize('blocks', [[2, 2, 2], [2, 2, 2, 0], [2, 2, 2, 2.5], 2, 'abcd'])
def test_lspkd_rejects_wrong_blocks(blocks):
    with pytest.raises(ValueError, match=r'blocks = .* give 4 positive whole numbers'):
        networks.build('lspkd', {'blocks': blocks})


def train_in_channels_last(steps=4):
    """
    Train in float32 channels_last; hold each step's gradients to contiguous float64's.

    On smaller maps a strided 1x1 convolution does no harm, and this would not find one.
    """
    torch.manual_seed(0)
    network = lspkd.Network(lspkd.PRESETS['lspkd_s8']).to(memory_format=torch.channels_last)
    reference = lspkd.Network(network.config).double()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(steps):
        reference.load_state_dict(network.state_dict())
        given = inputs(96, 256, batch=2)
        last = [x.contiguous(memory_format=torch.channels_last) for x in given]
        for net, (image, sparse) in ((network, last), (reference, [x.double() for x in given])):
            net.zero_grad()
            (net(image, sparse).depth ** 2).mean().backward()
        for (key, ours), theirs in zip(
            network.named_parameters(), reference.parameters(), strict=True
        ):
            error = (ours.grad.double() - theirs.grad).norm() / theirs.grad.norm()
            assert error < 0.05, key  # a unit that is nearly 0 may fall to either side
        optimizer.step()


def test_training_in_channels_last_has_the_gradients_of_contiguous():
    """Torch 2.13 on the CPU crashes here, or is wrong, with a strided 1x1 convolution."""
    result = subprocess.run(
        [sys.executable, '-c', 'import test_lspkd; test_lspkd.train_in_channels_last()'],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


# --- lspkd: the paper's numbers

PARAMETERS = {
    'lspkd_teacher': 51_772_481,
    'lspkd_s2': 7_895_329,
    'lspkd_s4': 1_976_977,
    'lspkd_s8': 495_817,
}
WITH_ADAPTERS = {'lspkd_s2': 8_556_833, 'lspkd_s8': 661_193}
PUBLISHED_M = {'lspkd_teacher': 51.77, 'lspkd_s2': 8.56, 'lspkd_s8': 0.66}  # the paper's tables
GFLOPS = {  # at 228x304, 240x912, 352x1216; a strided deconvolution counts on its input
    'lspkd_teacher': (90.90, 282.24, 551.94),
    'lspkd_s2': (12.39, 38.41, 75.11),
    'lspkd_s8': (0.789, 2.448, 4.787),
}


@pytest.mark.parametrize('preset', PARAMETERS)
def test_lspkd_parameters_to_the_unit(preset):
    assert parameters(on_meta('lspkd', lspkd.PRESETS[preset])) == PARAMETERS[preset]


@pytest.mark.parametrize('preset', WITH_ADAPTERS)
def test_lspkd_published_count_includes_an_adapter_per_tap(preset):
    """A bias-free 1x1 convolution from the student's to the teacher's channels at all 17 taps."""
    student = on_meta('lspkd', lspkd.PRESETS[preset])
    teacher = on_meta('lspkd', lspkd.PRESETS['lspkd_teacher'])
    f_s, f_t = (net(*inputs(16, 16, device='meta')).features for net in (student, teacher))
    assert f_s.keys() == f_t.keys()
    assert len(f_s) == 17
    adapters = sum(f_s[tap].shape[1] * f_t[tap].shape[1] for tap in f_s)
    count = parameters(student) + adapters
    assert count == WITH_ADAPTERS[preset]
    assert round(count / 1e6, 2) == PUBLISHED_M[preset]


def test_lspkd_published_count_of_the_teacher_is_without_adapters():
    count = parameters(on_meta('lspkd', lspkd.PRESETS['lspkd_teacher']))
    assert round(count / 1e6, 2) == PUBLISHED_M['lspkd_teacher']


@pytest.mark.parametrize('preset', GFLOPS)
def test_lspkd_gflops(preset):
    network = on_meta('lspkd', lspkd.PRESETS[preset])
    for size, expected in zip(((228, 304), (240, 912), (352, 1216)), GFLOPS[preset], strict=True):
        with FlopCounterMode(display=False) as counter:
            network(*inputs(*size, device='meta'))
        digits = 3 if expected < 10 else 2
        assert round(counter.get_total_flops() / 1e9, digits) == expected


@pytest.mark.parametrize(
    ('size', 'sizes'),  # of the input; at 1/2, 1/4, 1/8, 1/16
    [
        ((352, 1216), ((176, 608), (88, 304), (44, 152), (22, 76))),
        ((97, 131), ((49, 66), (25, 33), (13, 17), (7, 9))),
    ],
)
def test_lspkd_taps(size, sizes):
    half, quarter, eighth, sixteenth = sizes
    encoder = {
        'E0': (64, *half),
        'E1': (64, *half),
        'E2': (128, *quarter),
        'E3': (256, *eighth),
        'E4': (512, *sixteenth),
        'conv6': (512, *sixteenth),
    }
    expected = {f'{sensor}.{tap}': s for sensor in ('rgb', 'lidar') for tap, s in encoder.items()}
    expected['D0'] = (256, *sixteenth)
    expected['D1'] = (128, *eighth)
    expected['D2'] = (64, *quarter)
    expected['D3'] = (64, *half)
    expected['D4'] = (64, *size)
    for preset, divisor in (
        ('lspkd_teacher', 1),
        ('lspkd_s2', 2),
        ('lspkd_s4', 4),
        ('lspkd_s8', 8),
    ):
        network = on_meta('lspkd', lspkd.PRESETS[preset])
        features = network(*inputs(*size, device='meta')).features
        found = {tap: tuple(feature.shape[1:]) for tap, feature in features.items()}
        assert found == {t: (c // divisor, h, w) for t, (c, h, w) in expected.items()}


# --- lspkd: an independent second writing, from the table of its layers


def functional_lspkd(state, blocks, image, sparse):
    """Run lspkd with functions only, with strided shortcuts and output padding from the sizes."""

    def norm(x, key):
        return normalise(state, x, key)

    def block(x, key, stride):
        y = F.conv2d(x, state[f'{key}.conv1.weight'], stride=stride, padding=1)
        y = F.conv2d(F.relu(norm(y, f'{key}.bn1')), state[f'{key}.conv2.weight'], padding=1)
        if f'{key}.downsample.0.weight' in state:
            x = F.conv2d(x, state[f'{key}.downsample.0.weight'], stride=stride)
            x = norm(x, f'{key}.downsample.1')
        return F.relu(norm(y, f'{key}.bn2') + x)

    def encode(x, key):
        weight, bias = state[f'{key}.conv1.0.weight'], state[f'{key}.conv1.0.bias']
        x = F.leaky_relu(F.conv2d(x, weight, bias, stride=2, padding=1), 0.2)
        features = []
        for layer, count in enumerate(blocks, start=1):
            for i in range(count):
                x = block(x, f'{key}.layer{layer}.{i}', 2 if i == 0 and layer > 1 else 1)
            features.append(x)
        x = norm(F.conv2d(x, state[f'{key}.conv6.0.weight'], padding=1), f'{key}.conv6.1')
        return [*features, F.leaky_relu(x, 0.2)]

    rgb, lidar = encode(image, 'rgb'), encode(sparse, 'lidar')
    x = torch.cat((rgb[4], lidar[4]), 1)
    for layer, like in ((5, rgb[3]), (4, rgb[2]), (3, rgb[1]), (2, rgb[0]), (1, image)):
        stride = 1 if layer == 5 else 2
        extra = [
            n - (stride * (m - 1) + 1) for n, m in zip(like.shape[2:], x.shape[2:], strict=True)
        ]
        x = F.conv_transpose2d(x, state[f'dec{layer}.0.weight'], None, stride, 1, extra)
        x = F.leaky_relu(norm(x, f'dec{layer}.1'), 0.2)
        if layer > 1:
            x = torch.cat((x, rgb[layer - 2], lidar[layer - 2]), 1)
    return F.conv_transpose2d(x, state['dec0.weight'], state['dec0.bias'], padding=1)


@pytest.mark.parametrize('size', [(32, 48), (37, 51)])
def test_lspkd_equals_its_functional_twin(size):
    torch.manual_seed(2)
    config = lspkd.Config(width=1 / 16, blocks=(1, 2, 1, 3))
    network = lspkd.Network(config).eval().double()
    for key, value in network.state_dict().items():  # so that no norm is the identity
        if value.dim() == 1 and value.is_floating_point():
            value += 0.3 * torch.rand_like(value) if key.endswith(('var', 'weight')) else 0.1
    image, sparse = (x.double() for x in inputs(*size, batch=2))
    with torch.no_grad():
        expected = functional_lspkd(network.state_dict(), config.blocks, image, sparse)
        torch.testing.assert_close(network(image, sparse).depth, expected)


def test_lspkd_activations_neither_vanish_nor_explode_at_the_start():
    torch.manual_seed(0)
    network = lspkd.Network(lspkd.PRESETS['lspkd_s8']).train()
    with torch.no_grad():
        prediction = network(*inputs(96, 128, batch=2))
    for tap, feature in prediction.features.items():
        assert 0.1 < feature.std() < 30, tap
    assert 0.1 < prediction.depth.std() < 10
