"""The relative network: its numbers, and its decoder written a second time."""

from __future__ import annotations

from batch_norms import normalise
from depth_kd_ros import networks
from depth_kd_ros.networks import relative
from depth_kd_ros.networks.parts.fusion_decoder import FusionDecoder
from network_inputs import inputs, on_meta, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize('encoder', ['topformer', 'resnet18', '', None, ['topformer_tiny']])
def test_rejects_an_unknown_encoder(encoder):
    with pytest.raises(ValueError, match=r"'relative': encoder = .* give one of topformer_tiny, "):
        networks.build('relative', {'encoder': encoder})


@pytest.mark.parametrize('channels', [0, -2, 63, 64.0, True, '64', None])
def test_rejects_channels_that_cannot_be_halved(channels):
    with pytest.raises(ValueError, match=r'channels = .* give a positive even number'):
        networks.build('relative', {'channels': channels})


@pytest.mark.parametrize('output', ['disparity', 'metres', '', None])
def test_rejects_an_unknown_output(output):
    with pytest.raises(ValueError, match=r'output = .* give one of inverse_depth, depth$'):
        networks.build('relative', {'output': output})


def test_reads_the_image_and_is_relative():
    assert relative.Network.inputs == ('image',)
    assert not relative.Network.metric
    assert relative.Config().output == 'inverse_depth'


# --- counts

PARAMETERS = {
    'relative_topformer_tiny': 2_617_089,
    'relative_topformer_small': 4_367_697,
    'relative_topformer_base': 7_990_017,
    'relative_teacher': 115_360_833,
}
RESNEXT101_32X8D = 88_791_336  # torchvision's, with its classifier of 2048 x 1000 + 1000
GFLOPS = {  # at 448x448 and 352x1216
    'relative_topformer_tiny': (9.655, 20.623),
    'relative_topformer_small': (10.683, 22.842),
    'relative_topformer_base': (22.816, 48.754),
    'relative_teacher': (290.022, 618.517),
}


@pytest.mark.parametrize('preset', PARAMETERS)
def test_parameters_to_the_unit(preset):
    network = on_meta('relative', relative.PRESETS[preset])
    assert parameters(network) == PARAMETERS[preset]
    assert parameters(network.encoder) + parameters(network.decoder) == PARAMETERS[preset]


def test_the_teacher_is_the_resnext_of_leres():
    """Count the decoder's layers with LeReS's channels: 256, at 1/32 512; a norm has 2 each."""

    def ftb(into, out):
        return 9 * into * out + out + 2 * (9 * out * out + out) + 2 * out

    network = on_meta('relative', relative.PRESETS['relative_teacher'])
    assert parameters(network.encoder) == RESNEXT101_32X8D - 2048 * 1000 - 1000
    top = ftb(2048, 512) + 9 * 512 * 256 + 256
    fusion = sum(ftb(c, 256) + ftb(256, 256) for c in (1024, 512, 256))
    head = 9 * 256 * 128 + 128 + 2 * 128 + 9 * 128 + 1
    assert parameters(network.decoder) == top + fusion + head


@pytest.mark.parametrize('preset', GFLOPS)
def test_gflops(preset):
    network = on_meta('relative', relative.PRESETS[preset])
    for size, expected in zip(((448, 448), (352, 1216)), GFLOPS[preset], strict=True):
        with FlopCounterMode(display=False) as counter:
            network(*inputs(*size, device='meta'))
        assert round(counter.get_total_flops() / 1e9, 3) == expected


# --- features


