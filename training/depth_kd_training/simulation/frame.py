"""Pictures of scenes: image, LiDAR or RGB-D depth, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import NamedTuple

from depth_kd_ros.geometry import Camera
from depth_kd_training.data.base import Frame
from depth_kd_training.simulation import camera, lidar, lidar_models, rgbd, texture_bank
from depth_kd_training.simulation.appearance import light_from
from depth_kd_training.simulation.camera import Look, View
from depth_kd_training.simulation.lidar import Scan
from depth_kd_training.simulation.raycast import cast, Hits, MISS
from depth_kd_training.simulation.scene import Config, draw, place, Scene
from depth_kd_training.simulation.sky import Sky
from depth_kd_training.simulation.textures import DRAW
from depth_kd_training.simulation.world import SKY, stack, World
import numpy as np
import torch
from torch import Tensor

FAR_M = 200.0  # true depth beyond is none
NEAR_M = 2.0  # from here on the LiDAR's sector covers the picture
MARGIN_RAD = math.radians(2)


class Shot(NamedTuple):
    """Hold a picture and, where there is a LiDAR, the scan behind its sparse depth."""

    frame: Frame
    scan: Scan | None
    see_through: float  # share of the sparse points that lie behind what the camera sees


@torch.inference_mode()
def render(
    scenes: Sequence[Scene], along: Sequence[float], device: torch.device | str = 'cpu',
    seconds: float = 0.0, whole_turn: bool = False,
) -> list[Shot]:  # fmt: skip
    """
    Take a picture of each scene, from `along` its path, `seconds` after it was drawn.

    All have one image size. The LiDAR scans what the camera sees, or `whole_turn`.
    """
    worlds = stack([scene.builder for scene in scenes], list(DRAW)).to(device)
    worlds = worlds.after(seconds)
    base = np.stack([place(s.builder, at) for s, at in zip(scenes, along, strict=True)])
    K = np.stack([scene.rig.K for scene in scenes])
    T_world_cam = base @ np.stack([scene.rig.T_base_cam for scene in scenes])
    view = View(_tensor(K, device), _tensor(T_world_cam, device), scenes[0].size)
    rays = view.rays()
    hits = cast(worlds.solids, worlds.ground, *rays)
    sky = Sky(
        *(torch.cat(parts, -1).to(device) for parts in zip(*(s.sky for s in scenes), strict=True))
    )
    look = Look(
        *(torch.cat(parts).to(device) for parts in zip(*(s.look for s in scenes), strict=True))
    )
    scenes = [scene._replace(seed=scene.seed + round(1000 * seconds)) for scene in scenes]
    seeds = [scene.seed for scene in scenes]
    bank = texture_bank.bank().to(device)
    light = light_from(worlds, sky, bank, view, rays, hits, seeds)
    images = camera.photograph(light, look, seeds).cpu().numpy()
    maps = _truth(worlds, view, hits)
    shots = []
    for number, scene in enumerate(scenes):
        one = worlds.one(number)
        truth = {key: values[number] for key, values in maps.items()}
        sparse, ring, scan = _measured(one, scene, base[number], truth, whole_turn)
        behind = 0.0 if sparse is None else lidar.see_through(sparse, truth['depth_gt'])
        frame = Frame(
            f'{scene.seed:08d}', images[number], scene.rig.K.copy(),
            None if sparse is None else _array(sparse, np.float32),
            _array(truth['depth_gt'], np.float32),
            None if ring is None else _array(ring, np.int16),
            _array(truth['semantic'], np.int16), _array(truth['instance'], np.int32),
            lidar_models.beams_of(scene.sensor),
        )  # fmt: skip
        shots.append(Shot(frame, scan, behind))
    return shots


def _truth(worlds: World, view: View, hits: Hits) -> dict[str, Tensor]:
    """Give true depth m, class, instance and surface (B, H, W)."""
    count = worlds.semantic.shape[1]
    miss = hits.solid == MISS
    surface = torch.where(hits.solid < 0, count - 1, hits.solid).flatten(1)  # (B, K)
    depth = torch.where(hits.distance <= FAR_M, hits.distance, 0.0)
    semantic = torch.where(miss.flatten(1), SKY, worlds.semantic.gather(1, surface))
    instance = worlds.instance.gather(1, surface)
    instance = torch.where((instance == 0) | miss.flatten(1), -1, instance)
    maps = {'depth_gt': depth, 'semantic': semantic, 'instance': instance, 'surface': surface}
    return {key: view.image(values.reshape(1, -1))[:, 0] for key, values in maps.items()}


def _measured(
    world: World, scene: Scene, base: np.ndarray, truth: dict[str, Tensor], whole_turn: bool
) -> tuple[Tensor | None, Tensor | None, Scan | None]:
    """Give sparse depth and ring (H, W) and the scan, as far as the scene's sensor has any."""
    if scene.sensor == 'none':
        return None, None, None
    device = world.sun.device
    rig = scene.rig
    if scene.sensor == 'rgbd':
        return _rgbd(world, scene, truth), None, None
    T_world_lidar = torch.from_numpy(base @ rig.T_base_lidar)[None].to(device)
    heading = np.array([math.cos(rig.heading), math.sin(rig.heading), 0.0])
    ahead = torch.from_numpy(base[:3, :3] @ heading * rig.speed)[None].to(device)
    scan = lidar.measure(
        world, lidar_models.find(scene.sensor), T_world_lidar, ahead,
        torch.tensor([rig.yaw_rate], device=device), [scene.seed],
        None if whole_turn else _sector(scene),
    )[0]  # fmt: skip
    sparse, ring = lidar.sparse(
        scan, rig.T_cam_lidar, Camera(rig.K, *scene.size), bleed_filter=False
    )
    return sparse, ring, scan


