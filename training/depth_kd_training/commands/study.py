"""`depth_kd_training study`: a table of recipes x seeds, run, judged and put beside a paper's."""

from __future__ import annotations

from functools import partial
import os
from pathlib import Path
import shlex
import sys
from typing import Annotated, TYPE_CHECKING

from depth_kd_training.commands import fail
import typer

if TYPE_CHECKING:
    from depth_kd_training.study_plan import Job, Plan
    from depth_kd_training.study_queue import Perform

WIDE = 240  # columns where nobody's terminal sets a limit
HELP = """
Run a table of recipes x seeds, and put it beside the paper's.

OUT gets `sets/` (simulated frames), `runs/` (a folder for each run, known by its recipe) and the
table as `STUDY_PRESET.md`, `.json` and `.html`: means and standard deviations over seeds, the gap
closed, what is claimed and whether it holds, the cost. What is finished is never run again, in no
study of this OUT; after Ctrl-C, or a kill, the same command goes on.

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
        Path,
        typer.Option(help='Folder of sets, runs and tables, for all studies.'),
    ] = Path('runs/studies'),
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
    from depth_kd_training import study_loading

    if list_studies:
        for name in study_loading.STUDIES.available():
            typer.echo(f'{name:24} {study_loading.STUDIES.summary(name)}')
        return
    if not file:
        fail('give a STUDY: a name of --list, or a YAML file')
    try:
        chosen, preset = study_loading.load(file, preset)
        wanted = _rows(rows, list(chosen.rows))
        numbers = [_seed(word) for word in seeds.split(',') if word] or list(chosen.seeds)
        numbers = list(dict.fromkeys(numbers))
        from depth_kd_training import study_plan

        plan = study_plan.Plan(chosen, out)
        study_plan.check(plan, file)
        stopped, failures = 0, list[str]()
        if not table:
            jobs = plan.jobs(wanted, numbers)
            stopped, failures = _run(plan, jobs, devices.split(','), workers, ray)
        _tell(plan, numbers, Path(file).stem, preset)
    except (ValueError, OSError) as error:
        fail(str(error))
    for failure in failures:
        typer.secho(f'failed: {failure}', err=True, fg='red')
    if stopped:
        typer.echo(f'stopped; to go on:\ndepth_kd_training {shlex.join(sys.argv[1:])}')
        raise typer.Exit(128 + stopped)
    if failures:
        raise typer.Exit(1)


def _rows(text: str, known: list[str]) -> list[str]:
    """Read names of rows between commas."""
    from depth_kd_ros import plugins

    found = [word for word in text.split(',') if word]
    for word in found:
        if word not in known:
            fail(f'--rows: unknown {plugins.unknown(word, known)} Known: {", ".join(known)}')
    return found or known


def _seed(word: str) -> int:
    if not word.isdigit():
        fail(f'--seeds: {word!r}: give whole numbers, as in 0,1,2')
    return int(word)


def _run(
    plan: Plan, jobs: list[Job], devices: list[str], workers: int | None, ray: str
) -> tuple[int, list[str]]:
    """Make the sets, then do the jobs; give the signal that stopped it, 0 for none, and faults."""
    from depth_kd_training.interruption import Interruption
    from depth_kd_training.study_queue import Queue
    from depth_kd_training.study_runs import make_set, RunError, Stop, StoppedError

    perform, slots = _performer(devices, workers, ray)
    queue = Queue(jobs, slots, perform, typer.echo, _score)
    typer.echo(f'{plan.out}: {len(queue.done)} of {len(jobs)} runs are there')
    with Interruption() as interruption:
        stop = Stop(interruption)
        try:
            for name in plan.sets_of(queue.waiting):
                chosen, folder = plan.study.sets[name], plan.sets[name]
                if not (folder / 'report.json').is_file():
                    typer.echo(f'set {name}: {chosen.frames} frames, {folder}')
                make_set(name, chosen, folder, stop)
            queue.run(stop)
        except StoppedError:
            pass
        except RunError as error:
            fail(str(error))
        return interruption.signal or 0, queue.failures


def _performer(devices: list[str], workers: int | None, ray: str) -> tuple[Perform, list[str]]:
    """Say who does the jobs, and on which device each at a time."""
    from depth_kd_ros.completer import open_device

    if ray:
        from depth_kd_training.study_ray import Cluster

        cluster = Cluster(ray, ','.join(devices))
        return cluster.perform, devices * (workers or cluster.slots)
    from depth_kd_training.study_runs import perform

    on_gpu = [open_device(name).type == 'cuda' for name in devices]
    slots = [devices[i % len(devices)] for i in range(workers or len(devices))]
    alone = len(slots) == 1 or all(on_gpu)
    threads = None if alone else max(1, (os.cpu_count() or 1) // len(slots))
    return partial(perform, threads), slots


def _score(job: Job) -> str:
    """Say what a finished run is worth."""
    from depth_kd_training import evaluation, tables

    file, name, _ = job.scored[0]
    found = evaluation.read(file)
    metrics = found['rows'][0]['metrics']
    return f', RMSE {tables.number(metrics["rmse"])} m on {name}'


def _tell(plan: Plan, seeds: list[int], name: str, preset: str) -> None:
    """Print the table, and write it where there is a folder."""
    from depth_kd_training import study_page, study_table
    from rich.console import Console

    found = study_table.document(plan, seeds, preset)
    console = Console()
    if not console.is_terminal:  # a file or a pipe: nothing need be cut off
        console = Console(width=WIDE)
    study_page.show(found, console)
    if plan.out.is_dir():
        stem = plan.out / '_'.join(filter(None, [name, preset]))
        study_page.write(found, stem, plan.out)
        typer.echo(f'written: {stem}.md, .json and .html')
