"""The TopFormer encoder: its authors' numbers and keys, and an independent second writing."""

from __future__ import annotations

import math

from depth_kd_ros.networks.encoders.topformer import Attention, Injection, LAYOUTS, TopFormer
from depth_kd_ros.networks.parts.initialisation import initialise
from network_inputs import inputs, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

PARAMETERS = {  # to the unit; as published, in millions
    'topformer_tiny': (1_369_920, 1.37),
    'topformer_small': (2_968_464, 2.97),
    'topformer_base': (4_958_048, 4.96),
}
GMAC = {'topformer_tiny': '0.346', 'topformer_small': '0.642', 'topformer_base': '1.01'}
PYRAMID = {  # of layer1, layer2 ..: kernel, expansion, channels, stride, as the authors configure
    name: [
        (3, 1, 16, 1),
        *((3, 4, c1, 2), (3, 3, c1, 1)),
        *((5, 3, c2, 2), (5, 3, c2, 1)),
        *((3, 3, c3, 2), (3, 3, c3, 1)),
        *((5, 6, c4, 2), (5, 6, c4, 1)),
        *last,
    ]
    for name, (c1, c2, c3, c4), last in (
        ('topformer_tiny', (16, 32, 64, 96), ()),
        ('topformer_small', (24, 48, 96, 128), ((3, 6, 128, 1),)),
        ('topformer_base', (32, 64, 128, 160), ((3, 6, 160, 1),)),
    )
}
HEADS = {'topformer_tiny': 4, 'topformer_small': 6, 'topformer_base': 8}
INJECTED = {'topformer_tiny': 128, 'topformer_small': 192, 'topformer_base': 256}


def on_meta(name):
    with torch.device('meta'):
        return TopFormer(name).eval()


def trained(module, *sample):
    """Draw weights in double precision: norms have seen a sample, ReLU6 and softmax are felt."""
    initialise(module)
    for key, part in module.named_modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
            least = 0.2 if key.endswith(('to_q.bn', 'to_k.bn')) else 2.0
            torch.nn.init.uniform_(part.weight, least, 1.5 * least)
            torch.nn.init.uniform_(part.bias, -1, 1)
    with torch.no_grad():
        module.double().train()(*sample)
    return module.eval()


# --- the authors' numbers and keys


@pytest.mark.parametrize('name', LAYOUTS)
def test_parameters_to_the_unit_and_as_published(name):
    exact, published = PARAMETERS[name]
    assert parameters(on_meta(name)) == exact
    assert round(exact / 1e6, 2) == published


