"""Simulated frames as a data set of files, in the layout that the data set `folder` reads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from depth_kd_ros import files
from depth_kd_ros.folders import write_depth
from depth_kd_training.data.base import Frame
from depth_kd_training.simulation.scene import Scene
from depth_kd_training.simulation.world import CLASSES
import numpy as np

LABELS = ('ring', 'semantic', 'instance')  # stored as label + 1, 0 = none


def prepare(root: Path) -> None:
    """Make the folder; it must be new or empty. Raises ValueError, OSError."""
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise ValueError(f'{root} is not empty: choose another folder, or remove it')
    for name in ('rgb', 'sparse', 'depth_gt', *LABELS, 'K', 'about'):
        (root / name).mkdir()
    files.replace(root / 'classes.json', json.dumps(CLASSES).encode())


def write(root: Path, frame: Frame, scene: Scene) -> None:
    """Write one frame, and what is known of its scene; raise OSError where that fails."""
    name = f'{frame.name}.png'
    _png(root / 'rgb' / name, cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    none = np.zeros(frame.image.shape[:2], np.float32)
    for key, depth in (('sparse', frame.sparse_depth), ('depth_gt', frame.depth_gt)):
        write_depth(root / key / name, none if depth is None else depth)
    for key in LABELS:
        values = getattr(frame, key)
        labels = none if values is None else values + 1
        _png(root / key / name, labels.astype(np.uint8 if labels.max() < 256 else np.uint16))
    lines = '\n'.join(' '.join(f'{x:.9g}' for x in row) for row in np.asarray(frame.K))
    (root / 'K' / f'{frame.name}.txt').write_text(lines + '\n')
    about = {
        'sensor': scene.sensor, 'beams': frame.beams, 'seed': scene.seed,
        'T_cam_lidar': scene.rig.T_cam_lidar.round(9).tolist(),
        'speed_m_s': scene.rig.speed, 'yaw_rate_rad_s': scene.rig.yaw_rate,
        'sun_strength': scene.builder.sun_strength, 'indoor': scene.builder.indoor,
    }  # fmt: skip
    (root / 'about' / f'{frame.name}.json').write_text(json.dumps(about) + '\n')


def _png(path: Path, values: np.ndarray) -> None:
    """Write a PNG, by Python: cv2 would not say why it failed."""
    path.write_bytes(cv2.imencode('.png', values)[1].tobytes())
