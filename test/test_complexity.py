"""Parameters and GFLOPs against counts made by hand, and the LSPKD paper's printed numbers."""

from __future__ import annotations

from depth_kd_ros import complexity, networks
from depth_kd_ros.networks.base import DepthNetwork, Prediction
from network_inputs import on_meta
import pytest
import torch
from torch import nn
import torch.nn.functional as F


def preset(name):
    network, _ = networks.presets()[name]
    return on_meta(network, networks.find(network).PRESETS[name])


class Every(DepthNetwork):
    """Hold a layer of each kind that is counted, and some that are not."""

    inputs = ('image',)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 5, padding=2, groups=4, bias=False)
        self.attention = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
        self.deconv = nn.ConvTranspose2d(8, 1, 3, 2, 1, 1, bias=False)

    def forward(self, image, sparse_depth=None, features=True):
        self.check(image, sparse_depth)
        x = self.grouped(F.leaky_relu(self.norm(self.conv(image))))
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        x = tokens.transpose(1, 2).reshape(x.shape)
        return Prediction(self.deconv(x), {'x': x} if features else {})


def test_parameters_by_hand():
    conv, norm, grouped, deconv = 8 * 3 * 9 + 8, 2 * 8, 8 * 2 * 25, 8 * 9
    assert complexity.parameters(Every()) == conv + norm + grouped + 4 * 8 * 8 + deconv


def test_gflops_by_hand():
    pixels, tokens = 4 * 6, 4 * 6  # at half of 8x12
    conv, grouped = pixels * 8 * 3 * 9, pixels * 8 * 2 * 25
    attention = 4 * tokens * 8 * 8 + 2 * tokens * tokens * 8  # projections; scores and sums
    deconv = pixels * 8 * 9  # on the input, not on the four times larger output
    found = complexity.gflops(Every(), (8, 12))
    assert round(found * 1e9) == 2 * (conv + grouped + attention + deconv)


def test_counting_reads_and_changes_nothing():
    network = Every().train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    complexity.gflops(network, (8, 12))
    complexity.lspkd_paper_gflops(network, (8, 12))
    assert network.training
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_real_network_counts_as_one_of_shapes():
    real = networks.build('lspkd', {'width': 1 / 32, 'blocks': (1, 1, 1, 1)})
    shapes = on_meta('lspkd', real.config)
    assert complexity.parameters(real) == complexity.parameters(shapes)
    assert complexity.gflops(real, (33, 50)) == complexity.gflops(shapes, (33, 50)) > 0


@pytest.mark.parametrize('name', ['depth_only', 'mff_mobilenet_v2', 'lspkd_s8'])
def test_networks_of_every_kind_of_input_are_counted(name):
    network = preset(name)
    assert complexity.gflops(network, (64, 96)) > complexity.gflops(network, (32, 48)) > 0


@pytest.mark.parametrize(
    ('name', 'at_228x304', 'at_240x912', 'digits'),
    [
        ('lspkd_teacher', 90.90, 282.24, 2),
        ('lspkd_s2', 12.39, 38.41, 2),
        ('lspkd_s8', 0.789, 2.448, 3),
    ],
)
def test_physical_gflops_of_lspkd(name, at_228x304, at_240x912, digits):
    network = preset(name)
    assert round(complexity.gflops(network, (228, 304)), digits) == at_228x304
    assert round(complexity.gflops(network, (240, 912)), digits) == at_240x912


@pytest.mark.parametrize(
    ('name', 'expected'), [('mff_mobilenet_v2', 8.04), ('mff_resnet34', 18.26)]
)
def test_physical_gflops_of_mff(name, expected):
    assert round(complexity.gflops(preset(name), (228, 304)), 2) == expected


# --- the LSPKD paper's convention


@pytest.mark.parametrize(
    ('name', 'size', 'printed'),
    [
        ('lspkd_teacher', (240, 912), '349.36'),
        ('lspkd_teacher', (228, 304), '112.32'),
        ('lspkd_s2', (240, 912), '59.22'),
        ('lspkd_s8', (228, 304), '1.46'),
    ],
)
def test_lspkd_paper_gflops_to_the_printed_digit(name, size, printed):
    teacher = None if name == 'lspkd_teacher' else preset('lspkd_teacher')
    found = complexity.lspkd_paper_gflops(preset(name), size, teacher)
    assert f'{found:.2f}' == printed


def test_lspkd_paper_convention_by_hand():
    conv, norm, leaky = 24 * 8 * (3 * 9 + 1), 2 * 24 * 8, 0  # the leaky ReLU is no module here
    grouped, deconv = 24 * 8 * 2 * 25, 8 * 12 * 8 * 9  # on the output
    found = complexity.lspkd_paper_gflops(Every(), (8, 12))
    assert round(found * 1e9) == 2 * (conv + norm + leaky + grouped + deconv)


def test_lspkd_paper_adapters_by_hand():
    """One tap of 8 channels at 4x6, the student's and the teacher's."""
    alone = complexity.lspkd_paper_gflops(Every(), (8, 12))
    adapted = complexity.lspkd_paper_gflops(Every(), (8, 12), teacher=Every())
    assert round((adapted - alone) * 1e9) == 2 * 24 * 8 * 8
