"""`depth_kd_training evaluate`: the errors of models on a data set."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Annotated, Any, TYPE_CHECKING

from depth_kd_training.commands import fail
import typer

if TYPE_CHECKING:
    from depth_kd_training.evaluate import Plan

WIDE = 240  # columns where nobody's terminal sets a limit
GROUPS = ('distance', 'class')
HELP = """
Compare models on a data set: errors with 95 % intervals over frames.

MODEL is a checkpoint or a classical method (`depth_kd models`); the others are compared with the
first one, frame by frame. The data set is a folder, named last, or --dataset NAME with its options
as KEY=VALUE. A folder holds rgb/, sparse/, depth_gt/ and, where known, ring/, semantic/, K/.

Examples:

    depth_kd_training evaluate linear run/best.safetensors frames --beams 64,32,16,8 --out run.json

    depth_kd_training evaluate linear frames sparse=sparse_16beam depth_gt=heldout_48beam --clean

    depth_kd_training evaluate my.safetensors --dataset kitti_dc depth=kitti raw=raw split=val

    depth_kd_training evaluate my.safetensors --dataset kitti_dc depth=kitti split=test_anonymous
    --kitti-submission upload
"""


def evaluate(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar='MODEL|FOLDER|KEY=VALUE',
            help='Models; then the folder, unless --dataset is given; options of the data set.',
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option(help='Name of the data set.', show_default='folder')
    ] = None,
    beams: Annotated[
        str,
        typer.Option(help='Numbers of LiDAR beams to keep, as in 64,32,16; all: as recorded.'),
    ] = 'all',
    frames: Annotated[
        int | None, typer.Option(min=1, help='How many frames, evenly spaced; else all.')
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help='JSON file to write, for `report`; pictures go beside it.'),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            help='What the table shows: mae, rmse (m), imae, irmse (1/km), rel, delta1, delta2, '
            'delta3, pooled_rmse (m, over all pixels of all frames). The file has all.'
        ),
    ] = 'mae,rmse,imae,irmse',
    by: Annotated[str, typer.Option(help='Also show tables by: distance,class.')] = '',
    clean: Annotated[
        bool,
        typer.Option(
            '--clean',
            help='Also score without truth clearly behind a LiDAR point at most 5 pixels away, '
            'which the camera does not see. For truth that a LiDAR measured.',
        ),
    ] = False,
    min_depth: Annotated[
        float,
        typer.Option(help='Predictions are raised to it, m: 0.9 as KITTI, less indoors.'),
    ] = 0.9,
    max_depth: Annotated[
        float, typer.Option(help='Truth beyond is not scored, predictions are cut to it, m.')
    ] = 120.0,
    distances: Annotated[
        str, typer.Option(help='Bounds of the intervals of true depth, m.')
    ] = '0,20,40,80',
    bleed_filter: Annotated[
        bool,
        typer.Option(help='Drop points seen past a nearer surface, as `depth_kd complete` does.'),
    ] = False,
    examples: Annotated[int, typer.Option(min=0, help='Frames of which --out gets pictures.')] = 4,
    device: Annotated[str, typer.Option(help='auto, cpu, cuda or cuda:N.')] = 'auto',
    kitti_submission: Annotated[
        Path | None,
        typer.Option(
            help='Folder to write the predictions of one model to, as 16-bit PNGs, and FOLDER.zip '
            'to upload to the benchmark.'
        ),
    ] = None,
) -> None:
    from depth_kd_training.evaluate import Plan
    from depth_kd_training.scoring import Limits, UNITS

    shown, groups = _listed('--metrics', metrics, UNITS), _listed('--by', by, GROUPS)
    try:
        bounds = tuple(_number('--distances', word) for word in distances.split(','))
        limits = Limits(min_depth, max_depth, bounds, clean)
        submit = kitti_submission is not None
        plan = Plan(_beams(beams), frames, limits, bleed_filter, needs_truth=not submit)
        _evaluate(words, dataset, plan, device, out, examples, kitti_submission, shown, groups)
    except (ValueError, OSError) as error:
        fail(str(error))


def _evaluate(
    words: list[str], dataset: str | None, plan: Plan, device: str, out: Path | None,
    examples: int, submission_folder: Path | None, shown: list[str], groups: list[str],
) -> None:  # fmt: skip
    """Open everything, run it with a progress bar, write and print what came out."""
    from depth_kd_training import data, tables
    from depth_kd_training import evaluation as file
    from depth_kd_training.evaluate import evaluate, names, open_models, Watch
    from depth_kd_training.examples import Examples
    from depth_kd_training.kitti_submission import Submission
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    arguments, name, options = _parse(words, dataset)
    if submission_folder and (len(arguments) > 1 or plan.beams != (None,)):
        fail('--kitti-submission takes one model, and the beams as recorded')
    if out is not None and not out.parent.is_dir():
        fail(f'--out {out}: there is no folder {out.parent}')
    opened = data.build(name, options)
    classes = tuple(getattr(opened, 'classes', ()))
    models = open_models(arguments, device, plan)
    indices = plan.indices(len(opened))
    submission = Submission(submission_folder) if submission_folder else None
    pictures = None
    if out is not None and examples:
        chosen = {(2 * i + 1) * len(indices) // (2 * examples) for i in range(examples)}
        pictures = Examples(out.with_suffix('.examples'), chosen, plan.beams[0])
    watchers: list[Watch] = [w for w in (submission, pictures) if w is not None]
    columns = TextColumn('evaluating'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('', total=len(indices) * len(plan.beams) * len(models))
        rows = evaluate(opened, models, plan, classes, watchers, lambda: bar.advance(task))
    about = {'name': name, 'options': options, 'frames': len(opened)}
    command = ['depth_kd_training', *sys.argv[1:]]
    found = file.document(rows, models, names(arguments), plan, about, command)
    found['examples'] = pictures.entries if pictures else []
    console = Console()
    if not console.is_terminal:  # a file or a pipe: nothing need be cut off
        console = Console(width=WIDE)
    if rows:
        title = f'{name}, {len(indices)} of {len(opened)} frames: mean [95 % interval over frames]'
        console.print(tables.rich_table(title, *tables.summary(found, shown)))
    for group in groups if rows else ():
        lines = tables.groups(found, f'by_{group}', shown)
        console.print(tables.rich_table(f'by {group}', *lines))
    for row in rows:
        for key, what in (('left_out', 'frames left out'), ('caveats', 'frames are doubtful')):
            if row[key]:
                first, reason = next(iter(row[key].items()))
                text = f'{row["name"]}, {row["beams"]} beams: {len(row[key])} {what}'
                typer.secho(f'{text}, first {first}: {reason}', err=True, fg='yellow')
    if out is not None:
        file.write(out, found)
        typer.echo(f'written: {out}; `depth_kd_training report {out}` makes a page of it')
    if submission is not None:
        typer.echo(submission.zip())


def _parse(words: list[str], dataset: str | None) -> tuple[list[str], str, dict[str, Any]]:
    """Tell models, data set and its options apart."""
    from depth_kd_training.config import change

    options: dict[str, Any] = {}
    for word in words:
        if '=' in word and not Path(word).exists():
            change(options, word)
    others = [word for word in words if '=' not in word or Path(word).exists()]
    if dataset is None:
        *others, folder = others
        if not Path(folder).is_dir():
            fail(f'{folder}: no such folder. Name the folder of the data last, or give --dataset')
        dataset, options = 'folder', {'root': folder, 'depth_gt': 'depth_gt'} | options
        if options['depth_gt'] == 'depth_gt' and not Path(folder, 'depth_gt').is_dir():
            fail(
                f'{folder} has no depth_gt/ to compare with: name the folder of its ground truth '
                'as depth_gt=NAME'
            )
    if not others:
        fail('no model is named: give checkpoints or classical methods, such as linear')
    return others, dataset, options


def _beams(text: str) -> tuple[int | None, ...]:
    """Read numbers of beams; None stands for all."""
    found = [None if word == 'all' else _number('--beams', word) for word in text.split(',')]
    if any(n is not None and (n < 1 or n != int(n)) for n in found):
        fail(f'--beams {text}: give whole numbers above 0, or all, as in 64,32,all')
    return tuple(dict.fromkeys(None if n is None else int(n) for n in found))


def _number(option: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        fail(f'{option}: {word!r} is not a number')


def _listed(option: str, text: str, known: Any) -> list[str]:
    """Read names between commas; fail for an unknown one."""
    from depth_kd_ros import plugins

    found = [word for word in text.split(',') if word]
    for word in found:
        if word not in known:
            fail(
                f'{option}: unknown {plugins.unknown(word, list(known))} Known: {", ".join(known)}'
            )
    return found
