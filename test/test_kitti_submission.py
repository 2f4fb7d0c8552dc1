"""The KITTI submission: read back by another PNG reader; what the benchmark would refuse."""

from __future__ import annotations

import struct
import zipfile
import zlib

from depth_kd_ros.completer import Completion
from depth_kd_training.data.base import Frame
from depth_kd_training.kitti_submission import COUNT, SIZE, Submission
import numpy as np
import pytest


def read_png(data):
    """Decode a grey PNG of 16 bit by its specification: (H, W) integers."""
    assert data[:8] == b'\x89PNG\r\n\x1a\n'
    at, packed = 8, b''
    while at < len(data):
        length, kind = struct.unpack('>I4s', data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b'IHDR':
            width, height, bits, colour, *_, interlace = struct.unpack('>IIBBBBB', body)
            assert (bits, colour, interlace) == (16, 0, 0)
        packed += body if kind == b'IDAT' else b''
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 2 * width)
    pixels = np.zeros((height + 1, 2 * width), np.uint8)
    for row, line in enumerate(lines):
        pixels[row + 1] = unfiltered(line[0], line[1:], pixels[row])
    values = pixels[1:].astype(np.uint16)
    return values[:, ::2] * 256 + values[:, 1::2]


def unfiltered(kind, line, above):
    """Undo the filter of a line of bytes; the byte before is two back: 16 bit."""
    if kind == 0:
        return line
    if kind == 2:
        return line + above
    found = [0, 0]
    above = [0, 0, *above.tolist()]
    for i, value in enumerate(line.tolist(), 2):
        a, b, c = found[i - 2], above[i], above[i - 2]
        paeth = min((a, b, c), key=lambda v, p=a + b - c: abs(p - v))
        found.append((value + {1: a, 3: (a + b) // 2, 4: paeth}[int(kind)]) % 256)
    return np.array(found[2:], np.uint8)


def dense(seed=0):
    return np.random.default_rng(seed).uniform(0.5, 90, SIZE).astype(np.float32)


def test_values_come_back_to_half_a_step(tmp_path):
    depth = dense()
    depth[0, :3] = 1e-4, 255.99, 1
    path = Submission(tmp_path / 'out').write('0000000007', depth)
    values = read_png(path.read_bytes())
    assert path.name == '0000000007.png' and values.shape == (352, 1216)
    assert values[0, :3].tolist() == [1, 65533, 256]  # 0 would mean none
    assert np.abs(values / 256 - depth)[values > 1].max() <= 0.5 / 256 + 1e-6


def test_the_zip_holds_the_frames_in_its_root(tmp_path):
    submission = Submission(tmp_path / 'out')
    depth = dense()
    for name in ('0000000000', '0000000001'):
        frame = Frame(name, np.zeros((*SIZE, 3), np.uint8))
        submission(frame, None, 'model', Completion(depth, depth, None, {}))
    said = submission.zip()
    with zipfile.ZipFile(tmp_path / 'out.zip') as packed:
        assert packed.namelist() == ['0000000000.png', '0000000001.png']
        assert packed.read('0000000001.png') == (tmp_path / 'out/0000000001.png').read_bytes()
    assert said.startswith('2 PNGs (value / 256 m)') and f'wants all {COUNT} frames' in said
    submission.written = COUNT
    assert submission.zip().endswith('upload it to the KITTI depth completion benchmark')


@pytest.mark.parametrize(
    ('name', 'shape', 'message'),
    [
        ('0000000000', (375, 1242), 'frame 0000000000 is 375x1242; the benchmark takes 352x1216'),
        ('a', SIZE, "frame 'a' is none of the benchmark: .* split=test_anonymous"),
        ('2011_09_26_drive_0002_sync/image_02/0000000005', SIZE, 'is none of the benchmark'),
    ],
)
def test_frames_of_another_kind_are_refused(tmp_path, name, shape, message):
    depth = np.ones(shape, np.float32)
    frame = Frame(name, np.zeros((*shape, 3), np.uint8))
    with pytest.raises(ValueError, match=message):
        Submission(tmp_path / 'out')(frame, None, 'model', Completion(depth, depth, None, {}))
    assert not (tmp_path / 'out').exists()


def test_the_names_of_the_selection_are_taken(tmp_path):
    name = '2011_09_26_drive_0002_sync_image_0000000008_image_02'
    depth = dense()
    frame = Frame(name, np.zeros((*SIZE, 3), np.uint8))
    Submission(tmp_path / 'out')(frame, None, 'model', Completion(depth, depth, None, {}))
    assert (tmp_path / f'out/{name}.png').is_file()


@pytest.mark.parametrize('value', [0, -1, np.nan, np.inf, 256.5])
def test_every_pixel_needs_a_depth(tmp_path, value):
    depth = dense()
    depth[100, 200] = value
    with pytest.raises(ValueError, match='frame x: the benchmark needs a depth above 0 and up to'):
        Submission(tmp_path / 'out').write('x', depth)


def test_an_old_submission_is_not_mixed_with_a_new_one(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/0000000000.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'holds 1 PNGs already, first 0000000000\.png'):
        Submission(tmp_path / 'out')
