"""
Measure every classical method on the real KITTI frames: errors by the referee, time per frame.

Usage, with the package installed: python test/classical_table.py [--beams 16] [--every 1]
Prints one Markdown table. The frames are those in DEPTH_KD_DATA (default ../shared/data); the
referee is tools/score_depth.py beside that folder. The last row is SciPy's LinearNDInterpolator
and exact distance transform (outside the hull), timed in turns with the others; where other
programs run, set OPENBLAS_NUM_THREADS=1, or SciPy waits for its own threads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import cv2
from depth_kd_ros import classical
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import distance_transform_edt

REFERENCE = 'scipy LinearND'
WITHHELD = {4: 60, 8: 56, 16: 48, 32: 32}  # beams of the truth, by beams of the input


class Row(NamedTuple):
    """What the referee and the clock say: errors in m, `missing` in percent, ms per frame."""

    mae: float
    rmse: float
    clean_mae: float
    clean_rmse: float
    missing: float
    milliseconds: float


def scipy_linear(sparse_depth: np.ndarray) -> np.ndarray:
    """Interpolate (H, W) m with SciPy alone: the yardstick of accuracy and speed."""
    points = np.stack(np.nonzero(sparse_depth), 1)
    pixels = np.stack(np.indices(sparse_depth.shape), -1)
    dense = LinearNDInterpolator(points, sparse_depth[sparse_depth > 0])(pixels)
    row, column = distance_transform_edt(
        sparse_depth == 0, return_distances=False, return_indices=True
    )
    return np.where(np.isnan(dense), sparse_depth[row, column], dense).astype(np.float32)


def methods(names: Iterable[str]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Find methods by name, the reference among them."""
    return {n: scipy_linear if n == REFERENCE else classical.find(n) for n in names}


def measure(data: Path, beams: int, every: int, names: Iterable[str]) -> dict[str, Row]:
    """Complete every n-th frame with each method in turn and score it by the referee."""
    frames = data / 'kitti_0926_frames'
    inputs = sorted((frames / f'sparse_{beams:02d}beam').glob('*.png'))[::every]
    if not inputs:
        raise SystemExit(f'{frames}: no frames in sparse_{beams:02d}beam; set DEPTH_KD_DATA')
    complete = methods(names)
    seconds: dict[str, list[float]] = {name: [] for name in complete}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for path in inputs:
            truth = frames / f'heldout_{WITHHELD[beams]:02d}beam' / path.name
            for place, file in (out / 'input', path), (out / 'truth', truth):
                place.mkdir(exist_ok=True)
                (place / path.name).symlink_to(file.resolve())
            sparse = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 256
            for name, method in complete.items():
                start = time.perf_counter()
                dense = method(sparse)
                seconds[name].append(time.perf_counter() - start)
                (out / name).mkdir(exist_ok=True)
                cv2.imwrite(str(out / name / path.name), np.rint(dense * 256).astype(np.uint16))
        referee = data.parent / 'tools' / 'score_depth.py'
        return {
            name: Row(*referee_errors(referee, out, name), 1e3 * float(np.median(seconds[name])))
            for name in complete
        }


def referee_errors(referee: Path, out: Path, name: str) -> list[float]:
    """Run the referee on out/name: MAE, RMSE, clean MAE, clean RMSE in m, missing percent."""
    command = [sys.executable, referee, out / name, out / 'truth', '--input', out / 'input']
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f'{referee} failed on {name}: {run.stderr}')
    everything, clean = (
        [float(number) for number in re.findall(r'(?:MAE|RMSE|missing) ([\d.]+)', line)]
        for line in run.stdout.splitlines()
    )  # MAE, RMSE, iMAE, iRMSE, missing
    return [*everything[:2], *clean[:2], everything[4]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--beams', type=int, choices=WITHHELD, default=16, help='of the input')
    parser.add_argument('--every', type=int, default=1, help='take every n-th frame')
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    data = Path(os.environ.get('DEPTH_KD_DATA') or root.parent / 'shared' / 'data')
    rows = measure(data, options.beams, options.every, [*classical.available(), REFERENCE])
    slowest = rows[REFERENCE].milliseconds
    print(
        f'| {options.beams} beams | MAE m | RMSE m | clean MAE m | clean RMSE m | missing '
        f'| ms/frame | of SciPy |\n|---|---|---|---|---|---|---|---|'
    )
    for name, row in rows.items():
        errors = ' | '.join(f'{value:.3f}' for value in row[:4])
        print(
            f'| {name} | {errors} | {row.missing:.2f} % | {row.milliseconds:.1f} '
            f'| {row.milliseconds / slowest:.2f} |'
        )


if __name__ == '__main__':
    main()
