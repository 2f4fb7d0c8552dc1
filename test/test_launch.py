"""The launch files, run by the official launch: most tests with nodes that report their call."""

import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

import box_world
from depth_kd_ros import messages
from depth_kd_ros.launching import ArgumentError
import numpy as np
import pytest

pytest.importorskip('launch_ros', reason='the ROS package launch_ros is not installed')
rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import (  # noqa: E402
    get_launch_description_from_python_launch_file as description_of,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_ros.actions import PushRosNamespace  # noqa: E402
import yaml  # noqa: E402

from launch import LaunchContext, LaunchDescription, LaunchService  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
COMPLETION, RECORD = 'completion.launch.py', 'record.launch.py'
NODES = ('completion_node', 'bag_player_node', 'bag_recorder_node')
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
REPORT = f"""#!{sys.executable}
import json, os, pathlib, sys, time
files = [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == '--params-file']
texts = [pathlib.Path(name).read_text() for name in files]
names = {VARIABLES!r}
report = dict(argv=sys.argv[1:], texts=texts, environment={{n: os.environ.get(n) for n in names}})
name = pathlib.Path(sys.argv[0]).name
folder, end = pathlib.Path(os.environ['REPORTS']), time.monotonic() + 30
(folder / (name + '.part')).write_text(json.dumps(report))
(folder / (name + '.part')).rename(folder / (name + '.json'))
if name == os.environ.get('FAILS'):
    sys.exit(2)
while len(list(folder.glob('*.json'))) < int(os.environ['PROCESSES']) and time.monotonic() < end:
    time.sleep(0.01)  # the first to end would end the others
"""
RIG = 'T_cam_lidar: [[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1]]'
SERVICE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource as Source
service = LaunchService(noninteractive=True)
arguments = [word.split(':=') for word in sys.argv[2:]]
service.include_launch_description(LaunchDescription([
    IncludeLaunchDescription(Source(sys.argv[1]), launch_arguments=arguments)]))
sys.exit(service.run())
"""


def install(prefix, executable):
    """Lay the package out as colcon does, with `executable(name)` as the text of each node."""
    share, programs = prefix / 'share' / 'depth_kd_ros', prefix / 'lib' / 'depth_kd_ros'
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    for folder in (share, programs, index):
        folder.mkdir(parents=True)
    (index / 'depth_kd_ros').touch()
    for name in ('launch', 'config'):
        (share / name).symlink_to(ROOT / name)
    for name in NODES:
        (programs / name).write_text(executable(name))
        (programs / name).chmod(0o755)
    return prefix


@pytest.fixture(scope='module', autouse=True)
def prefix(tmp_path_factory):
    """Put a prefix with reporting executables before the others."""
    path = install(tmp_path_factory.mktemp('prefix'), lambda name: REPORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('AMENT_PREFIX_PATH', str(path), prepend=os.pathsep)
        patch.setenv('ROS_LOG_DIR', str(tmp_path_factory.mktemp('log')))
        yield path


@pytest.fixture(scope='module')
def street(tmp_path_factory):
    path = tmp_path_factory.mktemp('bags') / 'street'
    truth = box_world.write(path, count=5, size=(96, 256))
    return path, truth


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """Run a launch file and give what each process was called with, by executable."""
    monkeypatch.setenv('REPORTS', str(tmp_path))
    monkeypatch.setenv(VARIABLES[0], '/own.xml')
    monkeypatch.delenv(VARIABLES[1], raising=False)

    def run(name, *before, processes=1, **given):
        monkeypatch.setenv('PROCESSES', str(processes))
        source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / name))
        given.setdefault('params_file', tmp_path / 'params.yaml')
        (tmp_path / 'params.yaml').write_text('/**: {ros__parameters: {device: cuda}}')
        arguments = [(key, str(value)) for key, value in given.items()]
        included = IncludeLaunchDescription(source, launch_arguments=arguments)
        service = LaunchService(noninteractive=True)
        service.include_launch_description(LaunchDescription([*before, included]))
        assert service.run() == 0
        return {path.stem: json.loads(path.read_text()) for path in tmp_path.glob('*.json')}

    return run


def parameters(report):
    """Give the node's parameters: a later file goes before an earlier one."""
    merged = {}
    for text in report['texts']:
        for node in yaml.safe_load(text.replace('!!python/tuple', '')).values():
            merged |= node['ros__parameters']
    return merged


def rules(report):
    """Give the remapping rules of a command line, `__ns` and `__node` among them."""
    argv = report['argv']
    pairs = [argv[i + 1].split(':=') for i, word in enumerate(argv) if word == '-r']
    return dict(pairs)


def refused(name, **given):
    """Give the error that arguments cause before anything is started."""
    context = LaunchContext()
    description = description_of(str(ROOT / 'launch' / name))
    for action in description.entities[:-1]:
        if action.name not in given and action.default_value is not None:
            action.execute(context)
    context.launch_configurations.update({key: str(value) for key, value in given.items()})
    with pytest.raises(ValueError) as caught:
        description.entities[-1].execute(context)
    assert isinstance(caught.value, ArgumentError)
    return str(caught.value)


@pytest.mark.parametrize('name', [COMPLETION, RECORD])
def test_every_argument_is_declared_at_the_top_and_described(name):
    arguments = description_of(str(ROOT / 'launch' / name)).entities[:-1]
    assert arguments
    for argument in arguments:
        assert isinstance(argument, DeclareLaunchArgument)
        assert re.match(r'[A-Za-z].{15,}', argument.description), argument.name
    units = {'_s': 'seconds', '_mb': 'MB', 'rate': 'factor'}
    for end, unit in units.items():
        for argument in arguments:
            assert unit in argument.description or not argument.name.endswith(end), argument.name


@pytest.mark.parametrize(
    ('name', 'required'), [(COMPLETION, set()), (RECORD, {'image', 'points'})]
)
def test_required_arguments(name, required):
    arguments = description_of(str(ROOT / 'launch' / name)).entities[:-1]
    assert {a.name for a in arguments if a.default_value is None} == required


def test_show_args_documents_the_package(capsys):
    api = pytest.importorskip('ros2launch.api', reason='the ROS package ros2launch is missing')
    api.print_arguments_of_launch_file(launch_file_path=str(ROOT / 'launch' / COMPLETION))
    shown = capsys.readouterr().out
    names = re.findall(r"^    '(\w+)':$", shown, re.M)
    assert names == [
        'image', 'points', 'camera_info', 'image_transport', 'model', 'device', 'params_file',
        'extrinsics', 'bag', 'bag_rate', 'bag_loop', 'bag_start_offset_s', 'rviz', 'use_sim_time',
        'namespace', 'log_level', 'middleware_profile',
    ]  # fmt: skip
    assert "Valid choices are: ['', 'raw', 'compressed']" in shown
    assert 'config/completion.yaml' in shown


def test_topics_alone_are_enough(reports):
    started = reports(COMPLETION, image='/cam/image_rect', points='/lidar')
    assert list(started) == ['completion_node']
    node = started['completion_node']
    assert rules(node) == {
        '__node': 'completion',
        '__ns': '/',
        'image': '/cam/image_rect',
        'image/compressed': '/cam/image_rect/compressed',
        'points': '/lidar',
        'camera_info': '/cam/camera_info',
    }
    assert parameters(node) == {'device': 'cuda'}  # nothing goes before params_file unasked
    assert node['argv'][:3] == ['--ros-args', '--log-level', 'info']


def test_arguments_go_before_the_parameter_file(reports, tmp_path):
    (tmp_path / 'rig.yaml').write_text(RIG)
    started = reports(
        COMPLETION, image='/cam/image', image_transport='compressed', model='123', device='cpu',
        extrinsics=tmp_path / 'rig.yaml', use_sim_time='true', log_level='debug',
    )  # fmt: skip
    assert parameters(started['completion_node']) == {
        'device': 'cpu',
        'model': '123',  # a name, not a number
        'image_transport': 'compressed',
        'extrinsics.source': 'parameter',
        'extrinsics.T_cam_lidar': [0, -1, 0, 0.1, 0, 0, -1, -0.2, 1, 0, 0, -0.3, 0, 0, 0, 1],
        'extrinsics.camera_frame': '',
        'extrinsics.lidar_frame': '',
        'use_sim_time': True,
    }
    assert started['completion_node']['argv'][2] == 'debug'


def test_tf_goes_before_a_transform_in_the_parameter_file(reports):
    chosen = parameters(reports(COMPLETION, extrinsics='tf')['completion_node'])
    assert chosen['extrinsics.source'] == 'tf'
    assert chosen['extrinsics.T_cam_lidar'] == [0.0] * 16


@pytest.mark.parametrize('before', [[], [PushRosNamespace('robot')]])
def test_namespace_is_below_that_of_the_including_launch_file(reports, before):
    node = reports(COMPLETION, *before, namespace='front')['completion_node']
    assert rules(node)['__ns'] == ('/robot/front' if before else '/front')


def test_bag_alone_is_enough(reports, street):
    started = reports(
        COMPLETION, processes=2, bag=street[0], bag_rate='2', bag_start_offset_s='0.1'
    )
    assert set(started) == {'completion_node', 'bag_player_node'}
    chosen = parameters(started['completion_node'])
    np.testing.assert_allclose(
        np.reshape(chosen.pop('extrinsics.T_cam_lidar'), (4, 4)),
        box_world.T_cam_lidar(),
        atol=1e-9,
    )
    assert chosen == {
        'device': 'cuda',
        'extrinsics.source': 'parameter',
        'extrinsics.camera_frame': box_world.CAMERA_FRAME,
        'extrinsics.lidar_frame': box_world.LIDAR_FRAME,
        'image_transport': 'raw',
        'use_sim_time': True,
    }
    names = rules(started['completion_node'])
    assert names['image'] == box_world.IMAGE
    assert names['points'] == box_world.POINTS
    assert names['camera_info'] == box_world.INFO
    assert parameters(started['bag_player_node']) == {
        'bag': str(street[0]),
        'rate': 2.0,
        'loop': False,
        'start_offset_s': 0.1,
        'clock': True,
        'wait_for': [box_world.IMAGE, box_world.POINTS, box_world.INFO],
    }


def test_a_player_that_fails_ends_the_launch(reports, street, monkeypatch, caplog):
    monkeypatch.setenv('FAILS', 'bag_player_node')
    reports(COMPLETION, processes=3, bag=street[0])  # the node would wait for a third
    ended = [text for text in caplog.messages if 'shutting down' in text]
    assert re.match(r'process\[bag_player_node-\d+\] was required', ended[0])


@pytest.mark.parametrize('value', ['shared_memory', 'keep', 'other'])
def test_middleware_profile(reports, tmp_path, value):
    (tmp_path / 'other.xml').touch()
    other = str(tmp_path / 'other.xml')
    found = reports(COMPLETION, middleware_profile=other if value == 'other' else value)
    seen = found['completion_node']['environment']
    if value == 'keep':
        assert seen == {VARIABLES[0]: '/own.xml', VARIABLES[1]: None}
    elif value == 'other':
        assert set(seen.values()) == {other}
    else:
        assert {Path(path).resolve() for path in seen.values()} == {
            ROOT / 'config' / 'fastdds_shared_memory.xml'
        }
    assert os.environ[VARIABLES[0]] == '/own.xml'  # the launch file's process is left alone


def test_what_is_overlooked_is_told(reports, caplog):
    reports(COMPLETION, devise='cuda', image='/cam/image')
    assert 'devise:= is unknown and ignored: device:= meant?' in caplog.messages
    assert f'{VARIABLES[0]}=/own.xml is replaced' in caplog.text
    assert 'image: /cam/image, points: points, camera_info: /cam/camera_info' in caplog.messages


def test_a_refused_launch_ends_with_one_sentence(caplog):
    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / COMPLETION))
    service = LaunchService(noninteractive=True)
    bad = [('params_file', __file__), ('bag', '/none')]
    included = IncludeLaunchDescription(source, launch_arguments=bad)
    service.include_launch_description(LaunchDescription([included]))
    assert service.run() == 1
    assert caplog.messages[-1].endswith(': bag:=/none: nothing at /none; give a rosbag2 folder')


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'extrinsics': 'bag'}, r'^extrinsics:=bag, but no bag: give bag:=PATH'),
        ({'extrinsics': 'rig'}, r'^extrinsics:=rig: nothing at .*give tf, bag or an existing'),
        (
            {'params_file': '/none'},
            r'^params_file:=/none: nothing at /none; give an',
        ),
        ({'middleware_profile': 'x'}, r'^middleware_profile:=x: nothing at '),
        ({'image': '/a/compressed', 'image_transport': 'raw'}, r'^image:=/a/compressed is a'),
    ],
)
def test_refused_completion(given, message):
    assert re.search(message, refused(COMPLETION, **{'params_file': __file__, **given}))


