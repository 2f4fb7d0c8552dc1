"""Study files: how values lie over others, what a run is known by, and each error."""

from __future__ import annotations

import sys

from depth_kd_training import study_loading, study_plan
from depth_kd_training.cli import app
from depth_kd_training.config import change
from depth_kd_training.recipe import ConfigError
from depth_kd_training.study import merge, references, replaced
from depth_kd_training.study_plan import Plan
import pytest
import street_folder
from typer.testing import CliRunner
import yaml


def values():
    """Give a study whose rows can be checked without frames."""
    unseen = {'dataset': 'folder', 'options': {'root': 'set:unseen', 'depth_gt': 'depth_gt'}}
    return {
        'sets': {'street': {'frames': 4}, 'unseen': {'seed': 1, 'sensor': 'vlp16'}},
        'base': {
            'network': street_folder.TINY,
            'data': {'labelled': [{'dataset': 'folder', 'options': {'root': 'set:street'}}]},
        },
        'rows': {
            'teacher': {'network': {'options': {'width': 1 / 8}}}, 'student': None,
            'lspkd': {
                'teacher': {'checkpoint': 'row:teacher'},
                'methods': [{'name': 'local_similarity', 'options': {}}],
            },
        },
        'evaluate': {'unseen': unseen | {'beams': ['all', 16]}},
        'gap': {'student': 'student', 'teacher': 'teacher'},
        'orders': [['lspkd', 'student'], {'rows': ['lspkd', 'student'], 'at_least': 0.5}],
        'paper': {'teacher': {'rmse': 0.8652}},
        'presets': {
            'tiny': {'seeds': [0], 'base': {'steps': 7}, 'rows': {'student': {'log_every': 5}}},
            'full': {'sets': {'street': {'frames': 900}}, 'rows': {'lspkd': {'steps': 5}}},
        },
    }  # fmt: skip


def write(folder, given):
    path = folder / 'study.yaml'
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return path


