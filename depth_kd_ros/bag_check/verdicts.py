"""Faults of how camera and LiDAR fit together: stamps, clocks, extrinsics, view."""

from __future__ import annotations

from collections.abc import Iterator

from depth_kd_ros.bag_check.alignment import Alignment, ROTATION_DEG
from depth_kd_ros.bag_check.faults import ERROR, Fault, NOTE, WARNING
from depth_kd_ros.bag_check.timing import Rhythm, Skew
import numpy as np

FEW_MATCHED, NONE_MATCHED = 0.9, 0.1  # shares of the clouds
CLOCKS_S = 0.25  # difference of the delays that other clocks explain better than the wiring
SKEW_S, SPREAD_S = 0.01, 0.02
OFFSET_S = (0.01, 0.05)  # warning, error
ROTATION_OFF_DEG = (0.3, 0.7)  # warning, error
CLEARER = 1.1  # times the score as given, to believe that extrinsics are off
FEW_POINTS, NO_POINTS = 500, 50  # pixels with a point in a frame
UNSURE_S = 0.03  # half interval beyond which an offset is not worth giving
AXES = ('yaw', 'pitch', 'roll')


def of_skew(skew: Skew, slop_s: float, offset_s: float, clock_s: float) -> Iterator[Fault]:
    """Judge the stamps; `clock_s` is the offset that the receive times suggest."""
    apart = abs(clock_s - offset_s) > CLOCKS_S
    try_this = f'--offset {clock_s:.2f} (node: sync.offset_s)'
    if skew.matched_share < FEW_MATCHED:
        yield Fault(
            ERROR if skew.matched_share < NONE_MATCHED else WARNING, 'unmatched',
            f'{skew.matched_share:.0%} of the clouds have an image within {slop_s:g} s; the '
            f'median distance is {skew.median_s * 1e3:+.0f} ms',
            'clouds without an image give no depth',
            f'{try_this}, as the receive times suggest' if apart
            else 'find out which sensor is slow or was off, and record again; or --slop',
        )  # fmt: skip
    if apart:
        yield Fault(
            WARNING, 'clocks',
            f'image stamps run {clock_s:+.2f} s against cloud stamps, as received',
            'the sensors stamp with different clocks: what is matched is not of one moment',
            f'synchronise them (PTP, or the host time in both drivers); for this bag {try_this}',
        )  # fmt: skip
    elif abs(skew.median_s) > SKEW_S:
        yield Fault(
            NOTE, 'skew', f'the nearest image is {skew.median_s * 1e3:+.1f} ms from its cloud',
            'what moves is projected where it was then', 'trigger the camera by the LiDAR',
        )  # fmt: skip
    if skew.spread_s > SPREAD_S:
        yield Fault(
            NOTE, 'skew_spread', f'the skew varies by {skew.spread_s * 1e3:.0f} ms (middle 90 %)',
            'free-running sensors: some pairs fit worse than others',
            'trigger the camera by the LiDAR, or use a camera of a higher rate',
        )  # fmt: skip


def clock_offset(image: Rhythm, points: Rhythm) -> float:
    """Suggest image clock - LiDAR clock, s, from receive times: true up to the sensors' delays."""
    return points.delay_s - image.delay_s


def of_view(counts: np.ndarray) -> Iterator[Fault]:
    """Judge how many pixels with a point each sampled frame has, (F,)."""
    median = float(np.median(counts)) if len(counts) else 0.0
    if median < FEW_POINTS:
        yield Fault(
            ERROR if median < NO_POINTS else WARNING, 'few_points',
            f'{median:.0f} points in view per frame (median of {len(counts)})',
            'too little to complete depth from',
            'check the extrinsics (direction, optical frame), and that the sensors look the same '
            'way',
        )  # fmt: skip


def of_alignment(found: Alignment | None, offset_s: float, out: str) -> Iterator[Fault]:
    """Judge extrinsics and offset in use by the better ones found; `out` is where files go."""
    if found is None:
        yield Fault(
            NOTE, 'not_judged', 'too few depth edges to judge extrinsics and clocks by',
            'needs 3 frames and things that stand out from what is behind them',
            'record a drive past poles, cars, furniture; use a LiDAR of more beams',
        )  # fmt: skip
        return
    if not found.is_found:
        yield Fault(
            WARNING, 'no_alignment',
            f'depth edges lie on image edges nowhere within {ROTATION_DEG:g} degrees '
            f'(score {found.score:.3f})',
            'extrinsics that are off by more, or images too dark or blurred to judge by',
            'look at the overlays (--out); calibrate, and give the result with --extrinsics FILE',
        )  # fmt: skip
        return
    yield from _of_rotation(found, out)
    yield from _of_offset(found, offset_s)


def _of_rotation(found: Alignment, out: str) -> Iterator[Fault]:
    off = np.abs(found.best[:3])
    clearly = found.score > CLEARER * found.given_score
    if clearly and ((off > found.interval[:3]) & (off > ROTATION_OFF_DEG[0])).any():
        parts = ', '.join(
            f'{axis} {value:+.2f} +- {width:.2f}'
            for axis, value, width in zip(AXES, found.best, found.interval, strict=False)
        )
        yield Fault(
            ERROR if off.max() > ROTATION_OFF_DEG[1] else WARNING, 'rotation',
            f'extrinsics fit better turned by (degrees) {parts}; score {found.given_score:.3f} as '
            f'given, {found.score:.3f} turned',
            'points lie beside the things they belong to',
            f'calibrate again, or use {out}: --extrinsics FILE here, extrinsics:=FILE at launch',
        )  # fmt: skip


def _of_offset(found: Alignment, offset_s: float) -> Iterator[Fault]:
    best, width = found.best[3], found.interval[3]
    if not found.is_moving:
        yield Fault(
            NOTE, 'no_motion', f'no motion ({found.flow_px:.1f} px from image to image)',
            'whether the clocks agree shows only while the camera moves',
            'to tell, record 3 s of driving or turning',
        )  # fmt: skip
    elif width > UNSURE_S:
        yield Fault(
            NOTE, 'offset_unsure', f'offset {best * 1e3:+.0f} +- {width * 1e3:.0f} ms: unsure',
            'too little moves in the images', 'to tell, record a faster drive or turns',
        )  # fmt: skip
    elif abs(best - offset_s) > max(width, OFFSET_S[0]):
        yield Fault(
            ERROR if abs(best - offset_s) > OFFSET_S[1] else WARNING, 'offset',
            f"the clouds' clock is off: offset {round(best * 1e3):+d} +- {width * 1e3:.0f} ms "
            f'fits best, {offset_s * 1e3:+.0f} ms is in use',
            f'pairs are {abs(best - offset_s) * 1e3:.0f} ms apart in truth, whatever their stamps',
            f'--offset {best:.3f} (node: sync.offset_s: {best:.3f}); better, repair the stamps',
        )  # fmt: skip