def _rgbd(world: World, scene: Scene, truth: dict[str, Tensor]) -> Tensor:
    """Measure with an RGB-D camera in the picture's own frame: (H, W) m."""
    surface, depth = truth['surface'], truth['depth_gt']
    reflectivity, gloss, glass = (
        values[0][surface] for values in (world.reflectivity, world.gloss, world.glass)
    )
    K = scene.rig.K
    row, column = torch.gradient(depth)
    steep = torch.hypot(row * K[1, 1], column * K[0, 0]) / depth.clamp(min=0.1)
    return rgbd.holes(
        depth[None], torch.rsqrt(1 + steep**2)[None], reflectivity[None], gloss[None], glass[None],
        torch.tensor([K[0, 0]], device=depth.device), [scene.seed],
    )[0]  # fmt: skip


def _sector(scene: Scene) -> tuple[float, float]:
    """Give the azimuths (low, high) rad of the LiDAR that the picture spans, and some more."""
    height, width = scene.size
    u, v = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 5))
    pixels = np.stack((u, v, np.ones_like(u)), -1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(scene.rig.K).T
    T = np.linalg.inv(scene.rig.T_cam_lidar)
    far = rays @ T[:3, :3].T
    seen = np.concatenate([far, far * NEAR_M + T[:3, 3]])  # at infinity, and near by
    azimuth = np.arctan2(seen[:, 1], seen[:, 0])
    return float(azimuth.min() - MARGIN_RAD), float(azimuth.max() + MARGIN_RAD)


def _tensor(values: np.ndarray, device: torch.device | str) -> Tensor:
    """Make a float32 tensor."""
    return torch.from_numpy(values.astype(np.float32)).to(device)


def _array(values: Tensor, dtype: type) -> np.ndarray:
    """Make an array."""
    return values.cpu().numpy().astype(dtype)


def random_place(scene: Scene) -> float:
    """Draw where along its path the single picture of a scene is taken."""
    return float(np.random.default_rng([scene.seed, 21]).random() * (len(scene.builder.path) - 1))


def shot(config: Config, seed: int, device: torch.device | str = 'cpu') -> Shot:
    """Take the picture of a seed: the same seed, the same picture."""
    scene = draw(config, seed)
    return render([scene], [random_place(scene)], device)[0]
