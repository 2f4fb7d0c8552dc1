"""
Networks as ONNX files that ONNX Runtime has been seen to compute alike.

Written with torch's TorchScript exporter: unlike the one that replaces it (`dynamo=True`), it
leaves height and width free for every network here, in seconds, and is in every torch from 2.5 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple, TYPE_CHECKING
import warnings

from depth_kd_ros.example_inputs import example_inputs
from depth_kd_ros.latency import median_ms
from depth_kd_ros.metadata import Metadata
from depth_kd_ros.networks.base import DepthNetwork, Prediction, UNREAD
import numpy as np
import torch
from torch import nn, Tensor

if TYPE_CHECKING:
    import onnx

SUFFIX = '.onnx'
SIZE_KEY = 'depth_kd_ros.size'
OUTPUT_KEY = 'depth_kd_ros.output'
ANY_SIZE = 'HxW'
MOST_ERROR = 1e-4  # largest difference to torch over the largest value
OPSETS = range(13, 21)


class ExportError(ValueError):
    """Say why a network was not exported."""


class Exported(NamedTuple):
    """Tell of a file: error per checked size (H, W), ONNX Runtime's latency on the CPU, ms."""

    path: Path
    errors: dict[tuple[int, int], float]
    latency_ms: float


class Graph(nn.Module):
    """Take the inputs that a network reads, by position; give depth, and confidence if any."""

    def __init__(self, network: DepthNetwork):
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = UNREAD | dict(zip(self.network.inputs, inputs, strict=True))
        prediction: Prediction = self.network(**given, features=False)
        outputs = (prediction.depth, prediction.confidence)
        return tuple(output for output in outputs if output is not None)


def check_request(out: Path, opset: int, overwrite: bool) -> None:
    """Raise ExportError for what is known to fail before any work: extra, name, opset."""
    absent = [name for name in ('onnx', 'onnxruntime') if importlib.util.find_spec(name) is None]
    if absent:
        raise ExportError(
            f'{" and ".join(absent)} not installed: pip install "depth_kd_ros[export]"'
        )
    if out.suffix != SUFFIX:
        raise ExportError(f'{out}: an ONNX file is named *{SUFFIX}')
    if not out.parent.is_dir():
        raise ExportError(f'{out.parent}: no such folder')
    if out.exists() and not overwrite:
        raise ExportError(f'{out} exists: give --overwrite or another name')
    if opset not in OPSETS:
        raise ExportError(f'opset {opset}: give {OPSETS[0]} to {OPSETS[-1]}')


def export(
    network: DepthNetwork,
    metadata: Metadata,
    out: Path,
    size: tuple[int, int],
    *,
    dynamic: bool = False,
    batch: int = 1,
    opset: int = 17,
    overwrite: bool = False,
) -> Exported:
    """
    Write a deployable network, float32 on the CPU and in eval mode, as ONNX for the size (H, W).

    The graph reads what the network's `inputs` name, the image normalised, and gives `depth` and,
    from a network with that head, `confidence`. `dynamic` leaves height and width free; `size` is
    then one of two at which the file is checked. The file holds the checkpoint's metadata. It
    appears complete and checked, or not at all. Raises ExportError where it cannot be written or
    ONNX Runtime's outputs differ from torch's by more than `MOST_ERROR` of the largest value.
    """
    check_request(out, opset, overwrite)
    graph = Graph(network.deployable()).eval()
    sizes = [size, another(size)] if dynamic else [size]
    temporary = out.with_name(f'.{out.name}.{os.getpid()}')
    try:
        model = _traced(graph, temporary, size, dynamic, batch, opset)
        kind = 'metric depth' if network.metric else f'relative {network.output}'
        _annotate(model, metadata, None if dynamic else size, batch, kind)
        _write(model, temporary)
        session = open_session(temporary)
        errors = {checked: parity(graph, session, checked, batch) for checked in sizes}
        feed = _arrays(example_inputs(graph.network, size, batch))
        latency_ms = median_ms(lambda: session.run(None, feed))
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(out, errors, latency_ms)


