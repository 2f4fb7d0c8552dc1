"""Where T_cam_lidar comes from at run time: TF, or a parameter."""

from __future__ import annotations

from typing import Any, Protocol

from depth_kd_ros.extrinsics import Extrinsics
from depth_kd_ros.geometry import check_rigid, transform
from depth_kd_ros.nodes.parameters import Settings
import numpy as np
from rclpy.node import Node
from rclpy.time import Time

STALE_S = 0.2


class MissingTransformError(LookupError):
    """No transform between the frames of a pair."""


class TransformSource(Protocol):
    """Give T_cam_lidar (4, 4) for the frames and stamp of a pair, or MissingTransformError."""

    def __call__(self, camera_frame: str, lidar_frame: str, stamp: Any) -> np.ndarray: ...

    def reset(self) -> None:
        """Forget what was heard, after the clock went back."""

    def close(self) -> None:
        """Stop listening."""


class ParameterExtrinsics:
    """The transform given by parameter; frames are compared where their names are given."""

    def __init__(self, values: list[float], camera_frame: str = '', lidar_frame: str = '') -> None:
        if not any(values):
            raise ValueError(
                'extrinsics.T_cam_lidar is not set, but extrinsics.source is parameter: give 16 '
                'numbers (4x4, row by row), or start with extrinsics:=tf or extrinsics:=FILE'
            )
        T_cam_lidar = check_rigid(values, 'parameter extrinsics.T_cam_lidar')
        self._rig = Extrinsics(T_cam_lidar, camera_frame, lidar_frame)

    def __call__(self, camera_frame: str, lidar_frame: str, stamp: Any) -> np.ndarray:
        try:
            self._rig.check_frames(camera_frame, lidar_frame, 'extrinsics.T_cam_lidar')
        except ValueError as error:
            raise MissingTransformError(str(error)) from None
        return self._rig.T_cam_lidar

    def reset(self) -> None:
        """Keep the transform: it has no stamp."""

    def close(self) -> None:
        """Do nothing: nothing is heard."""


class TfExtrinsics:
    """
    Look transforms up in a tf2 buffer without waiting.

    At the stamp of the cloud; where TF has not come that far yet, the newest one if at most
    STALE_S older. `errors` is the tf2_ros module, for its exceptions; `listener` fills the buffer.
    """

    def __init__(self, buffer: Any, errors: Any, listener: Any = None) -> None:
        self._buffer, self._errors, self._listener = buffer, errors, listener

    def __call__(self, camera_frame: str, lidar_frame: str, stamp: Any) -> np.ndarray:
        wanted = Time.from_msg(stamp)
        try:
            try:
                found = self._buffer.lookup_transform(camera_frame, lidar_frame, wanted)
            except self._errors.ExtrapolationException:
                found = self._buffer.lookup_transform(camera_frame, lidar_frame, Time())
                age_s = (wanted - Time.from_msg(found.header.stamp)).nanoseconds / 1e9
                if abs(age_s) > STALE_S:
                    raise
        except self._errors.TransformException as error:
            raise MissingTransformError(
                f'no transform from {lidar_frame!r} to {camera_frame!r} in TF ({error}). Is a '
                'static_transform_publisher or robot_state_publisher running? Else start with '
                'extrinsics:=FILE'
            ) from None
        t, r = found.transform.translation, found.transform.rotation
        return transform([t.x, t.y, t.z], [r.x, r.y, r.z, r.w])

    def reset(self) -> None:
        """Clear the buffer, which would take the new pass of a bag for old data."""
        self._buffer.clear()

    def close(self) -> None:
        """End the subscriptions of the listener."""
        if self._listener is not None:
            self._listener.unregister()


def open_source(node: Node, settings: Settings) -> TransformSource:
    """Open the source named by extrinsics.source; ValueError says what is missing for it."""
    values = settings.T_cam_lidar
    if settings.extrinsics_source == 'parameter':
        return ParameterExtrinsics(values, settings.camera_frame, settings.lidar_frame)
    if any(values):
        raise ValueError(
            'extrinsics.T_cam_lidar is given although extrinsics.source is tf: two sources. Set '
            'extrinsics.source to parameter, or leave T_cam_lidar out'
        )
    try:
        import tf2_ros
    except ImportError:
        raise ValueError(
            'extrinsics.source is tf, but the ROS package tf2_ros is not installed. Install it '
            '(ros-<distro>-tf2-ros-py), or give the transform: extrinsics:=bag or '
            'extrinsics:=FILE in the launch, otherwise extrinsics.source:=parameter with '
            'extrinsics.T_cam_lidar'
        ) from None
    buffer = tf2_ros.Buffer()
    return TfExtrinsics(buffer, tf2_ros, tf2_ros.TransformListener(buffer, node))
