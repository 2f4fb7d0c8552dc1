"""The node's settings: one typed table, declared as described and ranged ROS parameters."""

from __future__ import annotations

from dataclasses import dataclass, Field, field, fields, replace
from typing import Any

from depth_kd_ros.plugins import unknown
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

RCLPY_PREFIXES = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


def option(
    default: Any,
    description: str,
    *choices: str,
    name: str = '',
    low: float | None = None,
    high: float | None = None,
    live: bool = False,
) -> Any:
    """Describe a parameter: `name` where it has a dot, `live` where it may change at run time."""
    about = {
        'description': description, 'name': name, 'choices': choices,
        'low': low, 'high': high, 'live': live,
    }  # fmt: skip
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Settings:
    """Every parameter of the completion node; units stand in the names and descriptions."""

    model: str = option(
        'push_pull',
        'Checkpoint path, bundled model, or a model without weights (`depth_kd models` lists '
        'them). May be changed at run time: a bad one is refused and the old one goes on.',
        live=True,
    )
    device: str = option(
        'auto', 'Where to compute: auto (CUDA if there is one), cpu, cuda or cuda:N.'
    )
    threads: int = option(
        0, 'CPU threads for torch; 0 leaves the choice to torch.', low=0, high=256
    )
    min_depth_m: float = option(
        0.5, 'Nearest depth used and published, metres.', low=0.01, high=100.0
    )
    max_depth_m: float = option(
        120.0, 'Farthest depth used and published, metres.', low=0.1, high=1000.0
    )
    bleed_filter: bool = option(
        True, 'Drop points that the LiDAR sees past a surface which hides them from the camera.'
    )
    min_confidence: float = option(
        0.0,
        'Depth of lower confidence becomes NaN (models with a confidence head).',
        low=0.0, high=1.0, live=True,
    )  # fmt: skip
    image_transport: str = option(
        'raw',
        'raw: Image on `image`; compressed: CompressedImage on `image/compressed`.',
        'raw', 'compressed',
    )  # fmt: skip
    rectify: str = option(
        'auto',
        'How the image relates to CameraInfo. none: it is rectified, P holds. image: it is raw '
        'and is rectified here. points: it is raw and stays so, points are projected with K and '
        'D. auto: none where "rect" begins a word of the topic or D is zero, else image.',
        'auto', 'none', 'image', 'points',
    )  # fmt: skip
    sync_policy: str = option(
        'nearest',
        "nearest: built in, the cloud's nearest image. approximate, exact: message_filters.",
        'nearest', 'approximate', 'exact', name='sync.policy',
    )  # fmt: skip
    sync_slop_s: float = option(
        0.05,
        'Largest stamp difference of a pair, seconds.',
        name='sync.slop_s',
        low=0.0,
        high=10.0,
    )
    sync_offset_s: float = option(
        0.0,
        "Added to a cloud's stamp before its image is sought, seconds: corrects a constant clock "
        'difference (image clock minus LiDAR clock).',
        name='sync.offset_s', low=-10.0, high=10.0,
    )  # fmt: skip
    sync_max_wait_s: float = option(
        0.2, 'How long a cloud waits for a nearer image, seconds.',
        name='sync.max_wait_s', low=0.0, high=10.0,
    )  # fmt: skip
    sync_queue_size: int = option(
        30, 'Messages kept per topic while matching.', name='sync.queue_size', low=1, high=1000
    )
    extrinsics_source: str = option(
        'tf',
        'tf: looked up from camera to cloud frame; parameter: extrinsics.T_cam_lidar.',
        'tf', 'parameter', name='extrinsics.source',
    )  # fmt: skip
    T_cam_lidar: list[float] = option(  # noqa: RUF009
        [0.0] * 16,
        'Transform (4x4, row by row) with p_camera = T_cam_lidar p_lidar, metres; for '
        'extrinsics.source parameter.',
        name='extrinsics.T_cam_lidar',
    )
    camera_frame: str = option(
        '',
        'Frame id of the images that T_cam_lidar belongs to; others are refused. Empty: any.',
        name='extrinsics.camera_frame',
    )
    lidar_frame: str = option(
        '',
        'Frame id of the clouds that T_cam_lidar belongs to; others are refused. Empty: any.',
        name='extrinsics.lidar_frame',
    )
    max_age_s: float = option(
        0.0, 'Drop a pair that waited longer than this for the network, seconds; 0: never.',
        low=0.0, high=10.0,
    )  # fmt: skip
    points_stride: int = option(
        2, 'depth_registered/points takes every n-th pixel in each direction.',
        low=1, high=64, live=True,
    )  # fmt: skip
    color_min_m: float = option(
        1.0, 'Depth of the first colour of depth_registered/image_color, metres.',
        low=0.01, high=1000.0,
    )  # fmt: skip
    color_max_m: float = option(
        80.0, 'Depth of the last colour of depth_registered/image_color, metres.',
        low=0.1, high=1000.0,
    )  # fmt: skip
    silence_s: float = option(
        3.0, 'Warn when an input with publishers stays silent this long, seconds.',
        low=0.1, high=600.0,
    )  # fmt: skip
    autostart: bool = option(
        True, 'Configure and activate at start; false: wait for lifecycle transitions.'
    )


