"""Evaluation: rows against numbers by hand and loops, beams, pairs, what is left out, errors."""

from __future__ import annotations

from dataclasses import replace
import json
import time

from depth_kd_ros import checkpoint, networks
from depth_kd_ros.completer import Completion, DepthCompleter
from depth_kd_training import evaluation, metrics
from depth_kd_training.data.base import Frame
from depth_kd_training.evaluate import evaluate, names, open_models, Plan
from depth_kd_training.scoring import Limits
import numpy as np
import pytest
from random_checkpoint import write as write_checkpoint

SIZE = (12, 20)


def frame(name='a', truth=None, size=SIZE, **maps):
    """Make a frame with one LiDAR point and, by default, truth of 10 m everywhere."""
    sparse = np.zeros(size, np.float32)
    sparse[0, 0] = 10
    truth = np.full(size, 10, np.float32) if truth is None else truth
    maps = {'sparse_depth': sparse, 'depth_gt': truth} | maps
    return Frame(name, np.zeros((*size, 3), np.uint8), **maps)


class Fixed:
    needs_points = True

    """Predict the same everywhere, or whatever a function of the sparse depth gives."""

    def __init__(self, depth):
        self.depth = depth
        self.given = []

    def from_sparse(self, image, sparse):
        self.given.append(sparse)
        depth = self.depth(sparse) if callable(self.depth) else np.full(sparse.shape, self.depth)
        return Completion(np.asarray(depth, np.float32), sparse, None, {'infer': 0.002})


