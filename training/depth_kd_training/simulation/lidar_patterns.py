"""Where and when a LiDAR's rays go during one scan, in packets of neighbours for the caster."""

from __future__ import annotations

import math
from typing import NamedTuple

from depth_kd_training.simulation.draws import Seeds, uniform
from depth_kd_training.simulation.lidar_models import Model, Pattern
import torch
from torch import Tensor

PACKET = (4, 16)  # beams x azimuths; fastest of those tried on a CPU
_PRISMS_HZ = (121.57, -77.73)  # turns of a rosette's prisms
Sector = tuple[float, float]  # azimuth_low, azimuth_high rad


class Rays(NamedTuple):
    """
    Hold B scans of T packets of R rows of A rays; time 0 is the middle of a scan.

    A spinning LiDAR looks along +x then. Neighbours of a row follow each other in azimuth or,
    in a rosette, in time. Rays that are not `used` only fill up packets.
    """

    direction: Tensor  # (B, T, R, A, 3) unit vectors in the LiDAR frame
    time_s: Tensor  # (B, T, R, A)
    ring: Tensor  # (T, R, A) int64
    used: Tensor  # (B, T, R, A) bool


def rays(model: Model, seeds: Seeds, sector: Sector | None, device: torch.device) -> Rays:
    """Fire one scan per seed, which decides the phase, into a sector or the whole field."""
    if model.pattern is Pattern.ROSETTE:
        return _rosette(model, seeds, sector, device)
    half = math.radians(model.width_deg) / 2
    low, high = (-half, half) if sector is None else sector
    if model.width_deg < 360:
        low, high = max(low, -half), min(high, half)
        high = max(low, high)
    step = math.radians(model.azimuth_step_deg)
    first = math.floor(low / step)
    rows, columns = PACKET
    count = -(-(math.ceil(high / step) - first + 1) // columns) * columns  # azimuths
    beams = -(-model.beams // rows) * rows
    phase = uniform(seeds, 'phase', 1, device).double()  # (B, 1)
    azimuth = (torch.arange(first, first + count, device=device) + phase) * step  # (B, count)
    azimuth = azimuth.view(len(seeds), 1, -1, 1, columns)
    ring = torch.arange(beams, device=device).view(1, -1, 1, rows, 1)
    known = ring.clamp(max=model.beams - 1)
    elevation = torch.tensor(model.elevation_deg, device=device).double().deg2rad()[known]
    if model.pattern is Pattern.SPINNING:
        time_s = -azimuth / (2 * math.pi) * model.period_s
    else:
        along = (azimuth / half + 1) / 2  # 0..1 within the row
        time_s = ((known + along) / model.beams - 0.5) * model.period_s
    used = (ring < model.beams) & (azimuth >= low) & (azimuth < high)
    flat, up = elevation.cos().float(), elevation.sin().float()
    ahead, left = azimuth.cos().float(), azimuth.sin().float()
    direction = torch.stack(torch.broadcast_tensors(flat * ahead, flat * left, up), -1)
    every = direction.shape[:-1]  # (B, beams / rows, count / columns, rows, columns)
    shape = (len(seeds), -1, rows, columns)
    return Rays(
        direction.reshape(*shape, 3),
        time_s.float().expand(every).reshape(shape),
        known[0].expand(every[1:]).reshape(-1, rows, columns),
        used.expand(every).reshape(shape),
    )


def _rosette(model: Model, seeds: Seeds, sector: Sector | None, device: torch.device) -> Rays:
    """Fire along r (exp(i a) + exp(i b)), a and b turning at the rates of two prisms."""
    size = PACKET[0] * PACKET[1]
    place = torch.arange(-(-model.points // size) * size, device=device)
    time_s = ((place + 0.5) / model.points - 0.5) * model.period_s  # (points,)
    start = uniform(seeds, 'phase', 2, device).double()  # (B, 2) turns
    rate = torch.tensor(_PRISMS_HZ, device=device).double()
    angle = 2 * math.pi * (start[:, None] + time_s.double()[:, None] * rate)  # (B, points, 2)
    reach = math.radians(model.width_deg) / 4
    left, up = reach * angle.cos().sum(-1), reach * angle.sin().sum(-1)
    aside = torch.hypot(left, up)
    bent = torch.sinc(aside / math.pi)  # sin(aside) / aside
    direction = torch.stack((aside.cos(), bent * left, bent * up), -1).float()
    azimuth = torch.atan2(direction[..., 1], direction[..., 0])
    low, high = sector or (-math.pi, math.pi)
    used = (place < model.points) & (azimuth >= low) & (azimuth < high)
    shape = (len(seeds), -1, 1, size)
    return Rays(
        direction.view(*shape, 3),
        time_s.float().expand(len(seeds), -1).reshape(shape),
        torch.zeros_like(place).view(shape[1:]),
        used.view(shape),
    )