def name_of(entry: Field) -> str:
    """Give the ROS name of a Settings field."""
    return str(entry.metadata['name'] or entry.name)


def default_of(entry: Field) -> Any:
    """Give the default of a Settings field."""
    return entry.default_factory() if callable(entry.default_factory) else entry.default


def declare(node: Node) -> None:
    """Declare every setting with description, range and, unless it is live, as read-only."""
    for entry in fields(Settings):
        node.declare_parameter(name_of(entry), default_of(entry), descriptor(entry))


def descriptor(entry: Field) -> ParameterDescriptor:
    """Describe a Settings field for `ros2 param describe`."""
    about = entry.metadata
    result = ParameterDescriptor(description=about['description'], read_only=not about['live'])
    kind = default_of(entry)
    result.dynamic_typing = isinstance(kind, (float, list))  # 80 for 80.0: `converted` checks
    if about['choices']:
        result.additional_constraints = 'one of: ' + ', '.join(about['choices'])
    limits = {'from_value': about['low'], 'to_value': about['high']}
    if isinstance(about['low'], float):
        result.floating_point_range = [FloatingPointRange(**limits)]
    elif isinstance(about['low'], int):
        result.integer_range = [IntegerRange(**limits, step=1)]
    return result


def read(node: Node) -> Settings:
    """Read the declared parameters; ValueError names an unknown name or a value not allowed."""
    known = {name_of(entry): entry for entry in fields(Settings)}
    given = getattr(node, '_parameter_overrides', {})  # rclpy drops unknown names without a word
    for name in given:
        if name not in known and not name.startswith(RCLPY_PREFIXES):
            listed = ', '.join(known)
            raise ValueError(f'unknown parameter {unknown(name, known)} Parameters: {listed}')
    values: dict[str, Any] = {}
    for name, entry in known.items():
        values[entry.name] = converted(entry, node.get_parameter(name).value)
    return Settings(**values)


def changed(settings: Settings, changes: list[Parameter]) -> Settings:
    """Give the settings after a change at run time; ValueError names a value not allowed."""
    known = {name_of(entry): entry for entry in fields(Settings)}
    mine = {change.name: change.value for change in changes if change.name in known}
    values = {known[n].name: converted(known[n], value) for n, value in mine.items()}
    return replace(settings, **values)


def converted(entry: Field, value: Any) -> Any:
    """Give a value in the type of a Settings field; ValueError for another type or value."""
    about, default, name = entry.metadata, default_of(entry), name_of(entry)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    elif isinstance(default, list) and not isinstance(value, str):
        value = [float(number) for number in value]
    if type(value) is not type(default):
        raise ValueError(f'parameter {name} = {value!r}: {type(default).__name__} expected')
    if about['choices'] and value not in about['choices']:
        known = ', '.join(about['choices'])
        raise ValueError(f'parameter {name} = {value!r}: one of {known} expected')
    if about['low'] is not None and not about['low'] <= value <= about['high']:
        limits = f'{about["low"]} to {about["high"]}'
        raise ValueError(f'parameter {name} = {value!r}: {limits} expected')
    return value
