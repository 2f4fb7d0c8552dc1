"""`depth_kd_training train`: what it says, how it stops, and each error with what to do."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
import time

from depth_kd_training import config, learning, state, train
from depth_kd_training.cli import app
from depth_kd_training.opening import open_fabric
import pytest
import street_folder
from typer.testing import CliRunner


def run(*words):
    """Run the command and give (exit code, everything printed)."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, ' '.join(result.output.split())


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return street_folder.write(tmp_path_factory.mktemp('street'), 6)


@pytest.fixture
def recipe(frames, tmp_path):
    return street_folder.write_recipe(tmp_path / 'r.yaml', frames, steps=6)


def test_help_names_all_commands_without_torch():
    code = 'import sys; from depth_kd_training.cli import app\ntry: app(["--help"])\n'
    code += 'except SystemExit: print("torch" in sys.modules, "pydantic" in sys.modules)'
    text = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout
    commands = ('simulate', 'train', 'study', 'evaluate', 'report')
    assert all(f' {name} ' in text for name in commands)
    assert 'False False' in text


def test_help_has_examples_to_copy():
    code, text = run('train', '--help')
    assert code == 0 and 'depth_kd_training train lspkd_s8 data.labelled.0.options.root=' in text
    assert 'torchrun --nproc-per-node 2 -m depth_kd_training train' in text


def test_recipes_are_listed_and_load():
    code, text = run('train', '--list')
    assert code == 0 and 'lspkd_s8 The /8 student' in text
    assert config.RECIPES.available()
    for name in config.RECIPES.available():
        assert config.load(name).licence, name


def test_a_run_and_the_same_command_again(recipe, tmp_path):
    words = ('train', recipe, '--out', tmp_path / 'out', '--device', 'cpu')
    code, text = run(*words, 'steps=3')
    assert code == 0 and 'validation MAE' in text
    assert f'{tmp_path / "out"}: step 3 of 3, the run is complete' in text
    assert '/3: l1 ' in text and 'samples/s' in text and 'waiting for data' in text
    before = (tmp_path / 'out/state.safetensors').read_bytes()
    assert run(*words, 'steps=3')[1].endswith('step 3 of 3, the run is complete')
    assert (tmp_path / 'out/state.safetensors').read_bytes() == before
    code, text = run(*words, 'steps=4', 'optimisation.rate=0.5', 'data.workers=1')
    assert code == 2 and 'begun with another recipe: ' in text
    assert 'steps = 4, not 3' in text and 'optimisation.rate = 0.5, not 0.001' in text
    assert 'workers' not in text  # changes nothing that is learnt


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ((), r'give a RECIPE'),
        (('nothing',), "no recipe 'nothing'. Give one of"),
        (('RECIPE', 'optimisation.rat=1'), "did you mean 'optimisation.rate'"),
        (('RECIPE', '--device', 'cuda:7'), "--device: device 'cuda:7': torch"),
        (('RECIPE', '--device', 'gpu'), 'one of auto, cpu, cuda, cuda:N expected'),
        (('RECIPE', 'network.preset=lspkd_s9'), "network.preset = 'lspkd_s9'; did you"),
        (('RECIPE', 'network.options.width=0.3'), 'network: network \'lspkd\': width = 0.3'),
        (('RECIPE', 'network.checkpoint=none.safetensors'), "network: no model 'none."),
        (('RECIPE', 'data.augmentation.flop=1'), "data: augmentation 'of frames' has no option"),
        (('RECIPE', 'data.labelled.0.dataset=foldr'), "data.labelled.0: unknown dataset 'foldr'"),
        (('RECIPE', 'data.labelled.0.options.root=/none'), 'data.labelled.0: /none: no such'),
        (('RECIPE', 'data.labelled.0.options={}'), "data.labelled.0: dataset 'folder': Config"),
        (('RECIPE', 'supervision.losses={l3: 1}'), "unknown loss 'l3': give one of l1, l2"),
        (('RECIPE', 'supervision.losses={}'), 'there is nothing to learn'),
        (('RECIPE', 'teacher.checkpoint=t.safetensors'), 'teacher: no method uses it'),
        (('RECIPE', 'data.augmentation={}', 'data.batch=1', 'data.augmentation.crop=[99, 99]'),
         'step 1: frame 0'),
        (('RECIPE', 'depth_range_m=[70, 80]', 'steps=1'), 'data.validation: none of its frames'),
        (('RECIPE', '--out', '/dev/null/run'), 'step 0: cannot write to /dev/null/run: Not a dir'),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told(recipe, tmp_path, words, message):
    words = [recipe if word == 'RECIPE' else word for word in words]
    out = () if '--out' in words else ('--out', tmp_path / 'out')
    code, text = run('train', *words, *out)
    assert code == 2 and message in text, text


