"""
Write a synthetic street of boxes as a rosbag2: a camera, a LiDAR and the true depth.

    python test/box_world.py OUT [--frames 20] [--storage mcap] [--truth FOLDER]

Every number is worked out here with plain NumPy (slab ray casting), independent of the package,
so that tests can compare with it. World and base_link: x forward, y left, z up; the road lies at
z = 0 and base_link on it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

SIZE = (240, 640)
FAR = 120.0  # m; farther surfaces are drawn as haze and have no depth
LIDAR_FAR = 100.0
PERIOD_NS, START_NS = 100_000_000, 1_700_000_000_000_000_000
IMAGE_DELAY_NS, POINTS_DELAY_NS = 30_000_000, 10_000_000  # receive time - header stamp
SPEED = 0.5  # m per frame along x
IMAGE, INFO, POINTS = '/camera/image_rect_color', '/camera/camera_info', '/lidar/points'
BASE_FRAME, CAMERA_FRAME, LIDAR_FRAME = 'base_link', 'camera_optical', 'lidar'
GROUND, SKY = -1, -2  # surface ids beside the boxes' 0, 1, ...

PITCH, YAW = (
    np.deg2rad(2.0),
    np.deg2rad(1.5),
)  # camera looks down a little, LiDAR is turned left a little
CAMERA_XYZ, LIDAR_XYZ = (0.8, 0.05, 1.5), (0.5, 0.0, 1.8)
# Columns: the camera's right, down and forward axes seen from base_link.
R_BASE_CAM = np.array(
    [
        [0.0, -np.sin(PITCH), np.cos(PITCH)],
        [-1.0, 0.0, 0.0],
        [0.0, -np.cos(PITCH), -np.sin(PITCH)],
    ]
)
R_BASE_LIDAR = np.array(
    [[np.cos(YAW), -np.sin(YAW), 0.0], [np.sin(YAW), np.cos(YAW), 0.0], [0.0, 0.0, 1.0]]
)
_c, _s = np.cos(PITCH / 2) / 2, np.sin(PITCH / 2) / 2
CAMERA_QUATERNION = (-(_c + _s), _c + _s, -(_c - _s), _c - _s)  # q_pitch * (-.5, .5, -.5, .5)
LIDAR_QUATERNION = (0.0, 0.0, float(np.sin(YAW / 2)), float(np.cos(YAW / 2)))

SUN = np.array([-0.35, 0.55, 0.76])
Colours = np.ndarray  # (N, 3) RGB, 0..1


def intrinsics(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Give K (3, 3): 83 degrees wide, principal point half a pixel off the centre."""
    height, width = size
    focal = 0.565 * width
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def T_cam_lidar() -> np.ndarray:  # noqa: N802
    """Give the true extrinsics (4, 4): p_cam = T_cam_lidar @ p_lidar."""
    T = np.eye(4)
    T[:3, :3] = R_BASE_CAM.T @ R_BASE_LIDAR
    T[:3, 3] = R_BASE_CAM.T @ (np.array(LIDAR_XYZ) - np.array(CAMERA_XYZ))
    return T


@dataclass(frozen=True, eq=False)
class Frame:
    """One instant: image (H, W, 3) bgr8, true depth (H, W) m (0 = sky), points_lidar (N, 3) m."""

    stamp_ns: int
    image: np.ndarray
    depth: np.ndarray
    points: np.ndarray
    intensity: np.ndarray  # (N,) 0..255
    ring: np.ndarray  # (N,) 0 = lowest beam


class World:
    """A street of B boxes: corners `low`, `high` (B, 3) m, `velocity` (B,) m per frame along x."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows: list[tuple] = []  # kind, centre x, y, z, size x, y, z, velocity, colour
        for side in (-1, 1):
            x = -12.0
            while x < 130:
                length, depth, height = rng.uniform([9, 6, 5], [20, 10, 14])
                colour = rng.uniform(0.45, 0.85) * np.array([1.0, rng.uniform(0.75, 0.95), 0.72])
                y = side * (8 + rng.uniform(0, 2) + depth / 2)
                rows.append(
                    ('wall', x + length / 2, y, height / 2, length, depth, height, 0, colour)
                )
                x += length + rng.uniform(0, 5)
            for x in np.arange(9, 90, 18) + rng.uniform(-2, 2):
                rows.append(('pole', x, side * 5.2, 2.5, 0.25, 0.25, 5.0, 0, np.full(3, 0.35)))
        spots = [(9, -2.9, 0), (17, 2.9, 0), (26, -2.9, 0), (22, -0.3, 0.45), (60, 1.9, -0.9)]
        for x, y, velocity in spots:
            colour = rng.permutation([0.8, rng.uniform(0.1, 0.6), 0.12])
            rows.append(('car', x, y, 0.55, 4.2, 1.75, 0.8, velocity, colour))
            rows.append(('cabin', x - 0.2, y, 1.2, 2.2, 1.5, 0.5, velocity, colour))
        self.kind = np.array([row[0] for row in rows])
        centre, size = (np.array([row[i : i + 3] for row in rows], float) for i in (1, 4))
        self.low, self.high = centre - size / 2, centre + size / 2
        self.velocity = np.array([row[7] for row in rows], float)
        self.colour = np.array([row[8] for row in rows])

    def at(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the boxes' corners (B, 3), (B, 3) in base_link at a frame, after the ego-motion."""
        shift = np.zeros_like(self.low)
        shift[:, 0] = (self.velocity - SPEED) * index
        return self.low + shift, self.high + shift