@pytest.mark.parametrize('name', LAYOUTS)
def test_multiply_accumulates_as_published(name):
    """At 448x448; the published count has no attention products, of queries, keys and values."""
    with FlopCounterMode(display=False) as counter:
        on_meta(name)(torch.empty(1, 3, 448, 448, device='meta'))
    positions = (448 // 64) ** 2
    products = 4 * HEADS[name] * positions**2 * (16 + 32)
    published = GMAC[name]
    digits = len(published) - 2
    assert f'{(counter.get_total_flops() / 2 - products) / 1e9:.{digits}f}' == published


def expected_shapes(name):
    """List the state-dict keys and shapes of the authors' backbone."""
    shapes = {}

    def norm(key, channels):
        for part in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{key}.{part}'] = (channels,)
        shapes[f'{key}.num_batches_tracked'] = ()

    def convolution(key, out, into, kernel=1, conv='c'):
        shapes[f'{key}.{conv}.weight'] = (out, into, kernel, kernel)
        norm(f'{key}.bn', out)

    convolution('tpm.stem.0', 16, 3, 3)
    into = 16
    for i, (kernel, expansion, out, _) in enumerate(PYRAMID[name], start=1):
        inner = into * expansion
        if expansion > 1:
            convolution(f'tpm.layer{i}.conv.0', inner, into)
        convolution(f'tpm.layer{i}.conv.{2 if expansion > 1 else 0}', inner, 1, kernel)
        convolution(f'tpm.layer{i}.conv.{4 if expansion > 1 else 2}', out, inner)
        into = out
    tokens = [PYRAMID[name][i][2] for i in (2, 4, 6, 8)]
    width, heads = sum(tokens), HEADS[name]
    for i in range(4):
        block = f'trans.transformer_blocks.{i}'
        convolution(f'{block}.attn.to_q', 16 * heads, width)
        convolution(f'{block}.attn.to_k', 16 * heads, width)
        convolution(f'{block}.attn.to_v', 32 * heads, width)
        convolution(f'{block}.attn.proj.1', width, 32 * heads)
        convolution(f'{block}.mlp.fc1', 2 * width, width)
        shapes[f'{block}.mlp.dwconv.weight'] = (2 * width, 1, 3, 3)
        shapes[f'{block}.mlp.dwconv.bias'] = (2 * width,)
        convolution(f'{block}.mlp.fc2', width, 2 * width)
    for i in (1, 2, 3):
        for part in ('local_embedding', 'global_embedding', 'global_act'):
            convolution(f'SIM.{i}.{part}', INJECTED[name], tokens[i], conv='conv')
    return shapes


@pytest.mark.parametrize('name', LAYOUTS)
def test_state_dict_is_that_of_the_authors(name):
    found = {key: tuple(value.shape) for key, value in on_meta(name).state_dict().items()}
    assert found == expected_shapes(name)


@pytest.mark.parametrize(
    ('size', 'sizes'),
    [
        ((448, 448), ((112, 112), (56, 56), (28, 28), (14, 14))),
        ((97, 131), ((25, 33), (13, 17), (7, 9), (4, 5))),
        ((1, 1), ((1, 1), (1, 1), (1, 1), (1, 1))),
    ],
)
@pytest.mark.parametrize('name', LAYOUTS)
def test_outputs(name, size, sizes):
    encoder = on_meta(name)
    channels = (PYRAMID[name][2][2], *3 * (INJECTED[name],))
    assert encoder.channels == channels
    found = [tuple(x.shape) for x in encoder(torch.empty(2, 3, *size, device='meta'))]
    assert found == [(2, c, *hw) for c, hw in zip(channels, sizes, strict=True)]


# --- an independent second writing


def norm(state, key, x):
    stats = (state[f'{key}.{n}'] for n in ('running_mean', 'running_var', 'weight', 'bias'))
    return F.batch_norm(x, *stats, training=False)


def convolve(state, key, x, conv='c', **options):
    return norm(state, f'{key}.bn', F.conv2d(x, state[f'{key}.{conv}.weight'], **options))


def attend(state, key, x, heads):
    """Sum the values position by position, weighted by exp(query . key): loops and `math`."""
    query, keys, values = (
        convolve(state, f'{key}.to_{n}', x).flatten(2).tolist() for n in ('q', 'k', 'v')
    )
    batch, count = x.shape[0], x.shape[2] * x.shape[3]
    out = torch.zeros(batch, 32 * heads, count, dtype=x.dtype)
    for b in range(batch):
        for head in range(heads):
            for i in range(count):
                weights = []
                for j in range(count):
                    c = range(16 * head, 16 * head + 16)
                    weights.append(math.exp(sum(query[b][n][i] * keys[b][n][j] for n in c)))
                for n in range(32 * head, 32 * head + 32):
                    total = sum(w * values[b][n][j] for j, w in enumerate(weights))
                    out[b, n, i] = total / sum(weights)
    out = out.clamp(0, 6).reshape(batch, -1, *x.shape[2:])
    return convolve(state, f'{key}.proj.1', out)


def mean_of_windows(x, size):
    """Average what there is of each size x size window, (B, C, ceil(H / size), ...)."""
    rows = [
        torch.stack([w.mean((2, 3)) for w in row.split(size, 3)], 2) for row in x.split(size, 2)
    ]
    return torch.stack(rows, 2)


def inject(state, key, tokens, semantics, factor):
    """Upsample to whole windows of 64 pixels, then keep what lies on the tokens."""
    h, w = tokens.shape[2:]

    def spread(x):
        whole = [n * factor for n in semantics.shape[2:]]
        x = F.interpolate(x, whole, mode='bilinear', align_corners=False)
        return x[:, :, :h, :w]

    gate = F.relu6(convolve(state, f'{key}.global_act', semantics, 'conv') + 3) / 6
    local = convolve(state, f'{key}.local_embedding', tokens, 'conv')
    added = convolve(state, f'{key}.global_embedding', semantics, 'conv')
    return local * spread(gate) + spread(added)


def functional(state, name, x):
    x = F.relu(convolve(state, 'tpm.stem.0', x, stride=2, padding=1))
    scales = []
    for i, (kernel, expansion, channels, stride) in enumerate(PYRAMID[name], start=1):
        if stride == 2:
            scales.append(x)
        key, y = f'tpm.layer{i}.conv', x
        if expansion > 1:
            y = F.relu(convolve(state, f'{key}.0', y))
        options = {'stride': stride, 'padding': kernel // 2, 'groups': y.shape[1]}
        y = F.relu(convolve(state, f'{key}.{2 if expansion > 1 else 0}', y, **options))
        y = convolve(state, f'{key}.{4 if expansion > 1 else 2}', y)
        x = x + y if stride == 1 and x.shape[1] == channels else y
    tokens = [*scales[1:], x]
    pooled = [mean_of_windows(t, f) for t, f in zip(tokens, (16, 8, 4, 2), strict=True)]
    x = torch.cat(pooled, 1)
    for i in range(4):
        key = f'trans.transformer_blocks.{i}'
        x = x + attend(state, f'{key}.attn', x, HEADS[name])
        y = convolve(state, f'{key}.mlp.fc1', x)
        weight, bias = state[f'{key}.mlp.dwconv.weight'], state[f'{key}.mlp.dwconv.bias']
        y = F.relu6(F.conv2d(y, weight, bias, padding=1, groups=y.shape[1]))
        x = x + convolve(state, f'{key}.mlp.fc2', y)
    semantics = x.split([t.shape[1] for t in tokens], 1)
    injected = [
        inject(state, f'SIM.{i}', tokens[i], semantics[i], (16, 8, 4, 2)[i]) for i in (1, 2, 3)
    ]
    return [tokens[0], *injected]


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('topformer_tiny', (64, 128)),
        ('topformer_tiny', (97, 131)),
        ('topformer_small', (65, 64)),
        ('topformer_base', (64, 100)),
    ],
)
def test_topformer_equals_its_functional_twin(name, size):
    torch.manual_seed(0)
    encoder = trained(TopFormer(name), inputs(96, 128, batch=2)[0].double())
    image = inputs(*size)[0].double()
    with torch.no_grad():
        found, expected = encoder(image), functional(encoder.state_dict(), name, image)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y)


