"""
The file of an evaluation: a JSON object (numbers have 6 digits, null = none).

    format        "depth_kd_training.evaluation 1"
    dataset       {name, options, frames}; frames: how many it holds
    units         {metric: unit}, "" = none
    limits        {nearest_m, farthest_m, bounds_m, clean}; see scoring.Limits
    bleed_filter  whether points seen past nearer surfaces were dropped, as on the robot
    models        [{name, argument, kind, hash, parameters, network, training, licence}]
    rows          [{name, beams, points, beams_seen, milliseconds, PART, clean, by_distance,
                  by_class, left_out, caveats, per_frame}], one per model and number of beams
    examples      [{frame, beams, image, sparse, truth, models: {name: {depth, error}}}], paths of
                  pictures beside the file
    provenance    {created, command, package_version, torch, numpy, python, device}

PART is {frames, pixels, metrics: {metric: number}, interval: {metric: [low, high]}, difference:
{metric: [percent, low, high]}}: frames with truth, scored pixels, means over frames, their 95 %
bootstrap intervals over frames, and the paired difference from the first model with the same
beams. In a row, `beams` is a number or "all", `points` and `beams_seen` are means per frame,
`milliseconds` the median time per frame of the model alone. `clean` is a PART without truth that
is hidden from the camera; `by_distance` {"0-20": PART} and `by_class` {class: PART} hold the
groups that have pixels. `left_out` and `caveats` (scored, but doubtful) are {frame: reason},
`per_frame` is [{frame, points, pixels, metric: number}].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
import datetime
import json
from pathlib import Path
import platform
from typing import Any

from depth_kd_ros import files
from depth_kd_ros.checkpoint import read_metadata, resolve
from depth_kd_ros.completer import DepthCompleter, NetworkModel
from depth_kd_ros.metadata import package_version
from depth_kd_training import documents, scoring
from depth_kd_training.evaluate import Plan
import numpy as np
import torch

FORMAT = 'depth_kd_training.evaluation 1'
WRITTEN_BY = {FORMAT: 'evaluate --out'}


def document(
    rows: Sequence[dict[str, Any]], models: dict[str, DepthCompleter], arguments: dict[str, str],
    plan: Plan, dataset: dict[str, Any], command: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Put rows together with what they are about, as the module says."""
    device = next(iter(models.values())).device
    on = torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.machine()
    return {
        'format': FORMAT,
        'dataset': dataset,
        'units': scoring.UNITS,
        'limits': asdict(plan.limits),
        'bleed_filter': plan.bleed_filter,
        'models': [describe(name, arguments[name], model) for name, model in models.items()],
        'rows': list(rows),
        'examples': [],
        'provenance': {
            'created': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
            'command': ' '.join(command),
            'package_version': package_version(),
            'torch': str(torch.__version__),
            'numpy': np.__version__,
            'python': platform.python_version(),
            'device': f'{device}, {on}',
        },
    }


def describe(name: str, argument: str, completer: DepthCompleter) -> dict[str, Any]:
    """Say what a model is and where it comes from."""
    model = completer.model
    about: dict[str, Any] = {
        'name': name,
        'argument': argument,
        'kind': 'classical',
        'hash': model.hash,
    }
    if isinstance(model, NetworkModel):
        metadata = read_metadata(resolve(argument))
        about |= {
            'kind': 'network', 'network': metadata.network, 'licence': metadata.licence,
            'parameters': sum(p.numel() for p in model.network.parameters()),
            'training': metadata.training,
        }  # fmt: skip
    return about


def write(path: Path, evaluation: dict[str, Any]) -> None:
    """Write the JSON, complete or not at all."""
    files.replace(path, json.dumps(evaluation, allow_nan=False).encode())


def read(path: Path) -> dict[str, Any]:
    """Read the JSON; ValueError where it is none of ours."""
    return documents.read(path, WRITTEN_BY)
