from classical_table import measure, REFERENCE
from depth_kd_ros import classical
import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial.distance import cdist

SMOOTHING = 'morphological'  # the one method that does not keep the measured depth
SIZES = [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (2, 2), (3, 5), (17, 31), (40, 64)]

every_method = pytest.mark.parametrize('name', classical.available())


def sparse(rows):
    return np.array(rows, np.float32)


def scattered(seed, count=60, shape=(200, 260)):
    """Make a map (H, W) with `count` points of 2-60 m at random pixels."""
    rng = np.random.default_rng(seed)
    depth = np.zeros(shape, np.float32)
    depth.flat[rng.choice(depth.size, count, replace=False)] = rng.uniform(2, 60, count)
    return depth


def inside_hull(depth):
    """Mark the pixels (H, W) inside the convex hull of the points, by SciPy."""
    return np.isfinite(by_scipy(depth))


def by_scipy(depth):
    interpolate = LinearNDInterpolator(np.argwhere(depth), depth[depth > 0])
    return interpolate(np.stack(np.indices(depth.shape), -1))


# Names


def test_the_folder_lists_the_methods():
    assert classical.available() == [
        'columns',
        'linear',
        'linear_inverse',
        'morphological',
        'nearest',
        'push_pull',
    ]


def test_an_unknown_name_lists_the_valid_ones_and_guesses():
    with pytest.raises(ValueError, match=r"unknown method 'nearst'; did you mean 'nearest'\?"):
        classical.find('nearst')
    with pytest.raises(
        ValueError, match=r"'xyz'\. Available methods: columns, linear, .*push_pull"
    ):
        classical.summary('xyz')


@every_method
def test_each_method_has_a_one_line_summary(name):
    summary = classical.summary(name)
    assert summary.endswith('.') and '\n' not in summary and len(summary) < 100


# The contract


def assert_complete(name, given):
    """Complete `given` (H, W), check what all methods promise, and give the result."""
    before = given.copy()
    dense = classical.find(name)(given)
    assert dense.dtype == np.float32 and dense.shape == given.shape
    assert dense.flags.c_contiguous and dense.flags.writeable
    assert np.array_equal(given, before) and not np.shares_memory(dense, given)
    points = given[given > 0]
    assert dense.min() >= points.min() and dense.max() <= points.max()
    if name != SMOOTHING:
        np.testing.assert_allclose(dense[given > 0], points, rtol=1e-6)
    return dense


@every_method
@pytest.mark.parametrize('shape', SIZES, ids=str)
def test_any_number_of_points_in_any_size_gives_dense_depth_in_their_range(name, shape):
    for count in {1, min(2, np.prod(shape)), min(7, np.prod(shape)), np.prod(shape)}:
        assert_complete(name, scattered(int(count), count, shape))


@every_method
def test_no_point_gives_zeros(name):
    assert not classical.find(name)(np.zeros((5, 7), np.float32)).any()


@every_method
def test_one_point_fills_the_image(name):
    given = np.zeros((50, 301), np.float32)
    given[3, 290] = 7.3
    assert np.all(assert_complete(name, given) == np.float32(7.3))


@every_method
@pytest.mark.parametrize('where', ['one row', 'one column', 'a diagonal', 'two rows', 'a corner'])
def test_points_without_area_and_in_dense_blocks_are_completed(name, where):
    given = np.zeros((30, 40), np.float32)
    index = {
        'one row': (12, slice(None, None, 3)),
        'one column': (slice(1, None, 4), 0),
        'a diagonal': (np.arange(30), np.arange(30)),
        'two rows': (slice(4, None, 20), slice(None)),
        'a corner': (slice(20, None), slice(30, None)),
    }[where]
    given[index] = np.random.default_rng(0).uniform(1, 9, given[index].shape)
    assert_complete(name, given)


@every_method
def test_equal_depths_stay_exactly_equal(name):
    given = np.where(scattered(3) > 0, np.float32(12.34), np.float32(0))
    assert np.all(assert_complete(name, given) == np.float32(12.34))


