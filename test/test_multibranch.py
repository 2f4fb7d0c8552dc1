"""The multibranch network: the papers' numbers, and an independent second writing."""

from __future__ import annotations

from batch_norms import normalise, randomise
from depth_kd_ros import networks
from depth_kd_ros.networks import multibranch
from depth_kd_ros.networks.parts.up_projection import UpProjection
from network_inputs import inputs, on_meta, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize('encoder', ['resnet', 'ResNet50', '', 50, None, {}])
def test_multibranch_rejects_an_unknown_encoder(encoder):
    with pytest.raises(
        ValueError, match=r"network 'multibranch': encoder = .*: give one of resnet18, .*resnet50"
    ):
        networks.build('multibranch', {'encoder': encoder})


@pytest.mark.parametrize('upsample', [1, 'true', None])
def test_multibranch_rejects_an_upsample_that_is_not_a_boolean(upsample):
    with pytest.raises(ValueError, match=r'upsample = .*: give True or False'):
        networks.build('multibranch', {'upsample': upsample})


# --- the papers' numbers

ENCODER = {'multibranch_resnet50': 23_508_032, 'multibranch_resnet18': 11_176_512}  # without fc
WIDTHS = {
    'multibranch_resnet50': (2048, 1024, 512, 256, 128, 64),
    'multibranch_resnet18': (512, 256, 128, 64, 32, 16),
}
PARAMETERS = {'multibranch_resnet50': 67_569_473, 'multibranch_resnet18': 14_883_825}
PUBLISHED = {
    'multibranch_resnet50': 67.6,
    'multibranch_resnet18': 14.9,
}  # M
GFLOPS = {'multibranch_resnet50': 214.1, 'multibranch_resnet18': 50.90}  # at 228x304


@pytest.mark.parametrize('preset', PARAMETERS)
def test_multibranch_parameters_to_the_unit(preset):
    found = parameters(on_meta('multibranch', multibranch.PRESETS[preset]))
    assert found == PARAMETERS[preset]
    assert round(found / 1e6, 1) == PUBLISHED[preset]


