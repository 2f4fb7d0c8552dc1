"""The transformation network of data-free distillation: counts, sizes, a second writing."""

from __future__ import annotations

from depth_kd_training.transformation import Config, PRESETS, TransformationNetwork
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

TINY = 1 / 8


def count(module):
    return sum(p.numel() for p in module.parameters())


def with_other_norms(config):
    """Build a network with batch norms that are not the identity and an output that is not 0."""
    torch.manual_seed(4)
    network = TransformationNetwork(config).eval()
    for key, value in network.state_dict().items():
        if value.dim() == 1 and value.is_floating_point():
            value += 0.5 * torch.rand_like(value) if key.endswith(('var', 'weight')) else 0.1
    torch.nn.init.normal_(network.output.weight, std=0.1)
    return network


@pytest.mark.parametrize('width', [0, -1, 0.01, float('nan'), '1', None, True])
def test_rejects_a_width_with_fractional_channels(width):
    with pytest.raises(ValueError, match=r'width = .* give a positive multiple of 1/16'):
        Config(width=width)


def test_rejects_what_is_no_boolean():
    with pytest.raises(ValueError, match='residual = 1: give true or false'):
        Config(residual=1)


def test_parameters_to_the_unit():
    """The paper's network is said to have 25 M parameters."""
    with torch.device('meta'):
        paper, small = (TransformationNetwork(PRESETS[name]) for name in ('paper', 'small'))
    assert count(paper) == 25_283_315
    assert count(small) == 891_831
    classifier = 512 * 1000 + 1000
    assert count(paper.encoder) == 15_880_752
    assert round((count(paper.encoder) + classifier) / 1e6, 1) == 16.4  # published of DRN-D-22
    ups = [
        2 * 5 * 5 * 2 * c * c + 3 * 3 * c * c + 2 * 3 * c  # two 5x5, a 3x3, three norms
        for c in (256, 128, 64)
    ]
    assert count(paper.decoder) == sum(ups) == 9_378_432
    skips = [(64, 256), (32, 128), (16, 64)]
    assert count(paper.skips) == sum(i * o + 2 * o for i, o in skips)
    assert count(paper.output) == 3 * 3 * 64 * 3 + 3


@pytest.mark.parametrize(
    ('preset', 'gflops'),
    [('paper', 222.94), ('small', 7.92)],  # teacher and student of the paper: 18.26 and 8.04
)
def test_gflops_at_228x304(preset, gflops):
    with torch.device('meta'):
        network = TransformationNetwork(PRESETS[preset]).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 228, 304, device='meta'))
    assert round(counter.get_total_flops() / 1e9, 2) == gflops


def test_encoder_has_the_published_keys():
    with torch.device('meta'):
        state = TransformationNetwork(PRESETS['paper']).encoder.state_dict()
    expected = {
        'layer0.0.weight': (16, 3, 7, 7),
        'layer1.0.weight': (16, 16, 3, 3),
        'layer2.1.running_mean': (32,),
        'layer3.0.downsample.0.weight': (64, 32, 1, 1),
        'layer4.1.conv2.weight': (128, 128, 3, 3),
        'layer5.0.downsample.1.weight': (256,),
        'layer6.1.bn1.bias': (512,),
        'layer7.0.weight': (512, 512, 3, 3),
        'layer8.1.weight': (512,),
    }
    assert {key: tuple(state[key].shape) for key in expected} == expected


@pytest.mark.parametrize('size', [(228, 304), (97, 131), (33, 50), (1, 1), (2, 45)])
def test_any_size(size):
    torch.manual_seed(0)
    network = TransformationNetwork(PRESETS['small'])
    image = torch.randn(2, 3, *size)
    transformed = network(image)
    assert transformed.shape == image.shape
    (transformed - 1).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_scales_are_those_of_the_paper():
    with torch.device('meta'):
        encoder = TransformationNetwork(PRESETS['paper']).encoder
    found = [tuple(f.shape[1:]) for f in encoder(torch.empty(2, 3, 97, 131, device='meta'))]
    assert found == [(16, 97, 131), (32, 49, 66), (64, 25, 33), (512, 13, 17)]


@pytest.mark.parametrize('training', [True, False])
def test_residual_network_starts_as_the_identity(training):
    network = TransformationNetwork(Config(TINY, residual=True)).train(training)
    image = torch.randn(2, 3, 33, 50)
    assert torch.equal(network(image), image)


