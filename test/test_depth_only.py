"""The depth_only network: its counts, its ablations, and an independent second writing."""

from __future__ import annotations

from batch_norms import normalise
from depth_kd_ros import checkpoint, networks
from depth_kd_ros.networks import depth_only
from network_inputs import inputs, on_meta, parameters
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

FORMS = {  # by reconstruction and sharing
    'B+I+S': depth_only.Config(),
    'B+I+S at test': depth_only.Config(reconstruction=False),
    'B+I': depth_only.Config(sharing=False),
    'B': depth_only.Config(reconstruction=False, sharing=False),
}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def network():
    """Build the training form, with batch norms that are not the identity."""
    return with_other_norms(depth_only.Config())


def with_other_norms(config):
    torch.manual_seed(3)
    network = depth_only.Network(config).eval()
    for key, value in network.state_dict().items():
        if value.dim() == 1 and value.is_floating_point():
            value += 0.5 * torch.rand_like(value) if key.endswith(('var', 'weight')) else 0.1
    return network


@pytest.mark.parametrize('key', ['reconstruction', 'sharing'])
@pytest.mark.parametrize('value', [1, 'yes', None])
def test_options_are_booleans(key, value):
    with pytest.raises(ValueError, match=f"network 'depth_only': {key} = .* give true or false"):
        networks.build('depth_only', {key: value})


# --- counts, from the table of the layers: kernel, in, out of each convolution with batch norm

TOWERS = [(k, *io) for k in (3, 5, 7, 9) for io in ((1, 16), (16, 32), (32, 64), (64, 128))]
EXTRACTOR = [(3, 512, 128), (3, 128, 64), (3, 64, 32)]
SHARED = [(3, 128, 64), (3, 64, 32)]


def decoder(channels):
    """Count a decoder: a deconvolution, a convolution and the last one, which has a bias."""
    return counted([(3, channels, 32), (3, 32, 16)]) + 3 * 3 * 16 + 1


def counted(layers):
    """Count weights, and scale and shift of the norm."""
    return sum(k * k * i * o + 2 * o for k, i, o in layers)


def test_parameters_to_the_unit():
    found = {form: parameters(on_meta('depth_only', config)) for form, config in FORMS.items()}
    assert found == {
        'B+I+S': 3_271_650,
        'B+I+S at test': 3_248_369,
        'B+I': 3_160_866,
        'B': 2_464_369,
    }
    base = counted(TOWERS + EXTRACTOR)
    assert found['B'] == base + decoder(32)
    assert found['B+I'] == found['B'] + counted(EXTRACTOR) + decoder(32)
    assert found['B+I+S'] == base + counted(EXTRACTOR + SHARED) + 2 * decoder(64)
    assert found['B+I+S at test'] == found['B+I+S'] - decoder(64)


@pytest.mark.parametrize(
    ('form', 'gflops', 'without_features'),
    [
        ('B+I+S', 39.93, 30.93),
        ('B+I+S at test', 31.91, 30.93),  # less f_r3, which does not reach the depth
        ('B+I', 34.01, 24.02),
        ('B', 24.02, 24.02),
    ],
)
def test_gflops_at_352x1216(form, gflops, without_features):
    network = on_meta('depth_only', FORMS[form])
    for features, expected in ((True, gflops), (False, without_features)):
        with FlopCounterMode(display=False) as counter:
            network(*inputs(352, 1216, device='meta'), features=features)
        assert round(counter.get_total_flops() / 1e9, 2) == expected


# --- any size


