"""The contract of every network, and the layer facts of each."""

from __future__ import annotations

from dataclasses import asdict
import json

from depth_kd_ros import networks
from depth_kd_ros.networks import lspkd
from depth_kd_ros.networks.encoders.resnet import BasicBlock, stage
from depth_kd_ros.networks.prediction import Prediction
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


def on_meta(name, config):
    """Build a network that has shapes only."""
    with torch.device('meta'):
        return networks.find(name).Network(config).eval()


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def smallest(name):
    return min(networks.find(name).PRESETS.values(), key=lambda c: parameters(on_meta(name, c)))


@pytest.fixture(params=networks.available())
def name(request):
    return request.param


@pytest.fixture
def network(name):
    torch.manual_seed(1)
    return networks.find(name).Network(smallest(name)).eval()


def inputs(height, width, batch=1, device='cpu'):
    """Draw an image and a sparse depth with a value at one pixel in ten."""
    image = torch.randn(batch, 3, height, width, device=device)
    depth = 1 + 40 * torch.rand(batch, 1, height, width, device=device)
    return image, depth * (torch.rand_like(depth) < 0.1)


# --- finding and building


def test_available_lists_the_files_of_the_folder():
    assert networks.available() == ['lspkd']


@pytest.mark.parametrize('typo', ['prediction', 'encoders', '', '../lspkd', 'os', 'resnet'])
def test_find_imports_only_what_is_available(typo):
    with pytest.raises(ValueError, match=r'unknown network .* Available networks: .*lspkd'):
        networks.find(typo)


def test_find_suggests_the_nearest_name():
    with pytest.raises(ValueError, match="unknown network 'lpskd'; did you mean 'lspkd'"):
        networks.find('lpskd')


def test_build_takes_options_as_json_has_them(name):
    config = smallest(name)
    network = networks.build(name, json.loads(json.dumps(asdict(config))))
    assert network.config == config


def test_build_without_options_is_the_default_config(name):
    with torch.device('meta'):
        assert networks.build(name).config == networks.find(name).Config()


def test_build_rejects_an_unknown_option(name):
    with pytest.raises(
        ValueError, match=rf"network '{name}' has no option 'wdith'; its options: "
    ):
        networks.build(name, {'wdith': 1})


@pytest.mark.parametrize('width', [0, -1, 0.01, 1 / 3, float('nan'), float('inf'), '1', None])
def test_lspkd_rejects_a_width_with_fractional_channels(width):
    with pytest.raises(ValueError, match=r"network 'lspkd': width = .* multiple of 1/64"):
        networks.build('lspkd', {'width': width})


@pytest.mark.parametrize('blocks', [[2, 2, 2], [2, 2, 2, 0], [2, 2, 2, 2.5], 2, 'abcd'])
def test_lspkd_rejects_wrong_blocks(blocks):
    with pytest.raises(ValueError, match=r'blocks = .* give 4 positive whole numbers'):
        networks.build('lspkd', {'blocks': blocks})


# --- the contract, for every network


@pytest.mark.parametrize('size', [(97, 131), (1, 1), (17, 16), (2, 45), (64, 48)])
def test_output_has_exactly_the_input_size(network, size):
    with torch.inference_mode():
        prediction = network(*inputs(*size, batch=2))
    assert isinstance(prediction, Prediction)
    assert prediction.depth.shape == (2, 1, *size)
    assert prediction.depth.dtype == torch.float32
    assert prediction.depth.isfinite().all()
    if prediction.confidence is not None:
        assert prediction.confidence.shape == (2, 1, *size)
    assert all(f.dim() == 4 and len(f) == 2 for f in prediction.features.values())


def test_full_size_on_meta(name):
    for config in networks.find(name).PRESETS.values():
        prediction = on_meta(name, config)(*inputs(352, 1216, device='meta'))
        assert prediction.depth.shape == (1, 1, 352, 1216)


def test_features_can_be_left_out(network):
    image, sparse = inputs(33, 50)
    with torch.inference_mode():
        full, lean = network(image, sparse), network(image, sparse, features=False)
    assert full.features
    assert lean.features == {}
    assert torch.equal(full.depth, lean.depth)


def test_eval_is_deterministic_and_writes_nothing(network):
    image, sparse = inputs(33, 50)
    before = image.clone(), sparse.clone()
    with torch.inference_mode():
        first, second = network(image, sparse), network(image, sparse)
    assert torch.equal(first.depth, second.depth)
    assert torch.equal(image, before[0])
    assert torch.equal(sparse, before[1])