def run(*words):
    result = CliRunner().invoke(app, ['study', *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, ' '.join(result.output.split())


def test_values_lie_over_others():
    below = {'a': {'x': 1, 'y': [1, 2]}, 'b': 3, 'c': 4, 'l': {'l1': 1.0}}
    above = {'a': {'y': [5], 'z': 6}, 'b': None, 'd': None, 'l': {'l1': None, 'l2': 1.0}}
    assert merge(below, above) == {
        'a': {'x': 1, 'y': [5], 'z': 6}, 'c': 4, 'd': None, 'l': {'l2': 1.0},
    }  # fmt: skip
    assert below['a'] == {'x': 1, 'y': [1, 2]}


def test_names_are_found_and_replaced_anywhere():
    given = {'a': ['set:x', {'b': 'row:y'}], 'c': 'reset:x', 'd': 'set:z'}
    assert references(given, 'set:') == ['x', 'z'] and references(given, 'row:') == ['y']
    found = replaced(given, {'set:x': '/x', 'row:y': '/y'})
    assert found == {'a': ['/x', {'b': '/y'}], 'c': 'reset:x', 'd': 'set:z'}


def test_a_preset_lies_over_the_study(tmp_path):
    path = write(tmp_path, values())
    study, preset = study_loading.load(path)
    assert preset == 'tiny' and study.seeds == (0,) and study.base['steps'] == 7
    assert study.base['network'] == street_folder.TINY and study.sets['street'].frames == 4
    study, preset = study_loading.load(path, 'full')
    assert preset == 'full' and study.seeds == (0, 1, 2) and 'steps' not in study.base
    assert study.sets['street'].frames == 900 and study.rows['lspkd']['steps'] == 5
    assert 'teacher' in study.rows['lspkd']
    bare = values()
    del bare['presets']
    assert study_loading.load(write(tmp_path, bare))[1] == ''


def folders(tmp_path, *changes, seed=0):
    """Give the names of the folders of the rows' runs after changes of the study."""
    given = values()
    for each in changes:
        change(given, each)
    plan = Plan(study_loading.load(write(tmp_path, given))[0], tmp_path / 'out')
    study_plan.check(plan, 'study')
    return {row: plan.job(row, seed).folder.name for row in plan.study.rows}


def test_a_run_is_known_by_all_that_it_learns_from(tmp_path):
    usual = folders(tmp_path)
    assert len(set(usual.values())) == 3 and all(len(name) == 12 for name in usual.values())

    def changed(*changes, **more):
        found = folders(tmp_path, *changes, **more)
        return {row for row in found if found[row] != usual[row]}

    everything = {'teacher', 'student', 'lspkd'}
    assert changed('title=Another', 'metrics=[mae]', 'seeds=[4]') == set()
    assert changed('base.data.workers=7', 'base.save_every_s=9') == set()
    assert changed('sets.unseen.frames=9') == set()  # only scored on it
    assert changed('base.steps=7') == set()  # as the preset has it
    assert changed('presets.tiny.base.steps=8') == everything
    assert changed('sets.street.seed=5') == everything
    assert changed(seed=1) == everything
    assert changed('rows.student={optimisation: {rate: 0.1}}') == {'student'}
    assert changed('rows.teacher.steps=9') == {'teacher', 'lspkd'}  # which learns from it
    assert changed('rows.lspkd.methods.0.weight=2') == {'lspkd'}
    own = 'rows.lspkd.data={labelled: [{dataset: folder, options: {root: "set:unseen"}}]}'
    assert changed(own) == {'lspkd'}
    assert folders(tmp_path, own)['lspkd'] != folders(tmp_path, own, 'sets.unseen.seed=8')['lspkd']
    # An option of a data set that is null is said, and may differ from one that is left out.
    crop = 'rows.lspkd.data={labelled: [{dataset: kitti_dc, options: {depth: k, raw: r%s}}]}'
    whole, cropped = (folders(tmp_path, crop % more)['lspkd'] for more in (', crop: null', ''))
    assert whole != cropped


def test_rows_that_are_the_same_run_share_it(tmp_path):
    found = folders(tmp_path, 'rows.twin={log_every: 5}')  # the preset's
    assert found['twin'] == found['student'] != found['teacher']


def test_sets_are_known_by_their_options_defaults_too(tmp_path):
    given = values()
    given['sets']['same'] = {'frames': 4, 'world': 'street', 'rig': 'random'}
    plan = Plan(study_loading.load(write(tmp_path, given))[0], tmp_path)
    assert plan.sets['same'] == plan.sets['street'] != plan.sets['unseen']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (['titel=x'], r"unknown key 'titel'; did you mean 'title'"),
        (['rows=null'], r'rows = None'),
        (['rows={}'], r'rows = \{\}: Dictionary should have at least 1 item'),
        (['sets.street.sensr=x'], r"unknown key 'sets.street.sensr'; did you mean '.*sensor'"),
        (['sets.street.world=sea'], r"sets.street = .*: world = 'sea': give one of street"),
        (['sets.street.frames=0'], r'sets.street.frames = 0: '),
        (['evaluate.unseen.beam=8'], r"unknown key 'evaluate.unseen.beam'; did you .*beams'"),
        (['evaluate={}'], r'evaluate = \{\}'),
        (['gap.techer=x'], r"unknown key 'gap.techer'; did you mean 'gap.teacher'"),
        (['orders.1.atleast=1'], r"unknown key 'orders.1.atleast'; did you .*at_least'"),
        (['orders.0=[lspkd]'], r'orders.0.rows = \[.lspkd.\]: '),
        (['presets.tiny.row={}'], r"unknown key 'presets.tiny.row'; did you .*rows'"),
        (['presets.huge={}'], r'presets.huge.* = .huge.: Input should be .tiny. or .full.'),
        (['presets.tiny.rows.studnt={}'], r"preset tiny: rows: unknown 'studnt'; did you"),
        (['presets.tiny.sets={street: {size: 4}}'], r'preset tiny: sets.street.size = 4'),
        (['seeds=[1, 1]', 'presets=null'], r'presets = None'),
        (['presets={}', 'seeds=[1, 1]'], r'seeds = \[1, 1\]: one is there twice'),
        (['presets={}', 'seeds=[-1]'], r'seeds.0 = -1'),
        (['rows.student={seed: 4}', 'presets={}'], r'rows.student: seed: it comes from `seeds`'),
        (['rows={"a,b": {}}', 'presets={}'], r"name 'a,b': give one without a comma"),
        (['evaluate={"a/b": {dataset: folder}}'], r"evaluate: name 'a/b': files are named so"),
        (['rows.lspkd.teacher.checkpoint=row:techer'],
         r"rows.lspkd: row:: unknown 'techer'; did you mean 'teacher'\? there are teacher, stud"),
        (['base.data.labelled.0.options.root=set:stret'],
         r"rows.teacher: set:: unknown 'stret'; did you mean 'street'"),
        (['evaluate.unseen.options.root=set:sen'], r"evaluate.unseen: set:: unknown 'sen'"),
        (['evaluate.unseen.options.root=row:student'], r"evaluate.unseen: row:: unknown"),
        (['rows.teacher={network: {checkpoint: "row:lspkd"}}'],
         r'rows need each other in a circle: \w+ -> \w+ -> \w+'),
        (['metrics=[rms]'], r"metrics: unknown 'rms'; did you mean 'rmse'"),
        (['gap.student=studnt'], r"gap: unknown 'studnt'"),
        (['paper.techer={rmse: 1}'], r"paper: unknown 'techer'"),
        (['paper.teacher={rms: 1}'], r"paper.teacher: unknown 'rms'"),
        (['orders.0=[lspkd, studnt]'], r"orders.0.rows: unknown 'studnt'; did you"),
        (['orders.1.set=seen'], r"orders.1.set: unknown 'seen'; did you mean 'unseen'"),
        (['orders.1.metric=ma'], r"orders.1.metric: unknown 'ma'"),
        (['orders.1.beams=32'], r'orders.1.beams = 32: its set is scored with all, 16'),
        (['gap=null'], r'orders.1.at_least: a share of the gap, but there is no `gap`'),
        (['base.optimisation.rat=1'], r"rows.teacher: unknown key 'optimisation.rat'; did you"),
        (['rows.lspkd.methods.0.name=local'], r'rows.lspkd: methods.0: unknown distillation met'),
        (['rows.lspkd.methods.0.options.taps=[E9]'], r'rows.lspkd: methods.0: .*E9'),
        (['rows.lspkd.methods=[]'], r'rows.lspkd: teacher: no method uses it'),
        (['rows.lspkd.teacher=null'], r'rows.lspkd: methods.0: .*needs a teacher'),
        (['rows.lspkd.teacher.checkpoint=/none.safetensors'],
         r"rows.lspkd: teacher.checkpoint: .*none"),
        (['rows.teacher.network.preset=mff_mobilenet_v2', 'rows.teacher.network.options=null'],
         r'rows.lspkd: teacher: the student reads image and sparse_depth, the teacher image'),
        (['base.supervision={losses: {}}'], r'rows.teacher: .*nothing to learn'),
        (['base.data.augmentation={flop: 1}'], r"rows.teacher: data: .*'flop'"),
        (['base.data.labelled.0.dataset=foldr'], r"rows.teacher: .*unknown dataset 'foldr'"),
        (['evaluate.unseen.options.rot=x'], r"evaluate.unseen: .*no option 'rot'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as told:
        folders(tmp_path, *changes)
    assert all('study' in line for line in str(told.value).splitlines())


TWO_STAGE = 'rows.lspkd.network={preset: two_stage, options: {relative: %s}, parts: %s}'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ([TWO_STAGE % ('relative_topformer_tiny', '{relatif: "row:student"}')],
         r"rows.lspkd: network: parts: two_stage has no network 'relatif' in it; it has relative"),
        ([TWO_STAGE % ('relative_topformer_tiny', '{relative: "row:student"}')],
         r'rows.lspkd: network: .*safetensors holds another network'),
        (['rows.lspkd.network.checkpoint=row:student',
          'rows.student={network: {options: {width: 0.125}}}'],
         r'rows.lspkd: network: .*safetensors holds another network'),
    ],
)  # fmt: skip
def test_weights_of_other_rows_that_do_not_fit_are_told(tmp_path, changes, message):
    changes = [*changes, 'rows.lspkd.methods=[]', 'rows.lspkd.teacher=null']
    with pytest.raises(ConfigError, match=message):
        folders(tmp_path, *changes)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ((), 'give a STUDY: a name of --list, or a YAML file'),
        (('nothing',), "no study 'nothing'. Give one of"),
        (('STUDY', '--preset', 'huge'), "no preset 'huge'; it has tiny and full"),
        (('STUDY', '--rows', 'lspkd,studnt'), "--rows: unknown 'studnt'; did you mean 'student'"),
        (('STUDY', '--seeds', '0,x'), "--seeds: 'x': give whole numbers, as in 0,1,2"),
        (('STUDY', '--devices', 'cpu,gpu'), "device 'gpu': one of auto, cpu, cuda"),
        (('STUDY', '--workers', '0'), 'Invalid value'),
        (
            ('STUDY', '--ray', 'auto'),
            "--ray: Ray is not installed: pip install 'depth_kd_ros[ray]",
        ),
    ],
)
def test_words_that_cannot_be_used_are_told(tmp_path, monkeypatch, words, message):
    monkeypatch.setitem(sys.modules, 'ray', None)  # as where it is not installed
    path = write(tmp_path, values())
    words = [path if word == 'STUDY' else word for word in words]
    code, text = run(*words, '--out', tmp_path / 'out')
    assert code == 2 and message in text.replace('│ ', ''), text
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('text', 'message'), [('a: [', 'not readable as YAML'), ('3', '3: keys and values expected')]
)
def test_files_that_are_no_studies_are_told(tmp_path, text, message):
    (tmp_path / 's.yaml').write_text(text)
    with pytest.raises(ConfigError, match=message):
        study_loading.load(tmp_path / 's.yaml')


def test_studies_of_the_package_are_listed():
    code, text = run('--list')
    assert code == 0
    for name in study_loading.STUDIES.available():
        assert f'{name} {study_loading.STUDIES.summary(name)}' in text


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=[] if name == 'auxiliary_data' else pytest.mark.full)
        for name in study_loading.STUDIES.available()
    ],
)
@pytest.mark.parametrize('preset', ['tiny', 'full'])
def test_studies_of_the_package_can_be_used(tmp_path, name, preset):
    study, _ = study_loading.load(name, preset)
    study_plan.check(Plan(study, tmp_path), name)


def test_help_has_examples_to_copy():
    code, text = run('--help')
    assert code == 0 and 'depth_kd_training study my_study.yaml --rows student,distilled' in text
