"""Command line `depth_kd_training`; each command is a file in commands/, imported when it runs."""

from __future__ import annotations

import importlib
import sys

import typer

SETTINGS = {'help_option_names': ['-h', '--help']}
COMMANDS = {
    'simulate': 'Render procedural worlds with camera and LiDAR, as folders or bags.',
    'train': 'Train a network by a recipe; the same command goes on after a stop.',
    'study': "Run a table of recipes x seeds, and put it beside the paper's.",
    'evaluate': 'Compare checkpoints and classical models on a data set.',
    'report': 'Write one HTML page of a run or a comparison.',
}
app = typer.Typer(
    name='depth_kd_training', no_args_is_help=True, add_completion=False,
    rich_markup_mode='markdown', pretty_exceptions_enable=False, context_settings=SETTINGS,
    help='Train, distil and judge networks for `depth_kd`: offline commands, no ROS needed.',
)  # fmt: skip


def register(name: str, summary: str) -> None:
    """Add a command that hands its words on to `commands.NAME.NAME`, whose help is `HELP`."""

    def forward(context: typer.Context) -> None:
        module = importlib.import_module(f'depth_kd_training.commands.{name}')
        command = typer.Typer(
            add_completion=False, rich_markup_mode='markdown', pretty_exceptions_enable=False,
            context_settings=SETTINGS,
        )  # fmt: skip
        command.command(help=module.HELP)(getattr(module, name))
        command(context.args, prog_name=f'depth_kd_training {name}')

    passing = {'allow_extra_args': True, 'ignore_unknown_options': True, 'help_option_names': []}
    app.command(name, help=summary, context_settings=passing)(forward)


for _name, _summary in COMMANDS.items():
    register(_name, _summary)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
