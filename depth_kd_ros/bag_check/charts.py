"""Pictures of a check: points on images, when messages came, how the alignment scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
from depth_kd_ros import pictures
from depth_kd_ros.bag_check.alignment import Alignment
from depth_kd_ros.bag_check.check import Check
from depth_kd_ros.bag_check.headers import Stream
from depth_kd_ros.bag_check.sampling import Sample
from depth_kd_ros.projection import sparse_depth
import numpy as np
import torch

WIDTH, ROW = 1242, 46
LEFT, RIGHT = 330, 1222  # of the time axis and the curves, px
BLACK, RED, BLUE, GREEN, GREY = (0, 0, 0), (220, 30, 30), (40, 80, 200), (0, 140, 60), (150,) * 3


def write(check: Check, out: Path) -> list[Path]:
    """Write the pictures that a check has material for; give their paths. OSError."""
    made: dict[str, np.ndarray] = {}
    if check.streams:
        made['stamps.png'] = stamps(check.streams)
    if check.alignment:
        made['alignment.png'] = curves(check.alignment)
    if check.samples and check.rig:
        for name, sample in _shown(check).items():
            seen = overlay(sample, check.rig.T_cam_lidar)
            title = f'{name} frame of {len(check.samples)}, cloud {sample.stamp_ns * 1e-9:.3f} s'
            rows = [pictures.sheet([(title, seen)], WIDTH), pictures.scale_bar(WIDTH)]
            made[f'{name}.png'] = np.concatenate(rows)
    for name, picture in made.items():
        pictures.write(str(out / name), picture)
    return [out / name for name in made]


def _shown(check: Check) -> dict[str, Sample]:
    """Choose the frames to show: the worst and the median by edge score, else the middle one."""
    scores = check.alignment.frame_scores if check.alignment else {}
    ranked = [s for s in check.samples if s.stamp_ns in scores]
    if not ranked:
        return {'middle': check.samples[len(check.samples) // 2]}
    ranked.sort(key=lambda sample: scores[sample.stamp_ns])
    return {'worst': ranked[0], 'median': ranked[len(ranked) // 2]}


def overlay(sample: Sample, T_cam_lidar: np.ndarray) -> np.ndarray:
    """Draw a sample's points, coloured by depth, on its grey image (the first): RGB (H, W, 3)."""
    stamp = min(sample.images, key=lambda at: abs(at - sample.stamp_ns))
    points = torch.from_numpy(np.ascontiguousarray(sample.points))
    depth = sparse_depth(points, T_cam_lidar, sample.camera).depth.numpy()
    return pictures.overlay(cv2.cvtColor(sample.images[stamp], cv2.COLOR_GRAY2RGB), depth)


def stamps(streams: Mapping[str, Stream]) -> np.ndarray:
    """Draw each topic's stamps as strokes along one time axis, gaps in red, RGB (H, W, 3)."""
    times = {topic: np.unique(stream.stamps_ns) for topic, stream in streams.items()}
    first = min(t[0] for t in times.values())
    last = max(t[-1] for t in times.values())
    scale = (RIGHT - LEFT) / max(1, last - first)
    picture = np.full((ROW * (len(times) + 1), WIDTH, 3), 255, np.uint8)
    for row, (topic, t) in enumerate(times.items()):
        top = row * ROW + 8
        _text(picture, topic[-40:], (8, top + 20))
        x = (LEFT + (t - first) * scale).round().astype(int)
        steps = np.diff(t)
        for i in np.flatnonzero(steps > 1.5 * np.median(steps)) if len(steps) else []:
            cv2.rectangle(picture, (x[i], top), (x[i + 1], top + 30), (255, 170, 170), -1)
        for at in np.unique(x):
            cv2.line(picture, (int(at), top), (int(at), top + 30), BLUE, 1)
    _text(
        picture, f'0 to {(last - first) * 1e-9:.1f} s, gaps in red', (LEFT, len(times) * ROW + 26)
    )
    return picture


def curves(found: Alignment) -> np.ndarray:
    """Draw the score along each axis: as given grey, best green, its interval shaded."""
    height = 170
    picture = np.full((height * len(found.curves), WIDTH, 3), 255, np.uint8)
    scores = np.concatenate([curve[1] for curve in found.curves.values()])
    low, high = float(scores.min()), float(scores.max()) + 1e-9
    for row, (name, (x, y)) in enumerate(found.curves.items()):
        axis = 3 if name == 'offset_s' else ('yaw_deg', 'pitch_deg', 'roll_deg').index(name)
        top, unit = row * height + 10, name.rpartition('_')[2]
        best, width = found.best[axis], found.interval[axis]

        def place(value: float, x: np.ndarray = x) -> int:
            at = LEFT + (value - x[0]) / (x[-1] - x[0]) * (RIGHT - LEFT)
            return int(np.clip(at, LEFT, RIGHT))

        _text(
            picture, f'{name.partition("_")[0]} {best:+.3f} +- {width:.3f} {unit}', (8, top + 60)
        )
        cv2.rectangle(
            picture,
            (place(best - width), top),
            (place(best + width), top + 130),
            (215, 240, 220),
            -1,
        )
        cv2.line(picture, (place(0), top), (place(0), top + 130), GREY, 1)
        cv2.line(picture, (place(best), top), (place(best), top + 130), GREEN, 2)
        line = np.array(
            [
                [place(a), top + 130 - (b - low) / (high - low) * 130]
                for a, b in zip(x, y, strict=True)
            ]
        )
        cv2.polylines(picture, [line.round().astype(np.int32)], False, BLUE, 2, cv2.LINE_AA)
        _text(picture, f'{x[0]:.3g}', (LEFT, top + 148), 0.4)
        _text(picture, f'{x[-1]:.3g} {unit}', (RIGHT - 60, top + 148), 0.4)
    return picture


def _text(picture: np.ndarray, text: str, at: tuple[int, int], size: float = 0.5) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, BLACK, 1, cv2.LINE_AA)
