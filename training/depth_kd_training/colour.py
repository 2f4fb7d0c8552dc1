"""
Other colours of an image: a matrix mixes the channels, then a curve changes every value.

Saturation and hue act about the grey axis R = G = B, so that a third of a turn of hue takes red
to green, green to blue and blue to red, and greys stay.
"""

from __future__ import annotations

import cv2
import numpy as np


def matrix(saturation: float, turn: float) -> np.ndarray:
    """Make the (3, 3) matrix that scales saturation and turns the hue by a share of the circle."""
    grey = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    angle = 2 * np.pi * turn
    return grey + saturation * (np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * across)


def curve(brightness: float, contrast: float, gamma: float, mean: float) -> np.ndarray:
    """
    Make the table (256,) uint8 of new values: brightness, contrast, gamma, in this order.

    Contrast scales the distance to the image's `mean` (0 to 255), after brightness.
    """
    values = (np.arange(256) - mean) * contrast + mean
    values = np.clip(values * brightness / 255, 0, 1) ** gamma
    return np.rint(values * 255).astype(np.uint8)


def recoloured(image: np.ndarray, mix: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Apply a matrix (3, 3) and then a table (256,) to an image (H, W, 3) uint8."""
    return cv2.LUT(cv2.transform(image, mix), table)
