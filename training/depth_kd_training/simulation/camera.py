"""The simulated camera: its rays, and what lens and sensor make of the light."""

from __future__ import annotations

from typing import NamedTuple

from depth_kd_training.simulation.draws import normal, Seeds
import torch
from torch import Tensor
import torch.nn.functional as F

TILE = (16, 16)  # px, rows and columns of a packet of rays; even
WEAKEST = 4e-3  # weight of a blur's kernel that is not left out


class View(NamedTuple):
    """Hold B cameras of one image size: K (B, 3, 3) px, T_world_cam (B, 4, 4)."""

    K: Tensor
    T_world_cam: Tensor
    size: tuple[int, int]  # (H, W) px

    @property
    def whole(self) -> tuple[int, int]:
        """Give the size (H, W) that whole tiles fill."""
        height, width = (
            -(-side // tile) * tile for side, tile in zip(self.size, TILE, strict=True)
        )
        return height, width

    def rays(self) -> tuple[Tensor, Tensor]:
        """
        Give origin and direction (B, T, N, 3) m of the rays, tile by tile.

        Directions have z = 1 in the camera frame, so that distance in ray lengths is depth.
        """
        device = self.K.device
        v, u = torch.meshgrid(
            *(torch.arange(side, device=device, dtype=torch.float32) for side in self.whole),
            indexing='ij',
        )
        u, v = (self.packets(x[None]).view(-1, TILE[0] * TILE[1]) for x in (u, v))
        pixels = torch.stack((u, v, torch.ones_like(u)), 1)  # (T, 3, N)
        turn = self.T_world_cam[:, :3, :3] @ torch.linalg.inv(self.K)
        direction = (turn[:, None] @ pixels).transpose(2, 3)
        return self.T_world_cam[:, None, None, :3, 3].expand_as(direction), direction

    def packets(self, maps: Tensor) -> Tensor:
        """Put maps (B, H, W) of whole tiles into the order of the rays: (B * T * N,)."""
        rows, columns = TILE
        cut = maps.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
        return cut.transpose(2, 3).flatten()

    def image(self, values: Tensor, whole: bool = False) -> Tensor:
        """Put values (C, B * T * N) in the order of the rays together to maps (B, C, H, W)."""
        (rows, columns), (height, width) = TILE, self.whole
        cut = values.view(len(values), -1, height // rows, width // columns, rows, columns)
        maps = cut.permute(1, 0, 2, 4, 3, 5).reshape(-1, len(values), height, width)
        return maps if whole else maps[:, :, : self.size[0], : self.size[1]]


class Look(NamedTuple):
    """Hold how B cameras take a picture, (B,) each unless said."""

    exposure: Tensor  # in stops from a middle grey
    white: Tensor  # (B, 3), gains of red, green and blue
    gamma: Tensor  # of the tone curve, about 2.2
    saturation: Tensor  # 1: as it is
    blur_px: Tensor  # standard deviation
    smear_px: Tensor  # length of the motion's blur, along the rows
    vignette: Tensor  # share of light that is lost in the corners
    noise: Tensor  # standard deviation at full white, as a share of it
    ghost: Tensor  # strength 0..1 of a second image, as in a wet or dirty pane


def photograph(light: Tensor, look: Look, seeds: Seeds) -> Tensor:
    """Turn light (B, 3, H, W), linear, into pixels (B, H, W, 3) uint8 RGB."""
    batch, _, height, width = light.shape

    def each(value: Tensor) -> Tensor:
        return value.view(batch, -1, 1, 1)

    middle = light[:, :, ::4, ::4].clamp(min=1e-3).log().mean((1, 2, 3), keepdim=True).exp()
    x = light * (0.2 / middle * torch.exp2(each(look.exposure)) * each(look.white))
    if bool((look.ghost > 0).any()):
        x = x + each(look.ghost) * (x.flip(3).roll(height // 7, 2) - x)
    x = _blurred(x, look.blur_px, look.smear_px)  # from here on in place: it is ours
    v = torch.linspace(-1, 1, height, device=x.device)[:, None]
    u = torch.linspace(-1, 1, width, device=x.device)
    x.mul_(1 - each(look.vignette) * (u * u + v * v) / 2)
    x.div_(1 + 0.18 * x).clamp_(min=0)  # highlights roll off: white at 1.2 times the clipping
    strength = x.clamp(max=1).sqrt_().add_(0.15).mul_(each(look.noise))
    x.addcmul_(normal(seeds, 'grain', x[0].numel(), x.device).view_as(x), strength)
    x = torch.lerp(x.mean(1, keepdim=True), x, each(look.saturation)).clamp_(1e-6, 1)
    x.log_().div_(each(look.gamma)).exp_()  # much faster than a power
    return x.mul_(255).round_().byte().permute(0, 2, 3, 1).contiguous()


def _blurred(x: Tensor, blur_px: Tensor, smear_px: Tensor) -> Tensor:
    """Blur images (B, 3, H, W) by a Gaussian, and along the rows by a box."""
    at = torch.arange(-4, 5, device=x.device, dtype=x.dtype)
    bell = torch.exp(-0.5 * (at / blur_px.clamp(min=0.05)[:, None]) ** 2)  # (B, 9)
    box = ((smear_px[:, None] + 1) / 2 - at.abs() + 0.5).clamp(0, 1)
    along = F.conv1d(bell[None], box[:, None], padding=4, groups=len(x))[0]
    for kernel, dim in ((along, 3), (bell, 2)):
        kernel = kernel * (kernel > WEAKEST * kernel.sum(1, keepdim=True))
        weights = (kernel / kernel.sum(1, keepdim=True)).T[
            ..., None, None, None
        ]  # (9, B, 1, 1, 1)
        side = x.shape[dim]
        wide = F.pad(x, (4, 4, 0, 0) if dim == 3 else (0, 0, 4, 4), mode='replicate')
        x = torch.zeros_like(x)
        for shift, weight in enumerate(weights):  # faster than a convolution of three channels
            if bool(weight.any()):
                x.addcmul_(wide.narrow(dim, shift, side), weight)
    return x
