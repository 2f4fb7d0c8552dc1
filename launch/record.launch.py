"""Record a bag with what distillation needs: image, camera_info, points, tf and tf_static."""

from datetime import datetime
from importlib.util import find_spec
import os
from pathlib import Path

from ament_index_python.packages import (
    get_package_prefix,
    get_package_share_directory,
    PackageNotFoundError,
)
from depth_kd_ros import launching
from depth_kd_ros.launching import ArgumentError
from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchDescription

PACKAGE = 'depth_kd_ros'
SHARE = Path(get_package_share_directory(PACKAGE))
MEGABYTE = 10**6


def argument(name, description, default=None, choices=None):
    """Declare a launch argument; without a default it must be given."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices
    )


ARGUMENTS = [
    argument('image', 'Image topic of the camera.'),
    argument('points', 'PointCloud2 topic of the LiDAR.'),
    argument('camera_info', 'CameraInfo topic. Empty: camera_info beside the image.', ''),
    argument(
        'image_transport',
        'Which form of the image to record: raw, or compressed from <image>/compressed, about a '
        'tenth of the size. Empty: compressed where image ends in /compressed, otherwise raw.',
        '',
        ['', 'raw', 'compressed'],
    ),
    argument(
        'transforms',
        'Which to record: static (/tf_static), both (also /tf: a camera that moves on the robot) '
        'or none (the extrinsics are in a file).',
        'both',
        ['both', 'static', 'none'],
    ),
    argument('out', 'Folder of the bag. Empty: recording_<date>_<time> in this folder.', ''),
    argument('storage', 'Format of the files.', 'mcap', ['mcap', 'sqlite3']),
    argument('compression', 'Compression of the messages.', 'none', ['none', 'zstd']),
    argument('split_size_mb', 'Begin a new file at this size, MB (10^6 bytes); 0: never.', '0'),
    argument(
        'recorder',
        'rosbag2 (the package ros2bag) or builtin (bag_recorder_node; needs no ros2bag).',
        'rosbag2',
        ['rosbag2', 'builtin'],
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
    shipped = SHARE / 'config' / 'fastdds_shared_memory.xml'
    profile = launching.profile_environment(given['middleware_profile'], shipped)
    topics = recorded(given)
    out = Path(given['out'] or f'recording_{datetime.now():%Y-%m-%d_%H-%M-%S}')
    out = out.expanduser().absolute()
    if out.exists():
        raise ArgumentError(f'out:={out}: exists already; give a folder that does not')
    split_mb = int(launching.number('split_size_mb', given['split_size_mb'], 0, whole=True))
    lines = [f'{", ".join(topics.values())} to {out}']
    lines += launching.notes(context.launch_configurations, NAMES, os.environ, profile)
    # The last messages are compressed and written after Ctrl-C.
    patience = {'sigterm_timeout': '30', 'sigkill_timeout': '30'}
    record = rosbag2 if given['recorder'] == 'rosbag2' else builtin
    action = record(given, topics, out, split_mb, additional_env=profile, **patience)
    return [*(LogInfo(msg=line) for line in lines), action]


def recorded(given):
    """Give the topics to record, absolute, by what they are."""
    names = [given[name] for name in ('image', 'points', 'camera_info', 'image_transport')]
    topics = launching.live_topics(*names)._asdict()
    del topics['transport']
    transforms = {'both': ['tf_static', 'tf'], 'static': ['tf_static'], 'none': []}
    topics.update((name, name) for name in transforms[given['transforms']])
    return {name: f'/{topic.lstrip("/")}' for name, topic in topics.items()}


def rosbag2(given, topics, out, split_mb, **process):
    """Record with `ros2 bag record`."""
    try:
        get_package_prefix('ros2bag')
    except PackageNotFoundError as error:
        raise ArgumentError(
            'recorder:=rosbag2, but the ROS package ros2bag is not installed: install '
            'ros-<distro>-ros2bag, or give recorder:=builtin'
        ) from error
    command = ['ros2', 'bag', 'record', '--output', str(out), '--storage', given['storage']]
    if split_mb:
        command += ['--max-bag-size', str(split_mb * MEGABYTE)]
    if given['compression'] == 'zstd' and given['storage'] == 'mcap':
        command += ['--storage-preset-profile', 'zstd_fast']  # chunks: readers can still seek
    elif given['compression'] == 'zstd':
        command += ['--compression-mode', 'message', '--compression-format', 'zstd']
    # A list of topics is spelt differently in Humble and in Jazzy, an expression is not.
    command += ['--regex', f'^({"|".join(topics.values())})$']
    return ExecuteProcess(cmd=command, name='ros2_bag_record', output='screen', **process)


def builtin(given, topics, out, split_mb, **process):
    """Record with the package's own bag_recorder_node."""
    if given['transforms'] != 'none' and find_spec('tf2_msgs') is None:
        raise ArgumentError(
            f'transforms:={given["transforms"]}, but the ROS package tf2_msgs is not installed: '
            f'install ros-<distro>-tf2-msgs, or give transforms:=none'
        )
    zstd = 'chunk' if given['storage'] == 'mcap' else 'message'
    parameters = {
        **topics,
        'out': str(out),
        'storage': given['storage'],
        'compression': zstd if given['compression'] == 'zstd' else 'none',
        'split_size_mb': split_mb,
    }
    return Node(
        package=PACKAGE,
        executable='bag_recorder_node',
        parameters=[parameters],
        output='screen',
        **process,
    )
