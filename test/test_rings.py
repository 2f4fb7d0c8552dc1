"""Ring indices of real and made clouds."""

from depth_kd_ros.clouds import points
from depth_kd_ros.projection import sparse_depth
from depth_kd_ros.rings import azimuth_wraps, elevation_clusters, ring_index
import kitti
import numpy as np
import pytest
import ros_types
import torch

BEAMS = {64: 1, 32: 2, 16: 4, 8: 8, 4: 16}  # beams: every n-th ring, from the topmost on


def spin(beams=16, azimuths=400, by='beam', start_deg=0.0):
    """Scan walls 5 to 9 m away: xyz (N, 3), ring (N,), 0 at the top; stored by beam or time."""
    elevation = np.deg2rad(np.linspace(15, -15, beams))
    azimuth = np.deg2rad(start_deg) + np.linspace(0, 2 * np.pi, azimuths, endpoint=False) + 1e-4
    indexing = 'ij' if by == 'beam' else 'xy'
    ring, turn = (g.ravel() for g in np.meshgrid(np.arange(beams), azimuth, indexing=indexing))
    reach = 7 + 2 * np.sin(5 * turn)
    tilt = elevation[ring]
    xyz = (
        np.stack([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)], -1)
        * reach[:, None]
    )
    return xyz.astype(np.float32), ring.astype(np.int32)


def test_every_cloud_of_the_bag_has_exactly_64_rings(shared_data):
    for xyz in kitti.clouds(shared_data):
        ring, how = ring_index(xyz)
        assert how == 'azimuth' and ring.dtype == np.int32 and ring.shape == (len(xyz),)
        count = np.bincount(ring)
        assert len(count) == 64 and count.min() > 1000
        elevation = np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]))
        mean = np.bincount(ring, elevation) / count
        assert (np.diff(mean) < 0).all()  # from the top down


@pytest.mark.parametrize(('beams', 'every'), BEAMS.items())
def test_rings_recover_the_thinned_depth_images_to_the_pixel(shared_data, beams, every):
    camera, T = kitti.calibration(shared_data)
    for index in range(0, 20, 3):
        xyz = kitti.clouds(shared_data)[index]
        ring, _ = ring_index(xyz)
        given = torch.from_numpy(xyz[ring % every == 0])
        png = kitti.depth(shared_data, f'sparse_{beams:02d}beam', index)
        depth = sparse_depth(given, T, camera).depth.numpy()
        assert (png > 0).any() and len(kitti.differing(depth, png)) == 0
        if every > 1:
            png = kitti.depth(shared_data, f'heldout_{64 - beams}beam', index)
            others = torch.from_numpy(xyz[ring % every != 0])
            held_out = sparse_depth(others, T, camera).depth.numpy()
            held_out[depth > 0] = 0  # a pixel of the input is no truth
            assert len(kitti.differing(held_out, png)) == 0


def test_another_ring_would_not_do(shared_data):
    """The control: a shifted choice of rings gives another image."""
    camera, T = kitti.calibration(shared_data)
    xyz = kitti.clouds(shared_data)[0]
    depth = sparse_depth(torch.from_numpy(xyz[ring_index(xyz)[0] % 4 == 1]), T, camera).depth
    assert len(kitti.differing(depth.numpy(), kitti.depth(shared_data, 'sparse_16beam', 0))) > 5000


def test_the_field_goes_first_then_rows():
    xyz, ring = spin()
    given = (99 - ring).astype(np.uint16)
    found, how = ring_index(xyz, given, ring)
    assert how == 'field' and found.dtype == np.int32
    np.testing.assert_array_equal(found, 99 - ring.astype(int))
    found, how = ring_index(xyz, row=ring)
    assert how == 'rows' and found.dtype == np.int32
    np.testing.assert_array_equal(found, ring)


def test_rows_that_are_no_beams_are_not_taken():
    """Some drivers organise by firing: each row is one direction with all beams in it."""
    xyz, ring = spin(by='time')
    firing = np.repeat(np.arange(400), 16).astype(np.int32)
    found, how = ring_index(xyz, row=firing)
    assert how == 'elevation'
    np.testing.assert_array_equal(found, ring)


