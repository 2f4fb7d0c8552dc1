"""Lifecycle node `completion`: camera and LiDAR in, dense depth out."""

from __future__ import annotations

from collections.abc import Sequence
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
from depth_kd_ros.nodes.transforms import extrinsics, MissingTransformError
from depth_kd_ros.nodes.worker import Worker
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

THROTTLE_S = 5.0


class CompletionNode(LifecycleNode):
    """
    Match image and cloud, complete their depth in a worker thread and publish it.

    torch and the network are loaded in `on_configure`, so that a wrong parameter is told at once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('completion', **options)
        parameters.declare(self)
        self.settings = parameters.read(self)
        self.failure = ''
        self.why: dict[str, str] = {}  # the newest text by reason of dropping
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and check the settings; a failure is logged with its reason."""
        self.failure = ''
        try:
            self._configure(parameters.read(self))
        except (ValueError, ImportError) as error:
            self.failure = str(error)
            self.get_logger().error(self.failure)
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def _configure(self, settings: parameters.Settings) -> None:
        from depth_kd_ros.frames import FrameReader
        import torch

        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self.completer = self._open(settings.model)
        self.extrinsics = extrinsics(self, settings.extrinsics_source, settings.extrinsics_matrix)
        self.reader = FrameReader(settings.rectify, self.resolve_topic_name('image'), decoder())
        model = self.completer.model
        self.get_logger().info(f'model {model.name} ({model.hash}) on {self.completer.device}')

    def _open(self, model: str) -> Any:
        """Load a model with the node's settings; ValueError says what is wrong with it."""
        from depth_kd_ros.completer import DepthCompleter

        s = self.settings
        return DepthCompleter(model, s.device, s.min_depth_m, s.max_depth_m, s.bleed_filter)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to listen and to publish."""
        from depth_kd_ros.nodes.outputs import Outputs

        self.health = Health()
        self.outputs = Outputs(self, self.settings)
        self.worker = Worker(
            self._complete, lambda _: self.health.dropped('busy'), self._on_failure
        )
        try:
            self.inputs = Inputs(self, self.settings, self.health, self.worker.put)
        except ValueError as error:
            self.failure = str(error)
            self.get_logger().error(self.failure)
            self.worker.stop()
            self.outputs.close()
            return TransitionCallbackReturn.FAILURE
        self.diagnostics = Diagnostics(self)
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self.jumps = self.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)
        return super().on_activate(state)

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
        del self.completer, self.extrinsics, self.reader
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        if state.label == 'active':
            self.on_deactivate(state)
        return TransitionCallbackReturn.SUCCESS

    def _complete(self, instant: Instant) -> None:
        """Carry one instant through the whole path: this runs in the worker thread."""
        start = time.monotonic()
        if not self.outputs.subscribed:
            self.health.dropped('no_subscriber')
            return
        if 0 < self.settings.max_age_s < start - instant.arrived_s:
            self.health.dropped('stale')
            return
        completer = self.completer
        image_header, cloud_header = instant.image.header, instant.cloud.header
        T_cam_lidar = self.extrinsics(
            image_header.frame_id, cloud_header.frame_id, cloud_header.stamp
        )
        frame = self.reader(instant.image, instant.camera_info, instant.cloud, T_cam_lidar)
        decoded = time.monotonic()
        done = completer(frame.image, frame.points.xyz, frame.camera, frame.T_cam_lidar)
        completed = time.monotonic()
        live = self.settings
        self.outputs.publish(frame, done, image_header, live.min_confidence, live.points_stride)
        end = time.monotonic()
        seconds = {
            'wait': start - instant.arrived_s, 'decode': decoded - start, **done.seconds,
            'publish': end - completed, 'total': end - instant.arrived_s,
        }  # fmt: skip
        self.health.completed(end, seconds, points=int((done.sparse_depth > 0).sum()))
        self.diagnostics.frame(image_header, seconds, done)

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
        text = str(error) if reason != 'error' else f'{type(error).__name__}: {error}'
        self.health.dropped(reason)
        self.why[reason] = text
        self.get_logger().warning(
            f'frame dropped ({reason}): {text}', throttle_duration_sec=THROTTLE_S
        )

    def _on_jump(self, jump: TimeJump) -> None:
        """Note that the clock went back, as a looped bag's does; the matcher sees it by stamps."""
        self.get_logger().info(f'the clock jumped by {jump.delta.nanoseconds / 1e9:.3f} s')
        self.health.forget_held_out()

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Check a change; a new model is loaded beside the old one, swapped between two frames."""
        try:
            settings = parameters.changed(self.settings, changes)
            if hasattr(self, 'completer') and settings.model != self.settings.model:
                self.completer = self._open(settings.model)
                self.get_logger().info(
                    f'model is now {settings.model} ({self.completer.model.hash})'
                )
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.settings = settings
        return SetParametersResult(successful=True)


def serve(job: Job) -> None:
    """Start the node unless it is to wait for transitions, and spin until a signal stops it."""
    node = job.node
    if node.settings.autostart:
        node.trigger_configure()
        if not node.failure:
            node.trigger_activate()
        if node.failure:  # logged by the node
            raise SystemExit(2)
    while not job.stopped:
        job.spin(STOP_LATENCY_S)
    node.trigger_shutdown()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; exit code 0 after a signal, 2 where it cannot start."""
    return run('completion_node', serve, args, lambda _: CompletionNode())


if __name__ == '__main__':
    sys.exit(main())
