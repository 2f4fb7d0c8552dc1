"""`depth_kd models`: what there is, what it costs, how fast it is here."""

from __future__ import annotations

import json as json_format
from typing import Annotated, TYPE_CHECKING

from depth_kd_ros.commands import fail, parse_size
import typer

if TYPE_CHECKING:
    from depth_kd_ros.catalogue import Row
    from rich.table import Table

WIDE = 200  # columns where nobody's terminal sets a limit
HELP = """
List networks, weights and classical models with parameters, GFLOPs and, on request, latency.

GFLOPs are 2 x multiply-accumulates; a strided deconvolution counts on its input. Parameters and
GFLOPs are those of the deployable network. `--model` and the node's `model` take weights and
classical models; networks are what training starts from.

Examples:

    depth_kd models --size 228x304

    depth_kd models lspkd_s8 mff_mobilenet_v2 --measure

    depth_kd models student.safetensors --json
"""


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar='[NAME]...',
            help='Only these: networks, bundled weights, .safetensors files. Else all.',
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar='HxW', help='Height x width in pixels.')
    ] = '352x1216',
    measure: Annotated[
        bool,
        typer.Option(
            '--measure',
            help='Measure the latency of one image in float32, ms: the median of 5 or more runs, '
            'fewer where they exceed 10 s. A teacher takes many seconds: name what you need.',
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help='Where --measure computes: auto, cpu, cuda or cuda:N.')
    ] = 'auto',
    json: Annotated[bool, typer.Option('--json', help='Print a JSON list.')] = False,
) -> None:
    height_width = parse_size(size)
    from depth_kd_ros import catalogue
    from depth_kd_ros.completer import open_device
    from rich.console import Console
    from rich.progress import track

    progress = Console(stderr=True)
    try:
        entries = catalogue.entries(names or ())
        measure_on = open_device(device) if measure else None
        rows = [
            catalogue.describe(entry, height_width, measure_on)
            for entry in track(
                entries, 'measuring' if measure else 'counting', console=progress,
                transient=True, disable=not progress.is_terminal,
            )
        ]  # fmt: skip
    except ValueError as error:
        fail(str(error))
    if json:
        lines = [json_format.dumps(row.to_json()) for row in rows]
        typer.echo('[\n  ' + ',\n  '.join(lines) + '\n]')
        leave(rows, names)
        return
    where = f'at {size}' + (f' on {measure_on}' if measure else '')
    show(rows, where, measure)
    if not names:
        show_classical()
    leave(rows, names)


def leave(rows: list[Row], names: list[str] | None) -> None:
    """Exit with 2 where something that was named cannot be used."""
    if names and any(row.error for row in rows):
        raise typer.Exit(2)


def show(rows: list[Row], where: str, measured: bool) -> None:
    """Print a table of the networks and one of the weights; errors go to stderr."""
    from rich.console import Console

    networks = table(f'networks {where}', ['reads'], measured)
    weights = table(f'weights {where}', ['network', 'hash', 'MB'], measured)
    for row in rows:
        costs = [number(row.params and row.params / 1e6, 3), number(row.gflops, 3)]
        costs += [number(row.latency_ms, 1)] if measured else []
        if row.entry.kind == 'network':
            networks.add_row(row.entry.name, ', '.join(row.inputs), *costs)
        else:
            about = row.network or 'unusable', row.hash or '-', number(row.megabytes, 1)
            weights.add_row(row.entry.name, *about, *costs)
    console = Console()
    if not console.is_terminal:  # a file or a pipe: nothing need be cut off
        console = Console(width=WIDE)
    for filled in (networks, weights):
        if filled.row_count:
            console.print(filled)
    for row in rows:
        if row.error:
            typer.secho(f'{row.entry.name}: {row.error}', err=True, fg='red')


def table(title: str, columns: list[str], measured: bool) -> Table:
    """Make an empty table: name, own columns, then what an entry costs."""
    from rich.table import Table

    made = Table(title=title, title_justify='left', title_style='bold', box=None)
    for column in ('name', *columns):
        made.add_column(column, no_wrap=True, justify='right' if column == 'MB' else 'left')
    for column in ('params M', 'GFLOPs', *(['ms'] if measured else [])):
        made.add_column(column, no_wrap=True, justify='right')
    return made


def number(value: float | None, digits: int) -> str:
    """Write a number, or a dash for none."""
    return '-' if value is None else f'{value:.{digits}f}'


def show_classical() -> None:
    """Print the models that need no weights, and where weights are to be found."""
    from depth_kd_ros.checkpoint import bundled
    from depth_kd_ros.classical import available, summary
    from rich.console import Console
    from rich.table import Table

    if not bundled():
        typer.echo('no weights are bundled yet: give the path of a .safetensors checkpoint')
    made = Table(
        'name', 'how', title='without weights', title_justify='left', title_style='bold', box=None
    )
    for name in available():
        made.add_row(name, summary(name))
    Console().print(made)
