"""What the launch files share: topics, parameters and environment from their arguments. No ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
import difflib
import math
from os.path import realpath
from pathlib import Path
from typing import Any, NamedTuple

from depth_kd_ros import extrinsics
from depth_kd_ros.extrinsics import Extrinsics

# Fast DDS 2 (Humble, Jazzy) reads the first, Fast DDS 3 (Kilted and later) the second.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
COMPRESSED = '/compressed'


class ArgumentError(ValueError):
    """A launch argument that cannot be used: the text names it, its value and what to do."""


class Topics(NamedTuple):
    """
    The topics that are read, '' where the node's own relative name stays.

    `transport` is that of `image`: raw, compressed, or '' (the node's parameter decides).
    """

    image: str
    points: str
    camera_info: str
    transport: str

    def remappings(self) -> list[tuple[str, str]]:
        """Give the rules (relative name, topic) for the node."""
        raw = self.image.removesuffix(COMPRESSED)
        compressed = self.image if self.transport == 'compressed' else raw + COMPRESSED
        rules = [
            ('image', raw),
            ('image' + COMPRESSED, compressed),
            ('points', self.points),
            ('camera_info', self.camera_info),
        ]
        return [(name, topic) for name, topic in rules if topic not in ('', COMPRESSED)]


def live_topics(image: str, points: str, camera_info: str, transport: str) -> Topics:
    """
    Complete the topics of a running camera as image_transport names them.

    The compressed image lies below the raw one, camera_info beside it. Raises ArgumentError where
    `transport` is raw and `image` a compressed topic.
    """
    raw = image.removesuffix(COMPRESSED)
    if image != raw and transport == 'raw':
        raise ArgumentError(
            f'image:={image} is a compressed topic, but image_transport:=raw: give '
            f'image_transport:=compressed, or image:={raw}'
        )
    if image != raw:
        transport = 'compressed'
    if raw and not camera_info:
        camera_info = raw[: raw.rfind('/') + 1] + 'camera_info'
    subscribed = raw + COMPRESSED if raw and transport == 'compressed' else raw
    return Topics(subscribed, points, camera_info, transport)


def bag_topics(bag: Any, image: str, points: str, camera_info: str, transport: str) -> Topics:
    """
    Find by type in an open Bag the topics that were not given.

    Raises ArgumentError: none or several candidates, a given topic that is not in the bag or not
    of `transport`.
    """

    def find(kind: str, name: str, **beside: str) -> str:
        try:
            return str(bag.find_topic(kind, name or None, **beside))
        except ValueError as error:
            option = f'--{kind.replace("_", "-")} TOPIC'  # the command's way to say it
            text = str(error).replace(option, f'{kind}:=TOPIC')
            raise ArgumentError(f'{kind}:={name}: {text}' if name else f'bag:={text}') from error

    if image and transport == 'compressed' and not image.endswith(COMPRESSED):
        image += COMPRESSED
    chosen = find('image', image)
    if not image and transport == 'compressed' and not chosen.endswith(COMPRESSED):
        chosen = find('image', chosen + COMPRESSED)
    kind = 'compressed' if bag.topics[chosen].type.endswith('/CompressedImage') else 'raw'
    if transport not in ('', kind):
        raise ArgumentError(
            f'image_transport:={transport}, but {chosen} in {bag.path} is {kind}: leave '
            f'image_transport out, or give another image:=TOPIC'
        )
    points = find('points', points)
    return Topics(chosen, points, find('camera_info', camera_info, image=chosen), kind)


def streams(given: Mapping[str, str]) -> tuple[Topics, Extrinsics | None]:
    """
    Choose topics and extrinsics from the arguments image ... camera_info, extrinsics and bag.

    Extrinsics are None where the node looks them up itself (TF, its parameters). Raises
    ArgumentError for a bag or a file that cannot be used.
    """
    names = [given[name] for name in ('image', 'points', 'camera_info', 'image_transport')]
    source = given['extrinsics'] or ('bag' if given['bag'] else 'tf')
    rig = None
    if source == 'bag' and not given['bag']:
        raise ArgumentError(
            'extrinsics:=bag, but no bag: give bag:=PATH, extrinsics:=tf or extrinsics:=FILE'
        )
    if source not in ('tf', 'bag'):
        path = existing('extrinsics', source, 'tf, bag or an existing YAML file')
        with _named('extrinsics', source):
            rig = extrinsics.from_file(path)
    if not given['bag']:
        return live_topics(*names), rig
    path = existing('bag', given['bag'], 'a rosbag2 folder')
    with _named('bag', given['bag']):
        from depth_kd_ros.bags import Bag

        with Bag(path) as bag:
            topics = bag_topics(bag, *names)
            if source == 'bag':
                rig = extrinsics.from_bag(bag, topics.image, topics.points)
    return topics, rig


@contextmanager
def _named(argument: str, value: str) -> Iterator[None]:
    """Put the argument in front of what is wrong with its value."""
    try:
        yield
    except ArgumentError:
        raise
    except ImportError as error:
        raise ArgumentError(f'{argument}:={value}: {error}: pip install it') from error
    except ValueError as error:
        text = str(error).removeprefix(f'{Path(value).expanduser().absolute()}: ')
        raise ArgumentError(f'{argument}:={value}: {text}') from error


def extrinsics_parameters(rig: Extrinsics | None) -> dict[str, Any]:
    """Give the node's parameters for known extrinsics, or for TF (None)."""
    values = [0.0] * 16 if rig is None else [float(v) for v in rig.T_cam_lidar.ravel()]
    source = 'tf' if rig is None else 'parameter'
    return {
        'extrinsics.source': source,
        'extrinsics.T_cam_lidar': values,
        'extrinsics.camera_frame': '' if rig is None else rig.parent,
        'extrinsics.lidar_frame': '' if rig is None else rig.child,
    }


def profile_environment(profile: str, shipped: Path) -> dict[str, str]:
    """
    Give the environment that makes Fast DDS use a profile.

    `profile` is shared_memory (the `shipped` file), keep (change nothing) or a path. Raises
    ArgumentError where there is no such file.
    """
    if profile == 'keep':
        return {}
    path = shipped if profile == 'shared_memory' else existing('middleware_profile', profile)
    return dict.fromkeys(PROFILE_VARIABLES, str(path))


def existing(argument: str, value: str, expected: str = 'an existing path') -> Path:
    """Give the absolute path of a file or folder; raise ArgumentError where there is none."""
    path = Path(value).expanduser().absolute()
    if not value or not path.exists():
        raise ArgumentError(f'{argument}:={value}: nothing at {path}; give {expected}')
    return path


def number(argument: str, value: str, low: float, whole: bool = False) -> float:
    """Read a (whole) number of at least `low`; raise ArgumentError for anything else."""
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not low <= result < math.inf or (whole and result % 1):
        kind = 'whole number' if whole else 'number'
        raise ArgumentError(f'{argument}:={value}: give a {kind} of at least {low:g}')
    return result


def notes(
    given: Iterable[str],
    declared: Collection[str],
    environment: Mapping[str, str],
    new: Mapping[str, str],
) -> list[str]:
    """Tell of arguments that ROS ignores because they are misspelt, and of variables replaced."""
    lines = []
    for name in sorted(set(given) - set(declared)):
        close = difflib.get_close_matches(name, declared, 1, 0.8)
        lines += [f'{name}:= is unknown and ignored: {right}:= meant?' for right in close]
    for name, value in new.items():
        if realpath(environment.get(name, value)) != realpath(value):
            lines.append(
                f'{name}={environment[name]} is replaced; middleware_profile:=keep leaves it'
            )
    return lines