@every_method
def test_the_unit_of_depth_does_not_matter(name):
    given = scattered(5, 300)
    complete = classical.find(name)
    np.testing.assert_allclose(complete(1000 * given), 1000 * complete(given), rtol=1e-4)


@every_method
def test_views_and_read_only_arrays_are_taken(name):
    given = scattered(4, 300)
    view = given[::2, ::-1]
    view.flags.writeable = False
    expected = classical.find(name)(view.copy())
    np.testing.assert_array_equal(classical.find(name)(view), expected)


@every_method
@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (np.ones((2, 3)), r'float64 of shape \(2, 3\): pass float32 metres of shape \(H, W\)'),
        (np.ones((2, 3), np.uint16), 'uint16 of shape'),
        (np.ones((1, 2, 3), np.float32), r'float32 of shape \(1, 2, 3\)'),
        (np.ones((0, 3), np.float32), r'float32 of shape \(0, 3\)'),
        (sparse([[1, np.nan, np.nan]]), 'holds 2 depths such as nan: mark pixels without'),
        (sparse([[1, np.inf]]), 'holds 1 depths such as inf'),
        (sparse([[1, -2]]), r'holds 1 depths such as -2\.0'),
    ],
    ids=['float64', 'uint16', '3-D', 'empty', 'nan', 'inf', 'negative'],
)
def test_what_is_no_sparse_depth_is_refused(name, given, message):
    with pytest.raises(ValueError, match=message):
        classical.find(name)(given)


# nearest


def test_nearest_takes_the_closer_point():
    dense = classical.find('nearest')(sparse([[2, 0, 0, 0, 0, 0, 8], [0, 0, 0, 0, 0, 0, 0]]))
    assert np.array_equal(dense[:, [0, 1, 2, 4, 5, 6]], [[2, 2, 2, 8, 8, 8]] * 2)


@pytest.mark.parametrize('count', [5, 50, 500])
def test_nearest_is_within_four_percent_of_the_exact_distance(count):
    given = scattered(count, count, (90, 120))
    points, pixels = np.argwhere(given), np.argwhere(given >= 0)
    distance = cdist(pixels, points)
    depth_of = given[given > 0]
    assert len(np.unique(depth_of)) == count
    chosen = (classical.find('nearest')(given).reshape(-1, 1) == depth_of).argmax(1)
    taken, exact = distance[np.arange(len(pixels)), chosen], distance.min(1)
    assert np.all(taken <= 1.04 * exact)
    assert np.mean(taken == exact) > 0.98


# linear and linear_inverse


def test_linear_is_a_plane_inside_a_triangle_and_nearest_outside():
    given = np.zeros((6, 6), np.float32)
    given[0, 0], given[0, 4], given[4, 0] = 10, 18, 22  # depth = 10 + 2 x + 3 y
    dense = classical.find('linear')(given)
    tie = 0
    expected = sparse(
        [
            [10, 12, 14, 16, 18, 18],
            [13, 15, 17, 19, 18, 18],
            [16, 18, 20, 18, 18, 18],
            [19, 21, 22, tie, 18, 18],
            [22, 22, 22, 22, tie, 18],
            [22, 22, 22, 22, 22, tie],
        ]
    )
    np.testing.assert_allclose(dense[expected > 0], expected[expected > 0], rtol=1e-6)
    assert set(np.diag(dense)[3:]) <= {18, 22}


@pytest.mark.parametrize('seed', range(8))
def test_linear_agrees_with_scipy(seed):
    given = scattered(seed)
    expected = by_scipy(given)
    inside = np.isfinite(expected)
    assert inside.mean() > 0.5
    dense = classical.find('linear')(given)
    np.testing.assert_allclose(dense[inside], expected[inside], rtol=1e-5)
    nearest = classical.find('nearest')(given)
    np.testing.assert_array_equal(dense[~inside], nearest[~inside])


