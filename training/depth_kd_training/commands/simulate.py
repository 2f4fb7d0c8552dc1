"""`depth_kd_training simulate`: frames of procedural worlds, as files or as a recording."""

from __future__ import annotations

import json
import os
from pathlib import Path
import re
import sys
import time
from typing import Annotated

from depth_kd_training.commands import fail
import typer

HELP = """
Render procedural worlds with camera and LiDAR, as a data set of files or as a rosbag2.

A folder gets rgb/, sparse/, depth_gt/ (16-bit PNG, value / 256 m), ring/, semantic/, instance/
(value - 1), K/, about/ (sensor, extrinsics, seed) and classes.json: the data set `folder` of
`train` and `evaluate`. A bag is a drive at 10 Hz and 5 m/s (0.8 m/s indoors) with image,
camera_info, point cloud (its time counts from the middle of the scan) or depth image, and
/tf_static. Beside them lie `report.json` (speed, points per beam and distance, see-through share)
and `contact_sheet.png`.

The same options and seed give the same frames, as do those of the data set `simulation` in a
recipe: test on another seed than you train on.

Examples:

    depth_kd_training simulate --world street --frames 200 --out street

    depth_kd_training simulate --world indoor --sensor rgbd --size 240x320 --out rooms

    depth_kd_training simulate --sensor hdl64e --rig kitti --seed 1 --frames 500 --out unseen

    depth_kd_training simulate --format rosbag2 --frames 80 --sensor os1_64 --out drive
"""


def _list(wanted: bool) -> None:
    """List the LiDARs and end, if that is wanted."""
    if wanted:
        from depth_kd_training.simulation.lidar_models import MODELS

        for name, model in MODELS.items():
            high, low = model.elevation_deg[0], model.elevation_deg[-1]
            typer.echo(
                f'{name:10} {model.beams:3} beams, {high:g} to {low:g} deg, {model.range_m:g} m'
            )
        raise typer.Exit


def simulate(
    out: Annotated[Path, typer.Option(help='Folder (new or empty) or bag (new) to write.')],
    world: Annotated[
        str, typer.Option(help='street, jam (queued traffic), indoor or mixed.')
    ] = 'street',
    frames: Annotated[int, typer.Option(min=1, help='How many.')] = 100,
    size: Annotated[str, typer.Option(help='Of the image, HEIGHTxWIDTH px.')] = '240x608',
    sensor: Annotated[
        str, typer.Option(help='A LiDAR (see --list), random among them, rgbd or none.')
    ] = 'random',
    rig: Annotated[str, typer.Option(help='How sensors are mounted: random or kitti.')] = 'random',
    randomised: Annotated[
        float, typer.Option(help='Share of frames in random colours and textures, 0..1.')
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help='Another seed, other frames.')] = 0,
    format: Annotated[str, typer.Option(help='folder or rosbag2.')] = 'folder',
    storage: Annotated[str, typer.Option(help='Of a rosbag2: mcap or sqlite3.')] = 'mcap',
    workers: Annotated[
        int | None,
        typer.Option(min=0, help='Processes; 0: this one.', show_default='one per core'),
    ] = None,
    device: Annotated[str, typer.Option(help='auto, cpu, cuda or cuda:N.')] = 'cpu',
    list_sensors: Annotated[
        bool,
        typer.Option('--list', help='List the LiDARs and end.', is_eager=True, callback=_list),
    ] = False,
) -> None:
    from depth_kd_ros import files, pictures
    from depth_kd_ros.completer import open_device
    from depth_kd_training.simulation import production
    from depth_kd_training.simulation.scene import Config

    if format not in ('folder', 'rosbag2'):
        fail(f'--format {format!r}: give folder or rosbag2')
    if format == 'rosbag2' and device != 'cpu':
        fail(f'--device {device!r}: a rosbag2 is rendered by processes of the CPU; leave it out')
    sides = re.fullmatch(r'(\d+)[xX](\d+)', size, re.ASCII)
    if not sides:
        fail(f'--size {size!r}: give HEIGHTxWIDTH in pixels, as in 240x608')
    processes = (os.cpu_count() or 1) if workers is None else workers
    start, done = time.perf_counter(), list[float]()
    try:
        device = str(open_device(device))
        config = Config(world, (int(sides[1]), int(sides[2])), sensor, rig, randomised)
        with typer.progressbar(length=frames, label='simulating', file=sys.stderr) as bar:

            def progress() -> None:
                done.append(time.perf_counter())
                bar.update(1)

            if format == 'folder':
                summary = production.write_folder(
                    config, seed, frames, out, processes, device, progress
                )
            else:
                summary = production.write_bag(
                    config, seed, frames, out, processes, storage, progress
                )
        seconds = time.perf_counter() - start
        # From the first frame on: the start of the processes is in `seconds` alone.
        rate = (frames - 1) / (done[-1] - done[0]) if frames > 1 else 1 / seconds
        report = {
            'frames': frames, 'frames_per_second': round(rate, 2), 'seconds': round(seconds, 2),
            'workers': processes if device == 'cpu' else 1, 'device': device,
            'options': {
                'world': world, 'size': size, 'sensor': sensor, 'rig': rig,
                'randomised': randomised, 'seed': seed, 'format': format,
            },
            **summary.report(),
        }  # fmt: skip
        files.replace(out / 'report.json', (json.dumps(report, indent=1) + '\n').encode())
        pictures.write(str(out / 'contact_sheet.png'), summary.sheet())
    except OSError as error:
        fail(f'{error.filename or out}: {error.strerror or error}')
    except ValueError as error:
        fail(str(error))
    typer.echo(
        f'{out}: {frames} frames, {report["frames_per_second"]} frames per second, '
        f'{report["points_per_frame"]:.0f} points per frame, of which '
        f'{report["see_through_share"]:.1%} lie behind what the camera sees; look at '
        f'{out / "contact_sheet.png"}'
    )
