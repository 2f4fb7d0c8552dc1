"""The residual blocks and encoders: torchvision's layers, and an independent second writing."""

from __future__ import annotations

from batch_norms import normalise, randomise
from depth_kd_ros.networks.encoders.resnet import BasicBlock, Bottleneck, LAYOUTS, ResNet, stage
from network_inputs import parameters
import pytest
import torch
import torch.nn.functional as F
import torchvision_tables


def functional_block(state, x, key, stride, groups=1):
    """Run a block with functions only: a bottleneck where there is a third convolution."""
    y, bottleneck = x, f'{key}conv3.weight' in state
    strided = 2 if bottleneck else 1
    for n in (1, 2, 3) if bottleneck else (1, 2):
        weight = state[f'{key}conv{n}.weight']
        y = F.conv2d(
            y,
            weight,
            stride=stride if n == strided else 1,
            padding=weight.shape[2] // 2,
            groups=groups if bottleneck and n == 2 else 1,
        )
        y = normalise(state, y, f'{key}bn{n}')
        y = y if n == (3 if bottleneck else 2) else y.clamp_min(0)
    if f'{key}downsample.0.weight' in state:
        x = F.conv2d(x, state[f'{key}downsample.0.weight'], stride=stride)
        x = normalise(state, x, f'{key}downsample.1')
    return (x + y).clamp_min(0)


def functional_resnet(state, blocks, x):
    """Run a ResNet with functions only, its stride in the strided convolutions themselves."""
    x = normalise(state, F.conv2d(x, state['conv1.weight'], stride=2, padding=3), 'bn1').clamp_min(
        0
    )
    x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)  # what is padded is 0, and no input is less
    outputs = []
    for layer, count in enumerate(blocks, start=1):
        for i in range(count):
            stride = 2 if layer > 1 and i == 0 else 1
            x = functional_block(state, x, f'layer{layer}.{i}.', stride)
        outputs.append(x)
    return outputs


# --- blocks


@pytest.mark.parametrize('size', [(8, 8), (7, 9), (1, 2)])
def test_sliced_shortcut_equals_the_strided_convolution(size):
    torch.manual_seed(0)
    block = BasicBlock(4, 8, stride=2).eval()
    x = torch.randn(2, 4, *size)
    main = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    shortcut = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=2))
    torch.testing.assert_close(block(x), F.relu(main + shortcut))


@pytest.mark.parametrize(('stride', 'groups', 'width'), [(1, 1, 64), (2, 1, 64), (2, 4, 16)])
def test_bottleneck_equals_its_functional_twin(stride, groups, width):
    torch.manual_seed(0)
    layer = stage(12, 16, 2, stride, Bottleneck, groups, width).double().eval()
    assert layer[0].conv2.weight.shape == (16 * width // 64 * groups, 16 * width // 64, 3, 3)
    randomise(layer)
    x = torch.randn(2, 12, 9, 14, dtype=torch.double)
    with torch.no_grad():
        expected = functional_block(layer.state_dict(), x, '0.', stride, groups)
        expected = functional_block(layer.state_dict(), expected, '1.', 1, groups)
        torch.testing.assert_close(layer(x), expected)


# --- encoders


def test_every_layout_is_tested():
    assert set(LAYOUTS) == set(torchvision_tables.TABLES) - {'mobilenet_v2'}


@pytest.mark.parametrize('name', torchvision_tables.TABLES)
def test_tables_have_the_published_parameters(name):
    """The tables are written in the tests: what proves them is the count."""
    table = torchvision_tables.TABLES[name]
    assert torchvision_tables.parameters(table) == torchvision_tables.PUBLISHED[name]


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        ('resnet18', 11_176_512),
        ('resnet34', 21_284_672),
        ('resnet50', 23_508_032),
        ('resnext101_32x8d', 86_742_336),
    ],
)
def test_resnet_has_torchvisions_tensors_but_for_the_classifier(name, count):
    with torch.device('meta'):
        encoder = ResNet(name)
    classifier = (encoder.channels[-1] + 1) * 1000
    assert parameters(encoder) == count == torchvision_tables.PUBLISHED[name] - classifier
    table = torchvision_tables.TABLES[name]
    expected = [item for item in table.items() if not item[0].startswith('fc.')]
    assert list(torchvision_tables.shapes(encoder).items()) == expected


@pytest.mark.parametrize('name', LAYOUTS)
def test_resnet_outputs_are_rounded_up(name):
    with torch.device('meta'):
        encoder = ResNet(name).eval()
    wide = 1 if name in ('resnet18', 'resnet34') else 4
    assert encoder.channels == (64 * wide, 128 * wide, 256 * wide, 512 * wide)
    for size in ((32, 64), (33, 65), (71, 45), (1, 1), (2, 37)):
        outputs = encoder(torch.empty(2, 3, *size, device='meta'))
        for output, c, scale in zip(outputs, encoder.channels, (4, 8, 16, 32), strict=True):
            assert output.shape == (2, c, *(-(-n // scale) for n in size))


@pytest.mark.parametrize('name', ['resnet18', 'resnet50'])
def test_resnet_equals_its_functional_twin(name):
    torch.manual_seed(0)
    encoder = ResNet(name).double().eval()
    randomise(encoder)
    blocks = {'resnet18': (2, 2, 2, 2), 'resnet50': (3, 4, 6, 3)}[name]
    for size in ((32, 64), (45, 71)):
        x = torch.randn(2, 3, *size, dtype=torch.double)
        with torch.no_grad():
            expected = functional_resnet(encoder.state_dict(), blocks, x)
            torch.testing.assert_close(encoder(x), expected)
            stem = encoder.stem(x)
        assert stem.shape == (2, 64, *(-(-n // 2) for n in size))


def test_resnet_starts_near_the_identity_and_is_exact_enough_in_bfloat16():
    """With branches of weight 1 the error at 1/32 is 4.5 %, with 0.1 it is 1.8 %."""
    torch.manual_seed(0)
    encoder = ResNet('resnet18').train()
    drawn = encoder.layer1[0].conv1.weight.std().item()  # He et al. 2015: 2 / fan-in is its square
    assert drawn == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    x = torch.randn(4, 3, 97, 131)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics are the last batch's
    with torch.no_grad():
        encoder(x)
        expected = encoder.eval()(x)
        found = encoder.bfloat16()(x.bfloat16())
    for output, exact in zip(found, expected, strict=True):
        assert 0.1 < exact.std() < 10
        assert (output.float() - exact).abs().mean() < 0.03 * exact.abs().mean()
