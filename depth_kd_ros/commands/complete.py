"""`depth_kd complete`: dense depth for every frame of a bag or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TYPE_CHECKING

from depth_kd_ros.commands import fail
import typer

if TYPE_CHECKING:
    from depth_kd_ros.offline import BagOptions

PNG_MAX_M = 255.0  # 16 bit, 1/256 m
SHOWN = 5  # frames left out that are named one by one
HELP = """
Complete every frame of a rosbag2 or a folder and write dense depth.

A bag's topics are found by type and its extrinsics in /tf_static; frames are matched and completed
as by the live node. Files are named by the image's stamp in nanoseconds (bag) or the frame's name.

Examples:

    depth_kd complete my_bag --out depth

    depth_kd complete my_bag --out depth --model student.safetensors --device cuda

    depth_kd complete my_bag --out depth --image /front/image_raw --points /ouster/points

    depth_kd complete frames --sparse sparse_16beam --out depth --sheets 10
"""


def run(
    source: Annotated[
        Path,
        typer.Argument(
            metavar='BAG_OR_FOLDER',
            help='A rosbag2 folder (mcap, sqlite3), or a folder with rgb/ and sparse depth.',
        ),
    ],
    out: Annotated[
        Path, typer.Option(help='Folder to write to; made if absent. For mcap: the new bag.')
    ],
    model: Annotated[
        str,
        typer.Option(
            help='Classical or bundled model, or a .safetensors file; see `depth_kd models`.'
        ),
    ] = 'push_pull',
    device: Annotated[str, typer.Option(help='auto, cpu, cuda or cuda:N.')] = 'auto',
    format: Annotated[
        str,
        typer.Option(
            help='png (16 bit, value / 256 m), npy (float32 m) or mcap (a bag of depth topics).'
        ),
    ] = 'png',
    min_depth: Annotated[
        float, typer.Option(help='Nearest depth used and written, metres.')
    ] = 0.5,
    max_depth: Annotated[
        float, typer.Option(help='Farthest depth used and written, metres.')
    ] = 120.0,
    bleed_filter: Annotated[
        bool, typer.Option(help='Drop points seen past a nearer surface.')
    ] = True,
    sheets: Annotated[
        int,
        typer.Option(
            min=0, help='Also write a contact sheet of every n-th frame to OUT_sheets; 0: none.'
        ),
    ] = 0,
    overwrite: Annotated[bool, typer.Option(help='Replace files of an earlier run.')] = False,
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
            help='Largest stamp difference of image and cloud, seconds.', rich_help_panel='Bags'
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
            help='auto, none, image or points: how the image relates to CameraInfo.',
            rich_help_panel='Bags',
        ),
    ] = 'auto',
    sparse: Annotated[
        str, typer.Option(help='Name of the folder with sparse depth.', rich_help_panel='Folders')
    ] = 'sparse',
    depth_scale: Annotated[
        float,
        typer.Option(
            help='PNG value per metre of sparse depth: 256 (KITTI), 1000 (mm).',
            rich_help_panel='Folders',
        ),
    ] = 256.0,
) -> None:
    from depth_kd_ros.offline import BagOptions, check_output

    if format == 'png' and max_depth > PNG_MAX_M:
        fail(f'--max-depth {max_depth}: png holds up to {PNG_MAX_M} m; use --format npy')
    options = BagOptions(image, points, camera_info, slop, offset, rectify, extrinsics)
    limits = {'min_depth_m': min_depth, 'max_depth_m': max_depth, 'bleed_filter': bleed_filter}
    try:
        check_output(source, out, format, overwrite)
        complete(source, out, model, device, limits, format, sheets, options, sparse, depth_scale)
    except (ValueError, OSError) as error:
        fail(str(error))


def complete(
    source: Path, out: Path, model: str, device: str, limits: dict, format: str, sheets: int,
    options: BagOptions, sparse: str, depth_scale: float,
) -> None:  # fmt: skip
    """Open source, model and sinks, run the frames with a progress bar, print what came out."""
    from contextlib import ExitStack

    from depth_kd_ros import offline
    from depth_kd_ros.bags import Bag
    from depth_kd_ros.completer import DepthCompleter
    from depth_kd_ros.folders import Folder
    from depth_kd_ros.nodes.decoding import decoder
    from rich.console import Console
    from rich.progress import track

    completer, result = DepthCompleter(model, device, **limits), offline.Result()
    by, total = completer.model.name, 0
    try:
        with ExitStack() as stack:
            if (source / 'rgb').is_dir():
                folder = Folder(source, sparse, depth_scale)
                jobs, total = offline.folder_jobs(folder, completer), len(folder)
            else:
                bag = stack.enter_context(Bag(source))
                jobs = offline.bag_jobs(bag, options, completer, decoder())
                total = bag.topics[bag.find_topic('points', options.points)].count
            sinks = [stack.enter_context(offline.depth_sink(out, format))]
            if sheets:
                sinks.append(offline.contact_sheets(Path(f'{out}_sheets'), sheets, by))
            bar = track(range(total), f'completing with {by}', console=Console(stderr=True))
            offline.complete(jobs, sinks, iter(bar), result)
    finally:  # also after Ctrl-C
        for name, reason in list(result.left_out.items())[:SHOWN]:
            typer.secho(f'left out {name}: {reason}', err=True, fg='yellow')
        if len(result.left_out) > SHOWN:
            typer.secho(f'... and {len(result.left_out) - SHOWN} more', err=True, fg='yellow')
        if result.caveats:
            name, caveat = next(iter(result.caveats.items()))
            typer.secho(
                f'{len(result.caveats)} frames, first {name}: {caveat}', err=True, fg='yellow'
            )
        if result.written:
            where = f'{out}/*.{format}' if format != 'mcap' else str(out)
            count = f'{result.written} of {total} frames'
            typer.echo(f'{count} written to {where} by {by} on {completer.device}')
    unmatched = total - result.written - len(result.left_out)
    if unmatched > 0:
        reason = f'{unmatched} clouds have no image within {options.slop_s} s'
        typer.secho(f'{reason}: see --slop and --offset', err=True, fg='yellow')
    if not result.written:
        fail('no frame could be completed')
