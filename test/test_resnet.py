"""The residual blocks and encoders."""

from __future__ import annotations

from depth_kd_ros.networks.encoders.resnet import BasicBlock, stage
import pytest
import torch
import torch.nn.functional as F


def test_basic_block_has_torchvisions_keys():
    keys = {key for key in stage(8, 16, 2, stride=2).state_dict() if 'running' not in key}
    norm = {'weight', 'bias', 'num_batches_tracked'}
    expected = {f'{i}.{c}.weight' for i in (0, 1) for c in ('conv1', 'conv2')}
    expected |= {f'{i}.{b}.{n}' for i in (0, 1) for b in ('bn1', 'bn2') for n in norm}
    expected |= {'0.downsample.0.weight'} | {f'0.downsample.1.{n}' for n in norm}
    assert keys == expected


@pytest.mark.parametrize('size', [(8, 8), (7, 9), (1, 2)])
def test_sliced_shortcut_equals_the_strided_convolution(size):
    torch.manual_seed(0)
    block = BasicBlock(4, 8, stride=2).eval()
    x = torch.randn(2, 4, *size)
    main = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    shortcut = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=2))
    torch.testing.assert_close(block(x), F.relu(main + shortcut))
