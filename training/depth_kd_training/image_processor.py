"""
What a Hugging Face model expects of its images, from the files that `save_pretrained` wrote.

The files are read as JSON: transformers' own processors need torchvision or Pillow, and take
images where training has tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
import math
from pathlib import Path
from typing import Any

from depth_kd_ros.metadata import Normalisation

PROCESSOR = 'preprocessor_config.json'


@dataclass(frozen=True)
class ImageProcessor:
    """
    Hold how images are normalised and sized: to `fixed_size` (H, W), or to multiples.

    The constants of `normalisation` are of `(rgb / 255 - mean) / std`, whatever the file's are of.
    """

    normalisation: Normalisation
    fixed_size: tuple[int, int] | None
    multiple: int

    def size(self, height: int, width: int, shorter_side_px: int | None) -> tuple[int, int]:
        """
        Give the height and width at which the model runs for an image of this size.

        Without a fixed size these are the multiples nearest to the image's own, scaled to
        `shorter_side_px` if that is given: about the image's aspect.
        """
        if self.fixed_size is not None:
            return self.fixed_size
        shorter = min(height, width)
        scale = (shorter_side_px or shorter) / shorter / self.multiple
        rows, columns = (max(1, round(n * scale)) for n in (height, width))
        return rows * self.multiple, columns * self.multiple


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read one of the folder's files; raise ValueError unless it is a JSON object."""
    path = folder / name
    if not folder.is_dir():
        raise ValueError(f'{folder}: no such folder: give that of a model save_pretrained wrote')
    if not path.is_file():
        raise ValueError(
            f'{path}: no such file: write model and image processor there by save_pretrained'
        )
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f'{path}: not JSON: {error}') from error
    if not isinstance(values, dict):
        raise ValueError(f'{path}: {type(values).__name__} instead of an object with keys')
    return values


def read_image_processor(folder: Path, patch: int) -> ImageProcessor:
    """Read a folder's image processor, for a model of patches with this side in pixels."""
    path, values = folder / PROCESSOR, read_json(folder, PROCESSOR)
    divisors = (values.get('ensure_multiple_of'), values.get('size_divisor'), patch)
    return ImageProcessor(
        _normalisation(path, values),
        _fixed_size(path, values),
        math.lcm(*(divisor for divisor in divisors if type(divisor) is int and divisor > 0)),
    )


def _normalisation(path: Path, values: dict[str, Any]) -> Normalisation:
    """Convert `(rgb * rescale_factor - image_mean) / image_std`, of which parts may be off."""
    factor = values.get('rescale_factor', 1 / 255) if values.get('do_rescale', True) else 1
    mean, std = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    if values.get('do_normalize', 'image_mean' in values):
        mean, std = (_three_numbers(path, values, key) for key in ('image_mean', 'image_std'))
    if min(std) <= 0:
        raise ValueError(f'{path}: image_std = {std}: needs positive numbers')
    scale = 255 * factor
    return Normalisation(tuple(m / scale for m in mean), tuple(s / scale for s in std))


def _three_numbers(path: Path, values: dict[str, Any], key: str) -> list[float]:
    value = values.get(key)
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(type(n) in (int, float) for n in value)
    ):
        raise ValueError(f'{path}: {key} = {value!r}: needs a list of three numbers')
    return value


def _fixed_size(path: Path, values: dict[str, Any]) -> tuple[int, int] | None:
    """Give the one (H, W) of all images; None where their aspect is kept."""
    size = values.get('size')
    free = values.get('keep_aspect_ratio') or values.get('size_divisor')
    if free or not size or not values.get('do_resize', True):
        return None
    sides = size if isinstance(size, dict) else {'height': size, 'width': size}
    height, width = sides.get('height'), sides.get('width')
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError(f'{path}: size = {size!r}: needs height and width in pixels')
    return height, width
