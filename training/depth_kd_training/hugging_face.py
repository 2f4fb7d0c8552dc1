"""
Monocular teachers of Hugging Face transformers, from a folder on this machine.

`transformers` is the optional extra `depth_kd_ros[hugging-face]` and imported where it is needed.
Nothing here asks the network, unpickles or runs code that comes with a model.
"""

from __future__ import annotations

from collections.abc import Iterator
import math
from pathlib import Path
from typing import Any

from depth_kd_ros.networks.base import DepthNetwork, Prediction
from depth_kd_ros.networks.parts.sizes import resize
from depth_kd_training.image_processor import read_image_processor, read_json
from torch import Tensor
import torch.nn.functional as F

CONFIG = 'config.json'
STATED = {'metric': (True, 'depth'), 'relative': (False, 'inverse_depth')}
KINDS = (*STATED.values(), (False, 'depth'))  # what `metric` and `output` may be


class HuggingFaceTeacher(DepthNetwork):
    """
    Predict depth with any `AutoModelForDepthEstimation` that `save_pretrained` wrote to a folder.

    Image (B, 3, H, W) to depth (B, 1, H, W). The image is normalised as `normalisation` says, by
    the constants of the model, not by those of a student. Inside it is resampled bilinearly to the
    size that the folder's image processor fixes, else to the nearest one of whole patches; with
    `shorter_side_px` at that resolution instead of the image's. Features are those hidden states
    that cover the image: `H0`, `H1`, ... in the model's order, (B, C, h, w), patches as maps.

    `metric` and `output` ('depth' or 'inverse_depth') are what the model's config states as
    `depth_estimation_type`; where it states nothing they must be given. In eval mode and float32.

    Raises ValueError for a folder that is missing or holds no such model, naming file and key, and
    RuntimeError where transformers is not installed.
    """

    inputs = ('image',)

    def __init__(
        self,
        path: str | Path,
        *,
        metric: bool | None = None,
        output: str | None = None,
        shorter_side_px: int | None = None,
    ):
        super().__init__()
        given = shorter_side_px is not None
        if given and (type(shorter_side_px) is not int or shorter_side_px < 1):
            raise ValueError(f'shorter_side_px = {shorter_side_px!r}: give a whole number >= 1')
        self.shorter_side_px = shorter_side_px
        folder = Path(path).expanduser()
        _check_config(folder / CONFIG, read_json(folder, CONFIG))
        self.model = _load(folder)
        config = self.model.config.to_dict()  # with the defaults that the file leaves out
        kind = _kind(folder / CONFIG, config, metric, output)
        self.metric, self.output = kind
        self.patch = _patch(config)
        self.processor = read_image_processor(folder, self.patch)
        self.normalisation = self.processor.normalisation
        self.eval()

    def forward(
        self, image: Tensor, sparse_depth: Tensor | None = None, features: bool = True
    ) -> Prediction:
        """Predict at the model's own size; resample the depth, not the features, to the image."""
        self.check(image, sparse_depth)
        size = self.processor.size(image.shape[2], image.shape[3], self.shorter_side_px)
        pixels = F.interpolate(image, size, mode='bilinear', align_corners=False)
        found = self.model(pixels, output_hidden_states=features, return_dict=True)
        grid = (size[0] // self.patch, size[1] // self.patch)
        kept = {}
        for n, state in enumerate(found.hidden_states or () if features else ()):
            feature = _map(state, len(image), grid)
            if feature is not None:
                kept[f'H{n}'] = feature
        return Prediction(resize(found.predicted_depth[:, None], image), kept)


def _check_config(path: Path, config: dict[str, Any]) -> None:
    """Refuse models of another task, and those whose backbone would be fetched."""
    architectures = config.get('architectures') or []
    if not any(str(name).endswith('ForDepthEstimation') for name in architectures):
        raise ValueError(
            f'{path}: architectures = {architectures}: give a model ...ForDepthEstimation'
        )
    for part in _parts(config):
        named = part.get('backbone') and not part.get('backbone_config')
        if named or part.get('use_pretrained_backbone'):
            raise ValueError(
                f'{path}: backbone = {part.get("backbone")!r} would be fetched from the network: '
                'load the model where there is one and save it again, with its backbone_config'
            )


def _parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the config and those inside it."""
    yield config
    for value in config.values():
        if isinstance(value, dict):
            yield from _parts(value)


def _kind(
    path: Path, config: dict[str, Any], metric: bool | None, output: str | None
) -> tuple[bool, str]:
    """Say whether the depth is metric and whether it is inverse, as stated or as given."""
    key = 'depth_estimation_type'
    stated = STATED.get(str(config.get(key)))
    if stated is not None:
        if metric not in (None, stated[0]) or output not in (None, stated[1]):
            raise ValueError(
                f'{path}: {key} = {config[key]!r} means metric = {stated[0]}, output = '
                f'{stated[1]!r}; metric = {metric}, output = {output!r} was given'
            )
        return stated
    for kind in KINDS:
        if metric is kind[0] and output == kind[1]:
            return kind
    raise ValueError(
        f'{path} has no {key}, and metric = {metric!r}, output = {output!r} was given; give '
        + ' or '.join(f'metric = {metric}, output = {output!r}' for metric, output in KINDS)
    )


def _patch(config: dict[str, Any]) -> int:
    """Give the side of a vision transformer's patch in pixels; 1 for other models."""
    for part in (config.get('backbone_config') or {}, config):
        if type(part.get('patch_size')) is int:
            return part['patch_size']
    return 1


def _load(folder: Path) -> Any:
    """Load the model; refuse one whose file lacks weights."""
    try:
        from transformers import AutoModelForDepthEstimation
    except ImportError as error:
        raise RuntimeError(
            "teachers of Hugging Face need transformers: pip install 'depth_kd_ros[hugging-face]'"
        ) from error
    try:
        model, report = AutoModelForDepthEstimation.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:
        reason = str(error).strip().partition('\n')[0]
        raise ValueError(f'{folder}: transformers cannot load this model: {reason}') from error
    missing = sorted(report['missing_keys'])
    if missing:
        raise ValueError(f'{folder}: {len(missing)} weights are missing: {", ".join(missing[:8])}')
    return model.float()


def _map(state: Tensor, batch: int, grid: tuple[int, int]) -> Tensor | None:
    """Turn a hidden state into (B, C, h, w): the patches come last, after class tokens."""
    if state.dim() == 4 and len(state) == batch:
        return state
    patches = math.prod(grid)
    if state.dim() == 3 and len(state) == batch and state.shape[1] >= patches:
        return state[:, -patches:].transpose(1, 2).unflatten(2, grid)
    return None
