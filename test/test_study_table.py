"""Tables of studies: spreads, gaps and claims worked out by hand, and how they are written."""

from __future__ import annotations

from html.parser import HTMLParser

from depth_kd_training import study_page
from depth_kd_training.report import report
from depth_kd_training.scoring import UNITS
from depth_kd_training.study import parse
from depth_kd_training.study_orders import judged
from depth_kd_training.study_table import FORMAT, table
import pytest

KINDS = ('json', 'md', 'html')
SOURCE = {'dataset': 'folder', 'options': {'root': 'x'}}


def study(*orders, metrics=('rmse', 'delta1'), gap=True):
    values = {
        'rows': {row: {} for row in ('teacher', 'good', 'student', 'absent')},
        'evaluate': {'unseen': SOURCE, 'other': SOURCE | {'beams': [16]}},
        'metrics': metrics, 'orders': orders,
    }  # fmt: skip
    if gap:
        values['gap'] = {'student': 'student', 'teacher': 'teacher'}
    return parse(values, 'study')


def scores(metric='rmse', beams='all', name='unseen', **rows):
    """Give what evaluations say of rows: a metric by seed."""
    known = {row: {} for row in ('teacher', 'good', 'student', 'absent')}
    none = {'metrics': dict.fromkeys(UNITS), 'per_frame': []}
    for row, values in rows.items():
        for seed, value in enumerate(values):
            known[row][seed] = {**none, 'metrics': none['metrics'] | {metric: value}}
    return {(name, beams): known}


# Means: teacher 1.0, good 1.2 (std 0.1), student 2.0 (std 0.2): 0.8 of the gap is closed.
RMSE = {'teacher': (1.0, 1.0), 'good': (1.1, 1.2, 1.3), 'student': (1.8, 2.0, 2.2)}


def test_spread_and_gap():
    found = table(study(), ('unseen', 'all'), scores(**RMSE)['unseen', 'all'])
    teacher, good, student, absent = found['rows']
    assert good['metrics']['rmse'] == {'mean': 1.2, 'std': 0.1, 'values': [1.1, 1.2, 1.3]}
    assert student['metrics']['rmse']['std'] == 0.2 and good['seeds'] == [0, 1, 2]
    assert good['metrics']['delta1'] == {'mean': None, 'std': None, 'values': []}
    closed = [row['gap_closed'] for row in (teacher, good, student, absent)]
    assert closed == [1.0, pytest.approx(0.8), 0.0, None]


def test_one_seed_has_no_deviation():
    found = table(study(), ('unseen', 'all'), scores(good=[1.5])['unseen', 'all'])
    assert found['rows'][1]['metrics']['rmse'] == {'mean': 1.5, 'std': None, 'values': [1.5]}


def test_the_gap_of_a_share_of_pixels_goes_the_other_way():
    rows = scores('delta1', teacher=[0.9], good=[0.85], student=[0.7])['unseen', 'all']
    found = table(study(metrics=['delta1']), ('unseen', 'all'), rows)
    assert found['rows'][1]['gap_closed'] == pytest.approx(0.75)


def test_there_is_no_gap_where_the_teacher_is_no_better():
    rows = scores(teacher=[2.0], good=[1.0], student=[2.0])['unseen', 'all']
    assert table(study(), ('unseen', 'all'), rows)['rows'][1]['gap_closed'] is None
    rows = scores(**RMSE)['unseen', 'all']
    assert table(study(gap=False), ('unseen', 'all'), rows)['rows'][1]['gap_closed'] is None


@pytest.mark.parametrize(
    ('order', 'verdict'),
    [
        (['good', 'student'], 'holds'),  # better by 0.8, the larger deviation is 0.2
        (['student', 'good'], 'does not hold'),
        (['teacher', 'good', 'student'], 'holds'),  # 0.2 > 0.1, 0.8 > 0.2
        (['good', 'teacher', 'student'], 'does not hold'),  # worse by 0.2 > 0.1
        (['good', 'absent'], 'not run'),
        ({'rows': ['good', 'student'], 'at_least': 0.7}, 'holds'),  # 0.8 of the gap
        ({'rows': ['good', 'student'], 'at_least': 0.9}, 'does not hold'),
        ({'rows': ['good', 'student'], 'by': 0.7}, 'holds'),
        ({'rows': ['good', 'student'], 'by': 0.9}, 'does not hold'),
        ({'rows': ['teacher', 'good'], 'not_worse': True}, 'holds'),
        ({'rows': ['good', 'teacher'], 'not_worse': True}, 'does not hold'),
        ({'rows': ['good', 'teacher'], 'ratio': 0.8}, 'holds'),  # 1.0 / 1.2 = 0.83
        ({'rows': ['good', 'teacher'], 'ratio': 0.9}, 'does not hold'),
        ({'rows': ['teacher', 'student'], 'set': 'other'}, 'not run'),
    ],
)
def test_claims_are_judged(order, verdict):
    made = study(order)
    known = scores(**RMSE) | scores(beams=16, name='other')
    found = judged(made, made.orders[0], known)
    assert found['verdict'] == verdict
    assert (found['set'], found['beams']) in known and found['metric'] == 'rmse'


