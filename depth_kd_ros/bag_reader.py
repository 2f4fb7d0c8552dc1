"""Read the messages of a rosbag2 recording (mcap, sqlite3) through rosbags, lazily."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TYPE_CHECKING

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, Qos
from rosbags.typesys import get_typestore, Stores

if TYPE_CHECKING:
    from typing_extensions import Self

STORAGE_SUFFIXES = ('.mcap', '.db3', '.zstd')
REPAIR = 'copy the bag again, or `mcap recover FILE` and then `ros2 bag reindex FOLDER`'


class BagError(ValueError):
    """A bag that cannot be used; the text names the path and says what to do."""


@dataclass(frozen=True)
class TopicInfo:
    """A topic's type, number of messages and, where recorded, the QoS its publishers offered."""

    type: str
    count: int
    offered_qos: tuple[Qos, ...] = ()


class BagReader:
    """
    A rosbag2 folder (or a storage file in it), open inside `with`; messages are read lazily.

    Raises BagError: no such path, not a rosbag2, no metadata.yaml, damaged or truncated, empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _folder(Path(path))
        jazzy = get_typestore(Stores.ROS2_JAZZY)  # for bags that hold no message definitions
        self._reader = AnyReader([self.path], default_typestore=jazzy)
        self._reading = False

    def __enter__(self) -> Self:
        try:
            self._reader.open()
        except Exception as error:  # rosbags lets many kinds through, damaged files raise any
            raise BagError(f'{self.path}: cannot be opened ({error}): {REPAIR}') from error
        if not self._reader.message_count:
            self._reader.close()
            raise BagError(f'{self.path}: holds no messages: record it again')
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()

    @property
    def topics(self) -> dict[str, TopicInfo]:
        """Give every topic's type, message count and offered QoS, by name."""
        topics = {}
        for name, info in self._reader.topics.items():
            qos = [q for c in info.connections for q in getattr(c.ext, 'offered_qos_profiles', [])]
            topics[name] = TopicInfo(info.msgtype or 'several types', info.msgcount, tuple(qos))
        return topics

    @property
    def start_ns(self) -> int:
        """Give the receive time of the first message."""
        return self._reader.start_time

    @property
    def end_ns(self) -> int:
        """Give the receive time of the last message."""
        return self._reader.end_time - 1

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, Any, int]]:
        """Iterate (topic, message, receive time ns) in receive order, as raw_messages."""
        self._check(topics)
        return self._decoded(topics, start_ns, stop_ns)

    def raw_messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, bytes, int]]:
        """
        Iterate (topic, CDR bytes, receive time ns) from start_ns up to, without, stop_ns.

        Raises BagError: a topic that the bag does not hold, and while iterating, damaged storage.
        """
        self._check(topics)
        return ((c.topic, data, ns) for c, data, ns in self._read(topics, start_ns, stop_ns))

    def _check(self, topics: Collection[str], types: Collection[str] = ()) -> None:
        for topic in topics:
            info = self.topics.get(topic)
            if info is None:
                raise BagError(f'{self.path}: no topic {topic!r}; topics: {self._listing()}')
            if types and (info.type not in types or not info.count):
                raise BagError(
                    f'{self.path}: {topic!r} holds {info.count} messages of {info.type}, but '
                    f'{" or ".join(types)} is needed; topics: {self._listing()}'
                )

    def _listing(self) -> str:
        return ', '.join(f'{n} ({t.type}, {t.count} messages)' for n, t in self.topics.items())

    def _decoded(
        self, topics: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[tuple[str, Any, int]]:
        for connection, data, receive_ns in self._read(topics, start_ns, stop_ns):
            try:
                message = self._reader.deserialize(data, connection.msgtype)
            except Exception as error:  # whatever the damaged bytes lead to
                place = f'{self.path}: {connection.topic}, received at {receive_ns} ns'
                raise BagError(f'{place}: not a {connection.msgtype}: {error}') from error
            yield connection.topic, message, receive_ns

    def _read(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Connection, bytes, int]]:
        if self._reading:  # rosbags keeps one position per file: a second reading needs its own
            with type(self)(self.path) as other:
                yield from other._read(topics, start_ns, stop_ns)
            return
        chosen = [c for c in self._reader.connections if c.topic in topics]
        if not chosen:  # rosbags takes an empty list for all topics
            return
        self._reading = True
        try:
            for connection, receive_ns, data in self._reader.messages(chosen, start_ns, stop_ns):
                yield connection, data, receive_ns
        except Exception as error:
            raise BagError(f'{self.path}: cannot be read further ({error}): {REPAIR}') from error
        finally:
            self._reading = False


def _folder(path: Path) -> Path:
    """Find the bag's folder from it or from a storage file in it, or raise BagError."""
    if not path.exists():
        raise BagError(f'{path}: no such bag: give a rosbag2 folder')
    if path.suffix == '.bag':
        raise BagError(f'{path}: a ROS 1 bag: rosbags-convert --src {path} --dst FOLDER')
    folder = path if path.is_dir() else path.parent
    files = list(path.iterdir()) if path.is_dir() else [path]
    if not any(file.suffix in STORAGE_SUFFIXES for file in files):
        raise BagError(f'{path}: not a rosbag2: no {" or ".join(STORAGE_SUFFIXES[:2])} file')
    metadata = folder / 'metadata.yaml'
    if not metadata.exists():
        raise BagError(f'{path}: no metadata.yaml; write it: ros2 bag reindex {folder}')
    if path.is_file() and path.name not in metadata.read_text(encoding='utf-8'):
        raise BagError(f'{path}: not listed in {metadata}; renew it: ros2 bag reindex {folder}')
    return folder
