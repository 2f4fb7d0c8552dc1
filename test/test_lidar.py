"""Scans of worlds made by hand, against closed forms worked out here."""

from __future__ import annotations

from dataclasses import replace
import math

from depth_kd_ros.completer import DepthCompleter
from depth_kd_ros.geometry import Camera
from depth_kd_ros.projection import rays as camera_rays
from depth_kd_training.simulation import lidar
from depth_kd_training.simulation.lidar import measure, see_through, sparse
from depth_kd_training.simulation.lidar_models import find, Model, MODELS, Pattern, spinning
from depth_kd_training.simulation.raycast import cast
from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.world import Solid, stack, Surface, WorldBuilder
import numpy as np
import pytest
import torch

R_CAM_LIDAR = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])  # of axes that look along +x
BRIGHT = Surface(reflectivity=1.0)
SPINNING = [name for name, model in MODELS.items() if model.pattern is Pattern.SPINNING]


def exact(model, **changes):
    """Take away what is random."""
    if isinstance(model, str):
        model = find(model)
    return replace(model, noise_m=0.0, dropout=0.0, mixed=0.0, **changes)


def box(x, half, y=0.0, z=0.0, surface=BRIGHT, **pose):
    return Solid(Kind.FRUSTUM, (x, y, z), half, 'object', surface, **pose)


def wall(x, surface=BRIGHT):
    """Make a wall whose front is the plane at x m."""
    return box(x + 1, (1.0, 500.0, 500.0), surface=surface)


def room(half=10.0):
    """Make four walls around the origin, `half` m away."""
    sides = ((half + 1, 0, 1, 500), (-half - 1, 0, 1, 500), (0, half + 1, 500, 1))
    sides = (*sides, (0, -half - 1, 500, 1))
    return [box(x, (a, b, 500.0), y) for x, y, a, b in sides]


def world(*solids):
    return stack([WorldBuilder(list(solids), ground_height=-1e3)], ['plain', 'asphalt'])


def scan(scene, model, seed=0, sector=(-0.6, 0.6), velocity=(0, 0, 0), yaw_rate=0.0, T=None):
    T = torch.eye(4)[None] if T is None else T
    velocity = torch.tensor([velocity], dtype=torch.float32)
    (found,) = measure(scene, model, T, velocity, torch.tensor([yaw_rate]), [seed], sector)
    return found


def angles(points):
    """Give azimuth and elevation (N,) deg of points (N, 3)."""
    x, y, z = points.double().unbind(-1)
    return torch.atan2(y, x).rad2deg(), torch.atan2(z, torch.hypot(x, y)).rad2deg()


def test_a_wall_at_10_m_is_measured_at_10_m_within_the_noise():
    model = replace(find('hdl64e'), mixed=0.0, noise_m=0.05)
    found = scan(world(wall(10)), model)
    distance = found.points.norm(dim=-1)
    error = distance - 10 / (found.points[:, 0] / distance)  # along the ray
    assert len(error) > 20_000
    assert abs(error.mean()) < 0.002
    assert error.std().item() == pytest.approx(0.05, rel=0.03)
    assert (scan(world(wall(10)), exact('hdl64e')).points[:, 0] - 10).abs().max() < 1e-4