def another(size: tuple[int, int]) -> tuple[int, int]:
    """Give a smaller size (H, W) of another shape, odd where the first is even and vice versa."""
    height, width = (2 * size[0] // 3, size[1] // 2)
    return max(1, height + (height - size[0] + 1) % 2), max(1, width + (width - size[1] + 1) % 2)


def _traced(
    graph: Graph, path: Path, size: tuple[int, int], dynamic: bool, batch: int, opset: int
) -> onnx.ModelProto:
    """Let torch write the graph to the path and read it back."""
    import onnx

    inputs = example_inputs(graph.network, size, batch)
    with torch.no_grad():
        outputs = ['depth', 'confidence'][: len(graph(*inputs.values()))]
        free = {2: 'height', 3: 'width'}
        try:
            with _silence():
                torch.onnx.export(
                    graph,
                    tuple(inputs.values()),
                    str(path),
                    dynamo=False,
                    input_names=list(inputs),
                    output_names=outputs,
                    opset_version=opset,
                    dynamic_axes=dict.fromkeys([*inputs, *outputs], free) if dynamic else None,
                )
        except RuntimeError as error:
            reason = str(error).partition('\n')[0]
            raise ExportError(f'torch cannot write this network as ONNX: {reason}') from error
    return onnx.load(path)


@contextmanager
def _silence() -> Iterator[None]:
    """Drop the exporter's warnings, and the graph that its C++ side prints when it fails."""
    kept = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    try:
        with open(os.devnull, 'wb') as nothing, warnings.catch_warnings():
            warnings.simplefilter('ignore')
            for descriptor, _ in kept:
                os.dup2(nothing.fileno(), descriptor)
            yield
    finally:
        for descriptor, copy in kept:
            os.dup2(copy, descriptor)
            os.close(copy)


def _annotate(
    model: onnx.ModelProto,
    metadata: Metadata,
    size: tuple[int, int] | None,
    batch: int,
    output: str,
) -> None:
    """Give every output its shape, and the file the metadata, its size, None = any, and output."""
    import onnx

    for value in model.graph.output:
        shape = (batch, 1, *(size or ('height', 'width')))
        value.CopyFrom(
            onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape)
        )
    text = f'{size[0]}x{size[1]}' if size else ANY_SIZE
    about = {SIZE_KEY: text, OUTPUT_KEY: output}
    onnx.helper.set_model_props(model, metadata.to_header() | about)


def _write(model: onnx.ModelProto, path: Path) -> None:
    """Write the file and see it to the disk."""
    with path.open('wb') as file:
        file.write(model.SerializeToString())
        file.flush()
        os.fsync(file.fileno())


def open_session(path: Path) -> Any:
    """Open the file as an `onnxruntime.InferenceSession` on the CPU."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal; errors are raised as well
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as failure:  # its errors have no other base
        raise ExportError(
            f'ONNX Runtime cannot open the graph: {str(failure).strip()}'
        ) from failure


def parity(graph: Graph, session: Any, size: tuple[int, int], batch: int = 1) -> float:
    """
    Give the largest difference of ONNX Runtime to torch over torch's largest value.

    Raises ExportError for one above `MOST_ERROR` and where ONNX Runtime fails.
    """
    with torch.random.fork_rng(devices=[]):  # the same input, and verdict, at every call
        torch.manual_seed(0)
        inputs = example_inputs(graph.network, size, batch)
    with torch.inference_mode():
        expected = [output.numpy() for output in graph(*inputs.values())]
    where = f'not exported: at {size[0]}x{size[1]} ONNX Runtime'
    try:
        found = session.run(None, _arrays(inputs))
    except Exception as failure:  # its errors have no other base
        raise ExportError(f'{where} fails: {str(failure).strip()}') from failure
    error = float(np.max([relative_error(f, e) for f, e in zip(found, expected, strict=True)]))
    if not error <= MOST_ERROR:  # nor nan
        raise ExportError(
            f'{where} differs from torch by {error:.1e} of the largest value; {MOST_ERROR:.0e} is '
            'allowed'
        )
    return error


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Give the largest difference over the largest expected value; inf for another shape."""
    if found.shape != expected.shape:
        return float('inf')
    difference = np.abs(found - expected).max()
    return float(difference / np.abs(expected).max()) if difference else 0.0


def _arrays(inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in inputs.items()}