@pytest.mark.parametrize('seed', range(8))
def test_linear_inverse_agrees_with_scipy(seed):
    given = scattered(seed)
    inverted = np.divide(1, given, out=np.zeros_like(given), where=given > 0)
    expected = 1 / by_scipy(inverted)
    inside = np.isfinite(expected)
    dense = classical.find('linear_inverse')(given)
    np.testing.assert_allclose(dense[inside], expected[inside], rtol=1e-5)


@pytest.mark.parametrize('kind', ['rows', 'grid', 'blocks', 'dense with holes'])
def test_linear_is_exact_on_a_plane_however_the_points_lie(kind):
    rng = np.random.default_rng(7)
    y, x = np.indices((90, 130))
    plane = (5 + 0.02 * x + 0.07 * y).astype(np.float32)
    valid = {
        'rows': (y % 9 == 4) & (rng.random(y.shape) < 0.4),
        'grid': (y % 7 == 2) & (x % 5 == 1),
        'blocks': (y // 8 + x // 6) % 5 == 0,
        'dense with holes': (y % 30 < 20) | (x % 40 < 25),
    }[kind]
    given = np.where(valid, plane, 0)
    inside = inside_hull(given)
    dense = classical.find('linear')(given)
    np.testing.assert_allclose(dense[inside], plane[inside], rtol=1e-5)


def test_linear_inverse_is_exact_on_the_ground_in_front_of_a_camera():
    row = np.arange(100, 200)
    ground = 1.65 * 720 / (row - 80)  # camera 1.65 m high, focal length 720 px, horizon at row 80
    given = np.zeros((100, 60), np.float32)
    given[::9] = ground[::9, None]
    dense = classical.find('linear_inverse')(given)
    np.testing.assert_allclose(dense, np.repeat(ground[:, None], 60, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ([[2, 0, 0, 8], [0, 0, 0, 0]], [[2, 4, 6, 8], [2, 2, 8, 8]]),
        ([[2, 0], [0, 0], [0, 0], [8, 0]], [[2, 2], [4, 2], [6, 8], [8, 8]]),
        ([[2, 0, 0], [0, 0, 0], [0, 0, 6]], [[2, 2, -1], [2, 4, 6], [-1, 6, 6]]),
    ],
    ids=['row', 'column', 'diagonal'],
)
def test_linear_along_a_line_and_nearest_beside_it(given, expected):
    dense, expected = classical.find('linear')(sparse(given)), sparse(expected)
    np.testing.assert_allclose(dense[expected > 0], expected[expected > 0])  # -1: a tie


# columns


def test_columns_are_linear_in_inverse_depth():
    given = np.zeros((9, 3), np.float32)
    given[0], given[4], given[8] = 2, 4, 8  # 1/m: 0.5, 0.25, 0.125
    expected = 1 / np.array([0.5, 0.4375, 0.375, 0.3125, 0.25, 0.21875, 0.1875, 0.15625, 0.125])
    dense = classical.find('columns')(given)
    np.testing.assert_allclose(dense, np.repeat(expected[:, None], 3, 1), rtol=1e-5)


def test_columns_run_from_the_outermost_point_to_their_neighbours_mean():
    given = np.zeros((60, 200), np.float32)
    given[30, :100], given[30, 100:] = 2, 10  # 1/m: 0.5, 0.1
    dense = classical.find('columns')(given)
    np.testing.assert_allclose(dense[:, :60], 2, rtol=1e-5)
    np.testing.assert_allclose(dense[:, 140:], 10, rtol=1e-5)
    top_middle = 1 / (0.5 * 33 / 65 + 0.1 * 32 / 65)  # columns 67 to 99, and 100 to 131
    assert dense[0, 99] == pytest.approx(top_middle, rel=0.03)


def test_columns_without_points_lie_between_their_neighbours():
    given = np.zeros((5, 41), np.float32)
    given[[0, 4], 0], given[[0, 4], 40] = 2, 10
    # Points reach sqrt(5 * 41 / 4) / 2 = 3.6, so 4 pixels: none in columns 5 to 35.
    dense = classical.find('columns')(given)
    np.testing.assert_allclose(dense[:, 2], 2, rtol=1e-5)
    np.testing.assert_allclose(dense[:, 20], 1 / 0.3, rtol=1e-5)
    np.testing.assert_allclose(dense[:, 12], 1 / 0.4, rtol=1e-5)


def test_columns_close_the_gaps_within_a_beam():
    given = np.zeros((21, 60), np.float32)
    given[5, ::3], given[15, 1::3] = 4, 4  # never in one column
    given[10, 31] = 40
    dense = classical.find('columns')(given)
    np.testing.assert_allclose(dense[:, :20], 4, rtol=1e-5)


def test_columns_drop_streaks_of_two_columns():
    given = np.zeros((9, 60), np.float32)
    given[0], given[8] = 4, 4
    given[8, 30:32] = 40
    np.testing.assert_allclose(classical.find('columns')(given)[:8], 4, rtol=1e-5)


# push_pull


def test_push_pull_averages_pairs_of_rows_first():
    dense = classical.find('push_pull')(sparse([[2], [0], [6]]))
    # Pairs (2, none) -> 2 and (6, none) -> 6; upsampled 2, 3, 5, 6; the points keep their depth.
    np.testing.assert_allclose(dense, [[2], [3], [6]])


def test_push_pull_of_a_distant_gap_is_near_the_mean():
    given = np.zeros((64, 65), np.float32)
    given[::2, 0], given[::2, 64] = 10, 20
    dense = classical.find('push_pull')(given)
    np.testing.assert_allclose(dense[20:44, 32], 15, rtol=0.02)
    assert np.all(np.diff(dense[32]) > -1e-3)


# morphological


def test_morphological_meets_in_the_middle_of_inverse_depth():
    given = np.zeros((21, 9), np.float32)
    given[0], given[20] = 2, 10  # 1/m: 0.5 and 0.1, symmetric about row 10 at 0.3
    dense = classical.find('morphological')(given)
    np.testing.assert_allclose(dense[10], 1 / 0.3, rtol=1e-5)
    assert np.all(np.diff(dense, axis=0) >= 0)


def test_morphological_removes_a_lone_outlier():
    given = np.zeros((41, 61), np.float32)
    given[::4, ::2] = 8
    given[20, 30] = 80
    dense = classical.find('morphological')(given)
    np.testing.assert_allclose(dense[:8], 8, rtol=1e-5)
    assert dense[20, 30] < 10


# Real frames, 16 beams in, 48 withheld: MAE, RMSE, clean MAE, clean RMSE in m, measured + 2 %

BOUNDS = {
    'columns': (1.07, 4.53, 0.64, 3.07),
    'linear': (1.16, 4.32, 0.82, 3.34),
    'linear_inverse': (1.15, 4.54, 0.70, 3.08),
    'morphological': (1.07, 4.42, 0.65, 2.97),
    'nearest': (1.39, 5.13, 0.98, 3.97),
    'push_pull': (1.05, 4.00, 0.74, 2.98),
}


@pytest.fixture(scope='module')
def five_frames(shared_data):
    return measure(shared_data, 16, 8, [*classical.available(), REFERENCE])


@every_method
def test_errors_on_real_frames(five_frames, name):
    row = five_frames[name]
    assert row.missing == 0
    assert np.all(np.array(row[:4]) <= BOUNDS[name])


def test_linear_scores_as_scipy_on_real_frames(five_frames):
    np.testing.assert_allclose(five_frames['linear'][:4], five_frames[REFERENCE][:4], rtol=0.002)


def test_linear_on_all_real_frames(shared_data):
    row = measure(shared_data, 16, 1, ['linear'])['linear']
    assert row.mae <= 1.13 and row.rmse <= 4.20 and row.missing == 0