@pytest.mark.parametrize('name', MODELS)
def test_rings_look_where_the_table_says(name):
    model = exact(name, range_m=1e6)
    found = scan(world(*room()), model, sector=None)
    azimuth, elevation = angles(found.points)
    assert found.time_s.abs().max() <= model.period_s / 2 + 1e-4
    if model.pattern is Pattern.ROSETTE:
        aside = torch.rad2deg(torch.acos(found.points[:, 0] / found.points.norm(dim=-1)))
        assert len(aside) == model.points and not found.ring.any()
        assert 35 < aside.max() < 35.2 + 0.01
        assert np.histogram(aside, 10, (0, 35.2))[0].min() > 100
        return
    expected = torch.tensor(model.elevation_deg).double()[found.ring]
    assert (elevation - expected).abs().max() < 1e-3
    columns = round(model.width_deg / model.azimuth_step_deg)
    count = torch.bincount(found.ring, minlength=model.beams)
    assert ((count - columns).abs() <= 1).all()
    steps = azimuth[found.ring == model.beams // 2].sort().values.diff()
    assert (steps - model.azimuth_step_deg).abs().max() < 1e-3
    assert found.time_s.abs().max() > 0.49 * model.period_s


def test_a_sector_is_part_of_the_whole_turn():
    scene, model = world(*room()), exact('vlp16')
    whole, part = (scan(scene, model, sector=s) for s in (None, (-0.5, 0.3)))
    azimuth = angles(whole.points)[0].deg2rad()
    inside = (azimuth >= -0.5) & (azimuth < 0.3)
    assert len(part.points) == inside.sum() > 3000
    order = [
        np.lexsort((s.time_s[k].numpy(), s.ring[k].numpy()))
        for s, k in ((whole, inside), (part, slice(None)))
    ]
    assert torch.allclose(whole.points[inside][order[0]], part.points[order[1]], atol=1e-4)
    behind = scan(scene, model, sector=(math.pi - 0.3, math.pi + 0.3))
    assert (behind.points[:, 0] < -9).all() and len(behind.points) > 2000
    for name in ('raster', 'rosette'):  # look ahead only
        assert len(scan(scene, exact(name), sector=(2.0, 2.5)).points) == 0


def test_data_sheets():
    hdl64 = MODELS['hdl64e'].elevation_deg
    assert len(hdl64) == 64
    assert (hdl64[0], hdl64[63]) == (2, -24.3333)
    assert hdl64[30] - hdl64[31] == pytest.approx(1 / 3, abs=1e-3)
    assert hdl64[31] == pytest.approx(-8.333, abs=1e-3)
    assert hdl64[32] - hdl64[33] == pytest.approx(0.5, abs=1e-3)
    first, second, *_ = MODELS['hdl32e'].elevation_deg
    assert first - second == pytest.approx(4 / 3, abs=1e-3)
    assert MODELS['vlp16'].elevation_deg == tuple(range(15, -16, -2))
    vlp32 = np.array(MODELS['vlp32c'].elevation_deg)
    for angle in (-25, -15.639, -11.31, -8.843, -7.254, -3.667, -4, 0, 0.333, 10.333, 15):
        assert abs(vlp32 - angle).min() < 1e-3
    beams = {
        'hdl32e': 32, 'vlp32c': 32, 'os1_16': 16, 'os1_32': 32, 'os1_64': 64, 'os1_128': 128,
        'os0_128': 128, 'pandar40p': 40, 'pandar64': 64, 'pandar128': 128, 'rs16': 16,
        'hdl64e_8': 8, 'hdl64e_4': 4, 'vlp16_8': 8, 'vlp16_4': 4,
    }  # fmt: skip
    assert {name: MODELS[name].beams for name in beams} == beams
    for name in SPINNING:
        assert len(set(MODELS[name].elevation_deg)) == MODELS[name].beams, name
    assert spinning(4, -3, 3).elevation_deg == (3, 1, -1, -3)
    assert spinning(8, -7, 7).subset(4).elevation_deg == (5, 1, -3, -7)


def test_forward_motion_shifts_each_point_by_what_was_driven():
    """The wall comes nearer by v t; sideways motion does not change it, but a box's edge."""
    scene = world(wall(20), box(10, (0.5, 1.0, 50.0), y=0.0))
    found = scan(scene, exact('hdl64e', period_s=0.4), velocity=(9, 4, 0), sector=(-1, 1))
    x, y = found.points[:, 0], found.points[:, 1]
    azimuth = angles(found.points)[0].deg2rad()
    assert (found.time_s + azimuth / (2 * math.pi) * 0.4).abs().max() < 1e-5
    front = (found.solid == 1) & ((x + 9 * found.time_s - 9.5).abs() < 0.3)
    assert (x + 9 * found.time_s - 20)[found.solid == 0].abs().max() < 1e-3
    assert (x + 9 * found.time_s - 9.5)[front].abs().max() < 1e-3
    edges = (y + 4 * found.time_s)[front]
    assert (edges.min().item(), edges.max().item()) == pytest.approx((-1, 1), abs=0.04)


def test_turning_shows_the_wall_under_the_azimuth_plus_what_was_turned():
    rate = 1.3
    T = torch.eye(4)[None]
    T[0, :2, 3] = torch.tensor([3.0, 1.0])
    found = scan(world(wall(13)), exact('hdl64e'), yaw_rate=rate, T=T, sector=(-1, 1))
    azimuth, elevation = (a.deg2rad() for a in angles(found.points))
    expected = 10 / (torch.cos(azimuth + rate * found.time_s) * torch.cos(elevation))
    assert (found.points.norm(dim=-1) / expected - 1).abs().max() < 1e-5
    assert len(expected) > 10_000


def test_a_tilted_lidar_gives_points_in_its_own_frame():
    """Pitched down by 0.1 rad and turned by 0.4, it sees the wall's normal in its own axes."""
    c, s, cp, sp = math.cos(0.4), math.sin(0.4), math.cos(0.1), math.sin(0.1)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ [[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]
    T = torch.eye(4)[None]
    T[0, :3, :3] = torch.from_numpy(R)
    T[0, :3, 3] = torch.tensor([2.0, 5.0, 1.0])
    points = scan(world(wall(12)), exact('vlp16'), T=T).points.double().numpy()
    assert abs(points @ R.T[:, 0] - 10).max() < 1e-4


@pytest.mark.parametrize('share', [0.1, 0.4])
def test_dropout_loses_its_share(share):
    kept, every = (
        len(scan(world(wall(10)), replace(exact('hdl64e'), dropout=d)).points) for d in (share, 0)
    )
    assert kept / every == pytest.approx(1 - share, abs=0.01)


@pytest.mark.parametrize(
    ('reflectivity', 'share'), [(0.1, 0.0), (0.192, 0.25), (0.256, 0.5), (0.5, 1.0)]
)
def test_dark_surfaces_far_away_are_lost(reflectivity, share):
    """At 80 of 100 m a wall sends back reflectivity / 0.64: 0.2 is never enough, 0.6 always."""
    surface = Surface(reflectivity=reflectivity)
    model = exact(spinning(64, -2, 2, azimuth_step_deg=0.05))
    sector = (-0.05, 0.05)
    found, every = (scan(world(wall(80, s)), model, sector=sector) for s in (surface, BRIGHT))
    assert len(found.points) / len(every.points) == pytest.approx(share, abs=0.03)
    if share:
        assert found.intensity.mean().item() == pytest.approx(reflectivity, rel=0.01)


@pytest.mark.parametrize(('gloss', 'yaw'), [(0.8, 1.3), (0.8, 0.0), (0.0, 1.3)])
def test_gloss_loses_grazing_rays(gloss, yaw):
    model = exact(spinning(64, -5, 5, azimuth_step_deg=0.02))
    turned = box(10.0, (0.001, 20.0, 5.0), surface=Surface(gloss=gloss, reflectivity=1), yaw=yaw)
    clear = box(10.0, (0.001, 20.0, 5.0), yaw=yaw)
    found, every = (scan(world(s), model, sector=(-0.05, 0.05)) for s in (turned, clear))
    lost = 1 - len(found.points) / len(every.points)
    assert lost == pytest.approx(gloss * (1 - math.cos(yaw)), abs=0.02)


@pytest.mark.parametrize('half', [(0.01, 30.0, 30.0), (0.5, 30.0, 30.0)])
def test_glass_passes_loses_and_returns_its_shares(half):
    pane = box(5, half, surface=Surface(glass=True, reflectivity=1))
    through, every = world(pane, wall(10)), world(wall(10))
    model = exact('hdl64e')
    found, total = scan(through, model), len(scan(every, model).points)
    assert (found.solid == 1).sum() / total == pytest.approx(0.5, abs=0.015)
    assert (found.solid == 0).sum() / total == pytest.approx(0.15, abs=0.015)
    front = found.points[:, 0] - (5 - half[0])
    assert (front.abs() < 1e-3).sum() / total > 0.07, 'some return from the front'
    assert not torch.equal(found.points[:900], scan(through, model, seed=1).points[:900])


def test_mixed_points_lie_between_foreground_and_background():
    scene = world(wall(20), *(box(10, (0.1, 0.2, 50.0), y=y) for y in np.arange(-8, 8, 0.8)))
    counts = []
    for share in (0.0, 0.3, 1.0):
        found = scan(scene, replace(exact('hdl64e'), mixed=share))
        x = found.points[:, 0]
        counts.append(int(((x > 10.3) & (x < 19.9)).sum()))
        assert ((x > 9.8) & (x < 20.1)).all()
    assert counts[0] == 0 and counts[2] > 1000
    assert counts[1] / counts[2] == pytest.approx(0.3, abs=0.05)


def test_range_limits():
    model = exact('hdl64e', range_m=30.0, range_min_m=5.0)
    for x, seen in ((4.0, False), (5.1, True), (29.0, True), (31.0, False)):
        found = scan(world(wall(x)), model, sector=(-0.05, 0.05))
        assert bool((found.points.norm(dim=-1) < x * 1.005).any()) is seen


def street():
    """Make two worlds unlike each other, with leaves, glass and gloss."""
    rng = np.random.default_rng(4)
    builders = [WorldBuilder(), WorldBuilder(ground_slope=(0.02, 0.01))]
    for builder in builders:
        for i in range(30):
            centre = (*rng.uniform([5, -15], [40, 15]), 1.0)
            surface = Surface(gloss=0.2 * (i % 3), glass=i % 4 == 0, reflectivity=0.1 + 0.02 * i)
            kind = (Kind.FRUSTUM, Kind.CYLINDER, Kind.ELLIPSOID)[i % 3]
            builder.add(
                Solid(kind, centre, (0.8, 0.6, 1.2), 'object', surface, cutout=0.5 * (i % 5 == 0))
            )
    return builders


def scans(builders, seeds, device='cpu', model='vlp32c'):
    T = torch.eye(4).repeat(len(seeds), 1, 1)
    T[:, 2, 3] = 1.7
    T[:, 0, 3] = torch.tensor([-float(seed) for seed in seeds])
    velocity = torch.tensor([[float(seed), 0, 0] for seed in seeds])
    scene = stack(builders, ['plain', 'asphalt']).to(device)
    rate = 0.1 * velocity[:, 0]
    return measure(scene, find(model), T, velocity, rate, seeds, (-0.7, 0.7), 3)


def test_a_seed_gives_the_same_scan_alone_and_in_a_batch():
    builders = street()
    both = scans(builders, [3, 8])
    again = scans(builders, [3, 8])
    for first, second in zip(both, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    for builder, seed, batched in zip(builders, (3, 8), both, strict=True):
        (alone,) = scans([builder], [seed])
        assert torch.equal(alone.ring, batched.ring)
        assert torch.allclose(alone.points, batched.points, atol=1e-4)
    (other,) = scans(builders[:1], [4])
    assert not torch.equal(other.points[:99], both[0].points[:99])


@pytest.mark.gpu
def test_a_gpu_measures_the_same():
    for name in ('vlp32c', 'rosette', 'raster'):
        cpu, gpu = (scans(street(), [3, 8], device, name) for device in ('cpu', 'cuda'))
        for a, b in zip(cpu, gpu, strict=True):
            assert len(a.points) == pytest.approx(len(b.points), rel=0.01)
            gap = torch.cdist(a.points[:2000], b.points.cpu()).amin(1)
            assert (gap < 1e-3).float().mean() > 0.97


def test_only_beams_from_the_top_down_and_known_names():
    with pytest.raises(ValueError, match=r"lidar = 'vlp17': give one of hdl64e, .*vlp16"):
        find('vlp17')
    with pytest.raises(ValueError, match='from the top down'):
        Model((-1.0, 1.0))
    with pytest.raises(ValueError, match=r'range_m = 0\.1'):
        Model((1.0, -1.0), range_m=0.1)
    with pytest.raises(ValueError, match='dropout and mixed'):
        Model((1.0, -1.0), dropout=1.5)
    with pytest.raises(ValueError, match='azimuth_step_deg'):
        Model((1.0,), pattern=Pattern.ROSETTE)
    with pytest.raises(ValueError, match='count = 17: the LiDAR has 1 to 16 beams'):
        find('vlp16').subset(17)


CAMERA = Camera(np.array([[200.0, 0, 159.5], [0, 200, 79.5], [0, 0, 1]]), 160, 320)


def mounted(above_m):
    """Give T_cam_lidar of a LiDAR above the camera."""
    T = np.eye(4)
    T[:3, :3] = R_CAM_LIDAR
    T[:3, 3] = R_CAM_LIDAR @ [0, 0, above_m]
    return T


def true_depth(scene):
    """Cast the camera's rays from the origin, with z = 1: distance is depth."""
    ray = torch.cat((camera_rays(CAMERA), torch.ones(*CAMERA.size, 1)), -1).float()
    ray = (ray @ torch.from_numpy(R_CAM_LIDAR).float()).view(1, CAMERA.height, -1, 3)
    depth = cast(scene.solids, scene.ground, torch.zeros_like(ray), ray).distance[0]
    return depth.nan_to_num(posinf=0)


@pytest.mark.parametrize('above_m', [0.0, 0.5])
def test_points_past_a_box_are_seen_through_only_if_mounted_apart(above_m):
    scene = world(wall(30), box(5, (0.1, 2.0, 1.0), z=-1.0))
    T = torch.eye(4)[None]
    T[0, 2, 3] = above_m
    found = scan(scene, exact('hdl64e'), T=T, sector=(-0.7, 0.7))
    raw, ring = sparse(found, mounted(above_m), CAMERA, bleed_filter=False)
    filtered, filtered_ring = sparse(found, mounted(above_m), CAMERA)
    share = see_through(raw, true_depth(scene))
    assert torch.equal(ring >= 0, raw > 0) and torch.equal(filtered_ring >= 0, filtered > 0)
    if above_m:
        assert 0.01 < share < 0.2
        assert see_through(filtered, true_depth(scene)) < share
    else:
        assert share == 0


def test_see_through_counts_what_lies_behind_the_truth_or_between_nearer_points():
    points, truth = torch.zeros(6, 6), torch.full((6, 6), 10.0)
    points[0, 0], points[1, 3], points[3, 3], points[5, 5] = 10.0, 11.2, 11.4, 30.0
    truth[5, 5] = 0  # unknown
    assert see_through(points, truth) == pytest.approx(1 / 3)  # 11.4 > 11.3
    truth[4, 2] = 11.0  # an edge beside the pixel
    assert see_through(points, truth) == 0
    assert see_through(torch.zeros(6, 6), truth) == 0
    column = torch.zeros(6, 6)
    column[:5:2, 2] = torch.tensor([5.0, 20.0, 5.0])
    assert see_through(column) == pytest.approx(1 / 3)


def test_sparse_depth_is_the_completer_s_with_the_beam_of_each_pixel():
    found = scans(street(), [3, 8])[0]
    T = mounted(0.3)
    depth, ring = sparse(found, T, CAMERA, 0.9, 35.0)
    completer = DepthCompleter('nearest', 'cpu', 0.9, 35.0, True)
    expected = completer.project(found.points.numpy(), CAMERA, T).depth
    assert np.array_equal(depth.numpy(), expected) and (expected > 0).sum() > 2000
    seen = depth > 0
    z = depth[seen].double()
    x = camera_rays(CAMERA)[seen].double() * z[:, None]
    height = -x[:, 1] + R_CAM_LIDAR[1, 2] * 0.3  # above the LiDAR
    elevation = torch.atan2(height, torch.hypot(z, x[:, 0])).rad2deg()
    wanted = torch.tensor(find('vlp32c').elevation_deg)[ring[seen]]
    assert (elevation - wanted).abs().max() < 0.25  # half a pixel is 0.14 deg


def test_an_empty_scan_gives_an_empty_image():
    found = scan(world(wall(500)), exact('vlp16'))
    assert len(found.points) == 0
    depth, ring = sparse(found, mounted(0.3), CAMERA)
    assert not depth.any() and (ring == -1).all()
    assert lidar.see_through(depth) == 0
