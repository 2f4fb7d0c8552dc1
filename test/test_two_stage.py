"""The two_stage network: how its parts are joined."""

from __future__ import annotations

from depth_kd_ros import networks
from depth_kd_ros.networks import relative, two_stage
from depth_kd_ros.networks.base import Prediction
from depth_kd_ros.networks.parts.alignment import align, Way
from network_inputs import inputs, on_meta, parameters
import pytest
import torch

TINY = two_stage.Config('relative_topformer_tiny', width=1 / 16, blocks=(1, 1, 1, 1))


@pytest.fixture
def network():
    torch.manual_seed(3)
    return two_stage.Network(TINY).eval()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'relative': 'lspkd_s8'}, "relative = 'lspkd_s8': give one of relative_topformer_tiny, "),
        ({'relative_output': 'disparity'}, "relative_output = 'disparity': give one of inverse_d"),
        ({'width': 1 / 3}, 'width = 0.333.*: give a positive multiple of 1/64'),
        ({'blocks': [2, 2]}, r'blocks = \(2, 2\): give 4 positive whole numbers'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"network 'two_stage': {message}"):
        networks.build('two_stage', options)


def test_parameters_to_the_unit():
    """The second depth channel costs the first layer of lspkd_s8 3 * 3 * 8 weights more."""
    network = on_meta('two_stage', two_stage.PRESETS['two_stage'])
    assert parameters(network.completion) == 495_817 + 72
    first = on_meta('relative', relative.PRESETS['relative_topformer_small'])
    assert parameters(network.relative) == parameters(first) == 4_367_697
    assert parameters(network) == 4_863_586


@pytest.mark.parametrize('output', relative.OUTPUTS)
def test_it_is_its_three_steps(output):
    torch.manual_seed(4)
    config = two_stage.Config('relative_topformer_tiny', output, 1 / 16, (1, 1, 1, 1))
    network = two_stage.Network(config).eval()
    assert network.relative.config.output == output
    image, sparse = inputs(45, 70, batch=2)
    with torch.inference_mode():
        first = network.relative(image)
        aligned, fit = align(first.depth, sparse, output)
        both = torch.cat((aligned, sparse), 1)
        second = network.completion.complete(image, both, sparse)
        found = network(image, sparse)
    assert torch.equal(found.depth, second.depth)
    assert found.confidence is None
    expected = {f'relative.{tap}': x for tap, x in first.features.items()}
    expected |= {f'completion.{tap}': x for tap, x in second.features.items()}
    expected |= {'relative.depth': first.depth, 'aligned': aligned}
    assert found.features.keys() == set(expected)
    assert {'relative.E1', 'relative.D3', 'completion.rgb.E1', 'completion.D4'} < expected.keys()
    for tap, feature in expected.items():
        assert torch.equal(found.features[tap], feature), tap
    assert found.alignment.shape == (2, 3, 1, 1)
    for i, part in enumerate(fit):
        assert torch.equal(found.alignment[:, i, 0, 0], part.float())


@pytest.mark.parametrize('output', relative.OUTPUTS)
def test_completion_sees_aligned_and_sparse_depth(output, monkeypatch):
    """A relative network right up to scale and shift; a fifth of outliers, a frame without any."""
    config = two_stage.Config('relative_topformer_tiny', output, 1 / 16, (1, 1, 1, 1))
    network = two_stage.Network(config).eval()
    image, _ = inputs(40, 60, batch=2)
    depth = 2 + 50 * torch.rand(2, 1, 40, 60)
    right = 1 / depth if output == 'inverse_depth' else depth
    sparse = depth * (torch.rand_like(depth) < 0.3)
    sparse[torch.rand_like(depth) < 0.2] *= 2
    sparse[1] = 0
    seen = []
    monkeypatch.setattr(
        network.relative, 'forward', lambda image, features: Prediction(0.5 * right - 3, {})
    )
    network.completion.lidar.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        found = network(image, sparse)
    torch.testing.assert_close(seen[0][:1, :1], depth[:1], rtol=1e-3, atol=0)
    assert torch.equal(seen[0][:, 1:], sparse)
    assert torch.equal(seen[0][:, :1], found.features['aligned'])
    scale, shift, way = found.alignment.flatten(1).T
    assert scale.tolist() == pytest.approx([2, 1], rel=1e-3)
    assert shift.tolist() == pytest.approx([6, 0], rel=1e-3)
    assert way.tolist() == [Way.FITTED, Way.NO_POINTS]


def test_the_relative_network_learns_from_the_depth(network):
    image, sparse = inputs(64, 80, batch=2)
    network(image, sparse).depth.square().mean().backward()
    first = network.relative.decoder.ftb.conv1.weight.grad
    assert first.isfinite().all() and first.any()
