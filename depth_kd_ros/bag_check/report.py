"""
The check as JSON. Keys of report.json; what could not be measured is null or empty.

    bag, usable
    topics      name: type, messages
    chosen      image, points, camera_info: the topics that were judged
    streams     by topic: count, hz, jitter_s (interquartile range of the intervals), lost, gaps
                ([s after the first, length s], the longest first), repeated, backwards, delay_s
                (median receive time - stamp), sizes ("HxW": messages), frame_ids (id: messages)
    skew        median_s, spread_s (middle 90 %), largest_s, matched, matched_share: image stamp -
                (cloud stamp + offset), as the node matches
    clock_s     image clock - LiDAR clock by the receive times, right up to the sensors' delays
    extrinsics  T_cam_lidar, parent, child
    points_in_view  per sampled frame
    alignment   yaw_deg, pitch_deg, roll_deg, offset_s: {best, interval (half, 95 %)}; score (at
                the best), given_score, noise (standard error), found, moving, flow_px, frames,
                edge_points, frame_scores (cloud stamp ns: score)
    faults      weight, name, found, why, remedy; the heaviest first
"""

from __future__ import annotations

from dataclasses import asdict
import math
from typing import Any

from depth_kd_ros.bag_check.alignment import Alignment
from depth_kd_ros.bag_check.check import Check
from depth_kd_ros.bag_check.headers import Stream
from depth_kd_ros.bag_check.timing import Rhythm

AXES = ('yaw_deg', 'pitch_deg', 'roll_deg', 'offset_s')


def report(check: Check, bag: str) -> dict[str, Any]:
    """Give everything that a check found, as JSON takes it."""
    return {
        'bag': bag,
        'usable': check.is_usable,
        'topics': {n: {'type': t.type, 'messages': t.count} for n, t in check.topics.items()},
        'chosen': check.chosen,
        'streams': {n: _stream(check.streams[n], r) for n, r in check.rhythms.items()},
        'skew': check.skew and asdict(check.skew),
        'clock_s': check.clock_s,
        'extrinsics': check.rig and {
            **check.rig._asdict(), 'T_cam_lidar': check.rig.T_cam_lidar.tolist(),
        },
        'points_in_view': [int(count) for count in check.points_in_view],
        'alignment': check.alignment and _alignment(check.alignment),
        'faults': [asdict(fault) for fault in check.faults],
    }  # fmt: skip


def _stream(stream: Stream, rhythm: Rhythm) -> dict[str, Any]:
    about = asdict(rhythm)
    return {
        **about,
        'gaps': about.pop('gaps_s'),
        'sizes': {f'{h}x{w}': count for (h, w), count in stream.sizes.items()},
        'frame_ids': stream.frame_ids,
    }


def _alignment(found: Alignment) -> dict[str, Any]:
    axes = {
        name: {'best': float(best), 'interval': float(width) if math.isfinite(width) else None}
        for name, best, width in zip(AXES, found.best, found.interval, strict=True)
    }
    return {
        **axes,
        'score': found.score, 'given_score': found.given_score, 'noise': found.noise,
        'found': found.is_found, 'moving': found.is_moving, 'flow_px': found.flow_px,
        'frames': found.frames, 'edge_points': found.points,
        'frame_scores': {str(at): float(score) for at, score in found.frame_scores.items()},
    }  # fmt: skip
