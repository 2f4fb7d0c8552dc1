"""Names and shapes in torchvision's public files, written from the papers' tables of layers."""

from __future__ import annotations

import math

import torch

# Parameters with the classifier of 1000 classes, as torchvision's documentation lists them.
PUBLISHED = {
    'resnet18': 11_689_512,
    'resnet34': 21_797_672,
    'resnet50': 25_557_032,
    'resnext101_32x8d': 88_791_336,
    'mobilenet_v2': 3_504_872,
}


def norm(key, channels):
    """List the tensors of a batch norm."""
    names = ('weight', 'bias', 'running_mean', 'running_var')
    return {**{f'{key}.{n}': (channels,) for n in names}, f'{key}.num_batches_tracked': ()}


def resnet(blocks, bottleneck=False, groups=1, width=64):
    """List a ResNet's tensors: He et al., Table 1; the classifier is `fc`."""
    table = {'conv1.weight': (64, 3, 7, 7), **norm('bn1', 64)}
    c_in = 64
    for layer, count in enumerate(blocks, start=1):
        base = 64 * 2 ** (layer - 1)
        c_out = 4 * base if bottleneck else base
        wide = base * groups * width // 64 if bottleneck else base
        for i in range(count):
            key = f'layer{layer}.{i}'
            if bottleneck:
                shapes = (wide, c_in, 1, 1), (wide, wide // groups, 3, 3), (c_out, wide, 1, 1)
            else:
                shapes = (wide, c_in, 3, 3), (c_out, wide, 3, 3)
            for n, shape in enumerate(shapes, start=1):
                table[f'{key}.conv{n}.weight'] = shape
                table.update(norm(f'{key}.bn{n}', shape[0]))
            if c_in != c_out:
                table[f'{key}.downsample.0.weight'] = (c_out, c_in, 1, 1)
                table.update(norm(f'{key}.downsample.1', c_out))
            c_in = c_out
    return {**table, 'fc.weight': (1000, c_in), 'fc.bias': (1000,)}


def mobilenet_v2():
    """List MobileNetV2's tensors: Sandler et al., Table 2, rows of t, c, n; `classifier` last."""
    table = {'features.0.0.weight': (32, 3, 3, 3), **norm('features.0.1', 32)}
    rows = (1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)
    c_in, layer = 32, 1
    for t, c, n in rows:
        for _ in range(n):
            key, wide = f'features.{layer}.conv', t * c_in
            i = 0
            if t > 1:
                table[f'{key}.0.0.weight'] = (wide, c_in, 1, 1)
                table.update(norm(f'{key}.0.1', wide))
                i = 1
            table[f'{key}.{i}.0.weight'] = (wide, 1, 3, 3)
            table.update(norm(f'{key}.{i}.1', wide))
            table[f'{key}.{i + 1}.weight'] = (c, wide, 1, 1)
            table.update(norm(f'{key}.{i + 2}', c))
            c_in, layer = c, layer + 1
    table['features.18.0.weight'] = (1280, 320, 1, 1)
    table.update(norm('features.18.1', 1280))
    return {**table, 'classifier.1.weight': (1000, 1280), 'classifier.1.bias': (1000,)}


TABLES = {
    'resnet18': resnet((2, 2, 2, 2)),
    'resnet34': resnet((3, 4, 6, 3)),
    'resnet50': resnet((3, 4, 6, 3), bottleneck=True),
    'resnext101_32x8d': resnet((3, 4, 23, 3), bottleneck=True, groups=32, width=8),
    'mobilenet_v2': mobilenet_v2(),
}


def parameters(table):
    """Count a table's parameters, without the statistics of batch norms."""
    statistics = 'running_mean', 'running_var', 'num_batches_tracked'
    return sum(math.prod(s) for key, s in table.items() if not key.endswith(statistics))


def fabricate(table):
    """Draw tensors with the names and shapes of a public file."""
    return {
        key: torch.rand(shape) if shape else torch.tensor(7, dtype=torch.int64)
        for key, shape in table.items()
    }


def shapes(network):
    """List a network's tensors as the tables do."""
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
