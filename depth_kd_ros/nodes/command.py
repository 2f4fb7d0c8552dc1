"""Run a node that does one job as a command: settings, signals, one-sentence errors, exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import signal
import sys
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

Value = TypeVar('Value', bool, int, float, str, list[str])
STOP_LATENCY_S = 0.1  # a signal is noticed between two waits


class Job:
    """The node and its executor; `stopped` turns true with SIGINT or SIGTERM."""

    def __init__(self, node: Any) -> None:
        self.node, self.log, self.stopped = node, node.get_logger(), False
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def spin(self, seconds: float) -> None:
        """Serve one callback, waiting `seconds` for it at most, and less, to notice signals."""
        self._executor.spin_once(timeout_sec=max(0.0, min(seconds, STOP_LATENCY_S)))

    def setting(self, name: str, default: Value, description: str) -> Value:
        """
        Declare a read-only parameter and give its value in the default's type.

        An int serves as float and a single string as list of strings; else raises ValueError.
        """
        about = ParameterDescriptor(description=description, dynamic_typing=True, read_only=True)
        is_list = isinstance(default, list)
        start: Any = (default or ['']) if is_list else default  # rclpy takes [] for bytes
        value: Any = self.node.declare_parameter(name, start, about).value
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        elif isinstance(default, str) and type(value) in (int, float):
            value = str(value)
        elif is_list and isinstance(value, str):
            value = [value]
        good = type(value) is type(default)
        if not good or (is_list and not all(isinstance(item, str) for item in value)):
            kind = 'list of strings' if is_list else type(default).__name__
            raise ValueError(f'parameter {name} = {value!r}: {kind} expected; {description}')
        if is_list:
            value = [item for item in value if item]
        return value


def run(
    name: str,
    work: Callable[[Job], None],
    args: Sequence[str] | None,
    make: Callable[[str], Any] = Node,
) -> int:
    """
    Do `work` in the node that `make(name)` gives, and return 0.

    A ValueError or OSError is printed as one sentence and gives 2.
    """
    jobs: list[Job] = []
    signals = []

    def stop(number: int, _frame: Any) -> None:
        signals.append(number)
        for job in jobs:
            job.stopped = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        node = _start(name, args, make)
        jobs.append(Job(node))
        jobs[0].stopped = bool(signals)
        work(jobs[0])
    except (ValueError, OSError) as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 2
    finally:
        for job in jobs:
            job.node.destroy_node()
        rclpy.try_shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _start(name: str, args: Sequence[str] | None, make: Callable[[str], Any]) -> Any:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        return make(name)
    except RuntimeError as error:  # what rcl raises for arguments that it cannot parse
        raise ValueError(f'ROS did not start: {error}') from error
    except ParameterException as error:
        raise ValueError(' '.join(str(error).split())) from error