def test_a_real_cloud_whose_rows_are_no_beams(shared_data):
    """An Ouster driver filled its 64x2048 points in firing order: a row is a 64th of a turn."""
    found = points(ros_types.ouster_cloud(ros_types.load('rosbags'), shared_data))
    assert ring_index(found.xyz, found.ring, found.row)[1] == 'field'
    for row in (found.row, None):
        ring, how = ring_index(found.xyz, row=row)
        assert how == 'elevation'
        np.testing.assert_array_equal(ring, found.ring)


def test_few_points_per_row_still_count():
    xyz, ring = spin(16, 4)
    found, how = ring_index(xyz, row=ring)
    assert how == 'rows' and (found == ring).all()


@pytest.mark.parametrize('start_deg', [0, 0.001])
def test_azimuth_wraps_by_hand(start_deg):
    """Two turns and a bit: 0, 90, 180, 270 | 0, 90, ... stored beam by beam, either way round."""
    degrees = np.deg2rad(start_deg + np.array([0, 90, 180, 270, 0, 90, 180, 270, 0.0]))
    xyz = np.stack([np.cos(degrees), np.sin(degrees), 0 * degrees], -1)
    assert azimuth_wraps(xyz).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert azimuth_wraps(xyz[3:4]).tolist() == [0]
    clockwise = np.deg2rad(np.array([350, 200, 20, 350, 200, 20.0]))
    xyz = np.stack([np.cos(clockwise), np.sin(clockwise), 0 * clockwise], -1)
    assert azimuth_wraps(xyz).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize('beams', [4, 16, 64, 128])
@pytest.mark.parametrize('shuffle', [False, True])
def test_clouds_without_any_ring_field(beams, shuffle):
    xyz, ring = spin(beams)
    if shuffle:
        order = np.random.default_rng(0).permutation(len(xyz))
        xyz, ring = xyz[order], ring[order]
    found, how = ring_index(xyz)
    assert how == ('elevation' if shuffle else 'azimuth')
    np.testing.assert_array_equal(found, ring)


def test_elevation_clusters_by_hand():
    degrees = np.deg2rad([1.0, -2, 1.001, -2.001, 3, 2.999, 1.002, 0.999])
    assert elevation_clusters(degrees).tolist() == [1, 2, 1, 2, 0, 0, 1, 1]


def test_empty_cloud():
    found, how = ring_index(np.zeros((0, 3), np.float32))
    assert found.shape == (0,) and found.dtype == np.int32 and how == 'none'
    nothing = np.zeros(0, np.uint16)
    assert ring_index(np.zeros((0, 3)), nothing)[1] == 'field'
    assert ring_index(np.zeros((0, 3)), row=nothing)[1] == 'none'


@pytest.mark.parametrize('count', [3, 1000])
def test_a_cloud_without_beams_is_refused(count):
    xyz = np.random.default_rng(0).normal(size=(count, 3)) * 5
    with pytest.raises(ValueError, match=f'cloud of {count} points: no ring field, no rows that'):
        ring_index(xyz)


def test_a_handful_of_points_shows_no_beams():
    """Three narrow pairs are clusters, but two points each are too few to call them beams."""
    z = np.array([1, 1.0001, 0, 0.0001, -1, -1.0001])
    xyz = np.stack([np.ones(6), np.zeros(6), z], -1)
    assert elevation_clusters(np.arctan(z)).tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match='cloud of 6 points: no ring field'):
        ring_index(xyz)
    many = ring_index(np.repeat(xyz, 8, 0) + np.linspace(0, 1e-5, 48)[:, None])
    assert many[1] == 'elevation' and many[0].max() == 2


@pytest.mark.parametrize('name', ['ring', 'row'])
def test_a_ring_for_each_point(name):
    with pytest.raises(ValueError, match=rf'{name} has shape \(4,\), not one number for 5 points'):
        ring_index(np.ones((5, 3)), **{name: np.zeros(4, int)})
