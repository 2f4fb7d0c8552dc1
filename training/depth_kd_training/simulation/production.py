"""
Many frames at once, by all cores or a GPU, with a report of what came out.

Each frame depends on its own seed alone: the number of processes changes nothing but the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
import itertools
from pathlib import Path
from typing import Any

from depth_kd_ros import pictures
from depth_kd_training.data.base import Frame
from depth_kd_training.simulation import bag, folder
from depth_kd_training.simulation.drive import Drive, Stop
from depth_kd_training.simulation.frame import random_place, render, Shot
from depth_kd_training.simulation.processes import in_processes
from depth_kd_training.simulation.scene import Config, draw, Scene, seed_of
from depth_kd_training.simulation.world import CLASSES
import numpy as np

BATCH = 16  # frames at a time on a GPU
SHEET_FRAMES = 12
DEPTH_BOUNDS_M = (0, 5, 10, 20, 40, 80, 200)
Progress = Callable[[], None]  # told of each frame that is done
Result = tuple[dict[str, Any], np.ndarray | None]  # what one frame holds, and its picture


class Summary:
    """Add up what the frames hold: points per beam and distance, what they see, how it looks."""

    def __init__(self, frames: int) -> None:
        self.shown = {int(i) for i in np.linspace(0, frames - 1, min(frames, SHEET_FRAMES))}
        self.rows: list[dict[str, Any]] = []
        self.pictures: list[np.ndarray] = []

    def add(self, result: Result) -> None:
        """Take a frame in."""
        row, picture = result
        self.rows.append(row)
        if picture is not None:
            self.pictures.append(picture)

    def report(self) -> dict[str, Any]:
        """Give the means over the frames."""
        beams = max((len(row['per_beam']) for row in self.rows), default=0)
        per_beam = np.zeros(beams)
        for row in self.rows:
            per_beam[: len(row['per_beam'])] += row['per_beam']
        histogram = np.sum([row['histogram'] for row in self.rows], 0)
        pixels = np.sum([row['pixels'] for row in self.rows], 0)
        count = len(self.rows)
        names = (f'{a}-{b}' for a, b in itertools.pairwise(DEPTH_BOUNDS_M))
        return {
            'points_per_frame': float(np.mean([row['points'] for row in self.rows])),
            'points_per_beam': [round(float(n) / count, 2) for n in per_beam],
            'points_by_depth_m': dict(zip(names, _shares(histogram), strict=True)),
            'see_through_share': float(np.mean([row['see_through'] for row in self.rows])),
            'pixels_by_class': {
                name: share for name, share in zip(CLASSES, _shares(pixels), strict=True) if share
            },
        }

    def sheet(self) -> np.ndarray:
        """Give the contact sheet, RGB: image, points, true depth of frames in turn."""
        return np.concatenate([*self.pictures, pictures.scale_bar(self.pictures[0].shape[1])])


def _shares(counts: np.ndarray) -> list[float]:
    """Give counts as shares of their sum."""
    return [round(float(n), 4) for n in counts / max(1, counts.sum())]


def result_of(shown: set[int], number: int, shot: Shot) -> Result:
    """Sum up frame `number`, with its picture where it is shown."""
    return row_of(shot), picture_of(shot.frame) if number in shown else None


def row_of(shot: Shot) -> dict[str, Any]:
    """Count what one frame holds."""
    frame = shot.frame
    none = np.zeros(0)
    sparse = none if frame.sparse_depth is None else frame.sparse_depth[frame.sparse_depth > 0]
    rings = none if frame.ring is None else frame.ring[frame.ring >= 0]
    labels = none if frame.semantic is None else frame.semantic.ravel()
    return {
        'points': int(sparse.size), 'see_through': shot.see_through,
        'per_beam': np.bincount(rings.astype(int)),
        'histogram': np.histogram(sparse, DEPTH_BOUNDS_M)[0],
        'pixels': np.bincount(labels.astype(int), minlength=len(CLASSES)),
    }  # fmt: skip


def picture_of(frame: Frame) -> np.ndarray:
    """Show image, points and true depth of a frame side by side, RGB."""
    none = np.zeros(frame.image.shape[:2], np.float32)
    sparse = none if frame.sparse_depth is None else frame.sparse_depth
    truth = none if frame.depth_gt is None else frame.depth_gt
    views = (frame.image, pictures.overlay(frame.image, sparse), pictures.colour(truth))
    return np.concatenate(views, 1)


def write_folder(
    config: Config, seed: int, count: int, root: Path, workers: int, device: str,
    progress: Progress,
) -> Summary:  # fmt: skip
    """Write frames as a data set `folder`; raise ValueError for a folder that is not empty."""
    folder.prepare(root)
    summary = Summary(count)
    if device == 'cpu':
        job = partial(_write_one, config, seed, root, summary.shown)
        results = in_processes(job, range(count), workers)
    else:
        results = _on_device(config, seed, root, summary.shown, count, device)
    for result in results:
        summary.add(result)
        progress()
    return summary


def write_bag(
    config: Config, seed: int, count: int, path: Path, workers: int, storage: str,
    progress: Progress,
) -> Summary:  # fmt: skip
    """Write a drive as a rosbag2; raise BagError for a path that exists."""
    summary, drive = Summary(count), Drive(config, seed, count)

    def instants() -> Iterator[bag.Instant]:
        job = partial(_drive_one, drive, summary.shown)
        for instant, result in in_processes(job, list(enumerate(drive.stops())), workers):
            summary.add(result)
            progress()
            yield instant

    first = drive.scene(0)
    bag.write(path, first.rig, first.sensor, instants(), storage)
    return summary


def _write_one(config: Config, seed: int, root: Path, shown: set[int], number: int) -> Result:
    """Render and write one frame."""
    scene = draw(config, seed_of(seed, number))
    return _written(root, shown, number, render([scene], [random_place(scene)])[0], scene)


def _drive_one(
    drive: Drive, shown: set[int], item: tuple[int, Stop]
) -> tuple[bag.Instant, Result]:
    """Render one frame of a drive."""
    number, stop = item
    shot = drive.shot(stop)
    return bag.Instant.of(shot.frame, shot.scan), result_of(shown, number, shot)


def _on_device(
    config: Config, seed: int, root: Path, shown: set[int], count: int, device: str
) -> Iterator[Result]:
    """Render in batches on a GPU."""
    for start in range(0, count, BATCH):
        numbers = range(start, min(count, start + BATCH))
        scenes = [draw(config, seed_of(seed, number)) for number in numbers]
        shots = render(scenes, [random_place(scene) for scene in scenes], device)
        for number, shot, scene in zip(numbers, shots, scenes, strict=True):
            yield _written(root, shown, number, shot, scene)


def _written(root: Path, shown: set[int], number: int, shot: Shot, scene: Scene) -> Result:
    """Write frame `number`, and give what the summary wants."""
    folder.write(root, replace(shot.frame, name=f'{number:06d}'), scene)
    return result_of(shown, number, shot)