@pytest.mark.parametrize('name', ['bag_rate', 'bag_start_offset_s'])
def test_refused_numbers_of_the_player(street, name):
    text = refused(COMPLETION, params_file=__file__, bag=street[0], **{name: '-1'})
    assert re.match(rf'{name}:=-1: give a number of at least 0', text)


def test_rviz_needs_rviz(monkeypatch, prefix):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(prefix))
    text = refused(COMPLETION, params_file=__file__, rviz='true')
    assert text.startswith('rviz:=true, but the ROS package rviz2 is not installed')


def with_package(prefix, tmp_path, monkeypatch, name):
    """Add a package with one reporting executable of the same name to the index."""
    index = tmp_path / 'more' / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    (index / name).touch()
    programs = tmp_path / 'more' / 'lib' / name
    programs.mkdir(parents=True)
    (programs / name).write_text(REPORT)
    (programs / name).chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{prefix}{os.pathsep}{tmp_path / "more"}')
    return programs


def test_rviz_shows_the_outputs_of_the_namespace(reports, prefix, tmp_path, monkeypatch, street):
    with_package(prefix, tmp_path, monkeypatch, 'rviz2')
    started = reports(COMPLETION, processes=3, rviz='true', bag=street[0], namespace='front')
    viewer = started['rviz2']
    shown = yaml.safe_load((ROOT / 'config' / 'completion.rviz').read_text())
    displays = shown['Visualization Manager']['Displays']
    topics = {display['Topic']['Value'] for display in displays if 'Topic' in display}
    names = rules(viewer)
    assert topics == set(names) - {'__ns'}
    assert names['/points'] == box_world.POINTS
    assert names['/depth_registered/points'] == 'depth_registered/points'  # relative: /front/...
    assert viewer['argv'][:1] == ['-d']
    assert viewer['argv'][2:4] == ['-f', box_world.CAMERA_FRAME]
    assert parameters(viewer) == {'use_sim_time': True}


