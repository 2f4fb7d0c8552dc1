"""Image encodings beyond the native table (Bayer, YUV) through cv_bridge, where installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def decoder() -> Callable[[Any], np.ndarray] | None:
    """Give a function Image -> RGB (H, W, 3) uint8, or None without cv_bridge."""
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        return None
    from depth_kd_ros.messages import MessageError

    bridge = CvBridge()

    def decode(message: Any) -> np.ndarray:
        try:
            return bridge.imgmsg_to_cv2(message, 'rgb8')
        except (CvBridgeError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise MessageError(
                f'encoding {message.encoding!r}: cv_bridge cannot decode it: {error}'
            ) from None

    return decode
