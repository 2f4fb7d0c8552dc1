"""Lifecycle node `completion`: camera and LiDAR in, dense depth out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import sys
import time
from typing import Any

from depth_kd_ros.health import Health
from depth_kd_ros.messages import MessageError
from depth_kd_ros.nodes import parameters
from depth_kd_ros.nodes.command import Job, run, STOP_LATENCY_S
from depth_kd_ros.nodes.decoding import decoder
from depth_kd_ros.nodes.diagnostics import Diagnostics
from depth_kd_ros.nodes.inputs import Inputs, Instant
from depth_kd_ros.nodes.transforms import MissingTransformError, open_source
from depth_kd_ros.nodes.worker import Worker
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

THROTTLE_S = 5.0
BACKWARD = JumpThreshold(
    min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
)


class CompletionNode(LifecycleNode):
    """
    Match image and cloud, complete their depth in a worker thread and publish it.

    torch and the network are loaded in `on_configure`, so that a wrong parameter is told at once.
    `failure` holds the reason of the last transition that failed; `ended` is true after shutdown.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('completion', **options)
        parameters.declare(self)
        self.settings = parameters.read(self)
        self.failure, self.ended = '', False
        self.why: dict[str, str] = {}  # the newest text by reason of dropping
        self.completer: Any = None
        self._size: tuple[int, int] | None = None  # of the last frame, to warm a new model with
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and check the settings; a failure is logged with its reason."""
        return self._attempt(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to listen and to publish."""
        result = self._attempt(self._activate)
        if result == TransitionCallbackReturn.SUCCESS:
            return super().on_activate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the model stays loaded."""
        self.jumps.unregister()
        self.inputs.close()
        if not self.worker.stop():
            self.get_logger().error('the frame in work did not end within 10 s')
        self.diagnostics.close()
        self.outputs.close()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unload the model."""
        self.extrinsics.close()
        self.completer = None
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state; the process ends."""
        if state.label == 'active':
            self.on_deactivate(state)
        self.ended = True
        return TransitionCallbackReturn.SUCCESS

    def _attempt(self, work: Callable[[], None]) -> TransitionCallbackReturn:
        """Run a transition's work; whatever goes wrong is kept in `failure` and logged."""
        self.failure = ''
        try:
            work()
        except Exception as error:
            self.failure = describe(error)
            self.get_logger().error(self.failure)
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        from depth_kd_ros.frames import FrameReader
        import torch

        self.settings = settings = parameters.read(self)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.completer = self._open(settings.model)
        self.extrinsics = open_source(self, settings)
        topic = 'image/compressed' if settings.image_transport == 'compressed' else 'image'
        self.reader = FrameReader(settings.rectify, self.resolve_topic_name(topic), decoder())
        model = self.completer.model
        self.get_logger().info(f'model {model.name} ({model.hash}) on {self.completer.device}')

    def _open(self, model: str) -> Any:
        """Load a model with the node's settings and run it once at the size of the last frame."""
        from depth_kd_ros.completer import DepthCompleter

        s = self.settings
        completer = DepthCompleter(model, s.device, s.min_depth_m, s.max_depth_m, s.bleed_filter)
        if self._size:
            completer.warm_up(*self._size)
        return completer

    def _activate(self) -> None:
        from depth_kd_ros.nodes.outputs import Outputs

        self.health, self.why = Health(), {}
        self.outputs = Outputs(self, self.settings)
        self.worker = Worker(
            self._complete, lambda _: self.health.dropped('busy'), self._on_failure
        )
        try:
            self.inputs = Inputs(self, self.settings, self.health, self.worker.put)
        except Exception:
            self.worker.stop()
            self.outputs.close()
            raise
        self.diagnostics = Diagnostics(self)
        self.jumps = self.get_clock().create_jump_callback(BACKWARD, post_callback=self._on_jump)

    def _complete(self, instant: Instant) -> None:
        """Carry one instant through the whole path: this runs in the worker thread."""
        from depth_kd_ros.nodes.outputs import MEASURED

        start, settings, completer = time.monotonic(), self.settings, self.completer
        wanted, watched = self.outputs.wanted(), self.diagnostics.frame_is_watched
        if not (wanted or watched):
            self.health.dropped('no_subscriber')
            return
        if 0 < settings.max_age_s < start - instant.arrived_s:
            self.health.dropped('stale')
            return
        image, cloud = instant.image.header, instant.cloud.header
        T_cam_lidar = self.extrinsics(image.frame_id, cloud.frame_id, cloud.stamp)
        frame = self.reader(instant.image, instant.camera_info, instant.cloud, T_cam_lidar)
        self._size = frame.camera.size
        decoded = time.monotonic()
        points, camera, T_cam_lidar = frame.points.xyz, frame.camera, frame.T_cam_lidar
        if watched or wanted - MEASURED:
            done = completer(frame.image, points, camera, T_cam_lidar)
        else:
            done = completer.project(points, camera, T_cam_lidar)
        completed = time.monotonic()
        self.outputs.publish(frame, done, image, settings, wanted)
        end = time.monotonic()
        seconds = {
            'match': instant.matched_s - instant.arrived_s, 'wait': start - instant.matched_s,
            'decode': decoded - start, **done.seconds, 'publish': end - completed,
            'total': end - instant.arrived_s,
        }  # fmt: skip
        self.health.completed(end, seconds, points=int((done.sparse_depth > 0).sum()))
        self.diagnostics.frame(image, seconds, done, completer.model)

    def _on_failure(self, instant: Instant, error: Exception) -> None:
        """Count a frame that could not be completed, and say why; the node goes on."""
        from depth_kd_ros.completer import NoPointsError

        reasons = {
            MessageError: 'bad_message',
            NoPointsError: 'no_points',
            MissingTransformError: 'no_extrinsics',
        }
        known = (name for kind, name in reasons.items() if isinstance(error, kind))
        reason = next(known, 'error')
        self.health.dropped(reason)
        self.why[reason] = describe(error)
        self.get_logger().warning(
            f'frame dropped ({reason}): {self.why[reason]}', throttle_duration_sec=THROTTLE_S
        )

    def _on_jump(self, jump: TimeJump) -> None:
        """Start anew what depends on the clock, which a looped bag sets back."""
        seconds = -jump.delta.nanoseconds / 1e9
        self.get_logger().info(
            f'the clock went back by {seconds:.3f} s', throttle_duration_sec=THROTTLE_S
        )
        self.extrinsics.reset()
        self.inputs.reset()
        self.health.forget_held_out()

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Check a change; a new model is loaded beside the old one, swapped between two frames."""
        try:
            settings = parameters.changed(self.settings, changes)
            if self.completer is not None and settings.model != self.settings.model:
                self.completer = self._open(settings.model)
                self.get_logger().info(f'model is now {settings.model}')
        except Exception as error:
            return SetParametersResult(successful=False, reason=describe(error))
        self.settings = settings
        return SetParametersResult(successful=True)


def describe(error: Exception) -> str:
    """Give the text of an expected error, or type and text of any other."""
    expected = isinstance(error, (ValueError, LookupError, ImportError)) and str(error)
    return str(error) if expected else f'{type(error).__name__}: {error}'


def serve(job: Job) -> None:
    """Start the node unless it is to wait for transitions, and spin until it is stopped."""
    node = job.node
    if node.settings.autostart:
        for transition in (node.trigger_configure, node.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:  # the node has logged why
                raise SystemExit(2)
    while not (job.stopped or node.ended):
        job.spin(STOP_LATENCY_S)
    if not node.ended:
        node.trigger_shutdown()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; exit code 0 after a signal, 2 where it cannot start."""
    return run('completion_node', serve, args, lambda _: CompletionNode())


if __name__ == '__main__':
    sys.exit(main())
