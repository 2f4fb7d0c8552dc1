"""`depth_kd export`: a network as an ONNX file whose outputs have been compared with torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from depth_kd_ros.commands import fail, parse_size
import typer

HELP = """
Write a network as ONNX, in float32, and compare ONNX Runtime's outputs with torch's.

The graph reads what the network reads: `image` (normalised, as the metadata says) and
`sparse_depth` (metres, 0 = none). It gives `depth` and, from a network with that head,
`confidence`. The file holds the checkpoint's metadata and the size. It appears only once the
comparison, on random input, found a difference of at most 1e-4 of the largest value.

Needs the extra `depth_kd_ros[export]`.

Examples:

    depth_kd export student.safetensors --out student.onnx

    depth_kd export student.safetensors --dynamic --out student.onnx

    depth_kd export lspkd_s8 --size 228x304
"""


def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar='NAME',
            help='Bundled weights, a .safetensors file, or a network of `depth_kd models`: that '
            'one has random weights.',
        ),
    ],
    to: Annotated[str, typer.Option(help='Format: onnx.')] = 'onnx',
    out: Annotated[
        Path | None,
        typer.Option(help='File to write.', show_default='NAME.onnx, in this folder'),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar='HxW', help='Height x width in pixels; with --dynamic a size to compare at.'
        ),
    ] = '352x1216',
    dynamic: Annotated[
        bool,
        typer.Option(
            '--dynamic', help='Leave height and width free: any size. Compared at two sizes.'
        ),
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help='Images per call, fixed.')] = 1,
    opset: Annotated[int, typer.Option(help='ONNX operator set, 13 to 20.')] = 17,
    overwrite: Annotated[
        bool, typer.Option('--overwrite', help='Replace an existing file.')
    ] = False,
) -> None:
    height_width = parse_size(size)
    if to != 'onnx':
        fail(f'--to {to!r}: onnx is the only format')
    from depth_kd_ros import catalogue, exporting

    try:
        entry = catalogue.entries([name])[-1]  # weights, where a network has the same name
        target = out or Path(f'{Path(entry.name).stem}.onnx')
        exporting.check_request(target, opset, overwrite)
        network, metadata = entry.open()
        if entry.kind == 'network':
            typer.secho(
                f'RANDOM WEIGHTS: {name} is an untrained network. The file serves to measure '
                'speed; its depth means nothing.',
                err=True, fg='yellow', bold=True,
            )  # fmt: skip
        exported = exporting.export(
            network, metadata, target, height_width,
            dynamic=dynamic, batch=batch, opset=opset, overwrite=overwrite,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        fail(str(error))
    shape = 'any size' if dynamic else size
    typer.echo(
        f'{target}: {target.stat().st_size / 1e6:.1f} MB, {batch} x {shape}, opset {opset}, reads '
        f'{" and ".join(network.inputs)}'
    )
    for (height, width), difference in exported.errors.items():
        typer.echo(
            f'at {height}x{width} ONNX Runtime differs from torch by {difference:.1e} of the '
            f'largest value ({exporting.MOST_ERROR:.0e} allowed)'
        )
    typer.echo(f'{exported.latency_ms:.1f} ms per call at {size} in ONNX Runtime on this CPU')
