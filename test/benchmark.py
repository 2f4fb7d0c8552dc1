"""
Measure speed on this machine: `make bench`. Ratios within one run, since machines are noisy.

Without the real frames (DEPTH_KD_DATA) a synthetic street of the same size takes their place.
"""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import platform
import sys
import tempfile
import time

import box_world
from depth_kd_ros import classical, clouds, messages
from depth_kd_ros.bags import Bag
from depth_kd_ros.completer import DepthCompleter
from depth_kd_ros.frames import FrameReader
from depth_kd_ros.projection import sparse_depth, without_bleed_through
import numpy as np
from random_checkpoint import write as write_checkpoint
import torch

ROUNDS, WARM = 30, 3


def median_ms(*functions: Callable[[], object]) -> list[float]:
    """Time functions in turn, A B A B ..., and give the median of each in ms."""
    times = np.zeros((ROUNDS + WARM, len(functions)))
    for row in times:
        for column, function in enumerate(functions):
            start = time.perf_counter()
            function()
            row[column] = time.perf_counter() - start
    return [float(ms) for ms in np.median(times[WARM:], 0) * 1e3]


def bag_path(folder: Path) -> Path:
    """Give the real bag, or write a synthetic one of its size."""
    data = Path(os.environ.get('DEPTH_KD_DATA', Path(__file__).parents[2] / 'shared/data'))
    real = data / 'kitti_0926_bag'
    if real.is_dir():
        return real
    box_world.write(folder / 'bag', count=1, size=(375, 1242), beams=64, azimuths=1800)
    return folder / 'bag'


def main() -> None:
    """Print the tables."""
    print(f'{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, ', end='')
    print(f'{torch.get_num_threads()} threads, medians of {ROUNDS} rounds taken in turn\n')
    with tempfile.TemporaryDirectory() as folder:
        path = bag_path(Path(folder))
        with Bag(path) as bag:
            item = next(iter(bag.frames()))
            frames = item.image.header.frame_id, item.points.header.frame_id
            T_cam_lidar = bag.extrinsics(*frames)
        reader = FrameReader('none')
        frame = reader(item.image, item.camera_info, item.points, T_cam_lidar)
        points = torch.from_numpy(frame.points.xyz)
        sparse = sparse_depth(points, frame.T_cam_lidar, frame.camera).depth
        print(f'{path.name}: {len(points)} points, {frame.camera.height}x{frame.camera.width}\n')
        stages = {
            'image message to RGB': lambda: messages.rgb(item.image),
            'cloud message to points': lambda: clouds.points(item.points),
            'projection': lambda: sparse_depth(points, frame.T_cam_lidar, frame.camera),
            'bleed-through filter': lambda: without_bleed_through(sparse),
        }
        reference = reference_projection(frame)
        if reference:
            stages['projection, NumPy reference'] = reference
        table('stage', stages, 'projection')
        models: dict[str, str] = {name: name for name in classical.available()}
        models['lspkd /8, eager'] = str(write_checkpoint(Path(folder) / 's8.safetensors'))
        completers = {label: DepthCompleter(name, 'cpu') for label, name in models.items()}
        given = frame.image, frame.points.xyz, frame.camera, frame.T_cam_lidar
        whole = {label: lambda c=c: c(*given) for label, c in completers.items()}
        table('points to dense depth (CPU)', whole, 'push_pull')


def reference_projection(frame) -> Callable[[], object] | None:
    """Give the yardstick that lies beside the real data, where it is."""
    tools = Path(os.environ.get('DEPTH_KD_DATA', Path(__file__).parents[2] / 'shared/data'))
    script = tools.parent / 'tools' / 'reference_projection.py'
    if not script.is_file():
        return None
    space: dict = {'__name__': 'reference_projection'}
    exec(compile(script.read_text(), str(script), 'exec'), space)
    K, T = frame.camera.K, frame.T_cam_lidar
    return lambda: space['project'](frame.points.xyz, K, T, *frame.camera.size)


def table(title: str, functions: dict[str, Callable[[], object]], unit: str) -> None:
    """Print each function's median and its ratio to the one named `unit`."""
    times = dict(zip(functions, median_ms(*functions.values()), strict=True))
    print(f'| {title} | ms | of {unit} |\n|---|---|---|')
    for name, ms in times.items():
        print(f'| {name} | {ms:.2f} | {ms / times[unit]:.2f} |')
    print()


if __name__ == '__main__':
    sys.exit(main())
