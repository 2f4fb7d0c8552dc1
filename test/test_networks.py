"""The contract of every network."""

from __future__ import annotations

import copy
from dataclasses import asdict
import functools
import json
from pathlib import Path

from depth_kd_ros import checkpoint, networks
from depth_kd_ros.networks.base import DepthNetwork, Prediction
from network_inputs import inputs, on_meta, smallest
import pytest
import torch


def quick_and_full():
    """Give every preset as a parameter; all but each network's smallest run in the long run."""
    for name in networks.available():
        for preset, config in networks.find(name).PRESETS.items():
            marks = () if config == smallest(name) else pytest.mark.full
            yield pytest.param((name, config), id=preset, marks=marks)


@pytest.fixture(params=networks.available())
def name(request):
    return request.param


@pytest.fixture(params=quick_and_full())
def network(request):
    name, config = request.param
    if config == smallest(name):
        return copy.deepcopy(kept(name, config))
    return calibrated(name, config)


def calibrated(name, config):
    """Build a network whose batch norms have seen data, as a trained one's have."""
    torch.manual_seed(1)
    network = networks.find(name).Network(config).train()
    with torch.no_grad():
        for norm in norms(network):
            norm.momentum = None  # the plain average over the calls
        for _ in range(3):
            network(*inputs(97, 131, batch=4))
        for norm in norms(network):
            norm.momentum = 0.1
    return network.eval()


kept = functools.cache(calibrated)


def norms(network):
    return [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def relative_error(found, expected):
    """Give the mean absolute difference over the mean absolute value."""
    return ((found.float() - expected).abs().mean() / expected.abs().mean()).item()


# --- finding and building


def test_available_lists_the_files_of_the_folder():
    here = Path(networks.__file__).parent
    files = {path.stem for path in here.glob('*.py')} - {'__init__', 'base'}
    assert networks.available() == sorted(files)
    assert 'lspkd' in files


def test_presets_are_named_after_their_network_and_can_be_built():
    presets = networks.presets()
    assert presets['lspkd_s8'][1]['width'] == 1 / 8
    for preset, (name, options) in presets.items():
        assert preset == name or preset.startswith(f'{name}_')
        with torch.device('meta'):
            assert asdict(networks.build(name, options).config) == options


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


# --- the contract, for every network


def test_it_is_a_depth_network(network):
    assert isinstance(network, DepthNetwork)
    assert set(network.inputs) <= {'image', 'sparse_depth'} and network.inputs


@pytest.mark.parametrize('size', [(97, 131), (227, 301), (1, 1), (17, 16), (2, 45), (64, 48)])
def test_output_has_exactly_the_input_size(network, size):
    with torch.inference_mode():
        prediction = network(*inputs(*size, batch=2))
    assert isinstance(prediction, Prediction)
    assert prediction.depth.shape == (2, 1, *size)
    assert prediction.depth.dtype == torch.float32
    assert prediction.depth.isfinite().all()
    if prediction.confidence is not None:
        assert prediction.confidence.shape == (2, 1, *size)
        assert 0 <= prediction.confidence.min() and prediction.confidence.max() <= 1
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


@pytest.mark.parametrize('size', [(97, 131), (101, 65), (227, 301)])
def test_gradients_reach_every_parameter(network, size):
    prediction = network.train()(*inputs(*size, batch=2))
    outputs = [prediction.depth, prediction.confidence, *prediction.features.values()]
    terms = [(x * torch.randn_like(x)).mean() for x in outputs if x is not None]
    torch.stack(terms).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


def test_bfloat16_is_within_two_percent(network):
    image, sparse = inputs(97, 131, batch=2)
    with torch.inference_mode():
        expected = network(image, sparse).depth
        found = network.bfloat16()(image.bfloat16(), sparse.bfloat16()).depth
    assert relative_error(found, expected) < 0.02


def test_channels_last_equals_contiguous_in_float32(network):
    """In eval mode, with the kernels that a robot runs."""
    image, sparse = inputs(64, 97, batch=2)
    with torch.inference_mode():
        expected = network(image, sparse).depth
        network.to(memory_format=torch.channels_last)
        last = [x.contiguous(memory_format=torch.channels_last) for x in (image, sparse)]
        assert relative_error(network(*last).depth, expected) < 1e-3


def test_channels_last_equals_contiguous(network):
    """In training mode, with its gradients: the layout in which torch 2.13 may crash."""
    network.double().train()
    image, sparse = (x.double() for x in inputs(64, 97, batch=2))
    expected = network(image, sparse).depth
    expected.square().mean().backward()
    grads = {k: p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
    network.to(memory_format=torch.channels_last).zero_grad()
    last = [x.contiguous(memory_format=torch.channels_last) for x in (image, sparse)]
    found = network(*last).depth
    found.square().mean().backward()
    torch.testing.assert_close(found, expected)
    for key, grad in grads.items():
        found = dict(network.named_parameters())[key].grad
        assert (found - grad).norm() <= 1e-6 * grad.norm() + 1e-12, key


def test_compiles_without_graph_breaks(network):
    image, sparse = inputs(65, 97)
    network = network.deployable()
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend='eager')
    with torch.inference_mode():
        found, expected = (net(image, sparse, features=False) for net in (compiled, network))
    torch.testing.assert_close(found.depth, expected.depth, rtol=1e-4, atol=1e-5)


def test_deployable_network_gives_the_same_depth(network):
    image, sparse = inputs(33, 50)
    deployable = network.deployable()
    assert deployable.deployable() is deployable
    with torch.inference_mode():
        assert torch.equal(network(image, sparse).depth, deployable(image, sparse).depth)


def test_no_strided_pointwise_convolution(name):
    """Its backward pass in channels_last corrupts the heap in torch 2.13 on the CPU."""
    for config in networks.find(name).PRESETS.values():
        for key, module in on_meta(name, config).named_modules():
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1):
                assert module.stride == (1, 1), f'{key}: slice its input instead'


