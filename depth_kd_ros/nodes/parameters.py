"""The node's settings: one typed table, declared as described and ranged ROS parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
import difflib
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

RCLPY_PREFIXES = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


def option(
    default: Any, description: str, name: str = '', choices: tuple = (), low: Any = None, high: Any = None,
    live: bool = False,
) -> Any:  # fmt: skip
    """Describe one parameter: `name` where it has a dot, `live` where it may change while the node runs."""
    about = {
        'description': description,
        'name': name,
        'choices': choices,
        'low': low,
        'high': high,
        'live': live,
    }
    factory = (lambda: list(default)) if isinstance(default, list) else None
    return (
        field(default_factory=factory, metadata=about)
        if factory
        else field(default=default, metadata=about)
    )


@dataclass(frozen=True)
class Settings:
    """Every parameter of the completion node; units stand in the names and descriptions."""

    model: str = option(
        'linear',
        'Checkpoint path, bundled model, or a model without weights (see `depth_kd models`). '
        'May be changed while running: a bad one is refused and the old one goes on.',
        live=True,
    )
    device: str = option(
        'auto', 'Where to compute: auto (CUDA if there is one), cpu, cuda, cuda:N.'
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
        low=0.0,
        high=1.0,
        live=True,
    )
    image_transport: str = option(
        'raw',
        'raw: Image on `image`; compressed: CompressedImage on `image/compressed`.',
        choices=('raw', 'compressed'),
    )
    rectify: str = option(
        'auto',
        'How the image relates to CameraInfo. none: it is rectified, P holds. image: it is raw '
        'and is rectified here. points: it is raw and stays so, points are projected with K and D. auto: none where '
        'the topic name contains "rect" or D is zero, else image.',
        choices=('auto', 'none', 'image', 'points'),
    )
    sync_policy: str = option(
        'nearest',
        "nearest: built in, the cloud's nearest image. approximate, exact: "
        "message_filters' synchronisers.",
        'sync.policy',
        choices=('nearest', 'approximate', 'exact'),
    )
    sync_slop_s: float = option(
        0.05, 'Largest stamp difference of a pair, seconds.', 'sync.slop_s', low=0.0, high=10.0
    )
    sync_offset_s: float = option(
        0.0,
        "Added to a cloud's stamp before its image is sought, seconds: corrects a "
        'constant clock difference (image clock minus LiDAR clock).',
        'sync.offset_s',
        low=-10.0,
        high=10.0,
    )
    sync_max_wait_s: float = option(
        0.1,
        'How long a cloud waits for a nearer image, seconds.',
        'sync.max_wait_s',
        low=0.0,
        high=10.0,
    )
    sync_queue_size: int = option(
        30, 'Messages kept per topic while matching.', 'sync.queue_size', low=1, high=1000
    )
    extrinsics_source: str = option(
        'tf',
        'tf: looked up from camera to cloud frame; parameter: extrinsics.T_cam_lidar.',
        'extrinsics.source',
        choices=('tf', 'parameter'),
    )
    extrinsics_T_cam_lidar: list[float] = option(
        [0.0] * 16,
        'Transform (4x4, row by row) with '
        'p_camera = T_cam_lidar p_lidar, metres; for extrinsics.source parameter.',
        'extrinsics.T_cam_lidar',
    )
    max_age_s: float = option(
        0.0,
        'Drop a pair that waited longer than this for the network, seconds; 0: never.',
        low=0.0,
        high=10.0,
    )
    points_stride: int = option(
        2,
        'depth_registered/points takes every n-th pixel in each direction.',
        low=1,
        high=64,
        live=True,
    )
    color_min_m: float = option(
        1.0,
        'Depth of the first colour of depth_registered/image_color, metres.',
        low=0.0,
        high=1000.0,
    )
    color_max_m: float = option(
        80.0,
        'Depth of the last colour of depth_registered/image_color, metres.',
        low=0.1,
        high=1000.0,
    )
    silence_s: float = option(
        3.0,
        'Warn when an input with publishers stays silent this long, seconds.',
        low=0.1,
        high=600.0,
    )
    autostart: bool = option(
        True, 'Configure and activate at start; false: wait for lifecycle transitions.'
    )


def name_of(entry: Any) -> str:
    """Give the ROS name of a Settings field."""
    return entry.metadata['name'] or entry.name


def declare(node: Node) -> None:
    """Declare every setting with description, range and, unless it is live, as read-only."""
    for entry in fields(Settings):
        node.declare_parameter(name_of(entry), default_of(entry), descriptor(entry))


def default_of(entry: Any) -> Any:
    """Give the default of a Settings field."""
    return entry.default_factory() if callable(entry.default_factory) else entry.default


def descriptor(entry: Any) -> ParameterDescriptor:
    """Describe a Settings field for `ros2 param describe`."""
    about, default = entry.metadata, default_of(entry)
    result = ParameterDescriptor(description=about['description'], read_only=not about['live'])
    if about['choices']:
        result.additional_constraints = 'one of: ' + ', '.join(about['choices'])
    if about['low'] is not None and isinstance(default, float):
        result.floating_point_range = [
            FloatingPointRange(from_value=about['low'], to_value=about['high'], step=0.0)
        ]
    elif about['low'] is not None:
        result.integer_range = [
            IntegerRange(from_value=about['low'], to_value=about['high'], step=1)
        ]
    return result


def read(node: Node) -> Settings:
    """Read the declared parameters; ValueError names a value outside its choices and lists them."""
    known = {name_of(entry) for entry in fields(Settings)}
    given = getattr(
        node, '_parameter_overrides', {}
    )  # rclpy drops undeclared names without a word
    for name in given:
        if name not in known and not name.startswith(RCLPY_PREFIXES):
            close = difflib.get_close_matches(name, known, 1)
            hint = (
                f'; did you mean {close[0]}?' if close else f'; known: {", ".join(sorted(known))}'
            )
            raise ValueError(f'unknown parameter {name}{hint}')
    values = {}
    for entry in fields(Settings):
        value = node.get_parameter(name_of(entry)).value
        check(entry, value)
        values[entry.name] = list(value) if isinstance(default_of(entry), list) else value
    return Settings(**values)


def changed(settings: Settings, changes: list[Parameter]) -> Settings:
    """Give the settings after a change at run time; ValueError names a value that is not allowed."""
    entries = {name_of(entry): entry for entry in fields(Settings)}
    mine = [change for change in changes if change.name in entries]
    for change in mine:
        check(entries[change.name], change.value)
    return replace(settings, **{entries[c.name].name: c.value for c in mine})


def check(entry: Any, value: Any) -> None:
    """Raise ValueError where a value is not among the choices of a Settings field."""
    choices = entry.metadata['choices']
    if choices and value not in choices:
        raise ValueError(
            f'parameter {name_of(entry)} = {value!r}: one of {", ".join(choices)} expected'
        )
