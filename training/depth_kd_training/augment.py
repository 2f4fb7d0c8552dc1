"""
Augmentation: another frame that could have been recorded as well.

The order is always that of `Augmentation.__call__`: the LiDAR's beams and mounting, as it measured
the whole picture; the view (view.py); the points within it and their errors; the colours. All
randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from depth_kd_training import colour, lidar_noise, view
from depth_kd_training.data.base import Frame
import numpy as np

PLACES = ('random', 'bottom', 'bottom_centre', 'centre')
MOST = {
    'flip': 1, 'rotate_deg': 45, 'miscalibration_deg': 45, 'miscalibration_m': 10, 'noise_m': 10,
    'noise_relative': 1, 'outliers': 1, 'brightness': 1, 'contrast': 1, 'saturation': 1,
    'hue': 0.5, 'gamma': 10, 'grey': 1, 'permute': 1,
}  # fmt: skip
RANGES = {'scale': (0.1, 10), 'dropout': (0, 1)}


@dataclass(frozen=True)
class Config:
    """
    Choose what varies, and how much; by default nothing does. Pairs are (least, largest).

    Without a crop the view has the frame's size. `crop_from` says where it is cut: at random, from
    the bottom rows at a random column, from the middle of the bottom rows, from the centre.
    """

    crop: tuple[int, int] | None = None  # (H, W) px
    crop_from: str = 'random'
    scale: tuple[float, float] = (1.0, 1.0)  # of the zoom; depth is divided by it
    rotate_deg: float = 0.0  # at most, to either side
    flip: float = 0.0  # probability

    beams: tuple[int, ...] = ()  # how many remain of those in the frame: one of these counts
    miscalibration_deg: float = 0.0  # standard deviation about each axis
    miscalibration_m: float = 0.0  # standard deviation along each axis
    points: tuple[int, int] | None = None  # so many pixels of depth_gt become the sparse depth
    dropout: tuple[float, float] = (0.0, 0.0)  # share of the points that is lost
    noise_m: float = 0.0  # standard deviation of the sparse depth
    noise_relative: float = 0.0  # the same, as a share of the depth
    outliers: float = 0.0  # share of the points

    brightness: float = 0.0  # the factor differs from 1 by at most this
    contrast: float = 0.0  # likewise
    saturation: float = 0.0  # likewise
    hue: float = 0.0  # at most, to either side; 0.5 is half the colour circle
    gamma: float = 0.0  # the exponent lies between 1 / (1 + gamma) and 1 + gamma
    grey: float = 0.0  # probability that the whole image is of one grey
    permute: float = 0.0  # probability that the colour channels change places

    def __post_init__(self) -> None:
        """Turn lists into tuples; raise ValueError where a value cannot be used."""
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        for key, most in MOST.items():
            if not _within(getattr(self, key), 0, most):
                raise self._error(key, f'a number from 0 to {most}')
        for key, (least, most) in RANGES.items():
            pair = getattr(self, key)
            if not (
                isinstance(pair, tuple)
                and all(_within(x, least, most) for x in pair)
                and _ascending(pair)
            ):
                raise self._error(key, f'(least, largest) from {least} to {most}')
        if not (self.crop is None or (_counts(self.crop) and len(self.crop) == 2)):
            raise self._error('crop', '(H, W), whole numbers of at least 1')
        if not (self.points is None or (_counts(self.points) and _ascending(self.points))):
            raise self._error('points', '(least, largest), whole numbers of at least 1')
        if not _counts(self.beams):
            raise self._error('beams', 'a list of whole numbers of at least 1')
        if self.crop_from not in PLACES:
            raise self._error('crop_from', f'one of {", ".join(PLACES)}')
        if self.crop is None and self.scale[0] < 1:
            raise self._error('scale', 'at least 1, or a crop that fits into the smaller frames')
        if self.points and (self.beams or self.miscalibration_deg or self.miscalibration_m):
            raise self._error(
                'points', 'either points or beams and miscalibration: sampled points have neither'
            )

    def _error(self, key: str, advice: str) -> ValueError:
        """Make the error that names a key and its value."""
        return ValueError(f'{key} = {getattr(self, key)!r}: give {advice}')


def _within(value: Any, least: float, most: float) -> bool:
    """Tell whether a value is a number between two others."""
    return type(value) in (int, float) and least <= value <= most


def _ascending(pair: tuple[Any, ...]) -> bool:
    """Tell whether these are two, and the first is not the larger."""
    return len(pair) == 2 and pair[0] <= pair[1]


def _counts(value: Any) -> bool:
    """Tell whether a value is a tuple of whole numbers above 0."""
    return isinstance(value, tuple) and all(type(x) is int and x > 0 for x in value)


class Augmentation:
    """Give frames as the config lets them vary; the frame passed in stays as it is."""

    def __init__(self, config: Config, all_points: bool = False) -> None:
        """Take what varies; with `all_points` frames keep the points that they came with."""
        self.config, self.all_points = config, all_points

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """Change a frame; ValueError names the frame that lacks what an option needs."""
        c = self.config
        if self.all_points:
            frame = replace(frame, all_points=lidar_noise.points_of(frame, 'teacher.all_points'))
        if c.beams:
            frame = lidar_noise.fewer_beams(frame, int(rng.choice(c.beams)), rng.random())
        if c.miscalibration_deg or c.miscalibration_m:
            frame = lidar_noise.miscalibrated(frame, c.miscalibration_deg, c.miscalibration_m, rng)
        frame = self._view(frame, rng)
        if rng.random() < c.flip:
            frame = view.mirrored(frame)
        if c.points:
            frame = lidar_noise.sampled(frame, int(rng.integers(*c.points, endpoint=True)), rng)
        if c.dropout[1]:
            frame = lidar_noise.thinned(frame, rng.uniform(*c.dropout), rng)
        if c.noise_m or c.noise_relative:
            frame = lidar_noise.noisy(frame, c.noise_m, c.noise_relative, rng)
        if c.outliers:
            frame = lidar_noise.with_outliers(frame, c.outliers, rng)
        return replace(frame, image=self._colours(frame.image, rng))

    def _view(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """Draw and cut out a view: rotation, zoom and window."""
        c = self.config
        (height, width), least = frame.image.shape[:2], c.scale[0]
        size = c.crop or (height, width)
        if int(height * least) < size[0] or int(width * least) < size[1]:
            raise ValueError(
                f'frame {frame.name} of {height}x{width} px, at scale {least}, is smaller than '
                f'crop = {size}: give a smaller crop, or a scale that begins higher'
            )
        scale = rng.uniform(*c.scale)
        degrees = rng.uniform(-c.rotate_deg, c.rotate_deg)
        down, right = int(height * scale) - size[0], int(width * scale) - size[1]
        top = int(rng.integers(down, endpoint=True))
        left = int(rng.integers(right, endpoint=True))
        if c.crop_from != 'random':
            top = down // 2 if c.crop_from == 'centre' else down
        if c.crop_from in ('centre', 'bottom_centre'):
            left = right // 2
        return view.cut_out(frame, scale, degrees, top, left, size)

    def _colours(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw and apply other colours to an image (H, W, 3) uint8."""
        c = self.config
        if rng.random() < c.grey:
            return np.full_like(image, rng.integers(256))
        brightness, contrast, saturation = (
            rng.uniform(1 - most, 1 + most) for most in (c.brightness, c.contrast, c.saturation)
        )
        turn = rng.uniform(-c.hue, c.hue)
        gamma = (1 + c.gamma) ** rng.uniform(-1, 1)
        mix = colour.matrix(saturation, turn)
        if rng.random() < c.permute:
            mix = mix[rng.permutation(3)]
        if any((c.brightness, c.contrast, c.saturation, c.hue, c.gamma, c.permute)):
            mean = float(image.mean())
            image = colour.recoloured(image, mix, colour.curve(brightness, contrast, gamma, mean))
        return image
