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
    from depth_kd_ros.completer import Completion, Model

PERIOD_S = 1.0
ABSENT_ADVICE = 'is the driver running, and the remapping right (ros2 topic list -t)?'
SILENT_ADVICE = (
    'published, but nothing arrives. Either the QoS does not fit (ros2 topic info -v), or the '
    'messages are too large for the transport: give this node and the drivers the shared-memory '
    'profile config/fastdds_shared_memory.xml (middleware_profile:=shared_memory in the launch)'
)


class Diagnostics:
    """
    Publish what the node counts, with a level and advice.

    OK: nothing was lost within the last second. WARN: frames were lost, or an input is silent.
    ERROR: frames were lost and none came out, or all inputs are silent.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._array = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._frame = node.create_publisher(DiagnosticStatus, '~/frame_status', 10)
        clock = Clock(clock_type=ClockType.STEADY_TIME)  # also while a bag's clock stands
        self._timer = node.create_timer(PERIOD_S, self._publish, clock=clock)
        self._before: Mapping[str, Any] | None = None
        self._caveat = ''

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._array)
        self._node.destroy_publisher(self._frame)

    @property
    def frame_is_watched(self) -> bool:
        """Tell whether somebody subscribes to ~/frame_status."""
        return bool(self._frame.get_subscription_count())

    def frame(
        self, header: Any, seconds: Mapping[str, float], done: Completion, model: Model
    ) -> None:
        """Publish one frame's status: stamp, model, stage times, points, caveat."""
        self._caveat = done.caveat
        if not self.frame_is_watched:
            return
        values = {
            'stamp_ns': stamp_ns(header), 'model': model.name, 'model_hash': model.hash,
            'points': int((done.sparse_depth > 0).sum()),
            **{f'{stage}_ms': round(s * 1e3, 3) for stage, s in seconds.items()},
        }  # fmt: skip
        level = DiagnosticStatus.WARN if done.caveat else DiagnosticStatus.OK
        self._frame.publish(self._status(level, done.caveat or 'completed', values))

    def _publish(self) -> None:
        node = self._node
        now = node.health.snapshot()
        now['dropped'] |= node.inputs.lost
        if not now['held_out']['points']:
            del now['held_out']
        level, text = self._judge(now)
        now |= {
            'model': node.completer.model.name, 'model_hash': node.completer.model.hash,
            'device': str(node.completer.device),
            'outputs_subscribed': ' '.join(sorted(node.outputs.wanted())),
            'why_dropped': dict(node.why),
            'memory_peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }  # fmt: skip
        self._before = now
        array = DiagnosticArray(status=[self._status(level, text, dict(flat(now)))])
        array.header.stamp = node.get_clock().now().to_msg()
        self._array.publish(array)

    def _judge(self, now: Mapping[str, Any]) -> tuple[bytes, str]:
        """Choose level and message from what changed since the last second."""
        silent = self._node.inputs.silent(self._node.settings.silence_s)
        if silent:
            absent = [topic for topic, publishers in silent.items() if not publishers]
            mute = [topic for topic, publishers in silent.items() if publishers]
            text = f'nobody publishes {", ".join(absent)}: {ABSENT_ADVICE} ' if absent else ''
            text += f'{", ".join(mute)}: {SILENT_ADVICE}' if mute else ''
            self._node.get_logger().warning(text, throttle_duration_sec=30.0)
            both = len(silent) == len(self._node.inputs.topics)
            return DiagnosticStatus.ERROR if both else DiagnosticStatus.WARN, text
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
            fine = came_out or not self._node.outputs.wanted()
            level = DiagnosticStatus.WARN if fine else DiagnosticStatus.ERROR
            return level, 'dropped: ' + ', '.join(f'{n} {reason}' for reason, n in lost.items())
        if self._caveat:
            return DiagnosticStatus.WARN, self._caveat
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
        elif value is not None:
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
