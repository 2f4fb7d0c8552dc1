"""Write a small folder data set, a road with boxes and 16 rings, and recipes that learn it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

RINGS = 16
TINY = {'preset': 'lspkd_s8', 'options': {'width': 1 / 16, 'blocks': [1, 1, 1, 1]}}


def frame(size: tuple[int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Give image (H, W, 3), depth and sparse (H, W) m, ring, -1 = none, and class (H, W)."""
    height, width = size
    v, u = np.indices(size)
    depth = np.clip(1.5 * height / np.maximum(v - 0.4 * height, 0.04 * height), 2, 40.0)
    image = np.stack([90 + 2 * depth, 100 + v * 60 / height, 110 + u * 60 / width], 2)
    semantic = (v > 0.4 * height).astype(np.int16)
    for number in range(4):
        top, left = rng.integers(height // 4, height // 2), rng.integers(0, width - width // 5)
        box = np.s_[top : top + height // 3, left : left + width // 5]
        near = rng.uniform(4, 25)
        image[box] = np.where((depth[box] > near)[..., None], rng.uniform(0, 255, 3), image[box])
        semantic[box] = np.where(depth[box] > near, 2 + number, semantic[box])
        depth[box] = np.minimum(depth[box], near)
    image += rng.normal(0, 6, image.shape)
    rows = np.linspace(0.3 * height, height - 1, RINGS).astype(int)
    ring = np.full(size, -1, np.int16)
    ring[rows, ::2] = np.arange(RINGS)[:, None]
    return {
        'rgb': np.clip(image, 0, 255).astype(np.uint8), 'depth_gt': depth.astype(np.float32),
        'sparse': np.where(ring >= 0, depth, 0).astype(np.float32), 'ring': ring,
        'semantic': semantic,
    }  # fmt: skip


def save_depth(path: Path, depth: np.ndarray) -> None:
    """Write depth (H, W) m as a 16-bit PNG, 256 to the metre."""
    assert cv2.imwrite(str(path), np.rint(np.asarray(depth) * 256).astype(np.uint16))


def write(root: Path, count: int, size: tuple[int, int] = (48, 96), seed: int = 0) -> Path:
    """Write frames as the data set `folder` reads them, depth in 1/256 m."""
    rng = np.random.default_rng(seed)
    for name in ('rgb', 'sparse', 'depth_gt', 'ring', 'semantic', 'K'):
        (root / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        maps = frame(size, rng)
        for name, values in maps.items():
            if name in ('ring', 'semantic'):
                values = (values + 1).astype(np.uint8)
            path = root / name / f'{index:04d}.png'
            if name in ('sparse', 'depth_gt'):
                save_depth(path, values)
            else:
                assert cv2.imwrite(str(path), values)
        K = f'{size[1]} 0 {size[1] / 2}\n0 {size[1]} {size[0] / 2}\n0 0 1\n'
        (root / 'K' / f'{index:04d}.txt').write_text(K)
    return root


def source(root: Path) -> dict[str, Any]:
    """Give a recipe's source of the folder."""
    return {'dataset': 'folder', 'options': {'root': str(root), 'depth_gt': 'depth_gt'}}


def recipe(root: Path, **changes: Any) -> dict[str, Any]:
    """Give a short run on frames of `write`: a tiny network, small crops, no worker processes."""
    values: dict[str, Any] = {
        'network': TINY,
        'data': {
            'labelled': [source(root)], 'validation': [source(root)], 'validation_frames': 2,
            'batch': 4, 'workers': 0, 'augmentation': {'crop': [32, 64], 'flip': 0.5},
        },
        'optimisation': {'ema': 0.9, 'clip': 1.0, 'schedule': 'cosine', 'warmup': 3},
        'steps': 8, 'validate_every': 3, 'save_every_s': 1e-6, 'log_every': 1,
    }  # fmt: skip
    values['network'] = changes.pop('network', TINY)
    for key, value in changes.items():
        values[key] = values[key] | value if isinstance(values.get(key), dict) else value
    return values


def write_recipe(path: Path, root: Path, **changes: Any) -> Path:
    """Write the recipe as YAML."""
    path.write_text(yaml.safe_dump(recipe(root, **changes)))
    return path
