"""Find the adjustment with the best edge score, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import itertools

from depth_kd_ros.bag_check.edge_score import Adjustment, EdgeScore
import numpy as np

SPACING = np.array([0.1, 0.1, 0.1, 0.005])  # of difference quotients: deg, s
GAIN = 1e-6  # of a score, below which a plateau begins
SURE = 1.96  # standard deviations of a 95 % interval


def climb(
    score: Callable[[Adjustment], float],
    start: Adjustment,
    step: Sequence[float],
    free: Sequence[int],
    halvings: int,
) -> tuple[Adjustment, float]:
    """
    Climb from a start along the axes `free` and their diagonals; halve the step at each top.

    Gives the best adjustment and its score.
    """
    ways = [w for w in itertools.product((-1, 0, 1), repeat=4) if 1 <= np.count_nonzero(w) <= 2]
    moves = [np.array(w) for w in ways if all(i in free for i in np.flatnonzero(w))]
    best, at, width = score(start), np.array(start, float), np.array(step, float)
    for _ in range(halvings + 1):
        while moves:
            scores = [score(at + width * move) for move in moves]
            top = int(np.argmax(scores))
            if scores[top] <= best + GAIN:
                break
            best, at = scores[top], at + width * moves[top]
        width /= 2
    return at, best


def interval(score: EdgeScore, top: Adjustment, free: Sequence[int]) -> np.ndarray:
    """
    Give the half width (4,) of each free coordinate's 95 % interval; inf where none is seen.

    The sandwich estimator with frames as clusters (White, Econometrica 1982): curvature at the
    top against how much the frames pull apart there.
    """
    steps, axes = np.diag(SPACING), list(free)
    total = score.by_frame(top)[1].sum()
    pulls = [
        (score.by_frame(top + steps[i])[0] - score.by_frame(top - steps[i])[0])
        / (2 * SPACING[i] * total)
        for i in axes
    ]
    curvature = np.empty((len(axes), len(axes)))
    for (a, i), (b, k) in itertools.product(enumerate(axes), repeat=2):
        plus, minus = steps[i] + steps[k], steps[i] - steps[k]
        around = score(top + plus) + score(top - plus) - score(top + minus) - score(top - minus)
        curvature[a, b] = around / (4 * SPACING[i] * SPACING[k])
    widths = np.full(4, np.inf)
    if np.linalg.eigvalsh(curvature)[-1] < 0:  # a top in every direction
        inverse, pull = np.linalg.inv(curvature), np.array(pulls)
        widths[axes] = SURE * np.sqrt(np.diag(inverse @ pull @ pull.T @ inverse))
    return widths
