"""The one prediction path: points or sparse depth in, dense depth out."""

from __future__ import annotations

import logging

from depth_kd_ros import checkpoint, classical, networks
from depth_kd_ros.completer import DepthCompleter, NoPointsError
from depth_kd_ros.geometry import Camera
from depth_kd_ros.networks import mff, relative, two_stage
from network_inputs import smallest
from node_harness import AXES, wall
import numpy as np
import pytest
from random_checkpoint import write as write_checkpoint
import torch

CAMERA = Camera(np.array([[20.0, 0, 15.5], [0, 20.0, 11.5], [0, 0, 1]]), 24, 32)
T_CAM_LIDAR = np.reshape(AXES, (4, 4))
IMAGE = np.full((24, 32, 3), 90, np.uint8)


@pytest.fixture(scope='module')
def student(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp('weights') / 'student.safetensors'))


@pytest.mark.parametrize('model', classical.available())
def test_a_wall_is_completed_to_a_wall(model):
    done = DepthCompleter(model, 'cpu')(IMAGE, wall(7.0), CAMERA, T_CAM_LIDAR)
    assert done.depth == pytest.approx(np.full((24, 32), 7.0), rel=1e-5)
    assert done.depth.dtype == np.float32 and done.confidence is None
    assert 0 < (done.sparse_depth > 0).sum() < 24 * 32
    assert set(done.seconds) == {'project', 'infer'}


def test_points_and_their_sparse_depth_give_the_same(student):
    for model in ('linear', student):
        completer = DepthCompleter(model, 'cpu', bleed_filter=False)
        done = completer(IMAGE, wall(), CAMERA, T_CAM_LIDAR)
        again = completer.from_sparse(IMAGE, done.sparse_depth)
        assert np.array_equal(done.depth, again.depth)