def cast(
    origin: np.ndarray, rays: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Cast rays (3, N) from origin (3, 1) or (3, N) at the ground and the boxes.

    Returns the distance (N,) in ray lengths, the surface (N,) and the axis of its face (N,).
    """
    inverse = 1 / np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    t = np.where(rays[2] < 0, -origin[2] * inverse[2], np.inf)
    surface = np.where(np.isfinite(t), GROUND, SKY)
    axis = np.full(t.shape, 2)
    for box, (lo, hi) in enumerate(zip(low, high, strict=True)):
        a, b = (lo[:, None] - origin) * inverse, (hi[:, None] - origin) * inverse
        enter, leave = np.minimum(a, b), np.maximum(a, b)  # (3, N) slab crossings
        near = np.maximum(np.maximum(enter[0], enter[1]), enter[2])
        far = np.minimum(np.minimum(leave[0], leave[1]), leave[2])
        hit = np.flatnonzero((near < far) & (near > 1e-6) & (near < t))
        t[hit], surface[hit] = near[hit], box
        axis[hit] = np.argmax(enter[:, hit], axis=0)
    return t, surface, axis


def _noise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hash integer cells to 0..1, the same on every platform."""
    cell = np.floor(a).astype(np.int64) * 73856093 ^ np.floor(b).astype(np.int64) * 19349663
    return ((cell * 2654435761 >> 8) & 0xFFFF) / 65535.0


def _ground(x: np.ndarray, y: np.ndarray) -> Colours:
    """Colour the ground: asphalt with lane marks, tiled pavements, grass."""
    grain = _noise(x * 5, y * 5)
    colour = np.full((len(x), 3), 0.34) + 0.05 * grain[:, None]
    side = np.abs(y)
    marks = ((np.abs(y) < 0.09) & (x % 6 < 3)) | ((side > 3.8) & (side < 3.95))
    colour[marks] = 0.92
    pavement = (side > 4.2) & (side < 7)
    seams = np.minimum(x % 1, y % 1) < 0.06
    tiles = 0.58 + 0.08 * _noise(x, y) - 0.18 * seams
    colour[pavement] = tiles[pavement, None]
    grass = side >= 7
    colour[grass] = (0.24, 0.42, 0.16) * (0.75 + 0.5 * grain[grass, None])
    return colour


def _texture(world: World, box: np.ndarray, axis: np.ndarray, local: np.ndarray) -> Colours:
    """Colour box faces from the hit's place (N, 3) relative to the box's low corner."""
    colour, kind = world.colour[box].copy(), world.kind[box]
    size = (world.high - world.low)[box]
    along = np.where(axis == 0, local[:, 1], local[:, 0])  # horizontal coordinate on a side face
    height, side = local[:, 2], axis < 2
    bricks = 0.9 + 0.1 * _noise(along * 2, height * 4 + box * 7)
    colour[kind == 'wall'] *= bricks[kind == 'wall', None]
    window = (
        (abs(along % 3 - 1.5) < 0.7) & (abs(height % 3 - 1.7) < 0.7) & (height < size[:, 2] - 1)
    )
    lit = 0.18 + 0.3 * _noise(along / 3, height / 3 + box * 5)
    panes = side & window & (kind == 'wall')
    colour[panes] = lit[panes, None] * (0.8, 1.0, 1.25)
    glass = side & (kind == 'cabin') & (height > 0.06) & (height < 0.42)
    colour[glass] = (0.12, 0.16, 0.2)
    wheel_x = np.minimum(abs(along - 0.8), abs(along - 3.4))
    colour[(axis == 1) & (kind == 'car') & (np.hypot(wheel_x, height - 0.12) < 0.34)] = 0.06
    ends = (axis == 0) & (kind == 'car') & (abs(height - 0.5) < 0.09)
    colour[ends & (np.minimum(along, size[:, 1] - along) < 0.4)] = (0.9, 0.25, 0.15)
    return colour


def render(
    world: World, index: int, size: tuple[int, int] = SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a frame: image (H, W, 3) bgr8 and true depth (H, W) float32 m, 0 = none."""
    low, high = world.at(index)
    K, (v, u) = intrinsics(size), np.indices(size, dtype=float)
    pixels = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(size)])
    rays = R_BASE_CAM @ pixels.reshape(3, -1)  # one metre of z each, so t is the depth
    origin = np.array(CAMERA_XYZ)[:, None]
    t, surface, axis = cast(origin, rays, low, high)
    seen = np.flatnonzero(t < FAR)
    hit = (origin + rays[:, seen] * t[seen]).T  # (M, 3) in base_link
    box, axis = surface[seen], axis[seen]
    colour = np.empty((len(seen), 3))
    ground, boxes = box == GROUND, box >= 0
    colour[ground] = _ground(hit[ground, 0] + SPEED * index, hit[ground, 1])
    colour[boxes] = _texture(world, box[boxes], axis[boxes], hit[boxes] - low[box[boxes]])
    facing = -np.sign(rays[axis, seen])  # outward sign of the face's normal
    sunlit = np.maximum(facing * SUN[axis], 0)
    lifted = hit.T + 1e-3 * facing * (np.arange(3)[:, None] == axis)
    _, blocker, _ = cast(lifted, np.broadcast_to(SUN[:, None], lifted.shape), low, high)
    light = 0.45 + 0.1 * (axis == 0) + 0.75 * np.where(blocker == SKY, sunlit, 0)
    climb = np.clip(rays[2] / np.linalg.norm(rays, axis=0) * 2.5, 0, 1)[:, None]
    picture = (1 - climb) * (0.86, 0.9, 0.94) + climb * (0.42, 0.62, 0.88)  # sky
    haze = np.exp(-t[seen, None] / 90)
    picture[seen] = haze * colour * light[:, None] + (1 - haze) * picture[seen]
    image = np.round(np.clip(picture[:, ::-1], 0, 1) * 255).astype(np.uint8)
    depth = np.where(t < FAR, t, 0).astype(np.float32)
    return image.reshape(*size, 3), depth.reshape(size)


def scan(
    world: World, index: int, beams: int, azimuths: int, noise_m: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spin the LiDAR once: points_lidar (N, 3) m, intensity (N,), ring (N,); no misses."""
    low, high = world.at(index)
    elevation = np.deg2rad(np.linspace(-24, 8, beams))
    azimuth = np.linspace(np.pi, -np.pi, azimuths, endpoint=False)  # clockwise, cut behind
    turn, tilt = (grid.ravel() for grid in np.meshgrid(azimuth, elevation, indexing='ij'))
    rays = np.stack([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
    world_rays = R_BASE_LIDAR @ rays
    distance, surface, axis = cast(np.array(LIDAR_XYZ)[:, None], world_rays, low, high)
    keep = np.flatnonzero(distance < LIDAR_FAR)
    rng = np.random.default_rng([seed, index])
    measured = distance[keep] + noise_m * rng.standard_normal(len(keep))
    albedo = np.where(surface[keep] >= 0, world.colour[surface[keep]].mean(axis=1), 0.3)
    intensity = 255 * albedo * abs(world_rays[axis[keep], keep])
    ring = np.tile(np.arange(beams), azimuths)[keep]
    return (rays[:, keep] * measured).T, intensity, ring


def frames(
    count: int = 20,
    size: tuple[int, int] = SIZE,
    beams: int = 32,
    azimuths: int = 900,
    noise_m: float = 0.01,
    seed: int = 0,
) -> Iterator[Frame]:
    """Yield the frames of the drive; the same arguments give the same frames."""
    world = World(seed)
    for index in range(count):
        image, depth = render(world, index, size)
        points, intensity, ring = scan(world, index, beams, azimuths, noise_m, seed)
        yield Frame(START_NS + index * PERIOD_NS, image, depth, points, intensity, ring)


def write(path: Path | str, count: int = 20, storage: str = 'mcap', **options: Any) -> np.ndarray:
    """Write a rosbag2 folder and return the true depth (count, H, W) m, 0 = none."""
    store = get_typestore(Stores.ROS2_JAZZY)
    t = store.types
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    types = {
        IMAGE: 'sensor_msgs/msg/Image',
        INFO: 'sensor_msgs/msg/CameraInfo',
        POINTS: 'sensor_msgs/msg/PointCloud2',
        '/tf_static': 'tf2_msgs/msg/TFMessage',
    }

    def header(frame_id: str, stamp_ns: int) -> Any:
        time = t['builtin_interfaces/msg/Time'](stamp_ns // 10**9, stamp_ns % 10**9)
        return t['std_msgs/msg/Header'](time, frame_id)

    def transform(child: str, xyz: tuple[float, ...], quaternion: tuple[float, ...]) -> Any:
        place = t['geometry_msgs/msg/Transform'](
            t['geometry_msgs/msg/Vector3'](*xyz), t['geometry_msgs/msg/Quaternion'](*quaternion)
        )
        return t['geometry_msgs/msg/TransformStamped'](header(BASE_FRAME, START_NS), child, place)

    truth = []
    with Writer(path, version=8, storage_plugin=plugin) as bag:
        topics: dict[str, Connection] = {
            name: bag.add_connection(
                name,
                kind,
                typestore=store,
                offered_qos_profiles=[_latched()] if name == '/tf_static' else [],
            )
            for name, kind in types.items()
        }

        def add(topic: str, message: Any, receive_ns: int) -> None:
            bag.write(topics[topic], receive_ns, store.serialize_cdr(message, types[topic]))

        static = [
            transform(CAMERA_FRAME, CAMERA_XYZ, CAMERA_QUATERNION),
            transform(LIDAR_FRAME, LIDAR_XYZ, LIDAR_QUATERNION),
        ]
        add('/tf_static', t['tf2_msgs/msg/TFMessage'](static), START_NS)
        for frame in frames(count, **options):
            truth.append(frame.depth)
            camera = header(CAMERA_FRAME, frame.stamp_ns)
            cloud = _cloud(t, header(LIDAR_FRAME, frame.stamp_ns), frame)
            add(POINTS, cloud, frame.stamp_ns + POINTS_DELAY_NS)
            height, width = frame.depth.shape
            info = _camera_info(t, camera, (height, width))
            image = t['sensor_msgs/msg/Image'](
                camera, height, width, 'bgr8', 0, 3 * width, frame.image.ravel()
            )
            add(IMAGE, image, frame.stamp_ns + IMAGE_DELAY_NS)
            add(INFO, info, frame.stamp_ns + IMAGE_DELAY_NS)
    return np.array(truth)


def _latched() -> Qos:
    """Give the QoS of /tf_static: reliable, transient local."""
    never = QosTime(2147483647, 4294967295)
    return Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        never,
        never,
        QosLiveliness.AUTOMATIC,
        never,
        False,
    )


def _camera_info(t: dict[str, Any], header: Any, size: tuple[int, int]) -> Any:
    """Build the CameraInfo of a rectified camera: no distortion, P = [K | 0]."""
    K = intrinsics(size)
    region = t['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    P = np.hstack([K, np.zeros((3, 1))])
    return t['sensor_msgs/msg/CameraInfo'](
        header,
        *size,
        'plumb_bob',
        np.zeros(5),
        K.ravel(),
        np.eye(3).ravel(),
        P.ravel(),
        0,
        0,
        region,
    )


def _cloud(t: dict[str, Any], header: Any, frame: Frame) -> Any:
    """Build the PointCloud2: PCL's padded layout, 32 bytes a point."""
    names, formats, offsets = (
        ['x', 'y', 'z', 'intensity', 'ring'],
        ['<f4'] * 4 + ['<u2'],
        [0, 4, 8, 16, 20],
    )
    layout = {'names': names, 'formats': formats, 'offsets': offsets, 'itemsize': 32}
    rows: Any = np.zeros(len(frame.points), np.dtype(layout))  # type: ignore[call-overload]
    rows['x'], rows['y'], rows['z'] = frame.points.T
    rows['intensity'], rows['ring'] = frame.intensity, frame.ring
    field = t['sensor_msgs/msg/PointField']
    codes = [7] * 4 + [4]  # FLOAT32, UINT16
    fields = [field(*row, 1) for row in zip(names, offsets, codes, strict=True)]
    data = rows.view(np.uint8).ravel()
    n = len(rows)
    return t['sensor_msgs/msg/PointCloud2'](header, 1, n, fields, False, 32, 32 * n, data, True)


def main() -> None:
    parser = argparse.ArgumentParser(description='write a synthetic street as a rosbag2')
    parser.add_argument('out', type=Path, help='bag folder to write; must not exist')
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--storage', choices=['mcap', 'sqlite3'], default='mcap')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--size', default='240x640', help='image size, HEIGHTxWIDTH')
    parser.add_argument('--beams', type=int, default=32)
    parser.add_argument('--noise', type=float, default=0.01, help='range noise, metres (1 sigma)')
    parser.add_argument(
        '--truth', type=Path, help='also save the true depth here, one .npy a frame'
    )
    args = parser.parse_args()
    height, width = (int(number) for number in args.size.split('x'))
    truth = write(
        args.out,
        args.frames,
        args.storage,
        size=(height, width),
        beams=args.beams,
        noise_m=args.noise,
        seed=args.seed,
    )
    if args.truth:
        args.truth.mkdir(parents=True, exist_ok=True)
        for index, depth in enumerate(truth):
            np.save(args.truth / f'{index:06d}.npy', depth)
    print(
        f'{args.out}: {args.frames} frames of {height}x{width}, {args.beams} beams, {args.storage}'
    )


if __name__ == '__main__':
    main()
