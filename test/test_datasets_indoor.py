"""Readers of RGB-D data sets on trees written here, with depths and K known by hand."""

import sys

from dataset_trees import depth, h5, PICTURE, save, SIZE, text, TREES
from depth_kd_training import data
from depth_kd_training.data import parts
from depth_kd_training.data.base import DatasetError
import numpy as np
import pytest

RGBD = ['nyu_h5', 'nyu_csv', 'scannet', 'scenenet', 'sunrgbd', 'tum', 'diode']
NYU_K = [[518.858, 0, 325.582], [0, 519.470, 253.736], [0, 0, 1]]


def build(name, root, **options):
    return data.build(name, {**TREES[name](root), **options})


@pytest.mark.parametrize('name', RGBD)
def test_input_is_random_points_of_the_truth(tmp_path, name):
    frame = build(name, tmp_path, points=20)[0]
    given = frame.sparse_depth > 0
    assert given.sum() == 20
    np.testing.assert_array_equal(frame.sparse_depth[given], frame.depth_gt[given])
    other = data.build(name, {'root': str(tmp_path), 'points': 20, 'seed': 1})[0]
    assert ((other.sparse_depth > 0) != given).any()
    assert data.build(name, {'root': str(tmp_path), 'points': 0})[0].sparse_depth is None
    with pytest.raises(ValueError, match='points = -1: a whole number from 0 on expected'):
        data.build(name, {'root': str(tmp_path), 'points': -1})


def test_points_differ_from_frame_to_frame_and_spread_evenly(tmp_path):
    dataset = build('nyu_csv', tmp_path, points=20)
    assert ((dataset[0].sparse_depth > 0) != (dataset[1].sparse_depth > 0)).any()
    metres = np.ones((40, 40), np.float32)
    metres[:20] = 0
    few = [parts.random_points(metres, 80, np.random.default_rng(i)) > 0 for i in range(200)]
    assert all(points.sum() == 80 for points in few) and not np.any(few, 0)[:20].any()
    assert 0.02 < np.mean(few, 0)[20:].min() and np.mean(few, 0).max() < 0.2  # 0.1 on average
    np.testing.assert_array_equal(
        parts.random_points(metres, 801, np.random.default_rng(0)), metres
    )


