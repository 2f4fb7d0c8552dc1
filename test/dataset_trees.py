"""Write a tiny tree of every data set's layout, with depths known by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import box_world
import cv2
import h5py
import numpy as np

DRIVE = '2011_09_26_drive_0001_sync'
SIZE = (6, 8)
PICTURE = np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint8).reshape(*SIZE, 3)  # RGB
CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
K_02: 900 0 600 0 900 170 0 0 1
P_rect_02: 700 0 600 45 0 710 170 0.2 0 0 1 0.003
P_rect_03: 720 0 610 -330 0 730 180 2 0 0 1 0.003
"""
BAG: dict[str, Any] = {'size': (48, 128), 'beams': 16, 'azimuths': 360}


def save(path: Path, values: np.ndarray) -> None:
    """Write an image (colour as RGB) or an npy file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, values)
    else:
        assert cv2.imwrite(str(path), values[:, :, ::-1] if values.ndim == 3 else values)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def depth(step: int = 1, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Give raw depth values step * (1, 2, 3, ...), the first 0: none."""
    values = step * np.arange(1, size[0] * size[1] + 1).reshape(size)
    values[0, 0] = 0
    return values.astype(np.uint16)


def kitti_dc(root: Path) -> dict[str, Any]:
    """Write two frames of cameras 02 and 03, train and val."""
    for split in ('train', 'val'):
        for camera in ('image_02', 'image_03'):
            name = '0000000005.png'
            for folder, kind, step in (
                ('velodyne', 'velodyne_raw', 1),
                ('annotated', 'groundtruth', 2),
            ):
                place = root / f'data_depth_{folder}' / split / DRIVE / 'proj_depth' / kind
                save(place / camera / name, depth(step))
            save(root / 'raw' / DRIVE[:10] / DRIVE / camera / 'data' / name, PICTURE)
    text(root / 'raw' / DRIVE[:10] / 'calib_cam_to_cam.txt', CALIBRATION)
    return {'depth': str(root), 'raw': str(root / 'raw'), 'crop': [4, 5]}


def kitti_selection(root: Path) -> dict[str, Any]:
    """Write one frame of the selection and one of the anonymous test set."""
    stem = '2011_09_26_drive_0002_sync_{}_0000000008_image_02'
    for folder, name in (
        ('val_selection_cropped', stem),
        ('test_depth_completion_anonymous', '{:.0}0'),
    ):
        place = root / 'depth_selection' / folder
        save(place / 'image' / f'{name.format("image")}.png', PICTURE)
        save(place / 'velodyne_raw' / f'{name.format("velodyne_raw")}.png', depth())
        text(place / 'intrinsics' / f'{name.format("image")}.txt', '700 0 600 0 710 170 0 0 1')
    place = root / 'depth_selection' / 'val_selection_cropped' / 'groundtruth_depth'
    save(place / f'{stem.format("groundtruth_depth")}.png', depth(2))
    return {'depth': str(root), 'split': 'selection', 'crop': [4, 5]}


