"""`depth_kd_training train`: one run of a recipe, from its first step or from where it stopped."""

from __future__ import annotations

from pathlib import Path
import shlex
from typing import Annotated

from depth_kd_training.commands import fail
import typer

HELP = """
Train a network by a recipe, in the folder OUT; the same command goes on after a stop.

OUT holds `last.safetensors` and `best.safetensors` (lowest validation MAE), checkpoints for
`depth_kd` and the node; `recipe.yaml`, all settings of the run; `log.csv`, `validation.csv` and
`tensorboard/`, its curves; `state.safetensors`, what going on needs. Ctrl-C finishes the step,
saves and says how to go on; a killed run goes on from its last save.

KEY=VALUE changes the recipe: a key is a path in it, a number one of a list.

Examples:

    depth_kd_training train --list

    depth_kd_training train lspkd_s8 data.labelled.0.options.root=street --out runs/s8

    depth_kd_training train mine.yaml optimisation.rate=0.0003 steps=20000 --device cuda

Several GPUs, processes or machines share the batch (`data.batch` counts all of them):

    torchrun --nproc-per-node 2 -m depth_kd_training train lspkd_s8 --out runs/s8

    fabric run --accelerator cuda --devices 2 training/depth_kd_training/__main__.py train lspkd_s8

Needs the extra `depth_kd_ros[training]`.
"""


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar='RECIPE', help='A name of --list, or a YAML file.', show_default=False
        ),
    ] = '',
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar='[KEY=VALUE]...', help='Changes.', show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help='Folder of the run.', show_default='runs/RECIPE')
    ] = None,
    device: Annotated[str, typer.Option(help='auto, cpu, cuda or cuda:N.')] = 'auto',
    list_recipes: Annotated[
        bool, typer.Option('--list', help='List the recipes that come with the package.')
    ] = False,
) -> None:
    from depth_kd_training import config

    if list_recipes:
        for name in config.RECIPES.available():
            typer.echo(f'{name:24} {config.RECIPES.summary(name)}')
        return
    if not recipe:
        fail('give a RECIPE: a name of --list, or a YAML file')
    folder = out or Path('runs') / Path(recipe).stem
    try:
        wanted = config.load(recipe, overrides or ())
    except config.ConfigError as error:
        fail(str(error))
    from depth_kd_training.opening import close_fabric, open_fabric
    from depth_kd_training.train import train as run
    from depth_kd_training.train import TrainingError
    from torch import OutOfMemoryError

    try:
        fabric = open_fabric(wanted, device)
        stopped_by = run(wanted, folder, fabric)
    except (ValueError, TrainingError) as error:
        fail(str(error))
    except OutOfMemoryError as error:
        what = str(error).partition('. ')[0]
        fail(
            f'the device has too little memory: {what}. The last checkpoint stays. Give a smaller '
            'data.batch (optimisation.accumulate adds several up), a smaller '
            'data.augmentation.crop, or precision=bf16-mixed; in another folder'
        )
    finally:
        close_fabric()
    if fabric.is_global_zero and stopped_by is None:
        typer.echo(f'{folder}: step {wanted.steps} of {wanted.steps}, the run is complete')
    if stopped_by is None:
        return
    if fabric.is_global_zero:
        words = [recipe, *(overrides or ()), '--out', str(folder), '--device', device]
        start = 'depth_kd_training'
        if fabric.world_size > 1:
            start = f'torchrun --nproc-per-node {fabric.world_size} -m {start}'
        typer.echo(f'stopped and saved; to go on:\n{start} train {shlex.join(words)}')
    raise typer.Exit(128 + stopped_by)
