"""`depth_kd_training report`: one HTML page of runs, evaluations and studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from depth_kd_training.commands import fail
import typer

HELP = """
Write one HTML page of training runs, evaluations and studies; it needs no network and no other
file.

From a run folder come the curves, the recipe and the evaluations in it; from an evaluation (--out
of `evaluate`) the tables with intervals, the charts by beams and distance, and the example frames
with their errors; from a study's JSON its tables. Several are put side by side.

Examples:

    depth_kd_training report runs/student --out student.html

    depth_kd_training report runs/student runs/distilled comparison.json --title "Distillation"

    depth_kd_training report runs/studies/*.json --out studies.html
"""


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar='RUN_FOLDER|EVALUATION.json|STUDY.json...', help='What to show.'),
    ],
    out: Annotated[Path, typer.Option(help='HTML file to write.')] = Path('report.html'),
    title: Annotated[
        str, typer.Option(help='Heading.', show_default='names of what is shown')
    ] = '',
) -> None:
    from depth_kd_ros import files
    from depth_kd_training.report import report as make

    try:
        text = make(paths, title)
        files.replace(out, text.encode())
    except (ValueError, OSError) as error:
        fail(str(error))
    typer.echo(f'written: {out}, {out.stat().st_size / 1e6:.1f} MB')