@pytest.mark.parametrize(
    ('size', 'sizes'),  # of the input; at 1/4, 1/8, 1/16, 1/32
    [
        ((352, 1216), ((88, 304), (44, 152), (22, 76), (11, 38))),
        ((97, 131), ((25, 33), (13, 17), (7, 9), (4, 5))),
        ((1, 7), ((1, 2), (1, 1), (1, 1), (1, 1))),
    ],
)
@pytest.mark.parametrize(
    ('preset', 'encoder', 'decoder'),
    [
        ('relative_topformer_tiny', (16, 128, 128, 128), 64),
        ('relative_topformer_small', (24, 192, 192, 192), 64),
        ('relative_topformer_base', (32, 256, 256, 256), 96),
        ('relative_teacher', (256, 512, 1024, 2048), 256),
    ],
)
def test_taps(preset, encoder, decoder, size, sizes):
    features = on_meta('relative', relative.PRESETS[preset])(
        *inputs(*size, device='meta')
    ).features
    expected = {f'E{i + 1}': (encoder[i], *sizes[i]) for i in range(4)}
    expected |= {f'D{i}': (decoder, *sizes[3 - i]) for i in range(4)}
    assert {tap: tuple(f.shape[1:]) for tap, f in features.items()} == expected


def test_features_are_those_of_encoder_and_decoder():
    torch.manual_seed(0)
    network = relative.Network(relative.Config('topformer_tiny', 8)).eval()
    image, _ = inputs(33, 50)
    with torch.inference_mode():
        prediction = network(image)
        encoded = network.encoder(image)
        depth, decoded = network.decoder(list(encoded), image)
    assert torch.equal(prediction.depth, depth)
    for tap, feature in (decoded | {f'E{i}': x for i, x in enumerate(encoded, 1)}).items():
        assert torch.equal(prediction.features[tap], feature)


# --- the start of training


@pytest.mark.parametrize('encoder', ['topformer_tiny', 'resnet50'])
def test_starts_about_one_with_little_spread(encoder):
    torch.manual_seed(0)
    network = relative.Network(relative.Config(encoder, 64)).train()
    with torch.no_grad():
        prediction = network(*inputs(96, 128, batch=2))
    for tap, feature in prediction.features.items():
        assert 0.3 < feature.std() < 6, tap
    assert 0.5 < prediction.depth.mean() < 1.5
    assert 0.03 < prediction.depth.std() < 0.3


# --- the decoder, an independent second writing


def functional_decoder(state, skips, size):
    """Decode as the authors' code does, in-place ReLUs included; resize where it doubles."""

    def conv(key, x):
        return F.conv2d(x, state[f'{key}.weight'], state[f'{key}.bias'], padding=1)

    def norm(key, x):
        return normalise(state, x, key)

    def ftb(key, x):
        x = conv(f'{key}.conv1', x)
        branch = conv(f'{key}.conv2', F.relu_(x))  # changes x
        branch = conv(f'{key}.conv3', F.relu_(norm(f'{key}.bn', branch)))
        return F.relu(x + branch)

    def up(x, size):
        return F.interpolate(x, size, mode='bilinear', align_corners=True)

    x = conv('conv', ftb('ftb', skips[3]))
    for i, skip in enumerate((skips[2], skips[1], skips[0])):
        x = up(x, skip.shape[2:])
        x = ftb(f'fuse.{i}.ftb2', x + ftb(f'fuse.{i}.ftb1', skip))
    x = up(x, [2 * n for n in x.shape[2:]])
    x = conv('last', F.relu(norm('head.1', conv('head.0', x))))
    return up(x, size)


@pytest.mark.parametrize('size', [(64, 96), (37, 51)])
def test_decoder_equals_its_functional_twin(size):
    torch.manual_seed(3)
    channels = (3, 5, 4, 6)
    decoder = FusionDecoder(channels, 8).eval().double()
    for key, value in decoder.state_dict().items():  # so that no norm is the identity
        if value.dim() == 1 and value.is_floating_point():
            value += 0.3 * torch.rand_like(value) if key.endswith(('var', 'weight')) else 0.1
    image = inputs(*size, batch=2)[0].double()
    skips = [
        torch.randn(2, c, *(-(-n // s) for n in size), dtype=torch.float64)
        for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    with torch.no_grad():
        expected = functional_decoder(decoder.state_dict(), skips, size)
        found, _ = decoder(skips, image)
    assert skips == []
    torch.testing.assert_close(found, expected)
