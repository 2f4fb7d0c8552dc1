"""`depth_kd_training study`: a table of recipes x seeds, run, judged and put beside a paper's."""

from __future__ import annotations

from pathlib import Path
import shlex
import sys
from typing import Annotated, TYPE_CHECKING

from depth_kd_training.commands import fail
import typer

if TYPE_CHECKING:
    from depth_kd_training.study_plan import Job, Plan

WIDE = 240  # columns where nobody's terminal sets a limit
HELP = """
Run a table of recipes x seeds, and put it beside the paper's.

OUT gets `sets/` (simulated frames), `runs/` (a folder for each run, known by its recipe) and the
table as `study_PRESET.md`, `.json` and `.html`: means and standard deviations over seeds, the gap
closed, what is claimed and whether it holds, the cost. What is finished is never run again; after
Ctrl-C, or a kill, the same command goes on.

Examples:

    depth_kd_training study --list

    depth_kd_training study my_study.yaml --preset tiny --out runs/mine

    depth_kd_training study my_study.yaml --rows student,distilled --seeds 0

    depth_kd_training study my_study.yaml --preset full --devices cuda:0,cuda:1

    depth_kd_training study my_study.yaml --table

With --ray ADDRESS each run is a task of a Ray cluster whose machines share the folder OUT (the
extra `depth_kd_ros[ray]`).
"""


def study(
    file: Annotated[
        str,
        typer.Argument(
            metavar='STUDY', help='A name of --list, or a YAML file.', show_default=False
        ),
    ] = '',
    preset: Annotated[
        str, typer.Option(help='tiny or full.', show_default='tiny, where the study has it')
    ] = '',
    rows: Annotated[
        str, typer.Option(help='Rows to run, as in a,b; those that they need run, too.')
    ] = '',
    seeds: Annotated[str, typer.Option(help="As in 0,1; else the study's.")] = '',
    out: Annotated[
        Path | None, typer.Option(help='Folder of sets, runs and table.', show_default='runs/STUDY')
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help='Runs at a time.', show_default='one per device'),
    ] = None,
    devices: Annotated[
        str, typer.Option(help='auto, cpu, cuda, or several as in cuda:0,cuda:1.')
    ] = 'auto',
    ray: Annotated[
        str, typer.Option(help='Address of a Ray cluster; auto, local: a cluster here.')
    ] = '',
    table: Annotated[
        bool, typer.Option('--table', help='Run nothing; show what is finished.')
    ] = False,
    list_studies: Annotated[
        bool, typer.Option('--list', help='List the studies that come with the package.')
    ] = False,
) -> None:
    from depth_kd_training import config, study_loading

    if list_studies:
        for name in study_loading.available():
            typer.echo(f'{name:24} {study_loading.summary(name)}')
        return
    if not file:
        fail('give a STUDY: a name of --list, or a YAML file')
    folder = out or Path('runs') / Path(file).stem
    try:
        chosen, preset = study_loading.load(file, preset)
        from depth_kd_ros import plugins
        from depth_kd_training import study_plan

        plan = study_plan.Plan(chosen, folder)
        study_plan.check(plan, file)
        wanted = [word for word in rows.split(',') if word] or list(chosen.rows)
        for row in wanted:
            if row not in chosen.rows:
                fail(f'--rows: unknown {plugins.unknown(row, list(chosen.rows))}')
        numbers = [_seed(word) for word in seeds.split(',') if word] or list(chosen.seeds)
        if table:
            stopped, failures = 0, list[str]()
        else:
            jobs = plan.jobs(wanted, dict.fromkeys(numbers))
            stopped, failures = _run(plan, jobs, devices, workers, ray)
        _write(plan, list(dict.fromkeys([*chosen.seeds, *numbers])) if not seeds else numbers,
               preset)
    except (ValueError, OSError) as error:
        fail(str(error))
    if stopped:
        typer.echo(f'stopped; to go on:\ndepth_kd_training {shlex.join(sys.argv[1:])}')
        raise typer.Exit(128 + stopped)
    for failure in failures:
        typer.secho(f'failed: {failure}', err=True, fg='red')
    if failures:
        raise typer.Exit(1)