def h5(path: Path, rgb: np.ndarray, metres: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        file['rgb'], file['depth'] = rgb, metres


def nyu_h5(root: Path) -> dict[str, Any]:
    """Write depth = 1 + row / 100 + column / 1000 m, red = row / 2, green = column / 4."""
    v, u = np.indices((480, 640))
    rgb = np.stack([v // 2, u // 4, np.zeros_like(u)]).astype(np.uint8)
    for name in (
        'train/attic/00001',
        'train/attic/00002',
        'train/cafe/00001',
        'val/official/00001',
    ):
        h5(root / f'{name}.h5', rgb, (1 + v / 100 + u / 1000).astype(np.float32))
    return {'root': str(root)}


def nyu_csv(root: Path) -> dict[str, Any]:
    for split, values in (('train', np.full(SIZE, 51, np.uint8)), ('test', depth(100))):
        rows = [(f'data/nyu2_{split}/{i}.png', f'data/nyu2_{split}/{i}_d.png') for i in range(2)]
        for image, measured in rows:
            save(root / image, PICTURE)
            save(root / measured, values)
        text(root / f'data/nyu2_{split}.csv', '\n'.join(map(','.join, rows)) + '\n')
    return {'root': str(root)}


def scannet(root: Path) -> dict[str, Any]:
    for name in ('0', '20'):
        save(
            root / 'scene0000_00' / 'color' / f'{name}.jpg',
            np.full((12, 16, 3), (200, 90, 10), np.uint8),
        )
        save(root / 'scene0000_00' / 'depth' / f'{name}.png', depth(100))
    text(
        root / 'scene0000_00' / 'intrinsic' / 'intrinsic_depth.txt',
        '577 0 319 0\n0 578 239 0\n0 0 1 0\n0 0 0 1\n',
    )
    return {'root': str(root)}


def scenenet(root: Path) -> dict[str, Any]:
    for name in ('0', '25'):
        save(root / '0' / '123' / 'photo' / f'{name}.jpg', np.full((240, 320, 3), 90, np.uint8))
        save(root / '0' / '123' / 'depth' / f'{name}.png', np.full((240, 320), 5000, np.uint16))
        ids = np.full((240, 320), 7, np.uint16)
        ids[0] = 0
        save(root / '0' / '123' / 'instance' / f'{name}.png', ids)
    return {'root': str(root)}


def sunrgbd(root: Path) -> dict[str, Any]:
    scene = root / 'kv1' / 'NYUdata' / 'NYU0001'
    millimetres = depth(100)
    save(scene / 'image' / 'NYU0001.jpg', np.full((*SIZE, 3), 90, np.uint8))
    save(scene / 'depth' / 'NYU0001.png', (millimetres << 3) | (millimetres >> 13))
    text(scene / 'intrinsics.txt', '518 0 325 0 519 253 0 0 1')
    return {'root': str(root)}


def tum(root: Path) -> dict[str, Any]:
    """Write images at 1.00, 1.03, 1.50 s, depths at 1.012, 1.035, 1.55 s: the last has none."""
    sequence = root / 'rgbd_dataset_freiburg1_xyz'
    for kind, stamps in (('rgb', (1.0, 1.03, 1.5)), ('depth', (1.012, 1.035, 1.55))):
        lines = [f'{stamp:.6f} {kind}/{stamp:.6f}.png' for stamp in stamps]
        text(sequence / f'{kind}.txt', '\n'.join(['# timestamp filename', *lines]))
        for i, stamp in enumerate(stamps):
            values = PICTURE if kind == 'rgb' else depth(500 * (i + 1))
            save(sequence / kind / f'{stamp:.6f}.png', values)
    return {'root': str(root)}


def diode(root: Path) -> dict[str, Any]:
    place = root / 'val' / 'indoors' / 'scene_00019' / 'scan_00183'
    save(place / 'a.png', PICTURE)
    metres = np.arange(48, dtype=np.float32).reshape(*SIZE, 1)
    metres[0, 1], metres[0, 2] = np.nan, -1
    mask = np.ones(SIZE)
    mask[5] = 0
    save(place / 'a_depth.npy', metres)
    save(place / 'a_depth_mask.npy', mask)
    return {'root': str(root)}


def folder(root: Path) -> dict[str, Any]:
    for name in ('a', 'b'):
        save(root / 'rgb' / f'{name}.png', PICTURE)
        save(root / 'sparse' / f'{name}.png', depth())
        save(root / 'truth' / f'{name}.npy', depth().astype(np.float32))
    text(root / 'K.txt', '700 0 3 0 710 4 0 0 1')
    return {'root': str(root), 'depth_gt': 'truth'}


def rosbag(root: Path) -> dict[str, Any]:
    box_world.write(root / 'bag', count=3, **BAG)
    return {'root': str(root / 'bag'), 'withhold': 4}


def noise(root: Path) -> dict[str, Any]:
    return {'frames': 3, 'size': [6, 8]}


TREES: dict[str, Callable[[Path], dict[str, Any]]] = {
    writer.__name__: writer
    for writer in (
        kitti_dc, nyu_h5, nyu_csv, scannet, scenenet, sunrgbd, tum, diode, folder, rosbag, noise,
    )
}  # fmt: skip