def test_network_gets_normalised_image_and_metres(student):
    """Compare with the network called by hand."""
    completer = DepthCompleter(student, 'cpu', bleed_filter=False)
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    done = completer(image, wall(), CAMERA, T_CAM_LIDAR)
    loaded = checkpoint.load(student)
    mean, std = (np.array(v, np.float32) for v in loaded.metadata.normalisation)
    x = torch.from_numpy(((image.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1))[None]
    with torch.inference_mode():
        depth = loaded.model(x, torch.from_numpy(done.sparse_depth)[None, None]).depth[0, 0]
    low, high = loaded.metadata.depth_range_m
    assert done.depth == pytest.approx(depth.clamp(low, high).numpy(), abs=1e-5)
    assert completer.model.hash == loaded.hash and completer.model.name == 'student'


def test_depth_limits_hold_for_input_and_output(student):
    near_and_far = np.concatenate([wall(3.0), wall(50.0, seed=1)])
    completer = DepthCompleter('nearest', 'cpu', min_depth_m=4.0, max_depth_m=60.0)
    assert (completer(IMAGE, near_and_far, CAMERA, T_CAM_LIDAR).depth == 50).all()
    done = DepthCompleter(student, 'cpu', 4.0, 6.0)(IMAGE, wall(5.0), CAMERA, T_CAM_LIDAR)
    assert done.depth.min() >= 4 and done.depth.max() <= 6


@pytest.mark.parametrize('points', [wall()[:0], -wall(), wall() * np.nan, wall(500.0)])
def test_no_usable_point_is_an_error_of_its_own(points):
    with pytest.raises(NoPointsError, match=rf'none of {len(points)} points falls into the 24x32'):
        DepthCompleter('nearest', 'cpu')(IMAGE, points, CAMERA, T_CAM_LIDAR)


def test_bad_settings():
    with pytest.raises(ValueError, match="no model 'linaer'; did you mean 'linear'"):
        DepthCompleter('linaer')
    with pytest.raises(ValueError, match='one of auto, cpu, cuda, cuda:N expected'):
        DepthCompleter('linear', 'gpu')
    with pytest.raises(ValueError, match='max_depth_m'):
        DepthCompleter('linear', 'cpu', 5.0, 2.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_cuda_without_cuda_is_never_cpu():
    with pytest.raises(ValueError, match='finds 0 CUDA devices'):
        DepthCompleter('linear', 'cuda')
    assert DepthCompleter('linear', 'auto').device == torch.device('cpu')


@pytest.mark.gpu
@pytest.mark.parametrize('model', ['linear', 'lspkd'])
def test_gpu_gives_the_depth_of_the_cpu(model, student):
    name = student if model == 'lspkd' else model
    rng = np.random.default_rng(1)
    points = rng.uniform((2, -20, -10), (60, 20, 10), (20_000, 3)).astype(np.float32)
    camera = CAMERA.resized(352, 1216)
    image = rng.integers(0, 256, (352, 1216, 3), dtype=np.uint8)
    cpu, gpu = (
        DepthCompleter(name, d)(image, points, camera, T_CAM_LIDAR) for d in ('cpu', 'cuda')
    )
    assert np.array_equal(cpu.sparse_depth, gpu.sparse_depth)
    assert gpu.depth == pytest.approx(cpu.depth, abs=2e-2 if model == 'lspkd' else 0)


def save(path, network):
    """Write a checkpoint with plain normalisation."""
    checkpoint.save(
        path, network, normalisation=((0.5,) * 3, (0.25,) * 3), depth_range_m=(0.5, 80.0)
    )
    return str(path)


@pytest.mark.parametrize('name', networks.available())
def test_every_network_runs_from_a_checkpoint(name, tmp_path):
    """A new network file must work in the prediction path as it is."""
    model = save(tmp_path / 'net.safetensors', networks.find(name).Network(smallest(name)))
    done = DepthCompleter(model, 'cpu')(IMAGE, wall(), CAMERA, T_CAM_LIDAR)
    assert done.depth.shape == (24, 32) and np.isfinite(done.depth).all()
    assert 0.5 <= done.depth.min() and done.depth.max() <= 80


# --- relative networks


@pytest.fixture(scope='module', params=relative.OUTPUTS)
def scene(request, tmp_path_factory):
    """Give a relative network's file, an image, and the depth (H, W) m that it is right about."""
    torch.manual_seed(0)
    network = relative.Network(relative.Config('topformer_tiny', output=request.param))
    path = save(tmp_path_factory.mktemp('weights') / 'relative.safetensors', network)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    x = torch.from_numpy((image.astype(np.float32) / 255 - 0.5) / 0.25).permute(2, 0, 1)[None]
    with torch.inference_mode():
        value = network.eval()(x).depth[0, 0].numpy()
    value = (value - value.min()) / (value.max() - value.min())  # 0 .. 1
    depth = 1 / (0.02 + 0.4 * value) if request.param == 'inverse_depth' else 2 + 48 * value
    return path, image, depth


def measured(depth, share=0.1):
    """Measure a share of the pixels of a depth (H, W) m."""
    return np.where(np.random.default_rng(1).random(depth.shape) < share, depth, 0)


def test_relative_depth_becomes_metric(scene):
    path, image, depth = scene
    sparse = measured(depth)
    assert 100 < np.count_nonzero(sparse) < 500
    sparse[:, ::7] *= 3  # outliers: every seventh
    done = DepthCompleter(path, 'cpu', bleed_filter=False).from_sparse(image, sparse)
    assert done.depth == pytest.approx(depth, rel=1e-3)
    assert done.caveat == ''


def test_relative_depth_is_limited_after_alignment(scene):
    path, image, depth = scene
    done = DepthCompleter(path, 'cpu', 4.0, 20.0).from_sparse(image, measured(depth))
    assert done.depth == pytest.approx(depth.clip(4, 20), rel=1e-3)


def test_points_that_do_not_tell_the_scale_are_a_caveat_said_once(scene, caplog):
    path, image, depth = scene
    completer = DepthCompleter(path, 'cpu', bleed_filter=False)
    good, poor = measured(depth), np.zeros_like(depth)
    poor[3, 5] = 7
    completer.warm_up(*depth.shape)
    assert completer.from_sparse(image, good).caveat == ''
    assert caplog.records == []
    for i in range(3):
        done = completer.from_sparse(image, poor)
        assert 'scaled roughly, not fitted' in done.caveat
        assert done.depth[3, 5] == pytest.approx(7, rel=1e-4)
        assert len(caplog.records) == 1, i
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].getMessage() == f'model relative: {done.caveat}'
    completer.from_sparse(image, good)
    completer.from_sparse(image, poor)
    assert len(caplog.records) == 2


def test_a_network_that_contains_a_relative_one_tells_its_makeshift(tmp_path):
    config = two_stage.Config('relative_topformer_tiny', width=1 / 16, blocks=(1, 1, 1, 1))
    path = tmp_path / 'two.safetensors'
    limits = {'normalisation': ((0.5,) * 3, (0.25,) * 3), 'depth_range_m': (0.5, 80.0)}
    checkpoint.save(path, two_stage.Network(config), **limits)
    completer = DepthCompleter(str(path), 'cpu')
    sparse = np.zeros((32, 48), np.float32)
    sparse[20, 30] = 7.0
    done = completer.from_sparse(np.zeros((32, 48, 3), np.uint8), sparse)
    assert 'scaled roughly, not fitted' in done.caveat


def test_a_network_trained_at_half_size_gives_depth_of_the_images_size(tmp_path):
    path = tmp_path / 'half.safetensors'
    limits = {'normalisation': ((0.5,) * 3, (0.25,) * 3), 'depth_range_m': (0.5, 80.0)}
    checkpoint.save(path, mff.Network(mff.Config(upsample=False)), **limits)
    done = DepthCompleter(str(path), 'cpu')(IMAGE, wall(), CAMERA, T_CAM_LIDAR)
    assert done.depth.shape == done.sparse_depth.shape == (24, 32)