def test_record_needs_ros2bag(monkeypatch, prefix):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(prefix))
    text = refused(RECORD, image='/cam/image', points='/lidar')
    assert re.match(r'recorder:=rosbag2, but .* ros2bag is not installed.*recorder:=builtin', text)


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({}, '--storage mcap --regex'),
        ({'split_size_mb': '500'}, '--storage mcap --max-bag-size 500000000 --regex'),
        ({'compression': 'zstd'}, '--storage mcap --storage-preset-profile zstd_fast --regex'),
        (
            {'compression': 'zstd', 'storage': 'sqlite3'},
            '--storage sqlite3 --compression-mode message --compression-format zstd --regex',
        ),
    ],
)
def test_record_with_rosbag2(reports, prefix, tmp_path, monkeypatch, given, words):
    programs = with_package(prefix, tmp_path, monkeypatch, 'ros2bag')
    (programs / 'ros2bag').rename(programs / 'ros2')
    monkeypatch.setenv('PATH', str(programs), prepend=os.pathsep)
    started = reports(RECORD, image='/cam/image', points='lidar', out=tmp_path / 'new', **given)
    argv = started['ros2']['argv']
    assert argv[:-1] == ['bag', 'record', '--output', str(tmp_path / 'new'), *words.split()]
    topics = ['/cam/image', '/lidar', '/cam/camera_info', '/tf_static', '/tf']
    assert [name for name in topics if not re.search(argv[-1], name)] == []
    others = ['/cam/image/compressed', '/cam/image_raw', '/front/lidar', '/tf2']
    assert [name for name in others if re.search(argv[-1], name)] == []