@pytest.mark.parametrize(
    ('good', 'verdict', 'not_worse'),
    [
        ((1.8, 2.0), 'undecided', 'holds'),  # 0.1 better, 0.141 is the noise
        ((2.0, 2.2), 'undecided', 'holds'),  # 0.1 worse
        ((2.1, 2.3), 'does not hold', 'does not hold'),  # 0.2 worse
        ((1.7, 1.9), 'holds', 'holds'),  # 0.2 better
    ],
)
def test_within_one_standard_deviation_nothing_is_decided(good, verdict, not_worse):
    made = study(['good', 'student'], {'rows': ['good', 'student'], 'not_worse': True})
    known = scores(good=good, student=(1.9, 2.1))  # mean 2.0, std 0.141
    assert [judged(made, order, known)['verdict'] for order in made.orders] == [verdict, not_worse]
    (pair,) = judged(made, made.orders[0], known)['pairs']
    assert pair['difference'] == pytest.approx(2.0 - sum(good) / 2, abs=1e-6)
    assert pair['std'] == pytest.approx(0.141421) and pair['interval'] is None


def test_larger_shares_of_pixels_are_better():
    where = {'metric': 'delta1', 'set': 'other'}
    made = study(
        where | {'rows': ['good', 'student'], 'by': 0.03},
        where | {'rows': ['good', 'teacher'], 'ratio': 0.95},
    )
    given = {'good': (0.80, 0.81), 'student': (0.75, 0.76), 'teacher': (0.84,)}
    known = scores('delta1', 16, 'other', **given)
    assert judged(made, made.orders[0], known)['verdict'] == 'holds'  # 0.05 better
    assert judged(made, made.orders[1], known)['verdict'] == 'holds'  # 0.805 / 0.84 = 0.958
    known['other', 16]['teacher'][0]['metrics']['delta1'] = 0.86  # 0.936
    assert judged(made, made.orders[1], known)['verdict'] == 'does not hold'


@pytest.mark.parametrize(
    ('shift', 'verdict'), [(-0.5, 'holds'), (0.5, 'does not hold'), (0.0, 'undecided')]
)
def test_one_seed_is_judged_over_frames(shift, verdict):
    """Alternating errors: a shift of all frames is certain, a swap of two kinds of them not."""
    made = study(['good', 'student'])
    known = scores(good=(2.0 + shift,), student=(2.0,))
    frames = [(1.5, 2.5) if i % 2 else (2.5, 1.5) for i in range(40)]
    for row, place in ('good', 0), ('student', 1):
        known['unseen', 'all'][row][0]['per_frame'] = [
            {'frame': str(i), 'rmse': (values[place] if not shift else 2.0) + shift * (not place)}
            for i, values in enumerate(frames)
        ]
    found = judged(made, made.orders[0], known)
    assert found['verdict'] == verdict
    (pair,) = found['pairs']
    assert pair['std'] is None
    assert pair['interval'][0] == pytest.approx(100 * shift / 2, abs=1e-4)
    assert pair['interval'][1] <= pair['interval'][0] <= pair['interval'][2]


def test_one_seed_without_frames_decides_nothing():
    made = study(['good', 'student'])
    assert (
        judged(made, made.orders[0], scores(good=[1.0], student=[2.0]))['verdict'] == 'undecided'
    )


def test_nothing_known_is_not_not_worse():
    made = study({'rows': ['good', 'student'], 'not_worse': True})
    known = scores(good=[9.0], student=[1.0])
    assert judged(made, made.orders[0], known)['verdict'] == 'undecided'


def test_frames_that_one_row_lacks_do_not_turn_the_verdict():
    made = study(['good', 'student'])
    known = scores(good=[1.1], student=[5.0])
    for row, error in ('good', 1.1), ('student', 1.0):
        frames = [{'frame': str(i), 'rmse': error} for i in range(40)]
        known['unseen', 'all'][row][0]['per_frame'] = frames
    known['unseen', 'all']['student'][0]['per_frame'] += [{'frame': 'hard', 'rmse': 160.0}]
    assert judged(made, made.orders[0], known)['verdict'] == 'does not hold'


def test_seeds_that_one_row_lacks_are_left_out():
    made = study(['good', 'student'])
    known = scores(good=[1.0, 1.1, 1.2], student=[1.05])
    (pair,) = judged(made, made.orders[0], known)['pairs']
    assert pair['difference'] == pytest.approx(0.05) and pair['std'] is None


def test_a_gap_whose_ends_have_not_run_is_not_run():
    made = study({'rows': ['good', 'student'], 'at_least': 0.5})
    known = scores(good=[1.0, 1.1], student=[2.0, 2.1])
    known['unseen', 'all']['teacher'] = {}
    assert judged(made, made.orders[0], known)['verdict'] == 'not run'


