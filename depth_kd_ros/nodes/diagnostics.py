"""The node's health as diagnostic_msgs: /diagnostics once per second, ~/frame_status per frame."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
import resource
from typing import Any, TYPE_CHECKING

from depth_kd_ros.messages import stamp_ns
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType

if TYPE_CHECKING:
    from depth_kd_ros.completer import Completion

PERIOD_S = 1.0
SILENT_ADVICE = (
    'has publishers, but nothing arrives. Either their QoS does not fit (ros2 topic info -v), or '
    'the messages are too large for the transport: give this node and the drivers the '
    'shared-memory profile config/fastdds_shared_memory.xml (middleware_profile:=shared_memory in '
    'the launch)'
)


class Diagnostics:
    """
    Publish what the node counts, with a level and advice.

    OK: frames come out. WARN: frames were lost within the last second, or an input is silent.
    ERROR: frames come in and none goes out.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._array = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._frame = node.create_publisher(DiagnosticStatus, '~/frame_status', 10)
        clock = Clock(clock_type=ClockType.STEADY_TIME)  # also while a bag's clock stands
        self._timer = node.create_timer(PERIOD_S, self._publish, clock=clock)
        self._before: Mapping[str, Any] | None = None

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._array)
        self._node.destroy_publisher(self._frame)

    def frame(self, header: Any, seconds: Mapping[str, float], done: Completion) -> None:
        """Publish one frame's status: stamp, model, stage times, points."""
        if not self._frame.get_subscription_count():
            return
        model = self._node.completer.model
        values = {
            'stamp_ns': stamp_ns(header), 'model': model.name, 'model_hash': model.hash,
            'points': int((done.sparse_depth > 0).sum()),
            **{f'{stage}_ms': round(s * 1e3, 3) for stage, s in seconds.items()},
        }  # fmt: skip
        self._frame.publish(self._status(DiagnosticStatus.OK, 'completed', values))

    def _publish(self) -> None:
        node = self._node
        now = node.health.snapshot()
        now['dropped'] |= node.inputs.lost
        if not now['held_out']['points']:
            del now['held_out']
        level, text = self._judge(now)
        now |= {
            'model': node.completer.model.name, 'model_hash': node.completer.model.hash,
            'device': str(node.completer.device), 'outputs_subscribed': node.outputs.subscribed,
            'why_dropped': dict(node.why),
            'memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }  # fmt: skip
        self._before = now
        array = DiagnosticArray(status=[self._status(level, text, dict(flat(now)))])
        array.header.stamp = node.get_clock().now().to_msg()
        self._array.publish(array)

    def _judge(self, now: Mapping[str, Any]) -> tuple[bytes, str]:
        """Choose level and message from what changed since the last second."""
        silent = self._node.inputs.silent(self._node.settings.silence_s)
        if silent:
            text = f'{", ".join(silent)} {SILENT_ADVICE}'
            self._node.get_logger().warning(text, throttle_duration_sec=30.0)
            return DiagnosticStatus.WARN, text
        if self._before is None:
            return DiagnosticStatus.OK, 'started'
        old = self._before
        lost = {
            reason: count - old['dropped'].get(reason, 0)
            for reason, count in now['dropped'].items()
            if count > old['dropped'].get(reason, 0) and reason != 'no_subscriber'
        }
        came_out = now['frames_out'] - old['frames_out']
        if lost:
            level = DiagnosticStatus.WARN if came_out else DiagnosticStatus.ERROR
            return level, 'dropped: ' + ', '.join(f'{n} {reason}' for reason, n in lost.items())
        return DiagnosticStatus.OK, f'{came_out} frames completed in the last second'

    def _status(self, level: bytes, text: str, values: Mapping[str, Any]) -> DiagnosticStatus:
        pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        name = f'{self._node.get_fully_qualified_name()}: depth completion'
        return DiagnosticStatus(
            level=level, name=name, message=text, hardware_id='depth_kd_ros', values=pairs
        )


def flat(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Flatten nested values to dotted keys: latency_ms.infer.p50."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f'{prefix}{key}.')
        else:
            yield prefix + key, round(value, 3) if isinstance(value, float) else value


def nested(values: Mapping[str, str]) -> dict[str, Any]:
    """Undo `flat` on the strings of a DiagnosticStatus; numbers become numbers again."""
    result: dict[str, Any] = {}
    for key, text in values.items():
        *path, last = key.split('.')
        place = result
        for name in path:
            place = place.setdefault(name, {})
        place[last] = _number(text)
    return result


def _number(text: str) -> Any:
    """Read a value as it was before str()."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
