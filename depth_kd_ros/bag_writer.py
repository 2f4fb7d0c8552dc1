"""Write a rosbag2 recording (mcap, sqlite3), split into files as rosbag2 splits them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TYPE_CHECKING

from depth_kd_ros.bag_reader import BagError
from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores, TypesysError
import yaml

if TYPE_CHECKING:
    from typing_extensions import Self

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
COMPRESSIONS = {
    'none': CompressionMode.NONE,
    'message': CompressionMode.MESSAGE,  # every message by itself
    'chunk': CompressionMode.STORAGE,  # inside the mcap file: other mcap tools read it too
}
INFORMATION = 'rosbag2_bagfile_information'


class BagWriter:
    """
    A new rosbag2 folder; its files are created with the first message, and valid once closed.

    A file ends after `split_bytes` of messages (0: never). zstd `compression` is none, message or
    chunk (mcap). Raises BagError: path exists, unknown storage, compression or message type.
    """

    def __init__(
        self,
        path: str | Path,
        storage: str = 'mcap',
        compression: str = 'none',
        split_bytes: int = 0,
    ) -> None:
        self.path = Path(path)
        for name, value, known in (
            ('storage', storage, STORAGES),
            ('compression', compression, COMPRESSIONS),
        ):
            if value not in known:
                raise BagError(f'{path}: {name} {value!r}: choose one of {", ".join(known)}')
        if storage == 'sqlite3' and compression == 'chunk':
            raise BagError(f'{path}: sqlite3 has no compression chunk: choose message, or mcap')
        if split_bytes < 0:
            raise BagError(f'{path}: split size {split_bytes}: 0 (never) or more bytes expected')
        if self.path.exists():
            raise BagError(f'{path}: exists already: choose another name, or remove it')
        self.types = get_typestore(Stores.ROS2_JAZZY)
        self.counts: dict[str, int] = {}  # messages by topic
        self.bytes = 0  # of all messages, before compression
        self._plugin, self._mode = STORAGES[storage], COMPRESSIONS[compression]
        self._split_bytes, self._split_at = split_bytes, split_bytes
        self._declared: dict[str, tuple[str, str, str, Sequence[Qos]]] = {}
        self._connections: dict[str, Connection] = {}
        self._part: Writer | None = None
        self._closed_parts: list[dict[str, Any]] = []  # their metadata

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def declare(self, topic: str, msgtype: str, offered_qos: Sequence[Qos] = ()) -> None:
        """Announce a topic, so that the bag lists it with its QoS even without messages."""
        try:
            definition, _ = self.types.generate_msgdef(msgtype, ros_version=2)
            digest = self.types.hash_rihs01(msgtype)
        except (KeyError, TypesysError) as error:
            raise BagError(
                f'{self.path}: {topic}: rosbags has no definition of {msgtype}: leave the topic '
                f'out, or record with `ros2 bag record`'
            ) from error
        self._declared[topic] = (msgtype, definition, digest, offered_qos)
        self.counts.setdefault(topic, 0)
        if self._part is not None:
            self._connect(self._part, topic)

    def add(self, topic: str, message: Any, receive_ns: int) -> None:
        """Append a message of a rosbags class."""
        msgtype = message.__msgtype__
        self.add_serialized(topic, msgtype, self.types.serialize_cdr(message, msgtype), receive_ns)

    def add_serialized(
        self, topic: str, msgtype: str, data: bytes | memoryview, receive_ns: int
    ) -> None:
        """Append a message as CDR bytes."""
        if topic not in self._declared:
            self.declare(topic, msgtype)
        if self._part is not None and self._split_bytes > 0 and self.bytes >= self._split_at:
            self._close_part(self._part)
        if self._part is None:
            self._part = self._open_part()
        self._part.write(self._connections[topic], receive_ns, data)
        self.counts[topic] += 1
        self.bytes += len(data)

    def close(self) -> None:
        """Finish the bag; without messages nothing was written."""
        if self._part is not None:
            self._close_part(self._part)

    def _open_part(self) -> Writer:
        """Begin a file, as a bag of its own inside the folder until it is complete."""
        if not self._closed_parts and self.path.exists():
            raise BagError(f'{self.path}: exists by now: something else wrote it')
        name = f'{self.path.name}_{len(self._closed_parts)}'
        # Metadata version 8 is what Humble can still read.
        part = Writer(self.path / name, version=8, storage_plugin=self._plugin)
        part.set_compression(self._mode, CompressionFormat.ZSTD)
        part.open()
        self._split_at = self.bytes + self._split_bytes
        self._connections.clear()
        for topic in self._declared:
            self._connect(part, topic)
        return part

    def _connect(self, part: Writer, topic: str) -> None:
        msgtype, definition, digest, qos = self._declared[topic]
        self._connections[topic] = part.add_connection(
            topic, msgtype, msgdef=definition, rihs01=digest, offered_qos_profiles=qos
        )

    def _close_part(self, part: Writer) -> None:
        """Complete a file, move it into the folder and bring metadata.yaml up to date."""
        self._part = None
        part.close()
        metadata = part.path / 'metadata.yaml'
        information = yaml.safe_load(metadata.read_text(encoding='utf-8'))[INFORMATION]
        for name in information['relative_file_paths']:
            (part.path / name).replace(self.path / name)
        metadata.unlink()
        part.path.rmdir()
        self._closed_parts.append(information)
        text = yaml.safe_dump({INFORMATION: _merged(self._closed_parts)}, sort_keys=False)
        fresh = self.path / 'metadata.yaml.new'
        fresh.write_text(text, encoding='utf-8')
        fresh.replace(self.path / 'metadata.yaml')


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the metadata of a bag's files."""
    files = [file for part in parts for file in part['files']]
    starts = [file['starting_time']['nanoseconds_since_epoch'] for file in files]
    ends = [
        start + file['duration']['nanoseconds'] for start, file in zip(starts, files, strict=True)
    ]
    counts: dict[str, int] = {}
    for part in parts:
        for topic in part['topics_with_message_count']:
            name = topic['topic_metadata']['name']
            counts[name] = counts.get(name, 0) + topic['message_count']
    topics = parts[-1]['topics_with_message_count']  # every file lists those declared before it
    return {
        **parts[-1],
        'relative_file_paths': [file['path'] for file in files],
        'files': files,
        'starting_time': {'nanoseconds_since_epoch': min(starts)},
        'duration': {'nanoseconds': max(ends) - min(starts)},
        'message_count': sum(counts.values()),
        'topics_with_message_count': [
            {**topic, 'message_count': counts[topic['topic_metadata']['name']]} for topic in topics
        ],
    }
