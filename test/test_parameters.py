"""The node's parameters: described, ranged, documented, and refused with a clear sentence."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
import re
import sys

from depth_kd_ros.nodes import parameters
from depth_kd_ros.nodes.completion_node import CompletionNode
from node_harness import AXES
import pytest
from random_checkpoint import write as write_checkpoint
import rclpy
from rclpy.parameter import Parameter
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
FIXED = {'extrinsics.source': 'parameter', 'extrinsics.T_cam_lidar': AXES, 'device': 'cpu'}


@pytest.fixture(scope='module')
def context():
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def make(context):
    """Build nodes with parameters given, and destroy them."""
    nodes = []

    def build(**settings):
        given = FIXED | {name.replace('__', '.'): value for name, value in settings.items()}
        overrides = [Parameter(n, value=v) for n, v in given.items() if v is not None]
        nodes.append(CompletionNode(context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield build
    for node in nodes:
        node.destroy_node()


def test_every_parameter_is_described_and_numbers_have_a_range(make):
    node = make()
    for entry in fields(parameters.Settings):
        descriptor = node.describe_parameter(parameters.name_of(entry))
        assert len(descriptor.description) > 10
        default = parameters.default_of(entry)
        if isinstance(default, float):
            assert descriptor.floating_point_range
        elif isinstance(default, int) and not isinstance(default, bool):
            assert descriptor.integer_range


def test_readme_table_is_the_declared_parameters():
    rows = re.findall(r'^\| `([\w.]+)` \| `([^`]*)` \|', (ROOT / 'README.md').read_text(), re.M)
    declared = {
        parameters.name_of(entry): str(parameters.default_of(entry)).lower()
        for entry in fields(parameters.Settings)
    }
    declared['extrinsics.T_cam_lidar'] = '16 numbers'
    assert dict(rows) == declared


def test_shipped_parameter_file_says_the_defaults(make):
    text = (ROOT / 'config' / 'completion.yaml').read_text()
    values = yaml.safe_load(text)['/**']['ros__parameters']
    for entry in fields(parameters.Settings):
        name = parameters.name_of(entry)
        if name.startswith('extrinsics.') or name == 'autostart':
            continue  # chosen by the launch file
        place = values
        for part in name.split('.'):
            place = place[part]
        assert place == parameters.default_of(entry), name


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (
            {'image_transport': 'theora'},
            "image_transport = 'theora': one of raw, compressed expected",
        ),
        ({'sync__policy': 'newest'}, "sync.policy = 'newest': one of nearest, approximate, exact"),
        ({'devise': 'cuda'}, "unknown parameter 'devise'; did you mean 'device'?"),
    ],
)
def test_unknown_value_or_name_is_refused_at_start(make, settings, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        make(**settings)


def test_value_out_of_range_is_refused_at_start(make):
    with pytest.raises(Exception, match='points_stride'):
        make(points_stride=0)


def failure(node):
    node.trigger_configure()
    if not node.failure:
        node.trigger_activate()
    return node.failure


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'model': 'linaer'}, "no model 'linaer'; did you mean 'linear'?"),
        ({'device': 'tpu'}, "device 'tpu': one of auto, cpu, cuda, cuda:N expected"),
        ({'extrinsics__T_cam_lidar': [0.0] * 16}, 'extrinsics.T_cam_lidar is not set'),
        ({'extrinsics__T_cam_lidar': [1.0] * 16}, 'is not a rotation'),
        ({'extrinsics__T_cam_lidar': [1.0] * 12}, '4x4 finite numbers expected'),
        ({'extrinsics__source': 'tf'}, 'two sources'),
        (
            {'min_depth_m': 5.0, 'max_depth_m': 2.0},
            'min_depth_m 5.0 must be > 0 and < max_depth_m',
        ),
    ],
)
def test_configure_fails_with_the_reason(make, settings, text):
    assert text in failure(make(**settings))


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_cuda_without_cuda_is_an_error_and_no_fall_back(make):
    assert 'finds 0 CUDA devices' in failure(make(device='cuda'))


def test_checkpoint_of_another_format_is_refused(make, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'a': torch.zeros(1)}, path)
    assert 'pickle' in failure(make(model=str(path)))


@pytest.mark.parametrize(
    ('module', 'settings'),
    [
        ('tf2_ros', {'extrinsics__source': 'tf', 'extrinsics__T_cam_lidar': None}),
        ('message_filters', {'sync__policy': 'approximate'}),
        ('message_filters', {'sync__policy': 'exact'}),
    ],
)
def test_absent_ros_package_is_named(make, monkeypatch, module, settings):
    monkeypatch.setitem(sys.modules, module, None)
    assert f'the ROS package {module}' in failure(make(**settings))


def test_model_is_swapped_while_running_and_a_bad_one_refused(make, tmp_path):
    node = make(model='nearest')
    assert not failure(node)
    path = write_checkpoint(tmp_path / 'student.safetensors')
    result = node.set_parameters([Parameter('model', value=str(path))])[0]
    assert result.successful and node.completer.model.name == 'student'
    result = node.set_parameters([Parameter('model', value='nothing')])[0]
    assert not result.successful and "no model 'nothing'" in result.reason
    assert node.completer.model.name == 'student' and node.settings.model == str(path)
    assert not node.set_parameters([Parameter('device', value='cuda')])[0].successful  # read-only
    assert not node.set_parameters([Parameter('min_confidence', value=2.0)])[0].successful
    assert node.set_parameters([Parameter('points_stride', value=4)])[0].successful
    assert node.settings.points_stride == 4


def test_lifecycle_there_and_back(make):
    node = make(model='nearest')
    for _ in range(2):
        node.trigger_configure()
        node.trigger_activate()
        assert not node.failure and node.count_subscribers('points') == 1
        node.trigger_deactivate()
        assert node.count_subscribers('points') == 0
        node.trigger_cleanup()
    node.trigger_shutdown()


def test_a_failed_start_can_be_mended(make, tmp_path):
    node = make(model=str(tmp_path / 'later.safetensors'))
    assert failure(node)
    write_checkpoint(tmp_path / 'later.safetensors')
    assert not failure(node)