def random_frames(count, seed=0):
    """Make frames with sparse truth, classes and rings, all random."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        depth = rng.uniform(1, 100, SIZE).astype(np.float32)
        truth = np.where(rng.random(SIZE) < 0.5, depth, 0).astype(np.float32)
        sparse = np.where(rng.random(SIZE) < 0.2, depth, 0).astype(np.float32)
        sparse[:, 0] = depth[:, 0]  # a point of every ring
        semantic = rng.integers(-1, 3, SIZE).astype(np.int16)
        ring = np.where(sparse > 0, np.indices(SIZE)[0], -1).astype(np.int16)
        frames.append(frame(str(i), truth, sparse_depth=sparse, semantic=semantic, ring=ring))
    return frames


def test_one_row_by_hand():
    """Truth 10 m, then 8 and 16 m: errors of 2 m, and of 4 and 4 m; the mean is over frames."""
    other = np.zeros(SIZE, np.float32)
    other[0, :2] = 8, 16
    (row,) = evaluate([frame(), frame('b', other)], {'twelve': Fixed(12)}, Plan())
    assert (row['name'], row['beams'], row['frames'], row['pixels']) == ('twelve', 'all', 2, 242)
    assert row['metrics']['mae'] == 3 and row['metrics']['rmse'] == 3
    assert row['metrics']['imae'] == pytest.approx(
        (1e3 / 60 + (1e3 / 24 + 1e3 / 48) / 2) / 2, rel=1e-5
    )
    assert row['metrics']['pooled_rmse'] == pytest.approx(
        ((240 * 4 + 2 * 16) / 242) ** 0.5, rel=1e-5
    )
    assert row['interval']['mae'] == [2, 4]  # half of the draws of two take the same one twice
    assert row['points'] == 1 and row['beams_seen'] is None and row['milliseconds'] == 2
    assert [f['frame'] for f in row['per_frame']] == ['a', 'b']
    assert [f['mae'] for f in row['per_frame']] == [2, 4]
    assert [f['pixels'] for f in row['per_frame']] == [240, 2]
    assert 'difference' not in row and 'clean' not in row


def test_random_rows_equal_masks_written_out():
    frames = random_frames(4)
    depth = np.random.default_rng(9).uniform(1, 90, SIZE).astype(np.float32)
    limits = Limits(farthest_m=80, clean=True)
    classes = ('road', 'car', 'tree')
    (row,) = evaluate(frames, {'m': Fixed(lambda _: depth)}, Plan(limits=limits), classes)

    def mae(where):
        values = [
            np.abs(np.clip(depth, 0.9, 80) - f.depth_gt)[w & (f.depth_gt > 0) & (f.depth_gt <= 80)]
            for f in frames
            for w in [where(f)]
        ]
        return pytest.approx(np.mean([v.mean() for v in values if v.size]), rel=1e-5)

    assert row['metrics']['mae'] == mae(lambda f: np.full(SIZE, True))
    for key, low, high in (('0-20', 0, 20), ('20-40', 20, 40), ('40-80', 40, 80)):
        part = row['by_distance'][key]
        assert part['metrics']['mae'] == mae(
            lambda f, low=low, high=high: (f.depth_gt > low) & (f.depth_gt <= high)
        )
    for i, name in enumerate(classes):
        assert row['by_class'][name]['metrics']['mae'] == mae(lambda f, i=i: f.semantic == i)
    assert row['clean']['metrics']['mae'] == mae(
        lambda f: metrics.without_see_through(f.depth_gt, f.sparse_depth) > 0
    )
    assert sum(p['pixels'] for p in row['by_distance'].values()) == row['pixels']
    assert 0 < row['clean']['pixels'] < row['pixels']


def test_models_are_compared_frame_by_frame():
    """12 m and 14 m for truth of 10 m: twice the error of every frame, in every part."""
    frames = [frame(str(i), np.full(SIZE, 10, np.float32)) for i in range(5)]
    first, second = evaluate(frames, {'a': Fixed(12), 'b': Fixed(14)}, Plan())
    assert 'difference' not in first
    assert second['difference']['mae'] == pytest.approx([100, 100, 100])
    assert second['by_distance']['0-20']['difference']['rmse'] == pytest.approx([100, 100, 100])


def test_beams_are_evenly_spaced_and_the_truth_stays():
    frames = random_frames(3)
    model = Fixed(20)
    rows = evaluate(frames, {'m': model}, Plan(beams=(None, 4, 2)))
    assert [row['beams'] for row in rows] == ['all', 4, 2]
    assert [row['beams_seen'] for row in rows] == [12, 4, 2]
    for sparse, count in zip(model.given, [12, 4, 2] * 3, strict=True):
        assert np.flatnonzero(sparse.any(1)).tolist() == list(range(0, 12, 12 // count))
    assert rows[0]['points'] > rows[1]['points'] > rows[2]['points']
    assert rows[0]['metrics'] == rows[1]['metrics'] == rows[2]['metrics']


def test_frames_are_evenly_spaced():
    assert Plan(frames=4).indices(10) == [0, 2, 5, 7]
    assert Plan(frames=40).indices(3) == [0, 1, 2]
    assert Plan().indices(2) == [0, 1]


def test_a_frame_without_points_is_left_out_by_name():
    empty = frame('empty', sparse_depth=np.zeros(SIZE, np.float32))
    models = open_models(['nearest'], 'cpu', Plan())
    (row,) = evaluate([frame(), empty], models, Plan())
    assert row['frames'] == 1 and list(row['left_out']) == ['empty']
    assert 'none of 0 points' in row['left_out']['empty']
    with pytest.raises(ValueError, match='no frame could be evaluated: none of 0 points'):
        evaluate([empty], models, Plan())


def test_doubtful_predictions_are_scored_and_told():
    class Doubtful(Fixed):
        def from_sparse(self, image, sparse):
            return super().from_sparse(image, sparse)._replace(caveat='a guess')

    (row,) = evaluate([frame()], {'m': Doubtful(11)}, Plan())
    assert row['frames'] == 1 and row['caveats'] == {'a': 'a guess'}


def test_a_frame_whose_truth_is_empty_counts_nowhere():
    (row,) = evaluate([frame(), frame('b', np.zeros(SIZE, np.float32))], {'m': Fixed(11)}, Plan())
    assert row['frames'] == 1 and row['metrics']['mae'] == 1
    assert row['per_frame'][1]['mae'] is None


def test_the_path_is_that_of_the_runtime(tmp_path):
    """A checkpoint's score is the score of what DepthCompleter predicts."""
    path = write_checkpoint(tmp_path / 'student.safetensors')
    frames = random_frames(2)
    (row,) = evaluate(frames, open_models([str(path)], 'cpu', Plan()), Plan())
    completer = DepthCompleter(str(path), 'cpu', bleed_filter=False)
    expected = [
        metrics.errors(completer.from_sparse(f.image, f.sparse_depth).depth, f.depth_gt)['mae']
        for f in frames
    ]
    assert row['name'] == 'student'
    assert row['metrics']['mae'] == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(
    ('preset', 'message'),
    [('mff_mobilenet_v2', ''), ('relative_topformer_tiny', r'of relative depth, for its scale')],
)
def test_a_metric_camera_network_needs_no_points(tmp_path, preset, message):
    network = networks.build(*networks.presets()[preset])
    path, scale = tmp_path / 'mono.safetensors', ((0.5,) * 3, (0.2,) * 3)
    checkpoint.save(path, network, normalisation=scale, depth_range_m=(0.5, 80), licence='MIT')
    frames = [replace(each, sparse_depth=None, ring=None) for each in random_frames(1)]
    models = open_models([str(path)], 'cpu', Plan())
    if message:
        with pytest.raises(ValueError, match=message):
            evaluate(frames, models, Plan())
        return
    (row,) = evaluate(frames, models, Plan())
    assert row['frames'] == 1 and row['points'] == 0 and not row['left_out']


