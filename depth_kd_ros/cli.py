"""Command line `depth_kd`: the app; each command is a file in commands/."""

from __future__ import annotations

import sys
from typing import Annotated

from depth_kd_ros import __version__
from depth_kd_ros.commands import check_bag, complete, export, models
import typer

app = typer.Typer(
    name='depth_kd', no_args_is_help=True, add_completion=False, rich_markup_mode='markdown',
    pretty_exceptions_enable=False, context_settings={'help_option_names': ['-h', '--help']},
    help='Dense metric depth from a camera and a LiDAR: offline commands, no ROS needed.\n\n'
    'The live node: `ros2 launch depth_kd_ros completion.launch.py`.',
)  # fmt: skip

app.command('complete', help=complete.HELP)(complete.run)
app.command('check-bag', help=check_bag.HELP)(check_bag.run)
app.command('models', help=models.HELP)(models.run)
app.command('export', help=export.HELP)(export.run)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option('--version', help='Print the version.')] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == '__main__':
    main()
