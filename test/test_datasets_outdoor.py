"""Readers of LiDAR data on trees written here; and what every reader must keep."""

import json
import pickle
import threading

import box_world
import cv2
from dataset_trees import BAG, depth, DRIVE, kitti_selection, PICTURE, save, text, TREES
from depth_kd_ros.bags import Bag
from depth_kd_ros.clouds import points
from depth_kd_ros.completer import DepthCompleter
from depth_kd_ros.geometry import Camera
from depth_kd_training import data
from depth_kd_training.data.base import DatasetError
import numpy as np
import pytest

K_02 = np.array([[700, 0, 600], [0, 710, 170], [0, 0, 1.0]])


def same(a, b):
    for key, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, key), err_msg=key)


@pytest.mark.parametrize('name', data.available())
def test_every_reader_keeps_the_contract(tmp_path, name):
    dataset = data.build(name, TREES[name](tmp_path) if name in TREES else {})
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(copy) == len(dataset) >= 1
    assert not set(data.find(name).Config.__dataclass_fields__) ^ set(vars(dataset.config))
    frames = [dataset[0], dataset[len(dataset) - 1], dataset[0], copy[0]]
    found = []
    thread = threading.Thread(target=lambda: found.append(dataset[0]))
    thread.start()
    thread.join()
    for frame in (*frames[2:], *found):
        same(frame, frames[0])
    assert found and (len(dataset) == 1 or frames[1].name != frames[0].name)
    types = {
        'sparse_depth': 'f4',
        'depth_gt': 'f4',
        'ring': 'i2',
        'semantic': 'i2',
        'instance': 'i4',
    }
    for frame in frames:
        assert frame.K is None or (frame.K.shape == (3, 3) and frame.K[2].tolist() == [0, 0, 1])
        for key, kind in types.items():
            values = getattr(frame, key)
            assert values is None or (values.dtype == kind and values.flags.c_contiguous)
        for metres in (frame.sparse_depth, frame.depth_gt):
            assert metres is None or (np.isfinite(metres).all() and (metres >= 0).all())
    frames[0].image[:] = 0  # the caller's own, as is K
    if frames[0].K is not None:
        frames[0].K[:] = 0
    same(dataset[0], frames[2])


@pytest.mark.parametrize('name', sorted(set(TREES) - {'noise'}))
def test_wrong_root_shows_the_layout(tmp_path, name):
    options = TREES[name](tmp_path / 'right')
    root = 'depth' if name == 'kitti_dc' else 'root'
    (tmp_path / 'wrong').mkdir()
    for wrong in ('absent', 'wrong'):
        with pytest.raises(DatasetError) as error:
            data.build(name, {**options, root: str(tmp_path / wrong)})
        assert str(tmp_path / wrong) in str(error.value)
        assert str(error.value).endswith(f'Layout expected:\n{data.find(name).__doc__}')


