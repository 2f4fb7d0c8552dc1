"""Studies run for real: each run once, after what it needs, in spite of Ctrl-C and kills."""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time

from depth_kd_training import state, study_runs
from depth_kd_training.cli import app
from depth_kd_training.study_loading import load
from depth_kd_training.study_plan import Plan
from depth_kd_training.study_queue import Queue
from depth_kd_training.study_runs import make_set, RunError, Stop, StoppedError
import pytest
import street_folder
from typer.testing import CliRunner
import yaml

SET = {'world': 'street', 'sensor': 'vlp16', 'frames': 2, 'size': [48, 64], 'seed': 3}


def run(*words):
    """Run the command and give (exit code, everything printed)."""
    result = CliRunner().invoke(app, ['study', *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, ' '.join(result.output.split())


def values(frames, **changes):
    """Give a study of a student and one that learns from it, scored on a simulated set."""
    base = street_folder.recipe(frames, steps=2, data={'validation': []})
    base.pop('validate_every')
    source = {'dataset': 'folder', 'options': {'root': 'set:unseen', 'depth_gt': 'depth_gt'}}
    return {
        'title': 'Two rows', 'sets': {'unseen': SET}, 'base': base,
        'rows': {
            'distilled': {
                'teacher': {'checkpoint': 'row:student'}, 'methods': [{'name': 'response'}],
                'data': {'validation': [street_folder.source(frames)]},
            },
            'student': None,
        },
        'evaluate': {'unseen': source | {'beams': ['all', 8]}}, 'seeds': [0, 1],
        'orders': [['distilled', 'student']],
    } | changes  # fmt: skip


def write(path, given):
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return path


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return street_folder.write(tmp_path_factory.mktemp('street'), 6)


@pytest.fixture(scope='module')
def ran(frames, tmp_path_factory):
    """Run a study of two rows and two seeds, two runs at a time; its set was left half-made."""
    folder = tmp_path_factory.mktemp('study')
    file = write(folder / 'two.yaml', values(frames))
    plan = Plan(load(file)[0], folder / 'out')
    plan.sets['unseen'].mkdir(parents=True)
    (plan.sets['unseen'] / 'half_made').touch()
    code, text = run(file, '--out', plan.out, '--devices', 'cpu', '--workers', 2)
    assert code == 0, text
    return file, plan, text


def test_runs_come_after_what_they_need(ran):
    _, plan, text = ran
    assert f'{plan.out}: 0 of 4 runs are there' in text
    for seed in (0, 1):
        done = text.index(f'student, seed {seed}: done in ')
        assert done < text.index(f'distilled, seed {seed}: begun on cpu')
    assert '[4/4]' in text and '1 to go, about ' in text and 'none to go' in text
    assert ', RMSE ' in text and ' m on unseen; ' in text


def test_names_stand_for_folders_and_weights(ran):
    _, plan, _ = ran
    for seed in (0, 1):
        distilled, student = plan.job('distilled', seed), plan.job('student', seed)
        recipe = yaml.safe_load((distilled.folder / 'recipe.yaml').read_text())
        # Without validation there is no best.
        assert recipe['teacher']['checkpoint'] == str(student.folder / 'last.safetensors')
        assert (recipe['seed'], student.recipe.seed) == (seed, seed)
        assert not (student.folder / 'best.safetensors').exists()
        assert distilled.weights == distilled.folder / 'best.safetensors'
        assert distilled.weights.is_file() and student.weights.is_file()
    about = json.loads((plan.sets['unseen'] / 'report.json').read_text())
    assert about['frames'] == 2 and about['options']['sensor'] == 'vlp16'
    assert not (plan.sets['unseen'] / 'half_made').exists()


def test_the_table_holds_what_the_evaluations_say(ran):
    _, plan, text = ran
    table = json.loads((plan.out / 'two.json').read_text())
    assert [t['beams'] for t in table['tables']] == ['all', 8]
    for place, found in enumerate(table['tables']):
        for line in found['rows']:
            scores = []
            for seed in (0, 1):
                (file,) = plan.job(line['row'], seed).folder.glob('evaluate_unseen_*.json')
                scores.append(json.loads(file.read_text())['rows'][place]['metrics']['rmse'])
            assert line['metrics']['rmse']['values'] == scores
            assert line['metrics']['rmse']['mean'] == pytest.approx(statistics.mean(scores), 1e-5)
            assert line['metrics']['rmse']['std'] == pytest.approx(statistics.stdev(scores), 1e-4)
    assert all(run['complete'] for run in table['runs'])
    cost = {row['row']: row for row in table['cost']}
    assert cost['student']['parameters'] == 75301 and cost['student']['size'] == [48, 64]
    assert cost['student']['gflops'] > 0.001 and cost['student']['device'] == 'cpu'
    assert 100 < cost['student']['memory_mb'] < 4000 and cost['student']['seconds'] > 0.5
    mean = table['tables'][0]['rows'][0]['metrics']['rmse']['mean']
    assert f'distilled 2 of 2 {mean:.3f} ± ' in text
    assert f'| distilled | 2 of 2 | {mean:.3f} ± ' in (plan.out / 'two.md').read_text()
    page = (plan.out / 'two.html').read_text()
    assert '<h2>Two rows</h2>' in page and '<h2>Training</h2>' in page and f'{mean:.3f} ±' in page


def test_what_is_finished_is_never_run_again(ran, frames, monkeypatch):
    """Even where it is scored anew, and where the number of loading processes is another."""
    file, plan, _ = ran

    def called(*_):
        raise AssertionError('a process was started')

    monkeypatch.setattr(study_runs, 'call', called)
    before = {path: path.stat().st_mtime_ns for path in plan.out.glob('runs/*/*')}
    code, text = run(file, '--out', plan.out, '--devices', 'cpu')
    assert code == 0 and '4 of 4 runs are there' in text and 'begun' not in text
    assert {path: path.stat().st_mtime_ns for path in plan.out.glob('runs/*/*')} == before

    more = values(frames)
    more['evaluate'] = {'seen': street_folder.source(frames) | {'frames': 2}}
    more['base']['data']['workers'] = 1
    again = write(file.with_name('more.yaml'), more)
    code, text = run(again, '--out', plan.out, '--devices', 'cpu', '--seeds', 0)
    assert code == 0 and '0 of 2 runs are there' in text and 'on seen ' in text
    assert 'distilled, seed 0: done' in text and 'seed 1' not in text
    assert len(list(plan.job('student', 0).folder.glob('evaluate_*.json'))) == 2


def test_table_shows_what_is_finished_and_runs_nothing(ran, frames, tmp_path):
    file, plan, _ = ran
    more = values(frames)
    more['rows']['other'] = {'steps': 3}
    write(tmp_path / 'two.yaml', more)
    code, text = run(tmp_path / 'two.yaml', '--out', plan.out, '--table')
    assert code == 0 and 'student 2 of 2' in text and 'other 0 of 2 - -' in text
    code, text = run(file, '--out', tmp_path / 'none', '--table')
    assert code == 0 and 'student 0 of 2 - -' in text and 'not run' in text
    assert not (tmp_path / 'none').exists()


def test_rows_bring_what_they_need(ran):
    _, plan, _ = ran
    jobs = plan.jobs(['distilled'], [1])
    assert [(job.row, job.seed) for job in jobs] == [('student', 1), ('distilled', 1)]


def test_a_run_that_fails_takes_along_what_needs_it(frames, tmp_path):
    given = values(frames, seeds=[0])
    given['rows']['student'] = {
        'data': {'labelled': [{'dataset': 'folder', 'options': {'root': '/none'}}]}
    }
    given['evaluate'] = {'seen': street_folder.source(frames)}
    file = write(tmp_path / 's.yaml', given)
    code, text = run(file, '--out', tmp_path / 'out', '--devices', 'cpu')
    assert code == 1
    assert 'failed: student, seed 0: data.labelled.0: /none: no such folder' in text
    assert 'distilled, seed 0: left out, for a run that it needs failed' in text
    assert 'distilled 0 of 1 - -' in text and '.log)' in text


def begin(frames, tmp_path, steps):
    """Start a study of one long run as a process, and wait until it learns."""
    given = values(frames, rows={'student': {'steps': steps, 'save_every_s': 1e9}}, seeds=[0])
    given |= {'orders': [], 'evaluate': {'seen': street_folder.source(frames) | {'frames': 1}}}
    file = write(tmp_path / 's.yaml', given)
    job = Plan(load(file)[0], tmp_path / 'out').job('student', 0)
    command = [sys.executable, '-m', 'depth_kd_training', 'study', file, '--devices', 'cpu']
    process = subprocess.Popen(
        [*command, '--out', tmp_path / 'out'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=os.environ | {'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while not (job.folder / 'log.csv').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process, job, (file, '--devices', 'cpu', '--out', tmp_path / 'out')


def steps_of(job):
    with (job.folder / 'log.csv').open() as file:
        return [int(row['step']) for row in csv.DictReader(file)]


def test_ctrl_c_saves_and_the_same_command_goes_on(frames, tmp_path):
    process, job, words = begin(frames, tmp_path, 60)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 130, text
    assert 'Traceback' not in text and 'stopping: each run finishes its step and saves' in text
    assert 'student, seed 0: stopped and saved' in text
    assert f'stopped; to go on:\ndepth_kd_training study {tmp_path}/s.yaml --devices cpu' in text
    saved = state.load(job.folder / 'state.safetensors')['step']
    assert 1 <= saved < 60 and not job.complete()
    spent = job.cost()
    assert spent['finished'] is False and spent['seconds'] > 0
    code, text = run(*words)
    assert code == 0 and '0 of 1 runs are there' in text, text
    assert f'going on from step {saved} of 60' in job.folder.with_suffix('.log').read_text()
    assert steps_of(job) == list(range(1, 61)) and job.complete()
    assert job.cost()['seconds'] > spent['seconds']


@pytest.mark.full
def test_after_a_kill_the_next_start_waits_for_what_still_runs(frames, tmp_path):
    """Two processes that train in one folder would spoil it."""
    process, job, words = begin(frames, tmp_path, 40)
    process.kill()
    process.communicate()
    with pytest.raises(StoppedError), study_runs.locked(job.folder.with_suffix('.lock'), asked()):
        raise AssertionError('nobody holds the lock')
    code, text = run(*words)
    assert code == 0 and 'student, seed 0: done in' in text, text
    assert 'going on from' not in job.folder.with_suffix('.log').read_text()
    assert steps_of(job) == list(range(1, 41))  # once each


def asked():
    stop = Stop()
    stop.at_once = True
    return stop


def test_a_set_that_cannot_be_made_is_told(frames, tmp_path):
    study, _ = load(write(tmp_path / 's.yaml', values(frames)))
    (tmp_path / 'sets').touch()
    with pytest.raises(FileExistsError):
        make_set('unseen', study.sets['unseen'], tmp_path / 'sets/set', Stop())
    (tmp_path / 'folder').touch()  # where a folder is to be
    with pytest.raises(RunError, match=r'set unseen: .*folder'):
        make_set('unseen', study.sets['unseen'], tmp_path / 'folder', Stop())
    with pytest.raises(StoppedError):
        make_set('unseen', study.sets['unseen'], tmp_path / 'new', asked())


def test_a_killed_process_names_memory(tmp_path):
    (tmp_path / 'log').write_text('step 1\n')
    with pytest.raises(RunError, match='a, seed 0: killed by signal 9, perhaps for lack of mem'):
        study_runs.raise_for(-9, 'a, seed 0', tmp_path / 'log', Stop())
    with pytest.raises(RunError, match='ValueError: bad'):
        (tmp_path / 'log').write_text('Traceback\nValueError: bad\n')
        study_runs.raise_for(1, 'a, seed 0', tmp_path / 'log', Stop())


@pytest.fixture
def plan(frames, tmp_path):
    """Plan two chains of runs that are never run."""
    rows = {
        'a': {}, 'b': {'network': {'checkpoint': 'row:a'}},
        'c': {'network': {'checkpoint': 'row:b'}}, 'd': {'steps': 9},
    }  # fmt: skip
    given = values(frames, rows=rows, orders=[], seeds=[0])
    return Plan(load(write(tmp_path / 's.yaml', given))[0], tmp_path / 'out')


def test_devices_are_shared_and_what_hangs_on_a_failure_is_left_out(plan):
    jobs, done, told = plan.jobs(['c', 'd', 'a'], [0, 1]), [], []
    finished = set()

    def perform(job, device, stop):
        if job.name == 'b, seed 1':
            raise RunError('b broke')
        assert finished.issuperset(job.needs)
        time.sleep(0.05)
        finished.add(job.folder)
        done.append((job.row, job.seed, device))

    queue = Queue(jobs, ['x', 'y'], perform, told.append)
    queue.run(Stop())
    rows = [(row, seed) for row, seed, _ in done]
    assert sorted(rows) == [('a', 0), ('a', 1), ('b', 0), ('c', 0), ('d', 0), ('d', 1)]
    assert rows.index(('a', 0)) < rows.index(('b', 0)) < rows.index(('c', 0))
    assert {device for *_, device in done} == {'x', 'y'}
    assert queue.failures == ['b broke']
    assert any('c, seed 1: left out' in line for line in told)


def test_time_to_go_is_that_of_the_rows(plan):
    queue = Queue(plan.jobs(['c', 'd'], [0]), ['x', 'y'], print, print)
    queue.waiting = [plan.job('d', 0), plan.job('c', 0)]
    queue.seconds = {'a': [100.0, 200.0], 'd': [600.0]}
    # d takes 600 s, c what is usual: 300 s; two at a time.
    assert queue._rest([]) == '2 to go, about 8 min'
    assert queue._rest([plan.job('a', 0)]) == '3 to go, about 9 min'  # another 150 s


def test_ray_runs_one_task_each(frames, tmp_path):
    ray = pytest.importorskip('ray', reason='the extra ray is not installed')
    given = values(frames)
    given['rows']['broken'] = {'network': {'checkpoint': '/none.safetensors'}}
    file = write(tmp_path / 's.yaml', given)
    words = ('--devices', 'cpu', '--workers', 2, '--ray', 'local')
    try:
        code, text = run(file, '--out', tmp_path / 'out', '--seeds', 0, *words)
    finally:
        ray.shutdown()
    assert code == 1 and 'student 1 of 1' in text and 'distilled 1 of 1' in text, text
    assert 'failed: broken, seed 0: network: no model' in text
