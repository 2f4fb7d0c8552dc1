"""
Scans of a LiDAR on a moving platform, and the sparse depth a camera beside it gets.

Returns fade with distance, incidence and dark or glossy surfaces; glass passes, loses or returns
rays; the platform moves while the scan lasts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from depth_kd_ros.completer import MAX_DEPTH_M, MIN_DEPTH_M
from depth_kd_ros.geometry import Camera
from depth_kd_ros.projection import sparse_depth, without_bleed_through
from depth_kd_training.simulation.draws import normal, Seeds, uniform
from depth_kd_training.simulation.lidar_models import Model
from depth_kd_training.simulation.lidar_patterns import Rays, rays, Sector
from depth_kd_training.simulation.places import places
from depth_kd_training.simulation.raycast import cast
from depth_kd_training.simulation.solids import Solids
from depth_kd_training.simulation.surfaces import locate
from depth_kd_training.simulation.world import World
import numpy as np
import torch
from torch import Tensor

GLASS_PASSES, GLASS_RETURNS = 0.5, 0.15  # of the rays that meet a pane; the others are lost
_PORE_M = 1e-4  # of glass: so small that each ray meets its own
_WEAK, _STRONG = 0.2, 0.6  # signals that are never and always detected
_EDGE_M = 0.5  # between neighbouring rays, where mixed returns arise


class Scan(NamedTuple):
    """Hold the N returns of one scan, not compensated for motion, as a driver gives them."""

    points: Tensor  # (N, 3) m in the LiDAR frame of each point's own time
    ring: Tensor  # (N,) int64, from the top down
    time_s: Tensor  # (N,) since the LiDAR was at T_world_lidar
    intensity: Tensor  # (N,) 0..1
    solid: Tensor  # (N,) int64, the solid hit or GROUND


def measure(
    world: World,
    model: Model,
    T_world_lidar: Tensor,
    velocity: Tensor,
    yaw_rate: Tensor,
    seeds: Seeds,
    sector: Sector | None = None,
    cutout_seed: int = 0,
) -> list[Scan]:
    """
    Scan B worlds from poses (B, 4, 4) at velocities (B, 3) m/s and yaw rates (B,) rad/s.

    `seeds` gives each world its own noise, whatever batch it is in; `sector` limits azimuth;
    `cutout_seed` says, as for `cast`, where leaves are.
    """
    fired = rays(model, seeds, sector, world.sun.device)
    origin, direction = _moved(fired, T_world_lidar, velocity, yaw_rate)  # (B, T, N, 3)
    hits = cast(_with_panes(world), world.ground, origin, direction, cutout_seed)
    true_m = hits.distance.nan_to_num(posinf=0)
    point = origin + true_m[..., None] * direction
    cosine = _cosine(world, point, hits.solid, direction)
    brightness, chance = _returning(world, model, hits.solid, true_m, cosine)
    shape, count, device = true_m.shape, true_m[0].numel(), true_m.device
    returned = uniform(seeds, 'return', count, device).view(shape) < chance
    returned &= (true_m >= model.range_min_m) & (true_m <= model.range_m) & fired.used.flatten(2)
    range_m = _mixed(model, fired.ring.shape[-1], true_m, seeds)
    range_m = range_m + model.noise_m * normal(seeds, 'range', count, device).view(shape)
    points = range_m[..., None] * fired.direction.flatten(2, 3)
    ring = fired.ring.flatten(1).expand(shape)
    columns = (points, ring, fired.time_s.flatten(2), brightness, hits.solid)
    counts = returned.flatten(1).sum(1).tolist()
    kept = places(returned.view(-1))
    found = (column.flatten(0, 2).index_select(0, kept).split(counts) for column in columns)
    return [Scan(*parts) for parts in zip(*found, strict=True)]


def _cosine(world: World, point: Tensor, solid: Tensor, direction: Tensor) -> Tensor:
    """Give the cosine (B, T, N) of the incidence at points (B, T, N, 3) m."""
    number = torch.arange(len(solid), device=solid.device).repeat_interleave(solid[0].numel())
    points, ray = (x.reshape(-1, 3).T.contiguous() for x in (point, direction))
    place = locate(world.solids, world.ground, number, points, solid.flatten())
    return (place.normal * ray).sum(0).abs().view(solid.shape)


def _returning(
    world: World, model: Model, solid: Tensor, range_m: Tensor, cosine: Tensor
) -> tuple[Tensor, Tensor]:
    """Give brightness 0..1 and the chance of a return, (B, T, N), of surfaces that were hit."""
    ground = world.glass.shape[1] - 1
    surface = torch.where(solid < 0, ground, solid).flatten(1)
    reflectivity, gloss, glass = (
        values.gather(1, surface).view(solid.shape)
        for values in (world.reflectivity, world.gloss, world.glass)
    )
    # Rough surfaces send light back at any angle, smooth ones less and less.
    brightness = reflectivity * (1 - 0.75 * (1 - cosine))
    signal = brightness * (model.range_m / range_m.clamp(min=1e-3)) ** 2
    chance = ((signal - _WEAK) / (_STRONG - _WEAK)).clamp(0, 1) * (1 - model.dropout)
    chance = chance * (1 - gloss * (1 - cosine))
    chance = torch.where(glass, chance * (GLASS_RETURNS / (1 - GLASS_PASSES)), chance)
    return brightness.clamp(max=1), chance


def _moved(fired: Rays, T: Tensor, velocity: Tensor, yaw_rate: Tensor) -> tuple[Tensor, Tensor]:
    """Give the rays' origins and directions (B, T, N, 3) in the world, each at its time."""
    time_s = fired.time_s.flatten(2)  # (B, T, N)
    T, velocity = T.to(time_s), velocity.to(time_s)
    x, y, z = torch.einsum('bij,btnj->ibtn', T[:, :3, :3], fired.direction.flatten(2, 3))
    turn = yaw_rate.to(time_s)[:, None, None] * time_s
    c, s = turn.cos(), turn.sin()
    direction = torch.stack((c * x - s * y, s * x + c * y, z), -1)
    return T[:, None, None, :3, 3] + time_s[..., None] * velocity[:, None, None], direction