def test_names_and_options_are_checked():
    assert set(TREES) <= set(data.available())
    assert not {'base', 'loading', 'parts'} & set(data.available())
    with pytest.raises(ValueError, match="unknown dataset 'kitty_dc'; did you mean 'kitti_dc'"):
        data.build('kitty_dc')
    for name, options, message in (
        ('folder', {'root': '.', 'sparse': ''}, "sparse = ''"),
        ('folder', {'root': '.', 'depth_scale': 0}, 'depth_scale = 0: must be positive'),
        ('noise', {'frames': 0}, 'frames = 0: a whole number from 1 on'),
        ('noise', {'size': [3]}, r'size = \(3,\): \(height, width\)'),
        ('kitti_dc', {'depth': '.', 'raw': '.', 'split': 'x'}, "split = 'x': one of train, val"),
        ('kitti_dc', {'depth': '.'}, "raw = '': split train needs"),
        ('kitti_dc', {'depth': '.', 'raw': '.', 'crop': [352, 0]}, r'crop = \(352, 0\)'),
        ('rosbag', {'root': '.', 'rectify': 'yes'}, "rectify = 'yes': one of auto"),
        ('rosbag', {'root': '.', 'withhold': 1}, "withhold .*= 1: a whole number from 2 on"),
        ('rosbag', {'root': '.', 'every': 0}, 'every = 0'),
        ('rosbag', {'root': '.', 'slop_s': -1}, 'slop_s = -1'),
        ('rosbag', {'root': '.', 'min_depth_m': 200}, 'min_depth_m = 200: must be'),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            data.build(name, options)


def test_kitti_train(tmp_path):
    dataset = data.build('kitti_dc', {**TREES['kitti_dc'](tmp_path), 'crop': None})
    assert len(dataset) == 2
    left, right = dataset[0], dataset[1]
    assert left.name == f'{DRIVE}/image_02/0000000005'
    np.testing.assert_array_equal(left.image, PICTURE)
    np.testing.assert_array_equal(left.K, K_02)
    np.testing.assert_array_equal(right.K, [[720, 0, 610], [0, 730, 180], [0, 0, 1]])
    assert left.sparse_depth[0, 0] == 0 and left.sparse_depth[2, 3] == np.float32(20 / 256)
    assert left.depth_gt[2, 3] == np.float32(40 / 256)


def test_kitti_crop_is_at_the_bottom_in_the_middle(tmp_path):
    """6x8 to 4x5: rows 2 on, columns 1 on."""
    options = TREES['kitti_dc'](tmp_path)
    frame = data.build('kitti_dc', {**options, 'split': 'val'})[0]
    np.testing.assert_array_equal(frame.image, PICTURE[2:, 1:6])
    np.testing.assert_array_equal(frame.sparse_depth, (depth() / 256).astype('f4')[2:, 1:6])
    np.testing.assert_array_equal(frame.depth_gt, (depth(2) / 256).astype('f4')[2:, 1:6])
    np.testing.assert_array_equal(frame.K, [[700, 0, 599], [0, 710, 168], [0, 0, 1]])
    with pytest.raises(DatasetError, match=r'0000000005.png is 6x8, smaller than crop = 352x1216'):
        data.build('kitti_dc', {**options, 'crop': (352, 1216)})[0]


@pytest.mark.parametrize('split', ['selection', 'test_anonymous'])
@pytest.mark.parametrize('folder', ['depth_selection', 'data_depth_selection'])
def test_kitti_selection_and_anonymous_test(tmp_path, split, folder):
    options = kitti_selection(tmp_path)
    (tmp_path / 'depth_selection').rename(tmp_path / folder)
    dataset = data.build('kitti_dc', {**options, 'split': split})
    frame = dataset[0]
    assert len(dataset) == 1
    np.testing.assert_array_equal(frame.K, [[700, 0, 599], [0, 710, 168], [0, 0, 1]])
    assert frame.sparse_depth[0, 0] == np.float32(18 / 256)
    if split == 'selection':
        assert frame.name == '2011_09_26_drive_0002_sync_image_0000000008_image_02'
        assert frame.depth_gt[0, 0] == np.float32(36 / 256)
    else:
        assert frame.name == '0' and frame.depth_gt is None


def test_kitti_map_of_zeros_is_legal_and_8_bit_is_not(tmp_path):
    options = TREES['kitti_dc'](tmp_path)
    dataset = data.build('kitti_dc', options)
    path = dataset.files(dataset.paths[0]).sparse
    save(path, np.zeros((6, 8), np.uint16))
    assert not dataset[0].sparse_depth.any()
    save(path, np.zeros((6, 8), np.uint8))
    with pytest.raises(DatasetError, match=r'velodyne_raw.*uint8.*must be a 16-bit grey PNG'):
        dataset[0]
    save(path, np.zeros((5, 8), np.uint16))
    with pytest.raises(DatasetError, match=r'0000000005.png is \(5, 8\), its image \(6, 8\)'):
        dataset[0]


@pytest.mark.parametrize(
    'part', ['data_depth_annotated', f'raw/{DRIVE[:10]}/{DRIVE}/image_03', 'raw/*/calib*']
)
def test_kitti_unmatched_frames(tmp_path, part):
    options = TREES['kitti_dc'](tmp_path)
    (found,) = tmp_path.glob(part)
    found.rename(tmp_path / 'elsewhere')
    with pytest.raises(DatasetError, match=r'no such file, though .*\([12] of 2 frames lack'):
        data.build('kitti_dc', options)


def test_kitti_calibration_without_the_camera(tmp_path):
    dataset = data.build('kitti_dc', TREES['kitti_dc'](tmp_path))
    text(tmp_path / 'raw' / DRIVE[:10] / 'calib_cam_to_cam.txt', 'P_rect_00: 1 2 3\n')
    with pytest.raises(DatasetError, match=r'calib_cam_to_cam.txt: 3x4 numbers of P_rect_02'):
        dataset[0]


def test_folder(tmp_path):
    options = TREES['folder'](tmp_path)
    dataset = data.build('folder', options)
    frame = dataset[1]
    assert len(dataset) == 2 and frame.name == 'b'
    np.testing.assert_array_equal(frame.image, PICTURE)
    np.testing.assert_array_equal(frame.K, [[700, 0, 3], [0, 710, 4], [0, 0, 1]])
    assert frame.sparse_depth[2, 3] == np.float32(20 / 256) and frame.depth_gt[2, 3] == 20
    millimetres = data.build('folder', {**options, 'depth_scale': 1000, 'depth_gt': ''})[1]
    assert millimetres.sparse_depth[2, 3] == np.float32(0.02) and millimetres.depth_gt is None
    (tmp_path / 'K.txt').unlink()
    assert data.build('folder', options)[0].K is None
    save(tmp_path / 'sparse' / 'a.png', np.zeros((6, 8), np.uint8))
    with pytest.raises(DatasetError, match=r'a.png: uint8 .*16-bit(.|\n)*Layout expected'):
        dataset[0]
    (tmp_path / 'truth' / 'b.npy').unlink()
    with pytest.raises(DatasetError, match='truth: 1 of 2 frames of rgb/ have no'):
        data.build('folder', options)


def test_folder_on_real_frames(shared_data):
    root = shared_data / 'kitti_0926_frames'
    options = {'root': str(root), 'sparse': 'sparse_16beam', 'depth_gt': 'heldout_48beam'}
    dataset = data.build('folder', options)
    frame = dataset[7]
    assert len(dataset) == 40 and frame.image.shape == (375, 1242, 3)
    np.testing.assert_array_equal(frame.K, json.loads((root / 'calib.json').read_text())['K'])
    for folder, metres in (
        ('sparse_16beam', frame.sparse_depth),
        ('heldout_48beam', frame.depth_gt),
    ):
        stored = cv2.imread(str(root / folder / '0000000007.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(metres * 256, stored)


def test_noise():
    dataset = data.build('noise', {'frames': 4, 'size': (64, 65), 'seed': 3})
    frame = dataset[3]
    assert len(dataset) == 4 and frame.image.shape == (64, 65, 3) and frame.depth_gt is None
    assert abs(frame.image.mean() - 127.5) < 3 and {0, 255} <= set(frame.image.ravel())
    assert (frame.image != dataset[2].image).mean() > 0.98
    other = data.build('noise', {'frames': 4, 'size': (64, 65), 'seed': 4})
    assert (frame.image != other[3].image).mean() > 0.98
    with pytest.raises(IndexError):
        dataset[4]


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp('world') / 'bag'
    box_world.write(path, count=3, **BAG)
    return path


def clouds(bag):
    with Bag(bag) as recording:
        return [points(item.points) for item in recording.frames()]


CAMERA = Camera(box_world.intrinsics(BAG['size']), *BAG['size'])


@pytest.mark.parametrize('bleed_filter', [True, False])
def test_rosbag_gives_what_the_completer_sees(bag, bleed_filter):
    dataset = data.build('rosbag', {'root': str(bag), 'bleed_filter': bleed_filter})
    completer = DepthCompleter('nearest', 'cpu', bleed_filter=bleed_filter)
    T = box_world.T_cam_lidar()
    world = list(box_world.frames(3, **BAG))
    assert len(dataset) == 3 and not dataset.left_out
    for index, cloud in enumerate(clouds(bag)):
        frame = dataset[index]
        expected = completer.project(cloud.xyz, CAMERA, dataset.T_cam_lidar).depth
        np.testing.assert_array_equal(frame.sparse_depth, expected)
        np.testing.assert_allclose(dataset.T_cam_lidar, T, atol=1e-9)
        np.testing.assert_array_equal(frame.image, world[index].image[:, :, ::-1])
        np.testing.assert_array_equal(frame.K, CAMERA.K)
        assert frame.name == str(world[index].stamp_ns) and frame.depth_gt is None
        check_rings(frame.sparse_depth, frame.ring, world[index], T)


def check_rings(depth, ring, world, T):
    """Each pixel's ring must have a point of that depth which rounds to that pixel."""
    cam = world.points @ T[:3, :3].T + T[:3, 3]
    uv = np.rint((cam @ CAMERA.K.T)[:, :2] / cam[:, 2:])
    assert ((ring >= 0) == (depth > 0)).all() and len(np.unique(ring)) > 8
    for v, u in np.argwhere(ring >= 0)[::17]:
        here = (uv == (u, v)).all(1) & (world.ring == ring[v, u])
        assert np.abs(cam[here, 2] - depth[v, u]).min() < 1e-4


def test_rosbag_withholds_rings(bag):
    """Rings 3, 7, 11, 15 are the truth; what stays equals a LiDAR that lacks them."""
    frame = data.build('rosbag', {'root': str(bag), 'withhold': 4})[1]
    whole = data.build('rosbag', {'root': str(bag)})[1]
    cloud = clouds(bag)[1]
    completer = DepthCompleter('nearest', 'cpu')
    kept = cloud.xyz[cloud.ring % 4 != 3]
    rig = data.build('rosbag', {'root': str(bag)}).T_cam_lidar
    expected = completer.project(kept, CAMERA, rig).depth
    np.testing.assert_array_equal(frame.sparse_depth, expected)
    assert set(np.unique(frame.ring)) <= {-1, *(r for r in range(16) if r % 4 != 3)}
    truth = np.where(np.isin(whole.ring, (3, 7, 11, 15)), whole.sparse_depth, 0)
    np.testing.assert_array_equal(frame.depth_gt, truth)
    assert np.count_nonzero(truth) > 100
    both = (frame.depth_gt > 0) & (frame.sparse_depth > 0)
    assert both.sum() < 0.05 * np.count_nonzero(truth)


def test_rosbag_every_and_depth_limits(bag):
    dataset = data.build('rosbag', {'root': str(bag), 'every': 2, 'max_depth_m': 20.0})
    whole = data.build('rosbag', {'root': str(bag)})
    assert len(dataset) == 2 and dataset[1].name == whole[2].name
    assert 15 < dataset[1].sparse_depth.max() <= 20 < whole[2].sparse_depth.max()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'withhold': 17}, 'first 17.*: withhold = 17: the cloud has 16 rings only'),
        ({'image': '/nothing'}, "no topic '/nothing'"),
        ({'extrinsics': 'absent.yaml'}, 'absent.yaml'),
        ({'min_depth_m': 110.0}, 'no frame can be used, first 17.*: none of'),
        ({'offset_s': 5.0}, 'no cloud of /lidar/points has an image'),
    ],
)
def test_rosbag_that_cannot_be_used(bag, options, message):
    with pytest.raises(DatasetError, match=f'{message}(.|\n)*Layout expected'):
        data.build('rosbag', {'root': str(bag), **options})


def test_rosbag_on_the_real_recording(shared_data):
    """Without a ring field, every other ring: the pairs of the frames beside the recording."""
    options = {'root': str(shared_data / 'kitti_0926_bag'), 'every': 10, 'withhold': 2}
    frame = data.build('rosbag', {**options, 'bleed_filter': False})[1]
    given, truth = (
        cv2.imread(str(shared_data / 'kitti_0926_frames' / name / '0000000010.png'), -1) / 256
        for name in ('sparse_32beam', 'heldout_32beam')
    )
    np.testing.assert_array_equal(frame.sparse_depth > 0, given > 0)
    np.testing.assert_allclose(frame.sparse_depth, given, atol=1 / 256)
    held_out = truth > 0  # leaves out the pixels that the input has, too
    np.testing.assert_allclose(frame.depth_gt[held_out], truth[held_out], atol=1 / 256)
    beyond = (frame.depth_gt > 0) & ~held_out
    assert beyond.sum() < 40 and (given[beyond] > 0).all()
