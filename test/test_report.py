"""The report: one page that needs nothing else, with every number of what it shows; errors."""

from __future__ import annotations

from html.parser import HTMLParser
import json
import re

from depth_kd_training import evaluation, runs
from depth_kd_training.commands import report as command
from depth_kd_training.data.base import Frame
from depth_kd_training.evaluate import evaluate, open_models, Plan
from depth_kd_training.examples import error_picture, Examples, LARGEST_M
from depth_kd_training.report import report
from depth_kd_training.scoring import Limits
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

SIZE = (16, 24)
CLASSES = ('road', 'car & <trailer>')
VOID = ('meta', 'img')


class Page(HTMLParser):
    """Read a page strictly: tags must close; tables become rows of text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.tables, self.text = [], [], [], ''
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.tables[-1][-1].append('')
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {'td', 'th'}.isdisjoint(self.open):
            self.tables[-1][-1][-1] += f'{data} '
        self.text += data


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory):
    """Evaluate two methods on three random frames with 8 and 4 beams; give the file."""
    rng, frames = np.random.default_rng(0), []
    for name in ('a', 'b <i>', 'c'):
        truth = rng.uniform(1, 90, SIZE).astype(np.float32)
        ring = np.repeat(np.where(np.arange(16) % 2, -1, np.arange(16) // 2)[:, None], 24, 1)
        frames.append(
            Frame(
                name, rng.integers(0, 255, (*SIZE, 3), np.uint8), None,
                np.where(ring < 0, 0, truth).astype(np.float32), truth, ring.astype(np.int16),
                rng.integers(-1, 2, SIZE).astype(np.int16),
            )
        )  # fmt: skip
    out = tmp_path_factory.mktemp('report') / 'compared.json'
    plan = Plan(beams=(8, 4), limits=Limits(farthest_m=80, clean=True))
    models = open_models(['nearest', 'push_pull'], 'cpu', plan)
    examples = Examples(out.with_suffix('.examples'), {1}, 8)
    rows = evaluate(frames, models, plan, CLASSES, [examples])
    data = {'name': 'folder', 'options': {'root': 'somewhere'}, 'frames': 3}
    arguments = {name: name for name in models}
    made = evaluation.document(rows, models, arguments, plan, data, ['evaluate', 'it'])
    evaluation.write(out, made | {'examples': examples.entries})
    return out


@pytest.fixture
def run_folder(tmp_path):
    """Write the folder of a run of 1000 steps, whose validation is best at the second of three."""
    folder = tmp_path / 'student'
    folder.mkdir()
    log = ['step,rate,total,l1,samples_per_s']
    log += [f'{step},{0.001},{10 / step},{8 / step},{20.5}' for step in range(1, 1001)]
    (folder / 'log.csv').write_text('\n'.join(log))
    (folder / 'validation.csv').write_text(
        'step,mae,rmse\n300,2.5,4.5\n600,1.25,3.125\n1000,1.5,3\n'
    )
    (folder / 'recipe.yaml').write_text('licence: <none>\nsteps: 1000\n')
    return folder


def parts(row):
    """List the PARTs of a row with the words that begin their table rows."""
    beams, name = str(row['beams']), row['name']
    yield 'all truth', (beams, name), row
    yield 'truth that the camera sees', (beams, name), row['clean']
    for key, part in row['by_distance'].items():
        yield 'by distance', (beams, f'{key} m', name), part
    for key, part in row['by_class'].items():
        yield 'by class', (beams, key, name), part


def test_every_number_is_in_its_row(evaluated):
    page = Page(report([evaluated]))
    found = json.loads(evaluated.read_text())
    rows = {}
    for table in page.tables:
        for cells in table[1:]:
            rows.setdefault(tuple(c.strip() for c in cells), cells)
    texts = [' '.join(cells) for cells in rows]
    checked = 0
    for row in found['rows']:
        for _, head, part in parts(row):
            own = [t for c, t in zip(rows, texts, strict=True) if c[: len(head)] == head]
            for metric, value in part['metrics'].items():
                wanted = f'{value:.3f}'
                if metric in part['interval']:
                    low, high = part['interval'][metric]
                    wanted += f' [{low:.3f}, {high:.3f}]'
                if 'difference' in part and metric in part['difference']:
                    wanted += ' {:+.1f} % [{:+.1f}, {:+.1f}]'.format(*part['difference'][metric])
                assert any(wanted in text for text in own), (head, metric, wanted)
                checked += 1
            assert any(f' {part["pixels"]}' in text for text in own)
    assert checked == 4 * 9 * 7  # rows, metrics, and parts: all, clean, 3 distances, 2 classes


def test_the_best_of_the_rivals_stands_out(evaluated):
    text = report([evaluated])
    rows = json.loads(evaluated.read_text())['rows'][:2]
    best, other = sorted(row['metrics']['mae'] for row in rows)
    assert f'<td class=best><b>{best:.3f}</b>' in text
    assert f'<td><b>{other:.3f}</b>' in text
    best = max(row['metrics']['delta1'] for row in rows)
    assert f'<td class=best><b>{best:.3f}</b>' in text


def test_the_page_needs_nothing_else(evaluated, run_folder):
    text = report([run_folder, evaluated])
    page = Page(text)
    assert not re.search(r'https?:|url\(|@import|<script|<link|<iframe', text)
    targets = {a['id'] for _, a in page.tags if 'id' in a}
    for tag, attributes in page.tags:
        if 'src' in attributes:
            assert tag == 'img' and attributes['src'].startswith('data:image/jpeg;base64,')
            assert attributes['alt']
        if 'href' in attributes:
            assert attributes['href'][1:] in targets
        assert not any(key.startswith('on') for key in attributes)
    assert len([tag for tag, _ in page.tags if tag == 'img']) == 3 + 2 * 2
    assert dict(page.tags)['html'] == {'lang': 'en'}
    assert 'prefers-color-scheme: dark' in text and 'nothing' not in text


def test_what_others_wrote_is_escaped(evaluated, run_folder):
    page = Page(report([run_folder, evaluated], title='<em> & more'))
    assert '<em> & more' in page.text and 'car & <trailer>' in page.text
    assert 'b <i>, 8 beams' in page.text and 'licence: <none>' in page.text
    assert not {'em', 'i', 'trailer', 'none'} & ({tag for tag, _ in page.tags} - {'i'})


def test_models_data_and_versions_are_named(evaluated):
    page = Page(report([evaluated]))
    made = json.loads(evaluated.read_text())['provenance']
    for word in ('somewhere', 'evaluate it', made['torch'], made['created'], made['device']):
        assert word in page.text


def test_runs_have_curves_and_their_best_scores(run_folder, tmp_path):
    other = tmp_path / 'other' / 'student'
    other.mkdir(parents=True)
    (other / 'validation.csv').write_text('step,mae,rmse\n500,9,9.5\n')
    page = Page(report([run_folder, other]))
    header, *rows = page.tables[0]
    assert [cell.strip() for cell in header][:6] == [
        'run', 'steps', 'samples/s', 'best step', 'MAE m', 'RMSE m',
    ]  # fmt: skip
    assert [[cell.strip() for cell in row] for row in rows] == [
        [str(run_folder), '1000', '20.5', '600', '1.250', '3.125'],
        [str(other), '500', '-', '500', '9.000', '9.500'],
    ]
    labels = [a['aria-label'] for tag, a in page.tags if tag == 'svg' and 'aria-label' in a]
    expected = ['validation MAE', 'validation RMSE', 'total', 'l1', 'rate', 'samples per s']
    assert labels == expected
    assert 'steps: 1000' in page.text


def test_a_run_without_any_validation_has_its_losses(run_folder):
    (run_folder / 'validation.csv').unlink()
    page = Page(report([run_folder]))
    assert page.tables[0][1][:4] == ['student ', '1000 ', '20.5 ', '- ']


def test_evaluations_in_a_run_folder_are_shown(run_folder, evaluated):
    (run_folder / 'compared.json').write_bytes(evaluated.read_bytes())
    (run_folder / 'other.json').write_text('{}')
    page = Page(report([run_folder]))
    assert 'push_pull' in page.text
    assert 'no picture' in page.text  # they were left behind


def test_curves_skip_what_is_no_number_and_a_broken_end(tmp_path):
    path = tmp_path / 'log.csv'
    path.write_text('step,total,note\n1,2.5,x\n2,,y\n3,4,z\n4,')
    found = runs.curves(path)
    assert found['step'] == [1, 2, 3] and found['total'][::2] == [2.5, 4]
    assert 'note' not in found
    assert runs.thinned(found['step'], found['total']) == ([1, 2, 3], [2.5, None, 4])
    x, y = runs.thinned(list(map(float, range(1000))), [2.0] * 999 + [5.0])
    assert len(x) <= runs.MOST_POINTS and x[0] == 1 and y[0] == 2 and y[-1] == 5


def test_errors_have_signs_and_colours():
    """Too far is red, too near blue, right white, no truth black; the scale has an end."""
    truth = np.array([[10, 10, 10, 0, 20]], np.float32).repeat(4, 0)
    depth = truth + np.array([5, -5, 0, 3, LARGEST_M * 3], np.float32)
    red, green, blue = np.moveaxis(error_picture(depth, truth)[0].astype(int), -1, 0)
    assert red[0] > blue[0] + 50 and blue[1] > red[1] + 50
    assert min(red[2], green[2], blue[2]) >= 245
    assert (red[3], green[3], blue[3]) == (0, 0, 0)
    assert (red[4], green[4], blue[4]) == (175, 25, 40)


def test_single_points_of_truth_are_drawn_larger():
    truth = np.zeros((20, 20), np.float32)
    truth[10, 10] = 10
    drawn = error_picture(truth + 4, truth).any(-1)
    assert drawn.sum() > 9 and drawn[8:13, 8:13].sum() == drawn.sum()


def run(*words, code=0):
    app = typer.Typer()
    app.command(help=command.HELP)(command.report)
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return ' '.join(result.output.split())


def test_the_command_writes_the_page(evaluated, tmp_path):
    out = tmp_path / 'r.html'
    assert f'written: {out}' in run(evaluated, '--out', out, '--title', 'Ours')
    assert '<h1>Ours</h1>' in out.read_text()


def test_what_is_neither_run_nor_evaluation_is_told(tmp_path):
    (tmp_path / 'log.csv').write_text('time,loss\n1,2\n')
    assert 'log.csv: no column `step`' in run(tmp_path, code=2)
    (tmp_path / 'log.csv').unlink()
    assert 'neither log.csv nor validation.csv nor an evaluation' in run(tmp_path, code=2)
    assert 'e.json: not readable as JSON' in run(tmp_path / 'e.json', code=2)
    assert 'report runs/student --out student.html' in run('--help')


def test_evaluations_of_one_name_in_two_folders_are_both_shown(evaluated, tmp_path):
    found = json.loads(evaluated.read_text()) | {'examples': []}
    paths = [tmp_path / folder / 'unseen.json' for folder in ('first', 'second')]
    for path in paths:
        path.parent.mkdir()
        path.write_text(json.dumps(found))
    text = report(paths)
    assert all(f'Evaluation: {path.with_suffix("")}' in text for path in paths)
