"""`depth_kd check-bag`: whether a recording can be used, and what to do about each problem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TYPE_CHECKING

from depth_kd_ros.commands import fail
import typer

if TYPE_CHECKING:
    from depth_kd_ros.bag_check.alignment import Alignment
    from depth_kd_ros.bag_check.check import Check, Options
    from rich.console import Console

WIDE = 110  # columns where the output is no terminal
COLOURS = {'error': 'red', 'warning': 'yellow', 'note': 'cyan'}
HELP = """
Tell whether a rosbag2 can be used, and name each problem with what to do about it.

Looks at topics, rates, gaps and QoS; at the stamps of images and clouds; at the extrinsics and the
clocks, by whether depth edges lie on image edges; at the points in view. Problems come in order of
weight. Exit code: 0 usable, 1 an error makes it unusable as it is, 2 it cannot be read.

Examples:

    depth_kd check-bag my_bag

    depth_kd check-bag my_bag --out checked          # report.json and pictures

    depth_kd check-bag my_bag --offset -0.08 --extrinsics checked/extrinsics.yaml
"""


def run(
    bag: Annotated[Path, typer.Argument(help='A rosbag2 folder (mcap, sqlite3).')],
    out: Annotated[
        Path | None, typer.Option(help='Folder for report.json and pictures; made if absent.')
    ] = None,
    frames: Annotated[
        int, typer.Option(min=3, help='How many frames to look at, evenly spread.')
    ] = 20,
    image: Annotated[
        str | None,
        typer.Option(help='Image topic; needed where a bag has several.', rich_help_panel='Bags'),
    ] = None,
    points: Annotated[
        str | None, typer.Option(help='PointCloud2 topic.', rich_help_panel='Bags')
    ] = None,
    camera_info: Annotated[
        str | None, typer.Option(help='CameraInfo topic.', rich_help_panel='Bags')
    ] = None,
    extrinsics: Annotated[
        str, typer.Option(help='bag (its /tf_static) or a YAML file.', rich_help_panel='Bags')
    ] = 'bag',
    slop: Annotated[
        float,
        typer.Option(
            min=0, help='Largest stamp difference of image and cloud, seconds.',
            rich_help_panel='Bags',
        ),
    ] = 0.05,
    offset: Annotated[
        float,
        typer.Option(
            help="Added to a cloud's stamp before its image is sought, seconds.",
            rich_help_panel='Bags',
        ),
    ] = 0.0,
    rectify: Annotated[
        str,
        typer.Option(
            help='auto, none, image or points (looked at as image): how the image relates to '
            'CameraInfo.',
            rich_help_panel='Bags',
        ),
    ] = 'auto',
) -> None:  # fmt: skip
    from depth_kd_ros.bag_check.check import Options

    options = Options(
        image, points, camera_info, slop, offset, rectify, extrinsics, frames,
    )  # fmt: skip
    try:
        done = look(bag, out, options)
    except (ValueError, OSError) as error:
        fail(str(error))
    if not done.is_usable:
        raise typer.Exit(1)


def look(path: Path, out: Path | None, options: Options) -> Check:
    """Check, print, and write what --out asks for."""
    from depth_kd_ros.bag_check.check import check
    from depth_kd_ros.bag_check.recording import check_files
    from depth_kd_ros.bags import Bag
    from rich.console import Console
    from rich.progress import Progress

    if out is not None and (
        out.resolve() == path.resolve() or path.resolve() in out.resolve().parents
    ):
        fail(f'--out {out} lies in the bag {path}: choose another folder')
    if path.exists():
        check_files(path)
    better = str((out or Path('OUT')) / 'extrinsics.yaml')
    if out is None:
        better = 'extrinsics.yaml, which --out FOLDER writes'
    with Bag(path) as bag, Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('reading', total=1.0)
        done = check(
            bag, options, better,
            lambda what, share: bar.update(task, description=what, completed=share),
        )  # fmt: skip
    console = Console()
    show(done, console if console.is_terminal else Console(width=WIDE), path)
    if out is not None:
        write(done, path, out)
    return done


def show(done: Check, console: Console, path: Path) -> None:
    """Print what was measured, the faults, and the verdict."""
    from rich.table import Table

    table = Table(
        'topic', 'messages', 'Hz', 'lost', 'longest gap s', title=str(path), box=None,
        title_justify='left', title_style='bold',
    )  # fmt: skip
    for topic, rhythm in done.rhythms.items():
        gap = f'{rhythm.gaps_s[0][1]:.2f}' if rhythm.gaps_s else '-'
        table.add_row(topic, str(rhythm.count), f'{rhythm.hz:.1f}', str(rhythm.lost), gap)
    console.print(table)
    lines = list(measured(done))
    if lines:
        facts = Table('measured', '', box=None, show_header=False)
        for name, value in lines:
            facts.add_row(name, value)
        console.print(facts)
    for fault in done.faults:
        colour = COLOURS[fault.weight]
        console.print(f'\n[{colour}]{fault.weight}[/] ', end='')
        console.print(fault.found, markup=False, highlight=False)
        console.print(f'  why: {fault.why}\n  do:  {fault.remedy}', markup=False, highlight=False)
    errors = sum(fault.weight == 'error' for fault in done.faults)
    verdict = 'usable' if not errors else f'not usable as it is: {errors} error(s)'
    console.print(f'\n[bold {"green" if not errors else "red"}]{verdict}[/]')


def measured(done: Check) -> Iterator[tuple[str, str]]:
    """Give what was measured of both sensors together, as (name, text)."""
    if done.skew:
        skew = done.skew
        yield (
            'image stamp - cloud stamp',
            f'median {skew.median_s * 1e3:+.1f} ms, middle 90 % within {skew.spread_s * 1e3:.1f} '
            f'ms; {skew.matched_share:.0%} of the clouds matched',
        )
    if done.rig:
        yield 'extrinsics', str(done.rig)
    if len(done.points_in_view):
        counts = sorted(done.points_in_view)
        yield (
            'points in view',
            f'{counts[len(counts) // 2]} per frame, {counts[0]} to {counts[-1]}',
        )
    if done.alignment:
        yield from alignment(done.alignment, any(f.name == 'rotation' for f in done.faults))


def alignment(found: Alignment, is_off: bool) -> Iterator[tuple[str, str]]:
    """Give the lines on alignment and clocks."""
    if not found.is_found:
        yield 'alignment', f'not found (score {found.score:.3f})'
        return
    parts = zip(('yaw', 'pitch', 'roll'), found.best, found.interval, strict=False)
    turn = ', '.join(f'{name} {value:+.2f} +- {width:.2f}' for name, value, width in parts)
    yield (
        'alignment',
        f'{"off" if is_off else "good"}: score {found.given_score:.3f} as given, '
        f'{found.score:.3f} at best, turned by (degrees) {turn}',
    )
    best, width = found.best[3] * 1e3, found.interval[3] * 1e3
    yield (
        'offset of the clocks',
        f'{round(best):+d} +- {width:.0f} ms' if found.is_moving else 'no motion: cannot tell',
    )


def write(done: Check, path: Path, out: Path) -> None:
    """Write report.json, the pictures and, where they align better, extrinsics."""
    import json

    from depth_kd_ros import files
    from depth_kd_ros.bag_check import charts
    from depth_kd_ros.bag_check.check import turned
    from depth_kd_ros.bag_check.report import report
    import yaml

    out.mkdir(parents=True, exist_ok=True)
    files.replace(
        out / 'report.json', (json.dumps(report(done, str(path)), indent=1) + '\n').encode()
    )
    names = ['report.json', *(made.name for made in charts.write(done, out))]
    if done.rig and done.alignment and any(fault.name == 'rotation' for fault in done.faults):
        rig = turned(done.rig, done.alignment)
        content = {
            'parent': rig.parent, 'child': rig.child, 'T_cam_lidar': rig.T_cam_lidar.tolist(),
        }  # fmt: skip
        files.replace(out / 'extrinsics.yaml', yaml.safe_dump(content).encode())
        names.append('extrinsics.yaml')
    typer.echo(f'written to {out}: {", ".join(names)}')
