"""The mff network and MobileNet-V2: the papers' numbers, and an independent second writing."""

from __future__ import annotations

from batch_norms import normalise, randomise
from depth_kd_ros import networks
from depth_kd_ros.networks import mff
from depth_kd_ros.networks.encoders.mobilenet_v2 import MobileNetV2
from network_inputs import inputs, on_meta, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
import torchvision_tables

CHANNELS = {'mff_mobilenet_v2': (24, 32, 96, 160), 'mff_resnet34': (64, 128, 256, 512)}


# --- MobileNet-V2


def test_mobilenet_has_torchvisions_tensors_of_features_0_to_16():
    with torch.device('meta'):
        encoder = MobileNetV2()
    assert parameters(encoder) == 1_337_792
    table = torchvision_tables.TABLES['mobilenet_v2']
    left_out = ('features.17.', 'features.18.', 'classifier.')
    expected = [item for item in table.items() if not item[0].startswith(left_out)]
    assert list(torchvision_tables.shapes(encoder).items()) == expected


def test_mobilenet_starts_with_its_activations_variance_kept():
    """He et al. 2015: a weight's variance is 2 / fan-in, 9 for a filter of a single channel."""
    torch.manual_seed(0)
    features = MobileNetV2().features
    assert features[14].conv[1][0].weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert features[14].conv[2].weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.05)


def functional_mobilenet(state, x):
    """Run MobileNet-V2 with functions only: strides where channels become 24, 32, 64 and 160."""
    x = normalise(state, F.conv2d(x, state['features.0.0.weight'], None, 2, 1), 'features.0.1')
    x = x.clamp(0, 6)
    outputs = []
    for layer in range(1, 17):
        y, key = x, f'features.{layer}.conv'
        depthwise = 0 if layer == 1 else 1
        if layer > 1:
            y = normalise(state, F.conv2d(y, state[f'{key}.0.0.weight']), f'{key}.0.1').clamp(0, 6)
        weight, stride = state[f'{key}.{depthwise}.0.weight'], 2 if layer in (2, 4, 7, 14) else 1
        y = F.conv2d(y, weight, None, stride, 1, groups=len(weight))
        y = normalise(state, y, f'{key}.{depthwise}.1').clamp(0, 6)
        y = F.conv2d(y, state[f'{key}.{depthwise + 1}.weight'])
        y = normalise(state, y, f'{key}.{depthwise + 2}')
        x = x + y if x.shape == y.shape else y
        if layer in (3, 6, 13, 16):  # the next one halves the size, or is not there
            outputs.append(x)
    return outputs