def _with_panes(world: World) -> Solids:
    """Make glass porous, so that its share of rays passes both sides of a pane."""
    solids, glass = world.solids, world.glass[:, :-1]
    return solids._replace(
        cutout=torch.where(glass, math.sqrt(GLASS_PASSES), solids.cutout),
        pore_m=torch.where(glass, _PORE_M, solids.pore_m),
    )


def _mixed(model: Model, columns: int, range_m: Tensor, seeds: Seeds) -> Tensor:
    """Move a share of the ranges (B, T, N) m at depth edges towards the next ray of the row."""
    count = range_m[0].numel()
    mixed = range_m.flatten().clone()
    drawn = uniform(seeds, 'mixed', count, range_m.device).flatten()
    place = places(drawn < model.mixed)
    place = place[place % columns < columns - 1]  # the last of a row has no next
    own, other = mixed[place], mixed[place + 1]
    edge = ((other - own).abs() > _EDGE_M) & (own > 0) & (other > 0)
    way = drawn[place] / max(model.mixed, 1e-9)  # 0..1
    mixed[place] = torch.where(edge, own + way * (other - own), own)
    return mixed.view(range_m.shape)


def sparse(
    scan: Scan,
    T_cam_lidar: np.ndarray,
    camera: Camera,
    min_depth_m: float = MIN_DEPTH_M,
    max_depth_m: float = MAX_DEPTH_M,
    bleed_filter: bool = True,
) -> tuple[Tensor, Tensor]:
    """Project a scan as the completer does: depth (H, W) m, 0 = none, and ring, -1 = none."""
    found = sparse_depth(scan.points, T_cam_lidar, camera, min_depth_m)
    depth = torch.where(found.depth <= max_depth_m, found.depth, 0.0)
    if bleed_filter:
        depth = without_bleed_through(depth)
    if not len(scan.ring):
        return depth, torch.full_like(found.index, -1)
    ring = scan.ring.index_select(0, found.index.clamp(min=0).view(-1)).view_as(found.index)
    ring = torch.where(depth > 0, ring, -1)
    return depth, ring


def see_through(sparse_depth: Tensor, depth_gt: Tensor | None = None) -> float:
    """
    Give the share of points (H, W) m seen past what hides them from the camera.

    They lie behind all of the dense truth within a pixel (so that rounding to pixels does not
    count) or, where there is none, are those the bleed-through filter drops: only the ones
    between points of the surface in front.
    """
    known = sparse_depth > 0
    if depth_gt is None:
        hidden = known & (without_bleed_through(sparse_depth) == 0)
    else:
        known = known & (depth_gt > 0)
        farthest = _of_three(_of_three(depth_gt, 0), 1)
        hidden = known & (sparse_depth > 1.1 * farthest + 0.3)
    return float(hidden.sum()) / max(1, int(known.sum()))


def _of_three(depth: Tensor, dim: int) -> Tensor:
    """Give the largest of each value and its two neighbours along a dimension of (H, W)."""
    result = depth.clone()
    for to, source in ((0, 1), (1, 0)):
        count = depth.shape[dim] - 1
        part = result.narrow(dim, to, count)
        torch.maximum(part, depth.narrow(dim, source, count), out=part)
    return result
