"""The simulated camera: rays, their order, and the picture that light makes."""

from __future__ import annotations

from depth_kd_training.simulation.camera import _blurred, Look, photograph, View
import numpy as np
import pytest
import torch

K = np.array([[80.0, 0, 24.3], [0, 70.0, 17.9], [0, 0, 1]])
PLAIN = {
    'exposure': 0.0, 'white': (1.0, 1.0, 1.0), 'gamma': 2.2, 'saturation': 1.0, 'blur_px': 0.05,
    'smear_px': 0.0, 'vignette': 0.0, 'noise': 0.0, 'ghost': 0.0,
}  # fmt: skip


def turn(seed):
    """Draw a pose (4, 4)."""
    rng = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    T[:3, :3] *= np.sign(np.linalg.det(T[:3, :3]))
    T[:3, 3] = rng.uniform(-5, 5, 3)
    return T


def view(size=(37, 51), *poses):
    poses = poses or (turn(0), turn(1))
    intrinsics = [K + i * np.diag([9.0, 3.0, 0.0]) for i in range(len(poses))]
    return View(*(torch.tensor(np.stack(x)).float() for x in (intrinsics, poses)), size)


def picture(light, seed=0, **changes):
    look = Look(*(torch.tensor([x], dtype=torch.float32) for x in (PLAIN | changes).values()))
    return photograph(light, look, [seed]).numpy()[0]


def level(value, gain=1.0):
    """Give the pixel of linear light `value`: roll-off, then the curve of gamma 2.2."""
    x = value * gain
    return 255 * (x / (1 + 0.18 * x)) ** (1 / 2.2)


def test_rays_through_pixel_centres_project_back():
    cameras = view()
    origin, direction = cameras.rays()
    assert cameras.whole == (48, 64) and origin.shape == direction.shape == (2, 12, 256, 3)
    maps = cameras.image(direction.permute(3, 0, 1, 2).reshape(3, -1)).double().numpy()
    v, u = np.indices((37, 51))
    for b in range(2):
        R, t = cameras.T_world_cam[b, :3, :3].numpy(), cameras.T_world_cam[b, :3, 3]
        inside = np.einsum('ij,ihw->jhw', R, maps[b])  # the transposed R: in the camera frame
        np.testing.assert_allclose(inside[2], 1, atol=1e-5)
        x, y, _ = np.einsum('ij,jhw->ihw', cameras.K[b].numpy(), inside)
        np.testing.assert_allclose(x, u, atol=1e-3)
        np.testing.assert_allclose(y, v, atol=1e-3)
        assert (origin[b] == t).all()


@pytest.mark.parametrize('size', [(37, 51), (16, 16), (33, 16), (64, 96)])
def test_packets_and_image_are_inverse(size):
    cameras = view(size)
    rows, columns = cameras.whole
    assert rows % 16 == columns % 16 == 0 and 0 <= rows - size[0] < 16 > columns - size[1] >= 0
    maps = torch.arange(2 * rows * columns).view(2, rows, columns)
    order = cameras.packets(maps)
    assert torch.equal(order.sort().values, maps.flatten())
    assert torch.equal(order[:256].view(16, 16), maps[0, :16, :16])  # the first tile
    assert torch.equal(cameras.image(order[None], whole=True)[:, 0], maps)
    both = cameras.image(torch.stack((order, -order)))
    assert both.shape == (2, 2, *size)
    assert torch.equal(both[:, 1], -maps[:, : size[0], : size[1]])


def test_a_grey_wall_becomes_middle_grey_and_stops_double_it():
    for light in (0.01, 3.0):  # as the camera's own exposure makes them alike
        wall = torch.full((1, 3, 12, 16), light)
        assert (picture(wall) == 121).all()  # 0.2 / 1.036 = 0.1931, ^ (1 / 2.2) = 0.4735
        assert (picture(wall, exposure=1.0) == 163).all()  # 0.4 / 1.072 = 0.3731 -> 0.6388
        assert (picture(wall, exposure=9.0) == 255).all()
    tinted = picture(wall, white=(1.2, 1.0, 0.8))[0, 0]
    np.testing.assert_allclose(tinted, [level(0.24), level(0.2), level(0.16)], atol=0.51)
    grey = picture(wall, white=(1.2, 1.0, 0.8), saturation=0.0)
    assert np.ptp(grey, axis=-1).max() == 0 and grey.mean() == pytest.approx(121, abs=1)
    vivid = picture(wall, white=(1.2, 1.0, 0.8), saturation=2.0)[0, 0].astype(int)
    assert vivid[0] > tinted[0] and vivid[2] < tinted[2]


