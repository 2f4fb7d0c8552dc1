"""Faults of how a bag was recorded: what is missing, QoS, sizes, gaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from depth_kd_ros.bag_check.faults import ERROR, Fault, NOTE, WARNING
from depth_kd_ros.bag_check.headers import Stream
from depth_kd_ros.bag_check.timing import Rhythm
from depth_kd_ros.bags import Bag, BagError, TYPES
from rosbags.interfaces import QosDurability, QosReliability
import yaml

KINDS = {'image': 'camera images', 'points': 'clouds', 'camera_info': 'CameraInfo'}
LOST_SHARE, LONG_GAP_S = 0.01, 1.0  # more is a warning
MCAP_END = b'\x89MCAP0\r\n'
READABLE = ('', 'none', 'zstd')
RECORD = 'ros2 launch depth_kd_ros record.launch.py image:=... points:=...'
PROFILE = (
    "give the drivers config/fastdds_shared_memory.xml (Fast DDS's default transports lose large "
    'messages), record image_transport:=compressed or on a faster disk'
)


def check_files(path: Path) -> None:
    """Raise BagError for a bag that is still being written, or compressed in an unknown way."""
    folder = path if path.is_dir() else path.parent
    metadata = folder / 'metadata.yaml'
    for file in sorted(folder.rglob('*')) if path.is_dir() else []:
        if (file.suffix == '.mcap' and not _ended(file)) or (
            file.name.endswith('.db3-wal') and file.stat().st_size
        ):
            if metadata.exists() and file.parent == folder and file.suffix == '.mcap':
                continue  # damaged: the reader says how
            raise BagError(
                f'{path}: still being written, or its recorder was killed ({file.name} has no end)'
                f': stop the recorder with Ctrl-C and check again; if none runs, `mcap recover '
                f'{file.name}` and then `ros2 bag reindex {folder}`'
            )
    if metadata.is_file():
        try:
            content = yaml.safe_load(metadata.read_text(encoding='utf-8'))
            about = content['rosbag2_bagfile_information']
            form = str(about.get('compression_format') or '')
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            return  # the reader says what is wrong
        if form not in READABLE:
            raise BagError(
                f'{path}: compression_format {form!r} in metadata.yaml cannot be read, only zstd: '
                f'convert it with `ros2 bag convert` where the plug-in for {form} is installed'
            )


def missing(bag: Bag) -> Iterator[Fault]:
    """Name each kind of topic that the bag has no messages of."""
    for kind, what in KINDS.items():
        if not any(info.count for info in bag.topics.values() if info.type in TYPES[kind]):
            yield Fault(
                ERROR, f'no_{kind}', f'no {what}: no messages of type {" or ".join(TYPES[kind])}',
                'depth is completed from image, cloud and calibration together',
                f'record the topic: {RECORD}',
            )  # fmt: skip


def of_stream(stream: Stream, rhythm: Rhythm) -> Iterator[Fault]:
    """Judge a topic's sizes, frame ids, order of stamps and gaps."""
    for name, values in (('sizes', stream.sizes), ('frame_ids', stream.frame_ids)):
        is_cloud = stream.type in TYPES['points']
        if len(values) > 1 and not (name == 'sizes' and is_cloud):
            listed = ', '.join(
                f'{"x".join(map(str, value)) if name == "sizes" else value} ({count} messages)'
                for value, count in values.items()
            )
            yield Fault(
                ERROR, f'mixed_{name}',
                f'{stream.topic}: its {name.replace("_", " ")} change: {listed}',
                'several sensors, or several settings, on one topic: no one calibration fits',
                'record each sensor to a topic of its own, and do not change its settings',
            )  # fmt: skip
    disorder = [(rhythm.repeated, 'repeated'), (rhythm.backwards, 'jumping backwards')]
    if any(count for count, _ in disorder):
        found = ' and '.join(f'{count} stamps {how}' for count, how in disorder if count)
        yield Fault(
            WARNING, 'stamp_order', f'{stream.topic}: {found}',
            'a looped or restarted source: those messages are dropped',
            'record one pass; check that only one driver publishes the topic',
        )  # fmt: skip
    if rhythm.gaps_s:
        at_s, long_s = rhythm.gaps_s[0]
        share, heavy = rhythm.lost_share, rhythm.lost_share > LOST_SHARE or long_s > LONG_GAP_S
        yield Fault(
            WARNING if heavy else NOTE, 'gaps',
            f'{stream.topic}: {len(rhythm.gaps_s)} gaps, about {rhythm.lost} messages lost '
            f'({share:.1%}); the longest is {long_s:.2f} s, {at_s:.1f} s after the first message',
            'no depth in a gap', PROFILE,
        )  # fmt: skip


def of_qos(bag: Bag) -> Iterator[Fault]:
    """Judge the QoS that the publishers offered while recording."""
    for name, info in bag.topics.items():
        durable = [q.durability is QosDurability.TRANSIENT_LOCAL for q in info.offered_qos]
        if name.endswith('/tf_static') and info.count and info.offered_qos and not all(durable):
            yield Fault(
                WARNING, 'qos_tf_static', f'{name} was offered volatile, not transient local',
                '`ros2 bag play` sends it once, so nodes started later never get the extrinsics',
                'play with --qos-profile-overrides-path and `durability: transient_local` for it, '
                'or launch with bag:=..., which reads the transforms from the bag',
            )  # fmt: skip
        reliable = {q.reliability for q in info.offered_qos}
        if QosReliability.UNKNOWN in reliable or len(reliable) > 1:
            kinds = ', '.join(sorted(kind.name.lower() for kind in reliable))
            yield Fault(
                WARNING, 'qos_reliability', f'{name} was offered with reliability {kinds}',
                'publishers that differ, or a policy unknown to the recorder: `ros2 bag play` may '
                'offer what subscribers do not accept',
                'play with --qos-profile-overrides-path and `reliability: reliable` for it',
            )  # fmt: skip


def of_compression(bag: Bag, streams: Mapping[str, Stream]) -> Iterator[Fault]:
    """Note images that are compressed."""
    for topic, stream in streams.items():
        if stream.type.endswith('/CompressedImage'):
            yield Fault(
                NOTE, 'compressed', f'{topic} is compressed ({bag.first(topic).format})',
                'jpeg blurs edges a little; the live node must subscribe to the same form',
                'launch with image_transport:=compressed',
            )  # fmt: skip


def _ended(file: Path) -> bool:
    """Tell whether an mcap file was closed."""
    if file.stat().st_size < len(MCAP_END):
        return False
    with file.open('rb') as data:
        data.seek(-len(MCAP_END), 2)
        return data.read() == MCAP_END
