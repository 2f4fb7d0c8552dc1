"""
Compare simulated scans with real ones: the KITTI bag's frames beside the same rig in jams.

    python test/simulation_table.py [FRAMES]

Both go through the same projection; see-through points are counted by the bleed-through filter,
because real frames have no dense truth.
"""

from __future__ import annotations

from collections.abc import Sequence
import itertools
import os
from pathlib import Path
import sys

from depth_kd_training import data
from depth_kd_training.simulation.lidar import see_through
import numpy as np
import torch

BOUNDS_M = (0, 5, 10, 20, 40, 80)
SIZE = (375, 1242)  # of the real frames
BEAMS = (0, 8, 16, 24, 32, 40, 48, 56, 64)  # from the top down


def figures(frames: Sequence) -> dict[str, float]:
    """Give the mean figures of frames."""
    rows = []
    for frame in frames:
        depth, ring = frame.sparse_depth, frame.ring
        seen = ring[depth > 0]
        row = {'points in the picture': float((depth > 0).sum())}
        per_beam = np.bincount(seen[seen >= 0], minlength=64)
        for low, high in itertools.pairwise(BEAMS):
            row[f'points per beam {low + 1}-{high}'] = float(per_beam[low:high].mean())
        counts = np.histogram(depth[depth > 0], BOUNDS_M)[0] / (depth > 0).sum()
        for low, high, share in zip(BOUNDS_M[:-1], BOUNDS_M[1:], counts, strict=True):
            row[f'share at {low}-{high} m'] = float(share)
        row['median depth m'] = float(np.median(depth[depth > 0]))
        row['see-through share'] = see_through(torch.from_numpy(depth))
        rows.append(row)
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    torch.set_num_threads(1)
    folder = Path(os.environ.get('DEPTH_KD_DATA', Path(__file__).parents[2] / 'shared/data'))
    bag = data.build('rosbag', {'root': str(folder / 'kitti_0926_bag'), 'bleed_filter': False})
    real = figures([bag[i] for i in range(len(bag))])
    options = {'world': 'jam', 'size': SIZE, 'sensor': 'hdl64e', 'rig': 'kitti', 'randomised': 0.0}
    worlds = data.build('simulation', options)
    simulated = figures([worlds[i] for i in range(count)])
    print(f'{"":28}{"KITTI bag":>12}{"simulated":>12}{"ratio":>8}')
    for key, value in real.items():
        ratio = simulated[key] / value if value else float('nan')
        print(f'{key:28}{value:12.4g}{simulated[key]:12.4g}{ratio:8.2f}')


if __name__ == '__main__':
    main()