def begin(recipe, out):
    """Make a run of three steps out of six, as Ctrl-C leaves it."""
    wanted = config.load(recipe)
    learn = train.learn

    def interrupted(run, batches):
        if run.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return learn(run, batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, 'learn', interrupted)
        assert train.train(wanted, out, open_fabric(wanted, 'cpu')) == signal.SIGTERM
    return state.load(out / 'state.safetensors')


def test_a_signal_finishes_the_step_and_saves(recipe, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    assert begin(recipe, tmp_path / 'out')['step'] == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_says_how_to_go_on(frames, tmp_path):
    """Ctrl-C reaches the worker processes, too: they must not die of it."""
    recipe = street_folder.write_recipe(
        tmp_path / 'r.yaml', frames, steps=10_000, data={'workers': 1}, save_every_s=1e9
    )
    out = tmp_path / 'my out'
    command = [sys.executable, '-m', 'depth_kd_training', 'train', recipe, 'seed=2', '--out', out]
    process = subprocess.Popen(
        [*command, '--device', 'cpu'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=os.environ | {'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (out / 'log.csv').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 130, text
    assert 'Traceback' not in text and 'stopped and saved; to go on:' in text
    words = shlex.split(text.splitlines()[-1])
    assert words == ['depth_kd_training', 'train', str(recipe), 'seed=2', '--out', str(out),
                     '--device', 'cpu']  # fmt: skip
    assert state.load(out / 'state.safetensors')['step'] >= 1


def goes_on(recipe, out, message):
    """Go on from step 3: it fails with the message, and the state of step 3 is whole."""
    before = (out / 'state.safetensors').read_bytes()
    code, text = run('train', recipe, '--out', out)
    assert code == 2 and message in text, text
    assert (out / 'state.safetensors').read_bytes() == before
    assert not list(out.glob('.*'))


def test_a_full_disk_leaves_the_last_checkpoint(recipe, tmp_path):
    """The kernel's limit on a file's size stands for a disk that is full within a file."""
    out = tmp_path / 'out'
    begin(recipe, out)
    last = (out / 'last.safetensors').read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(last) // 2, limits[1]))
    try:
        goes_on(recipe, out, f'cannot write to {out}: File too large. A checkpoint')
        assert (out / 'last.safetensors').read_bytes() == last
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    code, text = run('train', recipe, '--out', out)
    assert code == 0 and 'going on from step 3 of 6' in text


def test_a_read_only_folder_leaves_the_last_checkpoint(recipe, tmp_path, monkeypatch):
    from depth_kd_ros import files

    begin(recipe, tmp_path / 'out')

    def read_only(path, data):
        raise OSError(30, 'Read-only file system')

    with monkeypatch.context() as patch:
        patch.setattr(files, 'replace', read_only)
        goes_on(recipe, tmp_path / 'out', 'step 3: cannot write to')
    assert run('train', recipe, '--out', tmp_path / 'out')[0] == 0


def test_a_loss_that_is_no_number_is_told(recipe, tmp_path, monkeypatch):
    begin(recipe, tmp_path / 'out')
    compare = learning.compare

    def diverged(run, lesson):
        scale = float('nan') if run.step == 4 else 1.0
        return {name: scale * term for name, term in compare(run, lesson).items()}

    with monkeypatch.context() as patch:
        patch.setattr(learning, 'compare', diverged)
        code, text = run('train', recipe, '--out', tmp_path / 'out')
    assert code == 2 and "step 5: the loss is no number ({'l1': nan})" in text
    assert 'optimisation.rate' in text
    assert state.load(tmp_path / 'out/state.safetensors')['step'] == 4


@pytest.mark.parametrize('workers', [0, 1])
def test_a_damaged_frame_is_told(tmp_path, workers):
    frames = street_folder.write(tmp_path / 'frames', 6)
    (frames / 'sparse/0003.png').write_bytes(b'nothing')
    values = {'workers': workers, 'validation': []}
    recipe = street_folder.write_recipe(tmp_path / 'r.yaml', frames, data=values)
    code, text = run('train', recipe, '--out', tmp_path / 'out')
    assert code == 2 and 'depth_kd_training: step ' in text and 'Traceback' not in text
    assert 'sparse/0003.png: unreadable; depth must be a 16-bit grey PNG' in text


def test_frames_of_several_sizes_ask_for_a_crop(tmp_path):
    frames = street_folder.write(tmp_path / 'frames', 3)
    street_folder.write(tmp_path / 'frames', 1, (40, 80))
    data = {'augmentation': {}, 'batch': 6, 'validation': []}
    recipe = street_folder.write_recipe(tmp_path / 'r.yaml', frames, data=data)
    code, text = run('train', recipe, '--out', tmp_path / 'out')
    assert code == 2 and 'give data.augmentation.crop = [H, W]' in text
