"""The bag writer, read back with rosbags' own reader and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depth_kd_ros.bag_reader import BagError
from depth_kd_ros.bag_writer import BagWriter
from depth_kd_ros.bags import Bag
import pytest
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_typestore, Stores
import yaml

STORE = get_typestore(Stores.ROS2_JAZZY)
STRING = 'std_msgs/msg/String'
NEVER = QosTime(2147483647, 4294967295)
LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
    NEVER, NEVER, QosLiveliness.AUTOMATIC, NEVER, False,
)  # fmt: skip


def text(words: str) -> Any:
    return STORE.types[STRING](words)


def words_of(data: bytes) -> str:
    message: Any = STORE.deserialize_cdr(data, STRING)
    return str(message.data)


@pytest.mark.parametrize(
    ('storage', 'compression'),
    [
        ('mcap', 'none'),
        ('mcap', 'message'),
        ('mcap', 'chunk'),
        ('sqlite3', 'none'),
        ('sqlite3', 'message'),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, storage: str, compression: str) -> None:
    words = 'much the same ' * 1000
    with BagWriter(tmp_path / 'bag', storage, compression) as writer:
        writer.declare('/latched', STRING, [LATCHED])
        for i in range(10):
            writer.add('/talk', text(f'{i} {words}'), 1000 + i)
            data = bytes(STORE.serialize_cdr(text(str(i)), STRING))
            writer.add_serialized('/latched', STRING, data, 2000 + i)
    assert writer.counts == {'/latched': 10, '/talk': 10}
    suffix = {'mcap': 'mcap', 'sqlite3': 'db3'}[storage]
    files = sorted(path.name for path in (tmp_path / 'bag').iterdir())
    assert files == [f'bag_0.{suffix}', 'metadata.yaml']
    size = (tmp_path / 'bag' / files[0]).stat().st_size
    assert (size < writer.bytes / 2) == (compression != 'none')

    with Reader(tmp_path / 'bag') as reader:
        assert (reader.start_time, reader.end_time) == (1000, 2010)
        extra: Any = reader.topics['/latched'].connections[0].ext
        assert extra.offered_qos_profiles == [LATCHED]
        read = [(c.topic, ns, words_of(data)) for c, ns, data in reader.messages()]
    talk = [('/talk', 1000 + i, f'{i} {words}') for i in range(10)]
    assert read == talk + [('/latched', 2000 + i, str(i)) for i in range(10)]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_is_split_into_files_of_one_folder(tmp_path: Path, storage: str) -> None:
    path = tmp_path / 'bag'
    message = text('x' * 991)  # 1000 bytes: encapsulation 4, length 4, letters, closing zero
    with BagWriter(path, storage, split_bytes=3000) as writer:
        for i in range(7):
            writer.add('/a', message, 100 + i)
        assert sorted(p.name for p in path.iterdir() if p.is_file())[:2] == [
            f'bag_0.{"mcap" if storage == "mcap" else "db3"}',
            f'bag_1.{"mcap" if storage == "mcap" else "db3"}',
        ]
        with Bag(path) as bag:  # complete up to the last finished file, whatever happens next
            assert bag.topics['/a'].count == 6
        writer.add('/b', text('late'), 50)
    metadata = yaml.safe_load((path / 'metadata.yaml').read_text())
    information = metadata['rosbag2_bagfile_information']
    assert [f['message_count'] for f in information['files']] == [3, 3, 2]
    assert [f['path'] for f in information['files']] == information['relative_file_paths']
    assert information['message_count'] == 8
    assert information['starting_time'] == {'nanoseconds_since_epoch': 50}
    assert information['duration'] == {'nanoseconds': 56}
    with Bag(path) as bag:
        assert {name: t.count for name, t in bag.topics.items()} == {'/a': 7, '/b': 1}
        assert [ns for _, _, ns in bag.messages(['/a'])] == [100 + i for i in range(7)]
        assert [m.data for _, m, _ in bag.messages(['/b'])] == ['late']


def test_nothing_is_written_before_the_first_message(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        writer.declare('/a', STRING)
    assert not (tmp_path / 'bag').exists()


def test_an_exception_leaves_a_readable_bag(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / 'bag') as writer:
        writer.add('/a', text('kept'), 1)
        raise KeyboardInterrupt
    with Bag(tmp_path / 'bag') as bag:
        assert [m.data for _, m, _ in bag.messages(['/a'])] == ['kept']


def test_wrong_settings(tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    with pytest.raises(BagError, match=r"bag: storage 'bag1': choose one of mcap, sqlite3"):
        BagWriter(path, 'bag1')
    with pytest.raises(BagError, match=r"compression 'lz4': choose one of none, message, chunk"):
        BagWriter(path, compression='lz4')
    with pytest.raises(BagError, match='sqlite3 has no compression chunk: choose message'):
        BagWriter(path, 'sqlite3', 'chunk')
    with pytest.raises(BagError, match=r'split size -1: 0 \(never\) or more'):
        BagWriter(path, split_bytes=-1)
    with pytest.raises(BagError, match='exists already: choose another name'):
        BagWriter(tmp_path)
    with pytest.raises(BagError, match=r'/x: rosbags has no definition of my_msgs/msg/Own'):
        BagWriter(path).declare('/x', 'my_msgs/msg/Own')
    writer = BagWriter(path)
    path.mkdir()
    with pytest.raises(BagError, match='exists by now'):
        writer.add('/a', text(''), 1)
