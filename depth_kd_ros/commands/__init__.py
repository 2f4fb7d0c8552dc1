"""The commands of `depth_kd`, one per file; heavy imports inside them keep --help instant."""

from __future__ import annotations

import re
from typing import NoReturn

import typer


def fail(message: str) -> NoReturn:
    """Print one clear sentence and exit with 2."""
    typer.secho(f'depth_kd: {message}', err=True, fg='red')
    raise typer.Exit(2)


def parse_size(text: str) -> tuple[int, int]:
    """Read (H, W) from HxW as in 352x1216; fail for anything else."""
    match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if match is None:
        fail(f'--size {text!r}: give height x width in pixels, as in 352x1216')
    return int(match[1]), int(match[2])
