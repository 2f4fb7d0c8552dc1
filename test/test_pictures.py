"""Colour maps, overlays and sheets: what is drawn where."""

import cv2
from depth_kd_ros import pictures
import numpy as np
import pytest

GREY = np.full((40, 60, 3), 128, np.uint8)


def test_colours_by_hand():
    """Red is near, blue far, black none; the scale is logarithmic and fixed."""
    depth = np.array([[1.0, 80, 0, np.nan, -3, 0.2, 500, np.inf]])
    found = pictures.colour(depth)
    assert found.shape == (1, 8, 3) and found.dtype == np.uint8
    near, far, *none, nearer, farther, infinite = found[0].tolist()
    assert near[0] > 2 * near[2] and far[2] > far[0]
    assert none == [[0, 0, 0]] * 3
    assert nearer == near and farther == infinite == far
    turbo = cv2.applyColorMap(np.array([[255, 128, 0]], np.uint8), cv2.COLORMAP_TURBO)[0, :, ::-1]
    assert near == turbo[0].tolist() and far == turbo[2].tolist()
    middle = pictures.colour(np.array([[80**0.5]]))  # half way of the logarithm
    np.testing.assert_array_equal(middle[0, 0], turbo[1])


def test_range_of_the_scale():
    a = pictures.colour(np.array([[2.0, 4, 8]]), 2, 8)
    b = pictures.colour(np.array([[5.0, 10, 20]]), 5, 20)
    np.testing.assert_array_equal(a, b)


def test_neither_warns(recwarn):
    pictures.colour(np.array([[0, np.nan, np.inf, -1]], np.float32))
    pictures.overlay(GREY[:1, :4], np.array([[0, np.nan, np.inf, -1]], np.float32))
    assert not recwarn.list


def test_overlay_marks_the_points_and_nothing_else():
    sparse = np.zeros((40, 60), np.float32)
    sparse[10, 20], sparse[0, 0], sparse[39, 59] = 5, 10, 20
    found = pictures.overlay(GREY, sparse)
    for row, column in ((10, 20), (0, 0), (39, 59)):
        expected = pictures.colour(sparse[row : row + 1, column : column + 1])[0, 0]
        np.testing.assert_array_equal(found[row, column], expected)
    changed = (found != GREY).any(2)
    assert changed[10, 19:22].all() and changed[9:12, 20].all() and not changed[10, [18, 22]].any()
    assert changed.sum() == 5 + 3 + 3
    assert (GREY == 128).all()


@pytest.mark.parametrize('radius', [0, 1, 2, 4])
def test_near_points_cover_far_ones(radius):
    sparse = np.zeros((40, 60), np.float32)
    sparse[20, 30], sparse[20, 31] = 40, 4
    found = pictures.overlay(GREY, sparse, radius_px=radius)
    near, far = pictures.colour(np.array([[4.0, 40]]))[0]
    np.testing.assert_array_equal(found[20, 31 + radius], near)
    np.testing.assert_array_equal(found[20, 30 - radius], far)
    np.testing.assert_array_equal(found[20, 31], near)
    np.testing.assert_array_equal(found[20, 30], far if radius == 0 else near)


def test_overlay_of_no_points_is_a_copy():
    found = pictures.overlay(GREY, np.zeros((40, 60), np.float32))
    np.testing.assert_array_equal(found, GREY)
    assert not np.shares_memory(found, GREY)


def test_sheet_stacks_at_one_width():
    red = np.zeros((10, 20, 3), np.uint8)
    red[:] = (255, 0, 0)
    found = pictures.sheet([('first', red), ('second', GREY)], width=80)
    assert found.shape == (26 + 40 + 26 + 53, 80, 3)
    assert (found[30] == (255, 0, 0)).all() and (found[-1] == 128).all()
    assert (found[:26] == 255).any() and (found[:26] == 0).any()  # a title, black on white


def test_scale_bar_runs_from_near_to_far():
    bar = pictures.scale_bar(300, 1, 80)
    assert bar.shape == (40, 300, 3)
    np.testing.assert_array_equal(bar[0, [0, -1]], pictures.colour(np.array([[1.0, 80]]))[0])
    ten = int(np.log(10) / np.log(80) * 299)
    assert (bar[18, ten] == 0).all() and (bar[18, ten + 3] == 255).all()


@pytest.mark.parametrize('size', [(40, 60), (300, 1800)])
def test_contact_sheet(size):
    image = np.full((*size, 3), 90, np.uint8)
    sparse = np.zeros(size, np.float32)
    sparse[size[0] // 2, size[1] // 2] = 7
    found = pictures.contact_sheet(image, sparse, np.full(size, 9, np.float32), 'frame 1')
    width = max(640, min(1242, size[1]))
    height = round(size[0] * width / size[1])
    assert found.shape == (3 * (26 + height) + 40, width, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found[-50, 5], pictures.colour(np.array([[9.0]]))[0, 0])


@pytest.mark.parametrize('as_text', [True, False])
def test_write(tmp_path, as_text):
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[1, 2] = (200, 100, 50)
    path = tmp_path / 'p.png'
    pictures.write(str(path) if as_text else path, picture)
    assert cv2.imread(str(path))[1, 2].tolist() == [50, 100, 200]


@pytest.mark.parametrize('name', ['none/p.png', 'p.nonsense', 'p'])
def test_unwritable_picture(tmp_path, name):
    with pytest.raises(OSError, match=f'{name}: the picture could not be written'):
        pictures.write(tmp_path / name, GREY)