def test_attention_equals_a_softmax_in_loops():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    attention = trained(Attention(channels=5, heads=2), x)
    state = {f'attn.{key}': value for key, value in attention.state_dict().items()}
    with torch.no_grad():
        torch.testing.assert_close(attention(x), attend(state, 'attn', x, heads=2))


def test_attention_logits_start_with_the_usual_scale():
    """The authors' have none: at the start the queries' norm divides by the root of 16."""
    attention = Attention(channels=5, heads=2)
    assert (attention.to_q.bn.weight == 1 / 4).all()
    assert (attention.to_k.bn.weight == 1).all()


def test_injection_by_hand():
    """One channel, identity embeddings: 10 * gate + semantics, the gate being (x + 3) / 6."""
    injection = Injection(1, 1, factor=2)
    for part in (injection.local_embedding, injection.global_embedding, injection.global_act):
        torch.nn.init.ones_(part.conv.weight)
        part.bn = torch.nn.Identity()
    tokens = torch.full((1, 1, 2, 3), 10.0)
    semantics = torch.tensor([[[[-4.0, 0.0]]]])
    with torch.no_grad():
        found = injection(tokens, semantics)
    row = [-4.0, 10 * 0.125 - 3, 10 * 0.375 - 1]  # upsampled gate 0, 1/8, 3/8, (1/2)
    torch.testing.assert_close(found[0, 0], torch.tensor([row, row]))


def test_pooling_is_the_authors_where_64_divides_the_size():
    x = torch.randn(1, 2, 32, 48, dtype=torch.float64)  # 1/4 of 128x192
    torch.testing.assert_close(mean_of_windows(x, 16), F.adaptive_avg_pool2d(x, (2, 3)))
