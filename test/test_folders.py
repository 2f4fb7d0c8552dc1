"""The simple folder format: what is read, and the sentence for everything else."""

import json

import cv2
from depth_kd_ros import folders
from depth_kd_ros.folders import Folder, FolderError
import numpy as np
import pytest
import yaml

PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)  # RGB
VALUES = np.array([[0, 1, 256], [384, 25600, 65535]], np.uint16)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, array)
    else:
        assert cv2.imwrite(str(path), array)


@pytest.fixture
def folder(tmp_path):
    for name in ('b', 'a', '10'):
        save(tmp_path / 'rgb' / f'{name}.png', PICTURE[:, :, ::-1])
        save(tmp_path / 'sparse' / f'{name}.png', VALUES)
    (tmp_path / 'rgb' / 'notes.txt').write_text('not an image')
    return tmp_path


def test_frames_are_listed_by_name_and_read(folder):
    save(folder / 'sparse' / 'more.png', VALUES)  # depth without an image is no frame
    frames = Folder(folder)
    assert len(frames) == 3 and frames.names == ['10', 'a', 'b']
    frame = frames['a']
    np.testing.assert_array_equal(frame.image, PICTURE)
    np.testing.assert_array_equal(frame.sparse, np.float32(VALUES / 256))
    assert frame.name == 'a' and frame.sparse.dtype == np.float32


def test_depth_scale_and_name_of_the_sparse_folder(folder):
    save(folder / 'lidar' / '10.npy', np.float64([[0, 1.5, np.nan], [-1, np.inf, 80]]))
    (folder / 'rgb' / 'a.png').unlink()
    (folder / 'rgb' / 'b.png').unlink()
    np.testing.assert_array_equal(
        Folder(folder, 'lidar')['10'].sparse, np.float32([[0, 1.5, 0], [0, 0, 80]])
    )
    millimetres = Folder(folder, depth_scale=1000)['10'].sparse
    np.testing.assert_array_equal(millimetres, VALUES.astype(np.float32) / np.float32(1000))


@pytest.mark.parametrize('suffix', ['.jpg', '.JPG', '.jpeg', '.PNG'])
def test_image_suffixes(tmp_path, suffix):
    save(tmp_path / 'rgb' / f'x{suffix}', np.full((16, 16, 3), (10, 80, 200), np.uint8))
    save(tmp_path / 'sparse' / 'x.png', np.ones((16, 16), np.uint16))
    frame = Folder(tmp_path)['x']
    assert np.abs(frame.image.astype(int) - (200, 80, 10)).max() < 6


def test_grey_images_become_rgb_and_orientation_marks_are_ignored(tmp_path):
    save(tmp_path / 'grey.png', np.array([[7, 200]], np.uint8))
    np.testing.assert_array_equal(folders.read_rgb(tmp_path / 'grey.png'), [[[7] * 3, [200] * 3]])
    _, jpeg = cv2.imencode('.jpg', np.zeros((16, 32, 3), np.uint8))
    tag = b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'  # turn by 90
    marked = jpeg.tobytes()[:2] + b'\xff\xe1' + (len(tag) + 2).to_bytes(2, 'big') + tag
    (tmp_path / 'turned.jpg').write_bytes(marked + jpeg.tobytes()[2:])
    assert cv2.imread(str(tmp_path / 'turned.jpg')).shape[:2] == (32, 16)
    assert folders.read_rgb(tmp_path / 'turned.jpg').shape[:2] == (16, 32)


@pytest.mark.parametrize('scale', [0, -256, float('nan'), float('inf')])
def test_depth_scale_must_be_positive(folder, scale):
    with pytest.raises(FolderError, match=r'depth scale .*: must be positive'):
        Folder(folder, depth_scale=scale)


def test_missing_folders_and_files(folder, tmp_path):
    with pytest.raises(
        FolderError, match=r'none.rgb: no such folder \(there are: none\). Layout:'
    ):
        Folder(tmp_path / 'none')
    with pytest.raises(FolderError, match=r'lidar: no such folder \(there are: rgb, sparse\)'):
        Folder(folder, 'lidar')
    (folder / 'empty').mkdir()
    with pytest.raises(FolderError, match=r'empty: no .png or .npy file here. Layout: rgb/'):
        Folder(folder, 'empty')
    (folder / 'sparse' / 'a.png').unlink()
    (folder / 'sparse' / '10.png').unlink()
    with pytest.raises(FolderError, match=r'sparse: 2 of 3 frames of rgb/ have no sparse.* 10'):
        Folder(folder)


@pytest.mark.parametrize('where', ['rgb/a.jpg', 'sparse/a.npy'])
def test_two_files_for_one_frame(folder, where):
    (folder / where).write_bytes(b'')
    with pytest.raises(FolderError, match='is the same frame; keep one'):
        Folder(folder)


