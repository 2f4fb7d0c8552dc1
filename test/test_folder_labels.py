"""The folder data set's optional parts: rings, classes, objects, and a camera for each frame."""

from __future__ import annotations

import cv2
from depth_kd_training import data
from depth_kd_training.augment import Augmentation, Config
from depth_kd_training.data.base import DatasetError
import numpy as np
import pytest
import street_folder


@pytest.fixture
def root(tmp_path):
    street_folder.write(tmp_path, 2)
    for index in range(2):
        for name, dtype in (('semantic', np.uint8), ('instance', np.uint16)):
            (tmp_path / name).mkdir(exist_ok=True)
            values = (np.arange(48 * 96).reshape(48, 96) % (40 + index)).astype(dtype)
            cv2.imwrite(str(tmp_path / name / f'{index:04d}.png'), values)
    (tmp_path / 'instance' / '0001.png').unlink()
    cv2.imwrite(str(tmp_path / 'instance/0001.png'), np.full((48, 96), 65535, np.uint16))
    (tmp_path / 'K' / '0001.txt').write_text('80 0 47\n0 81 23\n0 0 1\n')
    (tmp_path / 'K.txt').write_text('1 0 0 0 1 0 0 0 1')
    (tmp_path / 'classes.json').write_text('["road", "car"]')
    return tmp_path


def opened(root, **options):
    return data.build('folder', {'root': str(root), 'depth_gt': 'depth_gt', **options})


def test_values_are_labels_plus_one(root):
    frames = opened(root)
    first, second = frames[0], frames[1]
    rows = np.linspace(0.3 * 48, 47, 16).astype(int)
    assert (first.ring[rows, 0] == np.arange(16)).all() and (first.ring[rows, 1] == -1).all()
    assert ((first.ring >= 0) == (first.sparse_depth > 0)).all() and first.ring.dtype == np.int16
    assert first.semantic[0, :4].tolist() == [-1, 0, 1, 2] and first.semantic.dtype == np.int16
    assert second.semantic[0, 41] == -1 and first.semantic[0, 40] == -1
    assert (second.instance == 65534).all() and second.instance.dtype == np.int32
    assert frames.classes == ('road', 'car')


def test_the_camera_of_a_frame_wins_over_the_common_one(root):
    frames = opened(root)
    assert frames[0].K.tolist() == [[96, 0, 48], [0, 96, 24], [0, 0, 1]]
    assert frames[1].K.tolist() == [[80, 0, 47], [0, 81, 23], [0, 0, 1]]


def test_beams_can_be_dropped(root):
    augmented = Augmentation(Config(beams=(4,)))(opened(root)[0], np.random.default_rng(0))
    assert len(np.unique(np.nonzero(augmented.sparse_depth)[0])) == 4


@pytest.mark.parametrize(
    ('path', 'content', 'message'),
    [
        ('ring/0001.png', None, r'ring/0001\.png: no such file, though there is .*0001\.png'),
        ('K/0000.txt', None, r'K/0000\.txt: no such file'),
        ('K/0000.txt', b'1 2 3', r'K/0000\.txt: 3x3 numbers expected'),
        ('semantic/0000.png', b'x', r'semantic/0000\.png: unreadable; a grey PNG'),
        ('classes.json', b'{"a": 1}', r'classes\.json: a list of names is needed'),
        ('classes.json', b'{', r'classes\.json: not readable as JSON'),
    ],
)
def test_what_does_not_fit_is_told_with_the_layout(root, path, content, message):
    if content is None:
        (root / path).unlink()
    else:
        (root / path).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as error:
        opened(root)[0]
    assert 'ROOT/ring/*.png' in str(error.value)


def test_a_colour_image_is_no_map_of_labels(root):
    cv2.imwrite(str(root / 'ring/0000.png'), np.zeros((48, 96, 3), np.uint8))
    with pytest.raises(DatasetError, match=r'ring/0000\.png: \(48, 96, 3\); a grey PNG'):
        opened(root)[0]
