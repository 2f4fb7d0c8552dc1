"""Reading the JSON documents that commands write: evaluations and studies."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any


def read(path: Path, known: Mapping[str, str]) -> dict[str, Any]:
    """
    Read an object whose `format` is one of those known, each with the command that writes it.

    Raises ValueError for any other file.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: not readable as JSON: {error}') from None
    if not isinstance(found, dict) or found.get('format') not in known:
        writers = ' or '.join(f'`depth_kd_training {command}`' for command in known.values())
        formats = ' or '.join(map(repr, known))
        raise ValueError(f'{path}: not written by {writers} of this version ({formats} expected)')
    return found