def test_sizes_must_agree(folder):
    save(folder / 'sparse' / 'a.png', VALUES.T.copy())
    with pytest.raises(FolderError, match=r'a.png is \(3, 2\), its image .*a.png \(2, 3\)'):
        Folder(folder)['a']


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('eight.png', np.zeros((2, 3), np.uint8), r'uint8 \(2, 3\); depth must be a 16-bit grey'),
        ('colour.png', np.zeros((2, 3, 3), np.uint16), r'uint16 \(2, 3, 3\); depth must be'),
        ('broken.png', b'not a png', 'unreadable; depth must be a 16-bit grey PNG'),
        ('whole.npy', np.zeros((2, 3), np.int32), r'int32 \(2, 3\); a float array \(H, W\) in'),
        ('flat.npy', np.zeros(6), r'float64 \(6,\); a float array'),
        ('broken.npy', b'nonsense', 'not a readable npy file'),
        ('empty.npy', b'', 'not a readable npy file'),
        ('objects.npy', np.array([{}]), 'not a readable npy file'),
    ],
)
def test_depth_of_another_kind_is_refused(tmp_path, name, content, text):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save(path, content)
    with pytest.raises(FolderError, match=f'{name}: {text}'):
        folders.read_depth(path)


def test_no_image(tmp_path):
    (tmp_path / 'x.png').write_text('text')
    with pytest.raises(FolderError, match=r'x\.png: not a readable image'):
        folders.read_rgb(tmp_path / 'x.png')


def test_written_depth_by_hand_and_round_trip(tmp_path):
    depth = np.array([[0, 1.0, 255.999], [300, np.nan, 0.0039], [-2, 1e9, 0.001]], np.float32)
    folders.write_depth(tmp_path / 'd.png', depth)
    stored = cv2.imread(str(tmp_path / 'd.png'), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, [[0, 256, 65535], [65535, 0, 1], [0, 65535, 0]])
    assert folders.read_depth(tmp_path / 'd.png')[0, 1] == 1
    metres = np.float64([[0, 1.2345], [80, 1e-3]])
    folders.write_depth(tmp_path / 'd.npy', metres)
    again = folders.read_depth(tmp_path / 'd.npy')
    np.testing.assert_array_equal(again, metres.astype(np.float32))


def test_unwritable_depth(tmp_path):
    with pytest.raises(ValueError, match=r'd\.jpg: depth is written as .png or .npy'):
        folders.write_depth(tmp_path / 'd.jpg', np.zeros((2, 2)))
    with pytest.raises(OSError, match=r'd\.png: could not be written'):
        folders.write_depth(tmp_path / 'none' / 'd.png', np.zeros((2, 2)))


K = [[700.0, 0, 610], [0, 710, 180], [0, 0, 1]]
ROWS = [number for row in K for number in row]
CALIBRATIONS = {
    'calib.json': [json.dumps({'K': K}), json.dumps({'K': ROWS, 'width': 1})],
    'camera_info.yaml': [yaml.safe_dump({'camera_matrix': {'rows': 3, 'cols': 3, 'data': ROWS}})],
    'K.txt': [' '.join(map(str, ROWS)), '700, 0, 610\n0, 710, 180\n0, 0, 1\n'],
}


@pytest.mark.parametrize('name', CALIBRATIONS)
def test_intrinsics_of_each_form(folder, name):
    for text in CALIBRATIONS[name]:
        (folder / name).write_text(text)
        np.testing.assert_array_equal(Folder(folder).K(), K)


def test_first_of_several_calibrations_counts(folder):
    for name, scale in (('calib.json', 1), ('K.txt', 3)):
        numbers = np.array(K) * [[scale], [scale], [1]]
        content = numbers.tolist()
        text = json.dumps({'K': content}) if name.endswith('json') else str(content)
        (folder / name).write_text(text)
    assert Folder(folder).K()[0, 0] == 700


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('calib.json', '{', 'no intrinsics in it .*JSONDecodeError'),
        ('calib.json', '{"P": 1}', r"no intrinsics in it \(KeyError\('K'\)\); 3x3 numbers"),
        ('calib.json', '[1, 2]', 'no intrinsics in it .*TypeError'),
        ('calib.json', '{"K": [1, 2]}', 'no intrinsics in it .*reshape'),
        ('calib.json', '{"K": "abc"}', 'no intrinsics in it'),
        ('calib.json', json.dumps({'K': [0] * 9}), 'focal lengths must be positive'),
        ('camera_info.yaml', 'camera_matrix: {', 'no intrinsics in it'),
        ('camera_info.yaml', '', 'no intrinsics in it .*TypeError'),
        ('K.txt', '1 2 3', 'no intrinsics in it'),
        ('K.txt', 'fx 700', "could not convert string to float: 'fx'"),
        ('K.txt', '7 0 3 0 nan 2 0 0 1', 'focal lengths must be positive'),
    ],
)
def test_calibrations_without_intrinsics(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(FolderError, match=f'{name}: .*{message}'):
        folders.read_intrinsics(tmp_path)


def test_no_calibration(tmp_path):
    with pytest.raises(FolderError, match=r'none of calib.json, camera_info.yaml, K.txt is here'):
        folders.read_intrinsics(tmp_path)


def test_real_frames(shared_data):
    frames = Folder(shared_data / 'kitti_0926_frames', 'sparse_16beam')
    assert len(frames) == 40 and frames.names[0] == '0000000000'
    frame = frames['0000000007']
    assert frame.image.shape == (375, 1242, 3) and 3000 < (frame.sparse > 0).sum() < 6000
    assert frames.K()[0, 0] == 721.5377
    yaml_only = folders._numbers(shared_data / 'kitti_0926_frames' / 'camera_info.yaml')
    np.testing.assert_array_equal(np.reshape(yaml_only, (3, 3)), frames.K())