def test_eval_treats_each_sample_of_a_batch_alone(network):
    image, sparse = inputs(33, 50, batch=3)
    with torch.inference_mode():
        together = network(image, sparse).depth
        alone = torch.cat([network(image[i : i + 1], sparse[i : i + 1]).depth for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * alone.std().item())


def test_gradients_reach_every_parameter(network):
    depth = network.train()(*inputs(97, 131, batch=2)).depth
    (depth * torch.randn_like(depth)).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


def test_no_strided_pointwise_convolution(name):
    """Its backward pass in channels_last corrupts the heap in torch 2.13 on the CPU."""
    for config in networks.find(name).PRESETS.values():
        for key, module in on_meta(name, config).named_modules():
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1):
                assert module.stride == (1, 1), f'{key}: slice its input instead'


def test_state_dict_round_trip(name, network):
    image, sparse = inputs(33, 50)
    twin = networks.build(name, asdict(network.config)).eval()
    twin.load_state_dict(network.state_dict(), strict=True)
    with torch.inference_mode():
        assert torch.equal(network(image, sparse).depth, twin(image, sparse).depth)


# --- the residual block


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


def test_channels_last_training_step_has_the_gradients_of_contiguous():
    """Torch 2.13 on the CPU crashes here, or is wrong, with a strided 1x1 convolution."""
    torch.manual_seed(0)
    network = lspkd.Network(lspkd.PRESETS['student_8']).double()
    image, sparse = (x.double() for x in inputs(48, 64, batch=2))
    (network(image, sparse).depth ** 2).mean().backward()
    expected = [p.grad.clone() for p in network.parameters()]
    network.float().to(memory_format=torch.channels_last).zero_grad()
    last = [x.float().contiguous(memory_format=torch.channels_last) for x in (image, sparse)]
    (network(*last).depth ** 2).mean().backward()
    for parameter, grad in zip(network.parameters(), expected, strict=True):
        error = (parameter.grad.double() - grad).norm() / grad.norm()
        assert error < 1e-2


# --- lspkd: the paper's numbers

PARAMETERS = {'teacher': 51_772_481, 'student_2': 7_895_329, 'student_8': 495_817}
WITH_ADAPTERS = {'student_2': 8_556_833, 'student_8': 661_193}  # printed as 8.56 M and 0.66 M
GFLOPS = {  # at 228x304, 240x912, 352x1216; a strided deconvolution counts on its input
    'teacher': (90.90, 282.24, 551.94),
    'student_2': (12.39, 38.41, 75.11),
    'student_8': (0.789, 2.448, 4.787),
}


@pytest.mark.parametrize('preset', PARAMETERS)
def test_lspkd_parameters_to_the_unit(preset):
    assert parameters(on_meta('lspkd', lspkd.PRESETS[preset])) == PARAMETERS[preset]


@pytest.mark.parametrize('preset', WITH_ADAPTERS)
def test_lspkd_published_count_includes_an_adapter_per_tap(preset):
    """A bias-free 1x1 convolution from the student's to the teacher's channels at all 17 taps."""
    student = on_meta('lspkd', lspkd.PRESETS[preset])
    teacher = on_meta('lspkd', lspkd.PRESETS['teacher'])
    f_s, f_t = (net(*inputs(16, 16, device='meta')).features for net in (student, teacher))
    assert f_s.keys() == f_t.keys()
    assert len(f_s) == 17
    adapters = sum(f_s[tap].shape[1] * f_t[tap].shape[1] for tap in f_s)
    assert parameters(student) + adapters == WITH_ADAPTERS[preset]


@pytest.mark.parametrize('preset', GFLOPS)
def test_lspkd_gflops(preset):
    network = on_meta('lspkd', lspkd.PRESETS[preset])
    for size, expected in zip(((228, 304), (240, 912), (352, 1216)), GFLOPS[preset], strict=True):
        with FlopCounterMode(display=False) as counter:
            network(*inputs(*size, device='meta'))
        digits = 3 if expected < 10 else 2
        assert round(counter.get_total_flops() / 1e9, digits) == expected