def test_residual_network_learns_from_the_identity_on():
    """At the start the gradient moves the last convolution alone; one step later, all layers."""
    torch.manual_seed(0)
    network = TransformationNetwork(Config(TINY, residual=True))
    image = torch.randn(2, 3, 33, 50)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    (network(image) - torch.randn_like(image)).square().mean().backward()
    assert {key for key, p in network.named_parameters() if p.grad.any()} == {
        'output.weight',
        'output.bias',
    }
    optimiser.step()
    optimiser.zero_grad()
    (network(image) - torch.randn_like(image)).square().mean().backward()
    assert all(p.grad.any() for p in network.parameters())


def test_every_parameter_learns():
    torch.manual_seed(0)
    network = TransformationNetwork(Config(TINY))
    network(torch.randn(2, 3, 33, 50)).square().mean().backward()
    assert all(p.grad.any() for p in network.parameters())


def test_no_strided_pointwise_convolution():
    for preset in PRESETS.values():
        with torch.device('meta'):
            network = TransformationNetwork(preset)
        for key, module in network.named_modules():
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1):
                assert module.stride == (1, 1), key


# --- an independent second writing, from the table of the layers


def functional_transformation(state, x):
    """Run the network with functions only, with strided shortcuts and both 5x5 separate."""

    def norm(x, key):
        stats = (state[f'{key}.{n}'] for n in ('running_mean', 'running_var', 'weight', 'bias'))
        return F.batch_norm(x, *stats, training=False)

    def layer(x, key, kernel=3, stride=1, dilation=1):
        weight = state[f'{key}.0.weight']
        x = F.conv2d(x, weight, None, stride, dilation * (kernel - 1) // 2, dilation)
        return F.relu(norm(x, f'{key}.1'))

    def block(x, key, stride=1, dilation=1):
        y = F.conv2d(x, state[f'{key}.conv1.weight'], None, stride, dilation, dilation)
        y = F.relu(norm(y, f'{key}.bn1'))
        y = norm(
            F.conv2d(y, state[f'{key}.conv2.weight'], None, 1, dilation, dilation), f'{key}.bn2'
        )
        if f'{key}.downsample.0.weight' in state:
            x = F.conv2d(x, state[f'{key}.downsample.0.weight'], None, stride)
            x = norm(x, f'{key}.downsample.1')
        return F.relu(x + y)

    def up(x, key, skip, skip_key):
        x = F.interpolate(x, skip.shape[2:], mode='bilinear', align_corners=True)
        x = norm(F.conv2d(x, state[f'{key}.project.0.weight'], padding=2), f'{key}.project.1')
        half = x.shape[1] // 2
        y = F.conv2d(F.relu(x[:, :half]), state[f'{key}.refine.0.weight'], padding=1)
        x = F.relu(norm(y, f'{key}.refine.1') + x[:, half:])
        return x + norm(F.conv2d(skip, state[f'{skip_key}.0.weight']), f'{skip_key}.1')

    image = x
    x1 = layer(layer(x, 'encoder.layer0', kernel=7), 'encoder.layer1')
    x2 = layer(x1, 'encoder.layer2', stride=2)
    x3 = block(block(x2, 'encoder.layer3.0', stride=2), 'encoder.layer3.1')
    x = block(block(x3, 'encoder.layer4.0', stride=2), 'encoder.layer4.1')
    for n, dilation in ((5, 2), (6, 4)):
        for i in (0, 1):
            x = block(x, f'encoder.layer{n}.{i}', dilation=dilation)
    x = layer(layer(x, 'encoder.layer7', dilation=2), 'encoder.layer8')
    for i, skip in enumerate((x3, x2, x1)):
        x = up(x, f'decoder.{i}', skip, f'skips.{i}')
    return image, F.conv2d(x, state['output.weight'], state['output.bias'], padding=1)


@pytest.mark.parametrize('size', [(64, 80), (97, 51)])
@pytest.mark.parametrize('residual', [False, True])
def test_equals_its_functional_twin(residual, size):
    network = with_other_norms(Config(TINY, residual)).double()
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        found = network(image)
        image, output = functional_transformation(network.state_dict(), image)
    assert output.std() > 1e-3
    torch.testing.assert_close(found, image + output if residual else output)