def test_names_tell_models_apart(tmp_path):
    found = names(['linear', 'x/best.safetensors', 'a/net.safetensors', 'b/net.safetensors'])
    assert list(found) == ['linear', 'x/best', 'a/net', 'b/net']
    assert list(names(['c/student.safetensors'])) == ['student']
    with pytest.raises(ValueError, match='a model is named twice: linear linear'):
        open_models(['linear', 'linear'], 'cpu', Plan())


@pytest.mark.parametrize(
    ('broken', 'plan', 'message'),
    [
        ({'depth_gt': None}, Plan(), 'frame a has no ground truth .* depth_gt=NAME'),
        ({'sparse_depth': None}, Plan(), 'frame a has no sparse_depth'),
        ({}, Plan(beams=(16,)), 'frame a does not say which beam .* leave --beams out'),
    ],
)
def test_frames_that_lack_something_are_named(broken, plan, message):
    with pytest.raises(ValueError, match=message):
        evaluate([frame(**broken)], {'m': Fixed(1)}, plan)


def test_an_empty_data_set_is_an_error():
    with pytest.raises(ValueError, match='the data set is empty'):
        evaluate([], {'m': Fixed(1)}, Plan())


def test_a_model_that_fails_is_named_with_the_frame():
    def fail(sparse):
        raise RuntimeError('out of memory')

    with pytest.raises(ValueError, match=r'model m failed on frame a \(12x20\): out of memory'):
        evaluate([frame()], {'m': Fixed(fail)}, Plan())
    with pytest.raises(ValueError, match=r'predicted depth is \(3, 4\), its truth \(12, 20\)'):
        evaluate([frame()], {'m': Fixed(lambda _: np.ones((3, 4)))}, Plan())


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'nearest_m': 5, 'farthest_m': 4}, 'min depth 5 m, max depth 4 m'),
        ({'bounds_m': (0, 40, 20)}, 'distances 0, 40, 20: give at least two ascending'),
        ({'bounds_m': (5,)}, 'distances 5: give at least two'),
    ],
)
def test_limits_are_checked(values, message):
    with pytest.raises(ValueError, match=message):
        Limits(**values)


def test_without_truth_the_predictions_can_still_be_watched():
    seen = []
    plan = Plan(needs_truth=False)
    rows = evaluate([frame(depth_gt=None)], {'m': Fixed(3)}, plan, (), [lambda *a: seen.append(a)])
    assert rows == [] and [(f.name, n, m) for f, n, m, _ in seen] == [('a', None, 'm')]


def test_the_file_comes_back_as_it_was(tmp_path):
    path = write_checkpoint(tmp_path / 'student.safetensors')
    plan = Plan(limits=Limits(clean=True))
    arguments = {'student': str(path), 'nearest': 'nearest'}
    models = open_models([str(path), 'nearest'], 'cpu', plan)
    rows = evaluate(random_frames(2), models, plan, ('road', 'car', 'tree'))
    data = {'name': 'folder', 'options': {'root': 'x'}, 'frames': 2}
    made = evaluation.document(rows, models, arguments, plan, data, ['command'])
    evaluation.write(tmp_path / 'e.json', made)
    found = evaluation.read(tmp_path / 'e.json')
    assert found == json.loads(json.dumps(made))
    student, nearest = found['models']
    assert student['network'] == 'lspkd' and student['parameters'] > 1e5
    assert student['training']['recipe'] == 'random weights, seed 0'
    assert nearest['kind'] == 'classical' and nearest['hash'] == 'classical'
    assert found['units']['imae'] == '1/km' and set(found['units']) == set(rows[0]['metrics'])


def test_a_strange_file_is_told(tmp_path):
    path = tmp_path / 'e.json'
    path.write_text('[1')
    with pytest.raises(ValueError, match=r'e\.json: not readable as JSON'):
        evaluation.read(path)
    path.write_text('{"format": "other"}')
    with pytest.raises(ValueError, match='not written by `depth_kd_training evaluate'):
        evaluation.read(path)


def test_scoring_takes_milliseconds():
    """240x608 with labels, all truth: about 7 ms, here with much room for a busy machine."""
    rng = np.random.default_rng(0)
    depth_gt = rng.uniform(1, 80, (240, 608)).astype(np.float32)
    labels = rng.integers(0, 60, depth_gt.shape)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        metrics.sums(depth_gt + 1, depth_gt, labels, 60)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