@pytest.fixture
def found():
    made = study(['good', 'student'], ['good', 'absent'])
    known = scores(**RMSE) | scores(beams=16, name='other')
    cost = {
        'row': 'good', 'parameters': 1234567, 'gflops': 1.5, 'size': [48, 64], 'memory_mb': 400.4,
        'seconds': 90.0, 'device': 'cpu',
    }  # fmt: skip
    rows = ('teacher', 'student', 'absent')
    none = [dict.fromkeys(cost) | {'row': row} for row in rows]
    return {
        'format': FORMAT, 'title': 'A <study>', 'preset': 'tiny', 'seeds': [0, 1, 2],
        'metrics': ['rmse', 'delta1'], 'units': UNITS, 'gap': {'student': '', 'teacher': ''},
        'paper': {'good': {'rmse': 915.86, 'mae': 231.37}}, 'paper_units': {'rmse': 'mm'},
        'paper_note': 'KITTI | val', 'runs': [],
        'tables': [table(made, key, rows) for key, rows in known.items()],
        'cost': [cost, *none], 'orders': [judged(made, order, known) for order in made.orders],
        'provenance': {'created': 'now'},
    }  # fmt: skip


def test_markdown(found):
    text = study_page.markdown(found)
    assert text.startswith('# A <study>\n\nPreset tiny. Mean ± ')
    assert (
        '| model | seeds | RMSE m | δ<1.25 | gap closed | paper: RMSE mm | paper: MAE m |' in text
    )
    assert '| good | 3 of 3 | 1.200 ± 0.100 | - | 80 % | 915.86 | 231.37 |' in text
    assert '| student | 3 of 3 | 2.000 ± 0.200 | - | 0 % | - | - |' in text
    assert '| absent | 0 of 3 | - | - | - | - | - |' in text
    assert '## On other, 16 beams\n\n| model | seeds | RMSE m | δ<1.25 | gap closed |\n' in text
    assert '| good | better than | student | RMSE | unseen | 0.800 m | 0.200 m | holds |' in text
    assert '| good | better than | absent | RMSE | unseen | - | - | not run |' in text
    assert '| model | parameters | GFLOPs 48x64 | memory MB | min | device |' in text
    assert '| good | 1,234,567 | 1.500 | 400 | 1.5 | cpu |' in text
    assert text.endswith('Paper: KITTI | val\n')
    found['cost'][0]['row'] = 'a|b'
    assert '| a\\|b | 1,234,567 |' in study_page.markdown(found)


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = tag in ('td', 'th')

    def handle_data(self, data):
        if self.inside:
            self.found.append(data)


def test_sections_of_a_report(found):
    made = study_page.sections(found)
    assert list(made) == ['A <study>', 'Cost']
    cells = Cells(made['A <study>']).found
    assert '1.200 ± 0.100' in cells and '915.86' in cells and 'not run' in cells
    assert 'δ<1.25' in cells  # escaped in the page
    assert 'KITTI | val' in made['A <study>'] and '<svg' not in made['A <study>']
    found['tables'][1]['set'] = 'unseen'  # two numbers of beams: a curve
    assert 'RMSE by number of LiDAR beams, unseen' in study_page.sections(found)['A <study>']


def test_files_come_back_and_strange_ones_are_told(found, tmp_path):
    study_page.write(found, tmp_path / 'study_tiny', tmp_path)
    page = (tmp_path / 'study_tiny.html').read_text()
    assert '<h1>A &lt;study&gt;</h1>' in page and 'Training' not in page
    one = report([tmp_path / 'study_tiny.json'])
    assert '<h2>A &lt;study&gt;</h2>' in one and '1.200 ± 0.100' in one
    study_page.write(found, tmp_path / 'study_full', tmp_path)
    both = report([tmp_path / 'study_tiny.json', tmp_path / 'study_full.json'])
    assert both.count('1.200 ± 0.100') == 2 * one.count('1.200 ± 0.100')
    assert 'A &lt;study&gt;: study_full' in both and 'Cost: study_tiny' in both
    study_page.write(found, tmp_path / 'my_v0.2', tmp_path)  # a dot within, no suffix
    assert {p.name for p in tmp_path.glob('my_v0*')} == {f'my_v0.2.{k}' for k in KINDS}
    with pytest.raises(ValueError, match=r"study_tiny.json is the table of 'A <study>': give ano"):
        study_page.write({**found, 'title': 'Other'}, tmp_path / 'study_tiny', tmp_path)
    with pytest.raises(ValueError, match=r'study_tiny.md: not readable as JSON'):
        report([tmp_path / 'study_tiny.md'])
    (tmp_path / 'x.json').write_text('{}')
    with pytest.raises(ValueError, match=r'x.json: not written .*evaluate --out` or .*g study` '):
        report([tmp_path / 'x.json'])
