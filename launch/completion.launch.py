"""Start depth completion for one camera and one LiDAR, live or from a bag."""

import os
from pathlib import Path

from ament_index_python.packages import (
    get_package_prefix,
    get_package_share_directory,
    PackageNotFoundError,
)
from depth_kd_ros import launching
from depth_kd_ros.launching import ArgumentError
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch_ros.actions import Node

from launch import LaunchDescription

PACKAGE = 'depth_kd_ros'
SHARE = Path(get_package_share_directory(PACKAGE))
TRUTH = ['true', 'false']
SHOWN = ('depth_registered/points', 'depth_registered/image_color')  # in completion.rviz


def argument(name, description, default='', choices=None):
    """Declare a launch argument; an empty default leaves the matter to params_file."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices
    )


ARGUMENTS = [
    argument('image', 'Image topic. Empty: found in the bag, else <namespace>/image.'),
    argument('points', 'PointCloud2 topic. Empty: found in the bag, else <namespace>/points.'),
    argument('camera_info', 'CameraInfo topic. Empty: camera_info beside the image.'),
    argument(
        'image_transport',
        'compressed reads CompressedImage from <image>/compressed. Empty: compressed where image '
        'ends in /compressed or the bag holds no raw one, otherwise as in params_file.',
        choices=['', 'raw', 'compressed'],
    ),
    argument(
        'model',
        'Checkpoint path, bundled model or a model without weights (`depth_kd models` lists '
        'them). Empty: as in params_file.',
    ),
    argument(
        'device',
        'Where to compute: auto (CUDA if there is one), cpu, cuda or cuda:N. Empty: as in '
        'params_file.',
    ),
    argument(
        'params_file',
        'YAML file with parameters of the node; the arguments given here come before it.',
        str(SHARE / 'config' / 'completion.yaml'),
    ),
    argument(
        'extrinsics',
        'Transform from LiDAR to camera: tf, bag (/tf_static of the bag) or a YAML file (metres; '
        'see config/extrinsics.example.yaml). Empty: bag with bag:=PATH, otherwise as in '
        'params_file.',
    ),
    argument('bag', 'rosbag2 folder (mcap, sqlite3) to play. Empty: live sensors.'),
    argument('bag_rate', 'Speed of playing, as a factor: 0.5 is half as fast.', '1.0'),
    argument('bag_loop', 'Start the bag again at its end.', 'false', TRUTH),
    argument('bag_start_offset_s', 'Where in the bag to start, seconds.', '0.0'),
    argument('rviz', 'Show image, depth and clouds in RViz.', 'false', TRUTH),
    argument(
        'use_sim_time',
        'Take the time from /clock. Empty: true with bag:=PATH, otherwise as in params_file.',
        choices=['', *TRUTH],
    ),
    argument('namespace', 'Namespace of the node and its topics: one for each camera.'),
    argument(
        'log_level',
        'Least severe log message of the node that is shown.',
        'info',
        ['debug', 'info', 'warn', 'error', 'fatal'],
    ),
    argument(
        'middleware_profile',
        'Fast DDS profile: shared_memory (64 MiB; the default transports lose images), keep '
        '(leave the environment alone) or the path of an XML file.',
        'shared_memory',
    ),
]
NAMES = [action.name for action in ARGUMENTS]


def generate_launch_description():
    """Declare the arguments; what to start follows from their values."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])


def start(context):
    """Give the actions for the arguments' values; ArgumentError names what cannot be used."""
    given = {name: context.launch_configurations[name] for name in NAMES}
    topics, rig = launching.streams(given)
    shipped = SHARE / 'config' / 'fastdds_shared_memory.xml'
    profile = launching.profile_environment(given['middleware_profile'], shipped)
    common = {'namespace': given['namespace'], 'output': 'screen', 'additional_env': profile}
    chosen = overrides(given, topics, rig)
    completion = Node(
        package=PACKAGE,
        executable='completion_node',
        name='completion',
        parameters=[params_file(given), chosen],
        remappings=topics.remappings(),
        ros_arguments=['--log-level', given['log_level']],
        # A bag without the node would play on for nothing; a robot's launch goes on.
        on_exit=Shutdown(reason='completion_node has ended') if given['bag'] else None,
        **common,
    )
    actions = [completion]
    if given['bag']:
        actions.append(player(given, topics, common))
    if given['rviz'] == 'true':
        actions.append(rviz(topics, rig, chosen, common))
    lines = [*report(given, topics, rig)]
    lines += launching.notes(context.launch_configurations, NAMES, os.environ, profile)
    return [*(LogInfo(msg=line) for line in lines), *actions]


def params_file(given):
    """Give the path of the node's parameter file."""
    return str(launching.existing('params_file', given['params_file'], 'an existing YAML file'))


def overrides(given, topics, rig):
    """Give the parameters that the arguments set on top of params_file."""
    result = {name: given[name] for name in ('model', 'device') if given[name]}
    if topics.transport:
        result['image_transport'] = topics.transport
    if rig is not None or given['extrinsics'] == 'tf':
        result |= launching.extrinsics_parameters(rig)
    if given['use_sim_time'] or given['bag']:
        result['use_sim_time'] = given['use_sim_time'] != 'false'
    return result


def player(given, topics, common):
    """Play the bag, with its clock."""
    start_s = launching.number('bag_start_offset_s', given['bag_start_offset_s'], 0.0)
    parameters = {
        'bag': str(Path(given['bag']).expanduser().absolute()),
        'rate': launching.number('bag_rate', given['bag_rate'], 0.01),
        'loop': given['bag_loop'] == 'true',
        'start_offset_s': start_s,
        'clock': True,
        'wait_for': [topics.image, topics.points, topics.camera_info],
    }
    return Node(
        package=PACKAGE,
        executable='bag_player_node',
        parameters=[parameters],
        on_exit=stop_after_failure,
        **common,
    )


def stop_after_failure(event, context):
    """End the launch where the player could not play."""
    failed = event.returncode and not context.is_shutdown
    return [Shutdown(reason='the bag could not be played')] if failed else []


def rviz(topics, rig, chosen, common):
    """Show the outputs in RViz, in the camera's frame where it is known."""
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError as error:
        raise ArgumentError(
            'rviz:=true, but the ROS package rviz2 is not installed: install ros-<distro>-rviz2, '
            'or leave rviz out'
        ) from error
    frame = ['-f', rig.parent] if rig is not None and rig.parent else []
    # The displays' names are absolute; a relative target puts them into the node's namespace.
    shown = [(f'/{name}', name) for name in SHOWN]
    return Node(
        package='rviz2',
        executable='rviz2',
        arguments=['-d', str(SHARE / 'config' / 'completion.rviz'), *frame],
        parameters=[{'use_sim_time': chosen.get('use_sim_time', False)}],
        remappings=[*shown, ('/points', topics.points or 'points')],
        **common,
    )


def report(given, topics, rig):
    """Give the lines that say what was chosen."""
    names = [f'{name}: {getattr(topics, name) or name}' for name in topics._fields[:3]]
    source = given['extrinsics'] or ('bag' if given['bag'] else 'params_file')
    yield ', '.join(names) + (f' ({topics.transport})' if topics.transport else '')
    yield f'extrinsics from {source}' + (f': {rig}' if rig is not None else '')
