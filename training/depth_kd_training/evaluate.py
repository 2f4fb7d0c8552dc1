"""
Evaluate models on a data set: errors with intervals, by beams, distance and class.

Predictions come from the runtime's DepthCompleter; all models see the same frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from depth_kd_ros import classical
from depth_kd_ros.completer import Completion, DepthCompleter, NoPointsError
from depth_kd_training import lidar_noise
from depth_kd_training.data.base import Dataset, Frame
from depth_kd_training.scoring import Limits, Row, Truth
import numpy as np

VAGUE = ('best', 'last')  # names of checkpoints that their folder explains

Watch = Callable[[Frame, 'int | None', str, Completion], None]
"""What else is done with a frame as a model got it, its beams, the model's name, its result."""


@dataclass(frozen=True)
class Plan:
    """Say what is evaluated: numbers of beams (None: as recorded), how many frames, limits."""

    beams: tuple[int | None, ...] = (None,)
    frames: int | None = None
    limits: Limits = field(default_factory=Limits)
    bleed_filter: bool = False
    needs_truth: bool = True

    def indices(self, count: int) -> list[int]:
        """Choose frames, evenly spaced, of a data set that has `count`."""
        if not count:
            raise ValueError('the data set is empty: no frame to evaluate')
        wanted = min(count, self.frames or count)
        return [i * count // wanted for i in range(wanted)]


def open_models(arguments: Sequence[str], device: str, plan: Plan) -> dict[str, DepthCompleter]:
    """Open checkpoints and classical methods under names that tell them apart; ValueError."""
    if len(set(arguments)) < len(arguments):
        raise ValueError(f'a model is named twice: {" ".join(arguments)}')
    return {
        name: DepthCompleter(
            argument, device, min(0.5, plan.limits.nearest_m), max(120.0, plan.limits.farthest_m),
            plan.bleed_filter,
        )
        for name, argument in names(arguments).items()
    }  # fmt: skip


def names(arguments: Sequence[str]) -> dict[str, str]:
    """Name checkpoints by their file, or by folder and file where that says too little."""
    stems = [a if a in classical.available() else Path(a).stem for a in arguments]
    made = {}
    for stem, argument in zip(stems, arguments, strict=True):
        folder = Path(argument).resolve().parent.name
        clear = stem not in VAGUE and stems.count(stem) == 1
        name = stem if clear else f'{folder}/{stem}'
        made[argument if name in made else name] = argument
    return made


def evaluate(
    dataset: Dataset, models: dict[str, DepthCompleter], plan: Plan, classes: Sequence[str] = (),
    watchers: Sequence[Watch] = (), step: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Score every model with every number of beams; give the rows of the JSON."""
    rows = {(n, name): Row(name, n) for n in plan.beams for name in models}
    for index in plan.indices(len(dataset)):
        frame = dataset[index]
        truth = _truth(frame, plan, classes)
        for n in plan.beams:
            for name, completer in models.items():
                given = _given(frame, n, completer.needs_points)
                try:
                    done = _completed(completer, name, given)
                except NoPointsError as error:
                    rows[n, name].left_out[frame.name] = str(error)
                else:
                    if truth is not None:
                        milliseconds = 1000 * done.seconds['infer']
                        rows[n, name].add(given, truth.sums(done.depth), milliseconds)
                        if done.caveat:
                            rows[n, name].caveats[frame.name] = done.caveat
                    for watch in watchers:
                        watch(given, n, name, done)
                step()
    if plan.needs_truth and not any(row.frames for row in rows.values()):
        first = next(iter(rows.values()))
        raise ValueError(f'no frame could be evaluated: {next(iter(first.left_out.values()))}')
    first_name = next(iter(models))
    return [
        row.to_json(plan.limits, classes, None if name == first_name else rows[n, first_name])
        for (n, name), row in rows.items()
        if row.frames or row.left_out
    ]


def _truth(frame: Frame, plan: Plan, classes: Sequence[str]) -> Truth | None:
    """Label the truth of a frame; ValueError where there is none and it is needed."""
    if frame.depth_gt is None and plan.needs_truth:
        raise ValueError(
            f'frame {frame.name} has no ground truth (depth_gt) to compare with: give a data set '
            'that has it; for a folder the option depth_gt=NAME names the folder of the truth'
        )
    return None if frame.depth_gt is None else Truth(frame, plan.limits, classes)


def _given(frame: Frame, beams: int | None, needs_points: bool) -> Frame:
    """Give the frame with so many beams; ValueError where it does not know them."""
    if frame.sparse_depth is None and not needs_points:
        return replace(frame, sparse_depth=np.zeros(frame.image.shape[:2], np.float32))
    if frame.sparse_depth is None:
        raise ValueError(
            f'frame {frame.name} has no sparse_depth, which the models need (one of relative '
            'depth, for its scale): give the data set an option for it, such as points=500'
        )
    if beams is None:
        return frame
    if frame.ring is None:
        raise ValueError(
            f'frame {frame.name} does not say which beam measured its points (no ring), so '
            f'{beams} beams cannot be chosen: leave --beams out, or give a data set with rings '
            '(simulation, rosbag, a folder with ring/)'
        )
    return lidar_noise.fewer_beams(frame, beams, phase=0.0)


def _completed(completer: DepthCompleter, name: str, frame: Frame) -> Completion:
    """Predict; a model that fails is a ValueError that names it and the frame."""
    assert frame.sparse_depth is not None
    try:
        return completer.from_sparse(frame.image, frame.sparse_depth)
    except NoPointsError:
        raise
    except (RuntimeError, ValueError) as error:
        size = 'x'.join(map(str, frame.image.shape[:2]))
        raise ValueError(f'model {name} failed on frame {frame.name} ({size}): {error}') from error