@pytest.mark.parametrize('preset', PARAMETERS)
def test_multibranch_parameters_layer_by_layer(preset):
    def up(c, out):  # 5x5, 5x5, 3x3, three norms
        return 2 * 25 * c * out + 9 * out * out + 3 * 2 * out

    c0, c1, c2, c3, c4, c5 = WIDTHS[preset]
    decoder = c0 * c1 + 2 * c1 + up(c1, c2) + up(c2, c3) + up(c3, c4) + up(c4, c5)
    scales = sum(up(c0 // n, 16) for n in (8, 4, 2, 1))
    fusion = scales + 25 * 64 * 64 + 2 * 64
    r = 64 + c5
    refinement = 2 * (25 * r * r + 2 * r) + 25 * r + 1
    assert ENCODER[preset] + decoder + fusion + refinement == PARAMETERS[preset]


@pytest.mark.parametrize('preset', GFLOPS)
def test_multibranch_gflops(preset):
    network = on_meta('multibranch', multibranch.PRESETS[preset])
    with FlopCounterMode(display=False) as counter:
        network(*inputs(228, 304, device='meta'))
    assert float(f'{counter.get_total_flops() / 1e9:.4g}') == GFLOPS[preset]


@pytest.mark.parametrize(
    ('size', 'sizes'),  # of the input; at 1/2, 1/4, 1/8, 1/16, 1/32
    [
        ((352, 1216), ((176, 608), (88, 304), (44, 152), (22, 76), (11, 38))),
        ((228, 304), ((114, 152), (57, 76), (29, 38), (15, 19), (8, 10))),
        ((97, 131), ((49, 66), (25, 33), (13, 17), (7, 9), (4, 5))),
    ],
)
@pytest.mark.parametrize('preset', PARAMETERS)
def test_multibranch_taps(preset, size, sizes):
    half, quarter, eighth, sixteenth, last = sizes
    c = WIDTHS[preset]
    expected = {
        'E1': (c[0] // 8, *quarter),
        'E2': (c[0] // 4, *eighth),
        'E3': (c[0] // 2, *sixteenth),
        'E4': (c[0], *last),
        'D0': (c[1], *last),
        'D1': (c[2], *sixteenth),
        'D2': (c[3], *eighth),
        'D3': (c[4], *quarter),
        'D4': (c[5], *half),
        'M': (64, *half),
    }
    network = on_meta('multibranch', multibranch.PRESETS[preset])
    prediction = network(*inputs(*size, device='meta'))
    assert {tap: tuple(f.shape[1:]) for tap, f in prediction.features.items()} == expected
    assert prediction.depth.shape == (1, 1, *size)


def test_multibranch_without_upsampling_gives_half_the_size():
    network = on_meta('multibranch', multibranch.Config('resnet18', upsample=False))
    for size, half in (((228, 304), (114, 152)), ((97, 131), (49, 66)), ((1, 1), (1, 1))):
        assert network(*inputs(*size, device='meta')).depth.shape == (1, 1, *half)


# --- an independent second writing, from the paper's layers


def hats(n, out):
    """Weigh n values (out, n) for each of out positions from the first to the last."""
    position = torch.linspace(0, n - 1, out, dtype=torch.float64)
    return (1 - (position[:, None] - torch.arange(n)).abs()).clamp(min=0)


def bilinear(x, size):
    """Resample with the corner pixels' centres fixed, as a product of two matrices."""
    rows, columns = (hats(n, out) for n, out in zip(x.shape[2:], size, strict=True))
    return torch.einsum('yh,bchw,xw->bcyx', rows, x, columns)


def functional_up_projection(state, key, x, size):
    x = bilinear(x, size)
    kernels = state[f'{key}project.0.weight']
    n = len(kernels) // 2
    branch, shortcut = (
        normalise(state, F.conv2d(x, kernels[part], padding=2), f'{key}project.1', part)
        for part in (slice(0, n), slice(n, 2 * n))
    )
    branch = F.conv2d(F.relu(branch), state[f'{key}refine.0.weight'], padding=1)
    return F.relu(normalise(state, branch, f'{key}refine.1') + shortcut)


@pytest.mark.parametrize('size', [(8, 12), (7, 11), (19, 6), (3, 5), (1, 1)])
def test_up_projection_resamples_to_any_size(size):
    torch.manual_seed(0)
    up = UpProjection(5, 3).eval().double()
    randomise(up)
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        found = up(x, torch.empty(1, 1, *size))
        torch.testing.assert_close(found, functional_up_projection(up.state_dict(), '', x, size))
    assert found.shape == (2, 3, *size)


def functional_multibranch(state, encoded, size):
    """Run D, MFF and R with functions only on the encoder's four outputs, at half of `size`."""

    def layer(x, key):
        weight = state[f'{key}.0.weight']
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return F.relu(normalise(state, x, f'{key}.1'))

    e1, e2, e3, e4 = encoded
    half = tuple((n + 1) // 2 for n in size)
    x = layer(e4, 'conv2')
    for i, s in enumerate((e3.shape[2:], e2.shape[2:], e1.shape[2:], half)):
        x = functional_up_projection(state, f'up.{i}.', x, s)
    scales = [
        functional_up_projection(state, f'scales.{i}.', e, half) for i, e in enumerate(encoded)
    ]
    x = torch.cat((x, layer(torch.cat(scales, 1), 'fusion')), 1)
    x = layer(layer(x, 'refinement.0'), 'refinement.1')
    return F.conv2d(x, state['prediction.weight'], state['prediction.bias'], padding=2)


@pytest.mark.parametrize('size', [(64, 96), (37, 75)])
@pytest.mark.parametrize('upsample', [True, False])
def test_multibranch_equals_its_functional_twin(size, upsample):
    torch.manual_seed(2)
    network = multibranch.Network(multibranch.Config('resnet18', upsample)).eval().double()
    randomise(network)
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = functional_multibranch(network.state_dict(), network.encoder(image), size)
        if upsample:
            expected = bilinear(expected, size)
        torch.testing.assert_close(network(image).depth, expected)


def test_multibranch_starts_with_live_features_and_the_depth_of_a_room():
    torch.manual_seed(0)
    network = multibranch.Network(multibranch.PRESETS['multibranch_resnet18']).train()
    with torch.no_grad():
        prediction = network(*inputs(96, 128, batch=2))
    for tap, feature in prediction.features.items():
        assert 0.1 < feature.std() < 30, tap
    assert 2 < prediction.depth.mean() < 3
    assert 0.05 < prediction.depth.std() < 0.5