@pytest.mark.parametrize('size', [(227, 301), (97, 131), (33, 50), (1, 1), (2, 45), (352, 1216)])
def test_features_are_named_and_sized_as_in_the_paper(form, size):
    h, w = (-(-n // 16) for n in size)
    config = FORMS[form]
    levels = ((1, 128, 2), (2, 64, 4), (3, 32, 8))
    kinds = ['d']
    if config.reconstruction or config.sharing:
        kinds.append('r')
    if config.sharing:
        kinds.append('s')
    expected = {f'f_{kind}{n}': (c, s * h, s * w) for kind in kinds for n, c, s in levels}
    if config.sharing:
        expected['f_s1'] = (128, 2 * h, 2 * w)
    expected['f_0'] = (512, h, w)
    if config.reconstruction:
        expected['reconstruction'] = (1, *size)
    prediction = on_meta('depth_only', config)(*inputs(*size, device='meta'))
    assert {key: tuple(f.shape[1:]) for key, f in prediction.features.items()} == expected
    assert prediction.depth.shape == (1, 1, *size)


@pytest.mark.parametrize('size', [(227, 301), (97, 131), (33, 50), (1, 1)])
def test_forward_and_backward_at_odd_sizes(size):
    torch.manual_seed(0)
    network = depth_only.Network(depth_only.Config())
    _, sparse = inputs(*size, batch=2)
    prediction = network(None, sparse)
    assert prediction.depth.shape == prediction.features['reconstruction'].shape == sparse.shape
    loss = prediction.depth.square().mean()
    loss = loss + 1e-4 * (prediction.features['reconstruction'] - 128).square().mean()
    loss.backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), key


# --- what the image decoder and the image's features do


def test_dropping_the_image_decoder_changes_nothing(network, tmp_path):
    _, sparse = inputs(37, 51, batch=2)
    deployable = network.deployable()
    assert deployable.config == FORMS['B+I+S at test']
    assert deployable.deployable() is deployable
    assert not deployable.training and network.config.reconstruction
    path = tmp_path / 'depth_only.safetensors'
    checkpoint.save(path, deployable, normalisation=((0,) * 3, (1,) * 3), depth_range_m=(0.1, 80))
    loaded = checkpoint.load(path).model
    assert loaded.config == deployable.config
    with torch.no_grad():
        expected = network(None, sparse)
        for twin in (deployable, loaded):
            found = twin(None, sparse)
            assert torch.equal(found.depth, expected.depth)
            assert found.features.keys() == expected.features.keys() - {'reconstruction'}
            for key, feature in found.features.items():
                assert torch.equal(feature, expected.features[key]), key


def test_without_sharing_the_whole_image_branch_is_dropped():
    network = with_other_norms(FORMS['B+I'])
    deployable = network.train().deployable()
    assert deployable.config == FORMS['B'] and deployable.training
    _, sparse = inputs(37, 51, batch=2)
    assert torch.equal(network.eval()(None, sparse).depth, deployable.eval()(None, sparse).depth)


def test_deployable_network_learns_with_its_source(network):
    """Its tensors are the source's: of a network in training it is always the latest state."""
    deployable = network.deployable()
    own = {p.data_ptr() for p in network.parameters()}
    assert {p.data_ptr() for p in deployable.parameters()} < own
    assert all(p.requires_grad for p in deployable.parameters())


def test_decoder_runs_only_where_its_image_is_asked_for(network):
    calls = []
    network.image_decoder.register_forward_hook(lambda *_: calls.append('decoded'))
    _, sparse = inputs(16, 16)
    network(None, sparse, features=False)
    assert calls == []
    network(None, sparse)
    assert calls == ['decoded']


def test_depth_gets_gradients_of_the_image_features_only_by_sharing():
    _, sparse = inputs(48, 64, batch=2)
    for form, reached in (('B+I+S', {'0', '1'}), ('B+I', set())):
        network = depth_only.Network(FORMS[form])
        network(None, sparse).depth.square().mean().backward()
        named = network.image_features.named_parameters()
        assert {key[0] for key, p in named if p.grad is not None} == reached
        assert all(p.grad is None for p in network.image_decoder.parameters())


# --- an independent second writing, from the paper's equations


def functional_depth_only(state, sparse, image_branch, sharing):
    """Run the network with functions only; give the depth and, if there is one, the image."""

    def norm(x, key):
        return F.relu(normalise(state, x, key))

    def up(x, key):  # a deconvolution as a convolution of the input, spread out by zeros
        weight = state[f'{key}.0.weight'].flip(2, 3).transpose(0, 1)
        spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
        spread[..., ::2, ::2] = x
        return norm(F.conv2d(spread, weight, padding=1), f'{key}.1')

    def decode(x, key):
        h, w = sparse.shape[2:]
        x = up(x, f'{key}.deconvolution')[:, :, :h, :w]
        x = norm(
            F.conv2d(x, state[f'{key}.convolution.0.weight'], padding=1), f'{key}.convolution.1'
        )
        return F.conv2d(x, state[f'{key}.output.weight'], state[f'{key}.output.bias'], padding=1)

    towers = []
    for i, kernel in enumerate((3, 5, 7, 9)):
        x = sparse
        for j in range(4):
            key = f'feature_encoder.{i}.{j}'
            x = F.conv2d(x, state[f'{key}.0.weight'], stride=2, padding=(kernel - 1) // 2)
            x = norm(x, f'{key}.1')
        towers.append(x)
    f_0 = torch.cat(towers, 1)
    f_d1 = up(f_0, 'depth_features.0')
    f_d2 = up(f_d1, 'depth_features.1')
    f_d3 = up(f_d2, 'depth_features.2')
    if not image_branch:
        return decode(f_d3, 'depth_decoder'), None
    f_r1 = up(f_0, 'image_features.0')
    f_r2 = up(f_r1, 'image_features.1')
    f_r3 = up(f_r2, 'image_features.2')
    if not sharing:
        return decode(f_d3, 'depth_decoder'), decode(f_r3, 'image_decoder')
    f_s2 = f_r2 + f_d2 + up(f_d1 + f_r1, 'shared_features.0')
    f_s3 = up(f_s2, 'shared_features.1')
    depth = decode(torch.cat((f_d3, f_s3), 1), 'depth_decoder')
    return depth, decode(torch.cat((f_r3, f_s3), 1), 'image_decoder')


@pytest.mark.parametrize('size', [(32, 48), (37, 51)])
@pytest.mark.parametrize('form', ['B+I+S', 'B+I', 'B'])
def test_equals_its_functional_twin(form, size):
    config = FORMS[form]
    network = with_other_norms(config).double()
    sparse = inputs(*size, batch=2)[1].double()
    with torch.no_grad():
        prediction = network(None, sparse)
        depth, image = functional_depth_only(
            network.state_dict(), sparse, config.reconstruction, config.sharing
        )
    torch.testing.assert_close(prediction.depth, depth)
    if config.reconstruction:
        torch.testing.assert_close(prediction.features['reconstruction'], image)


def test_activations_neither_vanish_nor_explode_at_the_start():
    torch.manual_seed(0)
    network = depth_only.Network(depth_only.Config())
    with torch.no_grad():
        prediction = network(*inputs(96, 128, batch=2))
    for key, feature in prediction.features.items():
        assert 0.1 < feature.std() < 30, key
    assert 0.1 < prediction.depth.std() < 10


@pytest.mark.parametrize('form', ['B+I+S', 'B+I', 'B'])
def test_starts_at_a_plausible_depth_and_mid_grey(form):
    torch.manual_seed(0)
    with torch.no_grad():
        prediction = depth_only.Network(FORMS[form])(*inputs(96, 128, batch=2))
    assert 3 < prediction.depth.mean() < 7
    if 'reconstruction' in prediction.features:
        assert 125 < prediction.features['reconstruction'].mean() < 130
