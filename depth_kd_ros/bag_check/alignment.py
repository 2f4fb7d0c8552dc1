"""
Measure how camera and LiDAR fit: the rotation of the extrinsics and the offset of the clocks.

Stamps cannot tell whether the clocks agree, but the data can: where the camera moves, points
projected at another time lie elsewhere, near ones and those at the side most. So one search over
yaw, pitch, roll and time offset moves the clouds' depth edges, each point at the velocity that
tracked image points give the scene, until they lie best on image edges. A rotation moves all
edges alike and an offset does not, so the two are told apart. An error of the extrinsics'
translation along the motion looks like an offset and is not told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import itertools

from depth_kd_ros.bag_check.depth_edges import depth_edges
from depth_kd_ros.bag_check.edge_score import Adjustment, EdgeScore, rotation, View
from depth_kd_ros.bag_check.motion import Motion, motion
from depth_kd_ros.bag_check.sampling import Sample
from depth_kd_ros.bag_check.search import climb, interval
import numpy as np

ROTATION_DEG = 2.5  # searched on either side
REACH_S = 0.25  # of the offset, likewise
COARSE_WIDTH, FINE_WIDTH = 400, 1280  # px of the images searched
COARSE_FRAMES = 8
POINTS = (400, 1500)  # edge points per frame, coarse and fine
MOVING_PX = 0.004  # median flow from image to image, in image widths, that shows an offset
FEW_FRAMES, FEW_POINTS = 3, 300
START_STEP = (0.5, 0.5, 0.5, 0.033)
FINE_STEP = (0.2, 0.2, 0.2, 0.01)
SURVEY = tuple(np.arange(-2.0, 2.1, 0.5)), (-1.0, -0.5, 0.0, 0.5, 1.0), (-1.5, 0.0, 1.5)
DOUBT = 0.01  # off the score, for a rotation by ROTATION_DEG
NEAR_AXIS = 0.1  # |x/z|
SPUN_S, LONGEST_SCAN_S = 0.02, 1.0
AGREE, CLEARLY = 4.0, 0.2  # standard errors; share of the score
SYSTEMATIC = (0.05, 0.1, 0.1, 0.004)  # deg, s: seen in simulated drives
BEST = 3  # candidates of the survey that are refined
ROTATIONS, ALL = (0, 1, 2), (0, 1, 2, 3)
Read = Callable[[float, float, int, int], Sequence[Sample]]


@dataclass(frozen=True)
class Alignment:
    """
    The best adjustment (yaw, pitch, roll deg, offset s), half its 95 % interval, and scores.

    `frames` and `points` tell what it rests on, `flow_px` how far the image moves between frames,
    in pixels of `width`; `is_moving` whether an offset can be told. `score` is that of the
    best, `given_score` that of the extrinsics as they are; `noise` the standard error.
    `curves`: (2, N) of yaw, pitch, roll and offset through the best: adjustment, score.
    """

    best: np.ndarray
    interval: np.ndarray
    score: float
    given_score: float
    noise: float
    frames: int
    points: int
    flow_px: float
    is_moving: bool
    frame_scores: dict[int, float] = field(default_factory=dict)  # by cloud stamp, as given
    curves: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_found(self) -> bool:
        """Tell whether depth edges lie on image edges at all."""
        return self.score > max(0.02, 4 * self.noise)


def align(read: Read, T_cam_lidar: np.ndarray, offset_s: float) -> Alignment | None:
    """
    Align samples that `read(offset s, reach s, width px, frames)` gives; None: too few edges.

    `offset_s` is the offset in use, around which the better one is sought.
    """
    samples = read(offset_s, REACH_S, COARSE_WIDTH, COARSE_FRAMES)
    scene = Scene(samples, T_cam_lidar, np.array([0, 0, 0, offset_s]), POINTS[0])
    if not scene.is_enough:
        return None
    start = survey(scene, offset_s)
    samples = read(start[3], 0.0, FINE_WIDTH, 0)
    scene = Scene(samples, T_cam_lidar, start, POINTS[1])
    if not scene.is_enough:
        return None
    free = ALL if scene.is_moving else ROTATIONS
    top, given = _basin(scene.score(start[3], 4.0), start, free)
    score = scene.score(top[3], 2.0)
    top, _ = climb(_sober(score), top, FINE_STEP, free, 5)
    widths = interval(score, top, free)
    # The LiDAR looks down on a car's roof from higher up than the camera: level edges lie apart.
    sideways = [i for i in free if i in (0, 3)]
    upright = scene.score(top[3], 2.0, upright_only=True)
    top, _ = climb(upright, top, FINE_STEP, sideways, 5)
    widths[sideways] = interval(upright, top, sideways)[sideways]
    widths = np.hypot(widths, SYSTEMATIC)
    given[3], best = top[3], score(top)
    sums, counts = score.by_frame(top)
    seen = counts > 0
    means = sums[seen] / counts[seen]
    sums, counts = score.by_frame(given)
    return Alignment(
        top, widths, best, score(given),
        float(means.std() / max(1, len(means) - 1) ** 0.5), int(seen.sum()),
        int(counts.sum()), scene.flow_px, scene.is_moving,
        dict(zip(scene.stamps, sums / counts.clip(1), strict=True)), _curves(score, top, free),
    )  # fmt: skip


def _sober(score: EdgeScore, offset_s: float | None = None) -> Callable[[Adjustment], float]:
    """Take a little off for large rotations and offsets from `offset_s`: few edges mislead."""
    used = 0.0 if offset_s is None else offset_s
    scale = np.array([ROTATION_DEG] * 3 + [np.inf if offset_s is None else REACH_S])

    def sober(at: Adjustment) -> float:
        return score(at) - DOUBT * float((((at - [0, 0, 0, used]) / scale) ** 2).sum())

    return sober


def _basin(
    score: EdgeScore, start: Adjustment, free: Sequence[int]
) -> tuple[Adjustment, Adjustment]:
    """Choose a top: that near the given extrinsics, unless the frames agree on another."""
    given = np.array([0, 0, 0, start[3]])
    (near, _), (other, _) = (climb(_sober(score), at, FINE_STEP, free, 3) for at in (given, start))
    (ours, counts), (theirs, others) = score.by_frame(near), score.by_frame(other)
    better = theirs / others.clip(1) - ours / counts.clip(1)
    doubt = float(better.std()) / max(1, len(better) - 1) ** 0.5
    gain = max(AGREE * doubt, CLEARLY * score(near))
    return other if better.mean() > gain else near, given


def survey(scene: Scene, offset_s: float) -> Adjustment:
    """Find a start: climb from the best rotations of a coarse grid at several offsets."""
    steps: np.ndarray = np.arange(-REACH_S, REACH_S + 1e-9, scene.period_s / 2)
    steps -= steps[np.abs(steps).argmin()]
    found = []
    for offset in offset_s + (steps if scene.is_moving else np.zeros(1)):
        score = scene.score(offset, 3.0)
        grid = [np.array([*turn, offset]) for turn in itertools.product(*SURVEY)]
        found.append(max(((score(at), at) for at in grid), key=lambda item: item[0]))
    found.sort(key=lambda item: -item[0])
    used = [at for _, at in found if abs(at[3] - offset_s) < 1e-6]
    starts = [at for _, at in found[:BEST]] + used + [np.array([0, 0, 0, offset_s])]
    free = ALL if scene.is_moving else ROTATIONS
    tops = [
        climb(_sober(scene.score(at[3], 2.0), offset_s), at, START_STEP, free, 3) for at in starts
    ]
    return max(tops, key=lambda item: item[1])[0]


class Scene:
    """What samples show: depth edges, and how the camera moves at each image."""

    def __init__(
        self, samples: Sequence[Sample], T_cam_lidar: np.ndarray, at: Adjustment, points: int
    ) -> None:
        self.samples, self.stamps = samples, [sample.stamp_ns for sample in samples]
        R = rotation(*at[:3])
        self._edges, self._motions, self._times = [], [], []
        flows = []
        for sample in samples:
            edges = depth_edges(sample.points, T_cam_lidar).at_most(points)
            self._edges.append(
                edges._replace(points=edges.points @ T_cam_lidar[:3, :3].T + T_cam_lidar[:3, 3])
            )
            cloud = sample.points @ T_cam_lidar[:3, :3].T + T_cam_lidar[:3, 3]
            self._times.append(_own_times(sample, cloud))
            moved = _motions(sample, cloud @ R.T)
            self._motions.append(moved)
            flows += [m.flow_px for m in moved.values()]
        self.flow_px = float(np.median(flows)) if flows else 0.0
        self.width = samples[0].camera.width if samples else 1
        self.is_moving = self.flow_px > MOVING_PX * self.width

    @property
    def is_enough(self) -> bool:
        """Tell whether there are frames and edges enough to judge by."""
        count = sum(len(edges.points) for edges in self._edges)
        return len(self.samples) >= FEW_FRAMES and count >= FEW_POINTS

    @property
    def period_s(self) -> float:
        """Give the time between images."""
        return float(np.median([d for s in self.samples for d in np.diff([*s.images])])) * 1e-9

    def score(self, offset_s: float, blur_px: float, upright_only: bool = False) -> EdgeScore:
        """Score each cloud on the image nearest to it at an offset."""
        views = []
        parts = zip(self.samples, self._edges, self._motions, self._times, strict=True)
        for sample, edges, moved, times in parts:
            if upright_only:
                edges = edges.upright_ones()
            middle = sample.stamp_ns + round(offset_s * 1e9)
            stamp = min(sample.images, key=lambda at: abs(at - middle))
            found = moved.get(stamp)
            velocity = found.velocity(edges.points) if found else np.zeros_like(edges.points)
            late_s = (stamp - sample.stamp_ns) * 1e-9 - times[edges.index]
            image, K = sample.images[stamp], sample.camera.K
            views.append(View(edges.points, velocity, edges.upright, image, K, late_s))
        return EdgeScore(views, blur_px)


def _own_times(sample: Sample, points_cam: np.ndarray) -> np.ndarray:
    """
    Give when each point (N,) was measured, s from those along the optical axis.

    Where these come at all times, as a LiDAR that does not spin has it, from the scan's middle.
    """
    x, _, z = points_cam.T
    middle = (z > 1) & (np.abs(x) < NEAR_AXIS * z)
    if sample.times_s is None or not middle.any():
        return np.zeros(len(points_cam))
    low, centre, high = np.percentile(sample.times_s[middle], (10, 50, 90))
    if high - low > SPUN_S:
        centre = np.median(sample.times_s)
    times = sample.times_s - centre
    return times if np.abs(times).max() < LONGEST_SCAN_S else np.zeros_like(times)


def _motions(sample: Sample, points_cam: np.ndarray) -> dict[int, Motion]:
    """Give the camera's motion from each image of a sample to the next, by stamp."""
    found = {}
    for (stamp, image), (later_stamp, later) in itertools.pairwise(sample.images.items()):
        seconds = (later_stamp - stamp) * 1e-9
        moved = motion(image, later, seconds, sample.camera.K, points_cam)
        if moved:
            found[stamp] = moved
            found[later_stamp] = moved  # replaced by its own, except for the last
    return found


def _curves(score: EdgeScore, top: Adjustment, free: Sequence[int]) -> dict[str, np.ndarray]:
    """Give the score along each free axis through the best adjustment."""
    names, curves = ('yaw_deg', 'pitch_deg', 'roll_deg', 'offset_s'), {}
    for axis in free:
        reach = REACH_S / 2 if axis == 3 else ROTATION_DEG
        values = top[axis] + np.linspace(-reach, reach, 41)
        curves[names[axis]] = np.array(
            [values, [score(np.where(np.arange(4) == axis, v, top)) for v in values]]
        )
    return curves