def test_more_light_gives_brighter_pixels():
    ramp = torch.logspace(-2, 0, 160).expand(1, 3, 32, -1).clone()
    shown = picture(ramp).astype(int)
    assert (np.diff(shown, axis=1) >= 0).all() and np.ptp(shown[0, :, 0]) > 100
    darker = picture(ramp, exposure=-1.0).astype(int)
    assert (darker < shown).all()


def test_corners_lose_the_vignette_s_share():
    wall = torch.ones(1, 3, 33, 49)
    shown = picture(wall, vignette=0.4)
    assert shown[16, 24, 0] == 121
    for corner in (shown[0, 0], shown[0, -1], shown[-1, 0], shown[-1, -1]):
        np.testing.assert_allclose(corner, level(0.2, 0.6), atol=0.51)
    np.testing.assert_allclose(shown[0, 24], level(0.2, 0.8), atol=0.51)  # half as far squared


def test_blur_spreads_and_keeps_the_light():
    spot = torch.zeros(2, 3, 40, 41)
    spot[:, :, 20, 20] = torch.tensor([1.0, 2.0, 3.0])
    shown = _blurred(spot, torch.tensor([1.0, 0.05]), torch.tensor([0.0, 4.0]))
    np.testing.assert_allclose(shown.sum((2, 3)), [[1, 2, 3], [1, 2, 3]], rtol=1e-5)
    at = torch.arange(41.0)
    rows, columns = (shown[0, 1].sum(axis) / 2 for axis in (1, 0))
    for spread, middle in ((rows, at[:40]), (columns, at)):
        mean = (spread * middle).sum()
        assert mean == pytest.approx(20, abs=1e-4)
        assert (spread * (middle - mean) ** 2).sum() == pytest.approx(1.0, abs=0.01)
    smear = shown[1, 0]  # 4 px of motion beside the pixel's own 1: 5 pixels of one row
    np.testing.assert_allclose(smear[20, 18:23], 0.2, atol=1e-5)
    assert smear.sum() - smear[20, 18:23].sum() == pytest.approx(0, abs=1e-5)
    wall = torch.full((1, 3, 20, 20), 0.7)
    blurred = _blurred(wall, torch.tensor([1.3]), torch.tensor([5.0]))
    assert torch.allclose(blurred, wall, atol=1e-5)  # up to the edges


def test_a_ghost_is_the_mirrored_picture_a_seventh_lower():
    light = torch.full((1, 3, 42, 60), 0.2)
    light[:, :, 10:13, 5:9] = 4.0
    clean, ghost = (picture(light, ghost=g).astype(int) for g in (0.0, 0.3))
    assert (clean[16:19, 51:55] < 150).all()  # columns 59 - 8 .. 59 - 5, 42 / 7 = 6 rows lower
    assert (ghost[16:19, 51:55] > clean[16:19, 51:55] + 20).all()
    assert (ghost[30:] == clean[30:]).all()


def test_grain_is_the_seed_s_and_grows():
    wall = torch.ones(1, 3, 40, 60)
    weak, again, other = (picture(wall, seed, noise=0.02) for seed in (1, 1, 2))
    np.testing.assert_array_equal(weak, again)
    assert (weak != other).mean() > 0.5
    strong = picture(wall, 1, noise=0.05)
    assert 1 < weak.std() < strong.std() / 2 and weak.mean() == pytest.approx(120.5, abs=1)


def test_each_picture_of_a_batch_has_its_own_look():
    light = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0)) + 0.1
    columns = zip(*((PLAIN | {'exposure': e}).values() for e in (0.0, 1.0)), strict=True)
    look = Look(*(torch.tensor(c) for c in columns))
    both = photograph(light, look, [0, 0]).numpy()
    np.testing.assert_array_equal(both[0], picture(light[:1]))
    np.testing.assert_array_equal(both[1], picture(light[1:], exposure=1.0))
