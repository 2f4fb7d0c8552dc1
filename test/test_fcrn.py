"""The fcrn network: the papers' numbers, and an independent second writing of its decoder."""

from __future__ import annotations

from batch_norms import normalise, randomise
from depth_kd_ros import networks
from depth_kd_ros.networks import fcrn
from depth_kd_ros.networks.parts.up_projection import UpProjection
from network_inputs import inputs, on_meta, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize('encoder', ['resnet', 'ResNet50', '', 50, None, {}])
def test_fcrn_rejects_an_unknown_encoder(encoder):
    with pytest.raises(
        ValueError, match=r"network 'fcrn': encoder = .*: give one of resnet18, .*resnet50"
    ):
        networks.build('fcrn', {'encoder': encoder})


@pytest.mark.parametrize('upsample', [1, 'true', None])
def test_fcrn_rejects_an_upsample_that_is_not_a_boolean(upsample):
    with pytest.raises(ValueError, match=r'upsample = .*: give True or False'):
        networks.build('fcrn', {'upsample': upsample})


# --- the papers' numbers

ENCODER = {'fcrn_resnet50': 23_508_032, 'fcrn_resnet18': 11_176_512}  # torchvision's without fc
WIDTHS = {
    'fcrn_resnet50': (2048, 1024, 512, 256, 128, 64),
    'fcrn_resnet18': (512, 256, 128, 64, 32, 16),
}
PARAMETERS = {'fcrn_resnet50': 63_563_009, 'fcrn_resnet18': 13_681_521}
PUBLISHED = {'fcrn_resnet50': 63.6, 'fcrn_resnet18': 13.7}  # M
GFLOPS = {'fcrn_resnet50': 32.55, 'fcrn_resnet18': 6.591}  # at 228x304


@pytest.mark.parametrize('preset', PARAMETERS)
def test_fcrn_parameters_to_the_unit(preset):
    found = parameters(on_meta('fcrn', fcrn.PRESETS[preset]))
    assert found == PARAMETERS[preset]
    assert round(found / 1e6, 1) == PUBLISHED[preset]


@pytest.mark.parametrize('preset', PARAMETERS)
def test_fcrn_parameters_layer_by_layer(preset):
    """Laina et al. have a bias before each norm as well: at most 3,904 more, not seen in 0.1 M."""
    c0, c1, *rest = WIDTHS[preset]
    expected = ENCODER[preset] + c0 * c1 + 2 * c1  # conv2
    biases = c1
    for c, out in zip((c1, *rest), rest, strict=False):  # 5x5, 5x5, 3x3, three norms
        expected += 2 * 25 * c * out + 9 * out * out + 3 * 2 * out
        biases += 3 * out
    assert expected + 9 * rest[-1] + 1 == PARAMETERS[preset]
    assert biases <= 3904
    assert round((PARAMETERS[preset] + biases) / 1e6, 1) == PUBLISHED[preset]


@pytest.mark.parametrize('preset', GFLOPS)
def test_fcrn_gflops(preset):
    """A deconvolution counts on its input: the zeros of the unpooling are not multiplied."""
    network = on_meta('fcrn', fcrn.PRESETS[preset])
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
def test_fcrn_taps(preset, size, sizes):
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
    }
    prediction = on_meta('fcrn', fcrn.PRESETS[preset])(*inputs(*size, device='meta'))
    assert {tap: tuple(f.shape[1:]) for tap, f in prediction.features.items()} == expected
    assert prediction.depth.shape == (1, 1, *size)


def test_fcrn_without_upsampling_gives_half_the_size():
    network = on_meta('fcrn', fcrn.Config('resnet18', upsample=False))
    for size, half in (((228, 304), (114, 152)), ((97, 131), (49, 66)), ((1, 1), (1, 1))):
        assert network(*inputs(*size, device='meta')).depth.shape == (1, 1, *half)


# --- an independent second writing, from the papers' layers


def unpooled(x, size):
    """Put each value at the top left of a 2x2 cell of zeros."""
    cells = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    cells[:, :, ::2, ::2] = x
    return cells[:, :, : size[0], : size[1]]


def functional_up_projection(state, key, x, size):
    """Unpool, then convolve: the 5x5 kernels are those of the deconvolution, turned by 180 deg."""
    x = unpooled(x, size)
    kernels = state[f'{key}project.0.weight'].transpose(0, 1).flip(2, 3)
    n = len(kernels) // 2
    branch, shortcut = (
        normalise(state, F.conv2d(x, kernels[part], padding=2), f'{key}project.1', part)
        for part in (slice(0, n), slice(n, 2 * n))
    )
    branch = F.conv2d(F.relu(branch), state[f'{key}refine.0.weight'], padding=1)
    return F.relu(normalise(state, branch, f'{key}refine.1') + shortcut)


@pytest.mark.parametrize('size', [(8, 12), (7, 12), (8, 11), (7, 11)])
def test_deconvolution_equals_unpooling_and_convolution(size):
    torch.manual_seed(0)
    up = UpProjection(5, 3, unpool=True).eval().double()
    randomise(up)
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        found = up(x, torch.empty(1, 1, *size))
        torch.testing.assert_close(found, functional_up_projection(up.state_dict(), '', x, size))
    assert found.shape == (2, 3, *size)


@pytest.mark.parametrize('size', [(64, 96), (37, 75)])
@pytest.mark.parametrize('upsample', [True, False])
def test_fcrn_equals_its_functional_twin(size, upsample):
    torch.manual_seed(2)
    network = fcrn.Network(fcrn.Config('resnet18', upsample)).eval().double()
    randomise(network)
    state = network.state_dict()
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        *skips, x = network.encoder(image)
        x = normalise(state, F.conv2d(x, state['conv2.0.weight']), 'conv2.1')  # no ReLU
        sizes = [tuple(skip.shape[2:]) for skip in reversed(skips)]
        for i, s in enumerate([*sizes, tuple((n + 1) // 2 for n in size)]):
            x = functional_up_projection(state, f'up.{i}.', x, s)
        x = F.conv2d(x, state['conv3.weight'], state['conv3.bias'], padding=1)
        if upsample:
            x = F.interpolate(x, size, mode='bilinear', align_corners=True)
        torch.testing.assert_close(network(image).depth, x)


def test_fcrn_starts_with_live_features_and_the_depth_of_a_room():
    torch.manual_seed(0)
    network = fcrn.Network(fcrn.PRESETS['fcrn_resnet18']).train()
    with torch.no_grad():
        prediction = network(*inputs(96, 128, batch=2))
    for tap, feature in prediction.features.items():
        assert 0.1 < feature.std() < 30, tap
    assert 2 < prediction.depth.mean() < 3
    assert 0.05 < prediction.depth.std() < 0.5