def test_saved_and_loaded_gives_the_same_depth(network, tmp_path):
    image, sparse = inputs(33, 50)
    path = tmp_path / 'a.safetensors'
    checkpoint.save(path, network, normalisation=((0,) * 3, (1,) * 3), depth_range_m=(0.1, 80))
    twin = checkpoint.load(path).model
    with torch.inference_mode():
        assert torch.equal(network(image, sparse).depth, twin(image, sparse).depth)


# --- bad input, for every network


def faulty(name, fault):
    """Give good inputs with one fault in the named one."""
    given = dict(zip(('image', 'sparse_depth'), inputs(32, 48), strict=True))
    given[name] = fault(given[name])
    return given


def with_nan(x):
    x[0, 0, 3, 4] = float('nan')
    return x


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        (lambda x: torch.cat((x, x), 1), r'has shape \(1, \d, 32, 48\): give \(B, \d, H, W\)'),
        (lambda x: x[0], r'has shape \(\d, 32, 48\)'),
        (lambda x: x[:, :, :0], r'has shape \(1, \d, 0, 48\)'),
        (lambda x: x.to(torch.uint8), r'is torch\.uint8: give .* floating-point'),
        (lambda x: x.numpy(), 'is ndarray: give'),
        (lambda x: None, 'is NoneType: give'),
        (with_nan, 'has 1 values that are NaN or infinite'),
    ],
)
def test_bad_input_is_one_clear_sentence(name, fault, message):
    network = networks.find(name).Network(smallest(name)).eval()
    for needed in network.inputs:
        with pytest.raises(ValueError, match=f'^{needed} .*{message}'):
            network(**faulty(needed, fault))


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_input_of_another_precision_than_the_network_is_told(name, dtype):
    network = networks.find(name).Network(smallest(name)).eval()
    image, sparse = inputs(32, 48)
    with pytest.raises(ValueError, match=f'is {dtype} on cpu, the network torch.float32 on cpu'):
        network(image.to(dtype), sparse.to(dtype))
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        assert network(image, sparse).depth.isfinite().all()


def test_an_input_that_is_not_read_may_be_left_out(network):
    image, sparse = inputs(32, 48)
    given = {'image': image, 'sparse_depth': sparse}
    alone = {name: x if name in network.inputs else None for name, x in given.items()}
    with torch.inference_mode():
        assert torch.equal(network(**given).depth, network(**alone).depth)


def test_inputs_of_different_sizes_are_refused(network):
    if len(network.inputs) < 2:
        return
    image, sparse = inputs(32, 48, batch=2)
    for other in (sparse[:, :, :31], sparse[..., :47], sparse[:1]):
        with pytest.raises(ValueError, match=r'image \(2, 3, 32, 48\) and sparse_depth .*differ'):
            network(image, other)