@pytest.mark.parametrize(
    ('size', 'sizes'),  # of the input; at 1/2, 1/4, 1/8, 1/16
    [
        ((352, 1216), ((176, 608), (88, 304), (44, 152), (22, 76))),
        ((97, 131), ((49, 66), (25, 33), (13, 17), (7, 9))),
    ],
)
def test_lspkd_taps(size, sizes):
    half, quarter, eighth, sixteenth = sizes
    encoder = {
        'E0': (64, *half),
        'E1': (64, *half),
        'E2': (128, *quarter),
        'E3': (256, *eighth),
        'E4': (512, *sixteenth),
        'conv6': (512, *sixteenth),
    }
    expected = {f'{sensor}.{tap}': s for sensor in ('rgb', 'lidar') for tap, s in encoder.items()}
    expected['D0'] = (256, *sixteenth)
    expected['D1'] = (128, *eighth)
    expected['D2'] = (64, *quarter)
    expected['D3'] = (64, *half)
    expected['D4'] = (64, *size)
    for preset, divisor in (('teacher', 1), ('student_2', 2), ('student_4', 4), ('student_8', 8)):
        network = on_meta('lspkd', lspkd.PRESETS[preset])
        features = network(*inputs(*size, device='meta')).features
        found = {tap: tuple(feature.shape[1:]) for tap, feature in features.items()}
        assert found == {t: (c // divisor, h, w) for t, (c, h, w) in expected.items()}


# --- lspkd: an independent second writing, from the table of its layers


def functional_lspkd(state, blocks, image, sparse):
    """Run lspkd with functions only, with strided shortcuts and output padding from the sizes."""

    def norm(x, key):
        stats = (state[f'{key}.{n}'] for n in ('running_mean', 'running_var', 'weight', 'bias'))
        return F.batch_norm(x, *stats, training=False)

    def block(x, key, stride):
        y = F.conv2d(x, state[f'{key}.conv1.weight'], stride=stride, padding=1)
        y = F.conv2d(F.relu(norm(y, f'{key}.bn1')), state[f'{key}.conv2.weight'], padding=1)
        if f'{key}.downsample.0.weight' in state:
            x = F.conv2d(x, state[f'{key}.downsample.0.weight'], stride=stride)
            x = norm(x, f'{key}.downsample.1')
        return F.relu(norm(y, f'{key}.bn2') + x)

    def encode(x, key):
        weight, bias = state[f'{key}.conv1.0.weight'], state[f'{key}.conv1.0.bias']
        x = F.leaky_relu(F.conv2d(x, weight, bias, stride=2, padding=1), 0.2)
        features = []
        for layer, count in enumerate(blocks, start=1):
            for i in range(count):
                x = block(x, f'{key}.layer{layer}.{i}', 2 if i == 0 and layer > 1 else 1)
            features.append(x)
        x = norm(F.conv2d(x, state[f'{key}.conv6.0.weight'], padding=1), f'{key}.conv6.1')
        return [*features, F.leaky_relu(x, 0.2)]

    rgb, lidar = encode(image, 'rgb'), encode(sparse, 'lidar')
    x = torch.cat((rgb[4], lidar[4]), 1)
    for layer, like in ((5, rgb[3]), (4, rgb[2]), (3, rgb[1]), (2, rgb[0]), (1, image)):
        stride = 1 if layer == 5 else 2
        extra = [
            n - (stride * (m - 1) + 1) for n, m in zip(like.shape[2:], x.shape[2:], strict=True)
        ]
        x = F.conv_transpose2d(x, state[f'dec{layer}.0.weight'], None, stride, 1, extra)
        x = F.leaky_relu(norm(x, f'dec{layer}.1'), 0.2)
        if layer > 1:
            x = torch.cat((x, rgb[layer - 2], lidar[layer - 2]), 1)
    return F.conv_transpose2d(x, state['dec0.weight'], state['dec0.bias'], padding=1)


@pytest.mark.parametrize('size', [(32, 48), (37, 51)])
def test_lspkd_equals_its_functional_twin(size):
    torch.manual_seed(2)
    config = lspkd.Config(width=1 / 16, blocks=(1, 2, 1, 3))
    network = lspkd.Network(config).eval().double()
    for key, value in network.state_dict().items():  # so that no norm is the identity
        if value.dim() == 1 and value.is_floating_point():
            value += 0.3 * torch.rand_like(value) if key.endswith(('var', 'weight')) else 0.1
    image, sparse = (x.double() for x in inputs(*size, batch=2))
    with torch.no_grad():
        expected = functional_lspkd(network.state_dict(), config.blocks, image, sparse)
        torch.testing.assert_close(network(image, sparse).depth, expected)


def test_lspkd_refuses_inputs_of_different_sizes():
    network = on_meta('lspkd', lspkd.PRESETS['student_8'])
    image, sparse = torch.empty(1, 3, 32, 64, device='meta'), torch.empty(1, 1, 32, 63)
    with pytest.raises(ValueError, match=r'\(1, 3, 32, 64\).*\(1, 1, 32, 63\) differ in height'):
        network(image, sparse)


def test_lspkd_activations_neither_vanish_nor_explode_at_the_start():
    torch.manual_seed(0)
    network = lspkd.Network(lspkd.PRESETS['student_8']).train()
    with torch.no_grad():
        prediction = network(*inputs(96, 128, batch=2))
    for tap, feature in prediction.features.items():
        assert 0.1 < feature.std() < 30, tap
    assert 0.1 < prediction.depth.std() < 10
