"""Colour maps, overlays and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
import math

import cv2
import numpy as np

NEAR_M, FAR_M = 1.0, 80.0
TICKS_M = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 60, 80, 120)
LABEL_PX = 40  # width of a label of the scale
_TURBO = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
_LUT = np.ascontiguousarray(_TURBO[::-1, :, ::-1])  # (256, 1, 3) RGB, from near to far


def colour(depth: np.ndarray, near_m: float = NEAR_M, far_m: float = FAR_M) -> np.ndarray:
    """
    Colour depth (H, W) m as RGB (H, W, 3) uint8: red is near, blue far, black none.

    The scale is logarithmic and fixed, so that pictures compare.
    """
    valid = depth > 0
    steps = 255 / math.log(far_m / near_m)
    step = np.clip(np.log(np.where(valid, depth, near_m) / near_m) * steps, 0, 255)
    image = cv2.applyColorMap(step.astype(np.uint8), _LUT)
    return cv2.copyTo(image, valid.view(np.uint8))  # all else is black


def overlay(
    image: np.ndarray,
    sparse: np.ndarray,
    near_m: float = NEAR_M,
    far_m: float = FAR_M,
    radius_px: int = 1,
) -> np.ndarray:
    """Draw the points of sparse depth (H, W) m over an RGB image (H, W, 3) uint8, near ones up."""
    side = 2 * radius_px + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    points = np.where(sparse > 0, sparse, np.inf).astype(np.float32)
    nearest = cv2.erode(points, disc, borderValue=np.inf)  # (H, W), inf = no point
    drawn = np.isfinite(nearest).view(np.uint8)
    return cv2.copyTo(colour(nearest, near_m, far_m), drawn, image.copy())


def sheet(rows: Sequence[tuple[str, np.ndarray]], width: int = 1242) -> np.ndarray:
    """Stack titled RGB pictures (H, W, 3) uint8 below each other at one width."""
    parts = []
    for title, picture in rows:
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        bar = np.full((26, width, 3), 255, np.uint8)
        _write_text(bar, title, (6, 18))
        parts += [bar, scaled]
    return np.concatenate(parts)


def scale_bar(width: int = 1242, near_m: float = NEAR_M, far_m: float = FAR_M) -> np.ndarray:
    """Draw the colour scale with its metres, (40, width, 3) uint8 RGB."""
    metres = near_m * (far_m / near_m) ** np.linspace(0, 1, width)
    bar = np.full((40, width, 3), 255, np.uint8)
    bar[:16] = colour(metres[None].astype(np.float32), near_m, far_m)
    taken = width  # left end of the label to the right; the farthest goes first
    for m in (m for m in reversed(TICKS_M) if near_m <= m <= far_m):
        x = int(np.log(m / near_m) / np.log(far_m / near_m) * (width - 1))
        cv2.line(bar, (x, 12), (x, 20), (0, 0, 0), 1)
        left = min(x, width - LABEL_PX)
        if left + LABEL_PX <= taken:
            _write_text(bar, f'{m} m', (left, 34), 0.45)
            taken = left
    return bar


def _write_text(picture: np.ndarray, text: str, at: tuple[int, int], size: float = 0.5) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)


def contact_sheet(
    image: np.ndarray, sparse: np.ndarray, dense: np.ndarray, title: str
) -> np.ndarray:
    """Show one frame: the image, its points over it, the dense depth, and the scale; RGB uint8."""
    width = max(640, min(1242, image.shape[1]))
    points = int((sparse > 0).sum())
    radius = 1 if image.shape[1] < 1500 else 2
    rows = [
        (title, image),
        (f'{points} LiDAR points on the image', overlay(image, sparse, radius_px=radius)),
        ('dense depth', colour(dense)),
    ]
    return np.concatenate([sheet(rows, width), scale_bar(width)])


def write(path: str, picture: np.ndarray) -> None:
    """Write an RGB picture; raise OSError where that fails."""
    try:
        written = cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise OSError(f'{path}: the picture could not be written ({error.err})') from None
    if not written:
        raise OSError(f'{path}: the picture could not be written')