@pytest.mark.parametrize('size', [(64, 96), (45, 71), (1, 1)])
def test_mobilenet_equals_its_functional_twin(size):
    torch.manual_seed(0)
    encoder = MobileNetV2().double().eval()
    randomise(encoder)
    x = torch.randn(2, 3, *size, dtype=torch.double)
    with torch.no_grad():
        found, expected = encoder(x), functional_mobilenet(encoder.state_dict(), x)
    torch.testing.assert_close(found, expected)
    for output, c, scale in zip(found, encoder.channels, (4, 8, 16, 32), strict=True):
        assert output.shape == (2, c, *(-(-n // scale) for n in size))


# --- mff: options and the papers' numbers


@pytest.mark.parametrize('encoder', ['resnet18', 'MobileNetV2', '', None, ['resnet34']])
def test_mff_rejects_an_unknown_encoder(encoder):
    with pytest.raises(ValueError, match=r"'mff': encoder = .* one of mobilenet_v2, resnet34"):
        networks.build('mff', {'encoder': encoder})


@pytest.mark.parametrize('upsample', [0, 1, 'yes', None])
def test_mff_rejects_an_upsample_that_is_no_bool(upsample):
    with pytest.raises(ValueError, match=r"'mff': upsample = .* give True or False"):
        networks.build('mff', {'upsample': upsample})


@pytest.mark.parametrize(
    ('preset', 'total', 'encoder', 'millions', 'gflops'),
    [
        ('mff_mobilenet_v2', 1_673_905, 1_337_792, 1.7, 8.04),
        ('mff_resnet34', 21_918_977, 21_284_672, 21.9, 18.26),
    ],
)
def test_mff_parameters_and_gflops(preset, total, encoder, millions, gflops):
    network = on_meta('mff', mff.PRESETS[preset])
    assert parameters(network) == total
    assert parameters(network.encoder) == encoder
    assert round(total / 1e6, 1) == millions  # as the paper prints them in its Table 1
    head = sum(2 * c * (c // 16) + 25 * c * 16 + 2 * 16 for c in CHANNELS[preset])
    head += 2 * (25 * 64 * 64 + 2 * 64) + 25 * 64 + 1
    assert head == total - encoder
    with FlopCounterMode(display=False) as counter:
        network(*inputs(228, 304, device='meta'))
    assert round(counter.get_total_flops() / 1e9, 2) == gflops


@pytest.mark.parametrize(
    ('size', 'half', 'scales'),  # scales: 1/4, 1/8, 1/16, 1/32
    [
        ((228, 304), (114, 152), ((57, 76), (29, 38), (15, 19), (8, 10))),
        ((97, 131), (49, 66), ((25, 33), (13, 17), (7, 9), (4, 5))),
    ],
)
@pytest.mark.parametrize('preset', CHANNELS)
def test_mff_taps(preset, size, half, scales):
    network = on_meta('mff', mff.PRESETS[preset])
    features = network(*inputs(*size, device='meta')).features
    expected = {}
    for i, (c, scale) in enumerate(zip(CHANNELS[preset], scales, strict=True), start=1):
        expected.update({f'E{i}': (c, *scale), f'FFC{i}': (16, *scale)})
    expected.update(D0=(64, *half), D1=(64, *half))
    assert {tap: tuple(f.shape[1:]) for tap, f in features.items()} == expected


# --- mff: an independent second writing


def upsampled(x, size):
    """Resample bilinearly, the corners' centres kept in place, by a grid of where to look."""
    rows, columns = (torch.linspace(-1, 1, n, dtype=x.dtype) for n in size)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1)  # (H, W, 2) of x, y
    grid = grid.expand(len(x), *size, 2)
    return F.grid_sample(x, grid, padding_mode='border', align_corners=True)


def functional_head(state, scales, size):
    """Run the head with functions only: its depth at half the size and at the size."""
    half = [-(-n // 2) for n in size]
    joined = []
    for i, scale in enumerate(scales):
        key = f'compressions.{i}'
        squeeze, excite = (state[f'{key}.{n}.weight'][:, :, 0, 0] for n in ('squeeze', 'excite'))
        pooled = F.adaptive_avg_pool2d(scale, 1)[:, :, 0, 0]
        weight = 1 / (1 + torch.exp(-(pooled @ squeeze.T).clamp_min(0) @ excite.T))
        x = F.conv2d(
            scale * weight[:, :, None, None], state[f'{key}.compress.0.weight'], padding=2
        )
        joined.append(upsampled(normalise(state, x, f'{key}.compress.1').clamp_min(0), half))
    x = torch.cat(joined, 1)
    for key in ('fusion', 'refinement'):
        x = normalise(
            state, F.conv2d(x, state[f'{key}.0.weight'], padding=2), f'{key}.1'
        ).clamp_min(0)
    depth = F.conv2d(x, state['prediction.weight'], state['prediction.bias'], padding=2)
    return depth, upsampled(depth, size)


@pytest.mark.parametrize('preset', CHANNELS)
def test_mff_equals_its_functional_twin(preset):
    torch.manual_seed(1)
    config = mff.PRESETS[preset]
    network = mff.Network(config).double().eval()
    randomise(network.compressions)
    randomise(network.fusion)
    randomise(network.refinement)
    small = mff.Network(mff.Config(config.encoder, upsample=False)).double().eval()
    small.load_state_dict(network.state_dict())
    for size in ((64, 96), (45, 71)):
        image = inputs(*size, batch=2)[0].double()
        with torch.no_grad():
            scales = network.encoder(image)
            half, full = functional_head(network.state_dict(), scales, size)
            torch.testing.assert_close(network(image).depth, full)
            torch.testing.assert_close(small(image).depth, half)
        assert half.shape == (2, 1, (size[0] + 1) // 2, (size[1] + 1) // 2)
        assert full.std() > 1e-2  # not the bias alone


# --- mff: where training starts


def test_mff_starts_near_a_rooms_depth_with_features_exact_enough_in_bfloat16():
    """The prediction's bias hides errors: with residual branches of weight 1, D1's is 23 %."""
    torch.manual_seed(1)
    network = mff.Network(mff.PRESETS['mff_mobilenet_v2']).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics are the last batch's
    image = inputs(97, 131, batch=4)[0]
    with torch.no_grad():
        network(image)
        expected = network.eval()(image)
        found = network.bfloat16()(image.bfloat16()).features['D1'].float()
    assert 1.5 < expected.depth.mean() < 3.5
    assert 0.05 < expected.depth.std() < 1
    for tap, feature in expected.features.items():
        assert 0.1 < feature.std() < 10, tap
    exact = expected.features['D1']
    assert (found - exact).abs().mean() < 0.1 * exact.abs().mean()
