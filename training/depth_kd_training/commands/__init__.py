"""
The commands of `depth_kd_training`, one per file; heavy imports inside them keep --help instant.

A file NAME.py holds `HELP` and the function `NAME`, whose arguments are typer's.
"""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(message: str) -> NoReturn:
    """Print one clear sentence and exit with 2."""
    typer.secho(f'depth_kd_training: {message}', err=True, fg='red')
    raise typer.Exit(2)