def test_nyu_h5_is_halved_and_cropped(tmp_path):
    """Row r, column c lies at 2 (r + 6), 2 (c + 8) of the stored frame."""
    dataset = build('nyu_h5', tmp_path)
    frame = dataset[0]
    assert len(dataset) == 3 and frame.name == 'train/attic/00001'
    assert frame.image.shape == (228, 304, 3) and np.count_nonzero(frame.sparse_depth) == 500
    v, u = np.indices((228, 304))
    np.testing.assert_allclose(
        frame.depth_gt, 1 + 2 * (v + 6) / 100 + 2 * (u + 8) / 1000, rtol=1e-6
    )
    np.testing.assert_array_equal(frame.image[..., 0], v + 6)
    np.testing.assert_array_equal(frame.image[..., 1], (u + 8) // 2)
    cx, cy = (325.582 + 0.5) / 2 - 0.5 - 8, (253.736 + 0.5) / 2 - 0.5 - 6
    np.testing.assert_allclose(frame.K, [[259.429, 0, cx], [0, 259.735, cy], [0, 0, 1]])
    assert len(build('nyu_h5', tmp_path, split='val')) == 1


def test_nyu_h5_holds_frames_out(tmp_path):
    options = {**TREES['nyu_h5'](tmp_path), 'held_out': 1, 'points': 0}
    rest, held = (data.build('nyu_h5', {**options, 'split': s}) for s in ('train', 'held_out'))
    assert len(rest) == 2 and len(held) == 1 and not set(rest.paths) & set(held.paths)
    assert data.build('nyu_h5', {**options, 'split': 'train', 'seed': 5}).paths == rest.paths
    with pytest.raises(ValueError, match='held_out = 0: a whole number from 1 on'):
        data.build('nyu_h5', {**options, 'split': 'held_out', 'held_out': 0})
    with pytest.raises(ValueError, match="split = 'test': one of train, held_out, val"):
        data.build('nyu_h5', {**options, 'split': 'test'})
    with pytest.raises(DatasetError, match='held_out = 3 of 3 frames leaves none'):
        data.build('nyu_h5', {**options, 'held_out': 3})


def test_nyu_h5_files_of_another_kind(tmp_path):
    dataset = build('nyu_h5', tmp_path)
    path = dataset.paths[0]
    rgb, metres = np.zeros((3, 480, 640), np.uint8), np.zeros((480, 640), np.float32)
    path.write_bytes(b'nothing')
    with pytest.raises(DatasetError, match=r'00001.h5: cannot be read(.|\n)*Layout expected'):
        dataset[0]
    for content, message in (
        ((rgb[:, :9], metres), r'rgb is uint8 \(3, 9, 640\)'),
        ((rgb, metres.astype(np.uint8)), r'depth is uint8 \(480, 640\)'),
    ):
        h5(path, *content)
        with pytest.raises(DatasetError, match=message):
            dataset[0]
    h5(path, rgb, metres * np.nan)
    assert not dataset[0].depth_gt.any() and not dataset[0].sparse_depth.any()


def test_nyu_h5_without_h5py(tmp_path, monkeypatch):
    options = TREES['nyu_h5'](tmp_path)
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(DatasetError, match=r'^data set nyu_h5 needs h5py: pip install h5py$'):
        data.build('nyu_h5', options)


def test_nyu_csv(tmp_path):
    train = build('nyu_csv', tmp_path)
    assert len(train) == 2 and train[1].name == 'data/nyu2_train/1'
    np.testing.assert_array_equal(train[1].image, PICTURE)
    assert (train[1].depth_gt == 2).all()  # 51 / 255 * 10 m
    test = build('nyu_csv', tmp_path, split='test')
    assert test[0].depth_gt[0, 0] == 0 and test[0].depth_gt[0, 1] == np.float32(0.2)
    np.testing.assert_array_equal(test[0].K, NYU_K)


def test_nyu_csv_depth_of_the_other_kind(tmp_path):
    for split, values, kind in (
        ('train', depth(), 'uint16'),
        ('test', np.zeros(SIZE, np.uint8), 'uint8'),
    ):
        dataset = build('nyu_csv', tmp_path, split=split)
        save(tmp_path / f'data/nyu2_{split}/0_d.png', values)
        with pytest.raises(DatasetError, match=rf'0_d.png: {kind} \(6, 8\); a grey PNG'):
            dataset[0]


@pytest.mark.parametrize(
    ('rows', 'message'),
    [('', 'no rows'), ('a.jpg\n', "row 'a.jpg'"), ('a.jpg,b.png\n', 'b.png: no such file')],
)
def test_nyu_csv_rows(tmp_path, rows, message):
    options = TREES['nyu_csv'](tmp_path)
    text(tmp_path / 'data' / 'nyu2_train.csv', rows)
    with pytest.raises(DatasetError, match=f'{message}(.|\n)*Layout expected'):
        data.build('nyu_csv', options)


def test_scannet_image_has_the_size_of_depth(tmp_path):
    dataset = build('scannet', tmp_path)
    frame = dataset[1]
    assert len(dataset) == 2 and frame.name == 'scene0000_00/20'
    assert frame.image.shape == (*SIZE, 3)
    assert np.abs(frame.image.astype(int) - (200, 90, 10)).max() < 6
    assert frame.depth_gt[0, 1] == np.float32(0.2) and frame.depth_gt[0, 0] == 0
    np.testing.assert_array_equal(frame.K, [[577, 0, 319], [0, 578, 239], [0, 0, 1]])
    intrinsics = tmp_path / 'scene0000_00' / 'intrinsic' / 'intrinsic_depth.txt'
    intrinsics.rename(tmp_path / 'scene0000_00' / 'intrinsics_depth.txt')
    np.testing.assert_array_equal(dataset[1].K, frame.K)
    text(tmp_path / 'scene0000_00' / 'intrinsics_depth.txt', '1 2 3')
    with pytest.raises(DatasetError, match=r'intrinsics_depth.txt: 4x4 numbers expected'):
        dataset[1]
    (tmp_path / 'scene0000_00' / 'intrinsics_depth.txt').unlink()
    assert dataset[1].K is None


def test_scenenet_ray_length_becomes_depth(tmp_path):
    """A sphere of 5 m: depth 5 m on the axis; at the corner tan 30 and tan 22.5 degrees off."""
    dataset = build('scenenet', tmp_path)
    frame = dataset[1]
    assert len(dataset) == 2 and frame.name == '0/123/photo/25'
    np.testing.assert_allclose(
        frame.K, [[277.1281, 0, 159.5], [0, 289.7056, 119.5], [0, 0, 1]], rtol=1e-6
    )
    assert abs(frame.depth_gt[120, 160] - 5) < 2e-5
    # 319 / 320 * tan 30 = 0.575546, 239 / 240 * tan 22.5 = 0.412488; |(x, y, 1)| = 1.225316
    assert abs(frame.depth_gt[0, 0] - 5 / 1.225316) < 1e-5
    assert abs(frame.depth_gt[239, 319] - frame.depth_gt[0, 0]) < 1e-6
    assert (frame.instance[0] == -1).all() and (frame.instance[1:] == 7).all()
    (tmp_path / '0' / '123' / 'instance' / '25.png').unlink()
    assert dataset[1].instance is None


def test_sunrgbd_rotated_bits(tmp_path):
    dataset = build('sunrgbd', tmp_path)
    frame = dataset[0]
    assert len(dataset) == 1 and frame.name == 'kv1/NYUdata/NYU0001'
    np.testing.assert_array_equal(frame.depth_gt, (depth(100) / 1000).astype(np.float32))
    np.testing.assert_array_equal(frame.K, [[518, 0, 325], [0, 519, 253], [0, 0, 1]])
    module = data.find('sunrgbd')
    raw = np.array([0b1, 0b1000, 0b1111], np.uint16)
    np.testing.assert_array_equal(module.millimetres(raw), [0x2000, 1, 0xE001])
    with pytest.raises(ValueError, match="depth = 'filled': one of depth, depth_bfx"):
        build('sunrgbd', tmp_path, depth='filled')
    with pytest.raises(DatasetError, match=r'depth_bfx: 0 files \*.png, one expected'):
        build('sunrgbd', tmp_path, depth='depth_bfx')[0]


def test_tum_association(tmp_path):
    """1.03 takes 1.035, its nearest; 1.00 then 1.012; 1.50 has none within 20 ms."""
    dataset = build('tum', tmp_path)
    assert len(dataset) == 2
    assert [path.stem for path, _ in dataset.pairs] == ['1.000000', '1.030000']
    assert [path.stem for _, path in dataset.pairs] == ['1.012000', '1.035000']
    frame = dataset[1]
    assert frame.depth_gt[0, 1] == np.float32(0.4)  # 2 * 1000 / 5000 m
    np.testing.assert_array_equal(frame.K, [[525, 0, 319.5], [0, 525, 239.5], [0, 0, 1]])


def test_tum_uses_each_depth_once_and_only_within_20_ms():
    associate = data.find('tum').associate
    images = [(1.0, 'a'), (1.01, 'b')]
    assert associate(images, [(1.009, 'x')]) == [('b', 'x')]
    assert associate(images, [(1.009, 'x'), (1.019, 'y')]) == [('a', 'y'), ('b', 'x')]
    assert associate([(0.0, 'a')], [(0.0199, 'x')]) == [('a', 'x')]
    assert associate([(0.0, 'a')], [(0.0201, 'x')]) == []


def test_tum_lists_that_fail(tmp_path):
    options = TREES['tum'](tmp_path)
    (listing,) = tmp_path.glob('*/depth.txt')
    for content, message in (
        ('9.0 depth/1.012000.png\n', r'rgb.txt: no image is within 0.02 s'),
        ('1.0 depth/absent.png\n', 'absent.png: no such file'),
        ('now\n', r'depth.txt: `timestamp file` lines expected'),
    ):
        text(listing, content)
        with pytest.raises(DatasetError, match=f'{message}(.|\n)*Layout expected'):
            data.build('tum', options)
    listing.unlink()
    with pytest.raises(DatasetError, match=r'depth.txt.*No such file'):
        data.build('tum', options)


def test_diode_mask(tmp_path):
    dataset = build('diode', tmp_path)
    frame = dataset[0]
    assert len(dataset) == 1 and frame.name == 'val/indoors/scene_00019/scan_00183/a'
    expected = np.arange(48.0).reshape(SIZE)
    expected[0, :3], expected[5] = 0, 0
    np.testing.assert_array_equal(frame.depth_gt, expected)
    np.testing.assert_array_equal(frame.K, [[886.81, 0, 512], [0, 927.06, 384], [0, 0, 1]])
    path = data.find('diode').npy(dataset.paths[0], '_depth')
    for content, message in (
        (np.zeros((5, 8), np.float32), r'a_depth.npy is \(5, 8\), its image \(6, 8\)'),
        (np.zeros(SIZE, np.uint8), 'a_depth.npy is uint8'),
    ):
        save(path, content)
        with pytest.raises(DatasetError, match=message):
            dataset[0]
    path.write_bytes(b'nothing')
    with pytest.raises(DatasetError, match='not a readable npy file'):
        dataset[0]


@pytest.mark.parametrize(
    ('name', 'partner'),
    [
        ('nyu_csv', 'data/nyu2_train/1_d.png'),
        ('scannet', 'scene0000_00/depth/0.png'),
        ('scenenet', '0/123/depth/25.png'),
        ('tum', 'rgbd_dataset_freiburg1_xyz/depth/1.012000.png'),
        ('diode', 'val/indoors/scene_00019/scan_00183/a_depth_mask.npy'),
    ],
)
def test_image_without_depth(tmp_path, name, partner):
    options = TREES[name](tmp_path)
    (tmp_path / partner).unlink()
    with pytest.raises(DatasetError, match=r'no such file, though there is .*\(1 of [12] files'):
        data.build(name, options)


@pytest.mark.parametrize(
    ('name', 'measured', 'image'),
    [
        ('scannet', 'scene0000_00/depth/0.png', 'scene0000_00/color/0.jpg'),
        ('scenenet', '0/123/depth/0.png', '0/123/photo/0.jpg'),
        (
            'sunrgbd',
            'kv1/NYUdata/NYU0001/depth/NYU0001.png',
            'kv1/NYUdata/NYU0001/image/NYU0001.jpg',
        ),
        (
            'tum',
            'rgbd_dataset_freiburg1_xyz/depth/1.012000.png',
            'rgbd_dataset_freiburg1_xyz/rgb/1.000000.png',
        ),
    ],
)
def test_8_bit_depth_and_unreadable_images(tmp_path, name, measured, image):
    dataset = build(name, tmp_path)
    kept = (tmp_path / measured).read_bytes()
    save(tmp_path / measured, np.zeros(SIZE, np.uint8))
    with pytest.raises(DatasetError, match=r'png: uint8 \(6, 8\)(.|\n)*Layout expected'):
        dataset[0]
    if name != 'scannet':
        save(tmp_path / measured, np.zeros((5, 8), np.uint16))
        with pytest.raises(DatasetError, match=r'is \(5, 8\), its image'):
            dataset[0]
    (tmp_path / measured).write_bytes(kept)
    (tmp_path / image).write_bytes(b'nothing')
    with pytest.raises(DatasetError, match=r'not a readable image(.|\n)*Layout expected'):
        dataset[0]