def test_record_with_the_builtin_recorder(reports, tmp_path, monkeypatch):
    (tmp_path / 'tf2_msgs').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    started = reports(
        RECORD, image='/cam/image/compressed', points='/lidar', recorder='builtin',
        out=tmp_path / 'new', compression='zstd', split_size_mb='500',
    )  # fmt: skip
    assert parameters(started['bag_recorder_node']) == {
        'image': '/cam/image/compressed',
        'points': '/lidar',
        'camera_info': '/cam/camera_info',
        'tf': '/tf',
        'tf_static': '/tf_static',
        'out': str(tmp_path / 'new'),
        'storage': 'mcap',
        'compression': 'chunk',
        'split_size_mb': 500,
    }


def test_the_builtin_recorder_without_tf2_msgs(reports, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_msgs', None)
    given = {
        'image': '/image', 'points': '/lidar', 'recorder': 'builtin', 'out': tmp_path / 'new',
        'storage': 'sqlite3', 'compression': 'zstd',
    }  # fmt: skip
    text = refused(RECORD, **given, transforms='static')
    assert re.match(r'transforms:=static, but .* tf2_msgs .* or give transforms:=none$', text)
    chosen = parameters(reports(RECORD, **given, transforms='none')['bag_recorder_node'])
    assert not {'tf', 'tf_static'} & set(chosen)
    assert (chosen['storage'], chosen['compression']) == ('sqlite3', 'message')


def test_record_never_writes_into_an_existing_folder(tmp_path):
    text = refused(RECORD, image='/a', points='/b', recorder='builtin', out=tmp_path)
    assert text == f'out:={tmp_path}: exists already; give a folder that does not'


def test_record_whole_megabytes():
    text = refused(RECORD, image='/a', points='/b', split_size_mb='0.5')
    assert text == 'split_size_mb:=0.5: give a whole number of at least 0'


def wait_for(condition, process, seconds=180):
    """Wait until the condition holds; fail where the process ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, 'the launch ended early'
        assert time.monotonic() < deadline, f'not within {seconds} s'


def test_a_bag_becomes_depth(tmp_path, street, monkeypatch):
    """Launch player and node for real; the depth is the world's, so the extrinsics are right."""
    from sensor_msgs.msg import Image

    command = '#!/bin/sh\nexec {} -m depth_kd_ros.nodes.{} "$@"\n'
    own = install(tmp_path / 'own', lambda name: command.format(sys.executable, name))
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(own), prepend=os.pathsep)
    monkeypatch.setenv('PYTHONPATH', str(ROOT), prepend=os.pathsep)
    bag, truth = street
    arguments = [f'bag:={bag}', 'bag_loop:=true', 'model:=linear', 'device:=cpu']
    launch_file = str(ROOT / 'launch' / COMPLETION)
    log = (tmp_path / 'log').open('w')
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('watcher', namespace='/', context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received = []
    node.create_subscription(Image, '/front/depth_registered/image_rect', received.append, 5)
    process = subprocess.Popen(
        [sys.executable, '-c', SERVICE, launch_file, 'namespace:=front', *arguments],
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:

        def seen():
            executor.spin_once(timeout_sec=0.2)
            return len(received) > 5

        wait_for(seen, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        log.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
        print((tmp_path / 'log').read_text())
    assert 'Traceback' not in (tmp_path / 'log').read_text()
    for message in received:
        assert message.header.frame_id == box_world.CAMERA_FRAME
        since_ns = messages.stamp_ns(message.header) - box_world.START_NS
        expected = truth[since_ns // box_world.PERIOD_NS]
        depth = messages.depth(message)
        both = (depth > 0) & (expected > 0)
        assert both.mean() > 0.3
        assert np.median(np.abs(depth - expected)[both] / expected[both]) < 0.02
