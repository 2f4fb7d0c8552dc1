"""
One run of a study: its sets made, trained, judged; what is there already is left as it is.

Training and simulating are the commands `train` and `simulate` in processes of their own. Every
folder is locked while somebody works in it, by the process of the command, too: should the study
be killed, its next start waits for what is still running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import fcntl
import json
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import time
from typing import Any

from depth_kd_ros import catalogue, files
from depth_kd_ros.completer import open_device
from depth_kd_training import data, evaluation
from depth_kd_training.data.base import Dataset
from depth_kd_training.evaluate import evaluate, open_models, Plan
from depth_kd_training.interruption import Interruption
from depth_kd_training.scoring import Limits
from depth_kd_training.study import Scored, Simulated
from depth_kd_training.study_plan import COST, Job
import torch
import yaml

POLL_S, NOTED_EVERY_S = 0.1, 20.0
FRAMES_PER_PROCESS = 8  # fewer are simulated sooner than a process starts
TOLD = re.compile(r'^depth_kd_training: (.*)', re.MULTILINE | re.DOTALL)


class RunError(RuntimeError):
    """Say which run failed, why, and where to read on."""


class StoppedError(Exception):
    """A run was asked to stop; what it has learnt is saved."""


@dataclass
class Stop:
    """Stop runs at a signal or where the file `flag` appears: they save, unless `at_once`."""

    interruption: Interruption | None = None
    flag: Path | None = None
    at_once: bool = False

    @property
    def asked(self) -> bool:
        """Tell whether they are to stop."""
        signalled = self.interruption is not None and self.interruption.signal is not None
        flagged = self.flag is not None and self.flag.exists()
        return self.at_once or signalled or flagged

    def check(self) -> None:
        """Raise StoppedError where that is asked."""
        if self.asked:
            raise StoppedError


def perform(threads: int | None, job: Job, device: str, stop: Stop) -> None:
    """Train and judge, as far as that is not done; raise RunError, or StoppedError where asked."""
    stop.check()
    if threads:
        torch.set_num_threads(threads)
    with locked(job.folder.with_suffix('.lock'), stop) as held:
        if not job.cost().get('finished'):
            train(job, device, threads, stop, held)
        for file, name, chosen in job.scored:
            if not file.is_file():
                judge(job, file, name, chosen, device, stop)


def make_set(name: str, chosen: Simulated, folder: Path, stop: Stop) -> bool:
    """Simulate a set, anew where it was left half-made; False where it is there already."""
    with locked(folder.with_suffix('.lock'), stop) as held:
        if (folder / 'report.json').is_file():  # written after the last frame
            return False
        shutil.rmtree(folder, ignore_errors=True)
        workers = min(os.cpu_count() or 1, chosen.frames // FRAMES_PER_PROCESS)
        words = ['simulate', '--out', str(folder), '--workers', str(workers)]
        words += ['--size', '{}x{}'.format(*chosen.size)]
        for key in ('world', 'sensor', 'rig', 'randomised', 'frames', 'seed'):
            words += [f'--{key}', str(getattr(chosen, key))]
        log = folder.with_suffix('.log')
        raise_for(call(words, log, None, stop, held), f'set {name}', log, stop)
    return True


def train(job: Job, device: str, threads: int | None, stop: Stop, held: int) -> None:
    """Train a run to its end by the command `train`; note time and memory as it goes."""
    recipe, log = job.folder.with_suffix('.yaml'), job.folder.with_suffix('.log')
    values = job.recipe.model_dump(mode='json')
    files.replace(recipe, f'# {job.name}\n{yaml.safe_dump(values, sort_keys=False)}'.encode())
    cost, start = job.cost(), time.monotonic()
    before, peak = cost.get('seconds', 0.0), cost.get('peak_memory_mb')
    meter = Memory(device)
    noted = -NOTED_EVERY_S

    def note(process: int | None, finished: bool = False) -> None:
        nonlocal noted, peak
        seconds = time.monotonic() - start
        if process is not None:
            peak = max(filter(None, [peak, meter.read(process)]), default=None)
        if finished or (seconds - noted > NOTED_EVERY_S and job.folder.is_dir()):
            noted = seconds
            found = {'finished': finished, 'seconds': round(before + seconds, 2)}
            found |= {'peak_memory_mb': peak, 'device': meter.name}
            files.replace(job.folder / COST, json.dumps(cost | found).encode())

    words = ['train', str(recipe), '--out', str(job.folder), '--device', device]
    code = call(words, log, threads, stop, held, note)
    if code == 0:
        note(None, finished=True)
    elif job.folder.is_dir():
        noted = -NOTED_EVERY_S
        note(None)
    raise_for(code, job.name, log, stop)


def judge(job: Job, file: Path, name: str, chosen: Scored, device: str, stop: Stop) -> None:
    """Score a trained run on a data set, and keep that in its folder."""
    nearest, farthest = chosen.depth_range_m
    beams = tuple(None if n == 'all' else n for n in chosen.beams)
    plan = Plan(beams, chosen.frames, Limits(nearest, farthest))
    try:
        opened = data.build(chosen.dataset, chosen.options)
        model = next(iter(open_models([str(job.weights)], device, plan).values()))
        classes = tuple(getattr(opened, 'classes', ()))
        rows = evaluate(opened, {job.row: model}, plan, classes, step=stop.check)
        count_work(job, opened)
    except (ValueError, OSError) as error:
        raise RunError(f'{job.name}: evaluate.{name}: {error}') from error
    about = {'name': chosen.dataset, 'options': chosen.options, 'frames': len(opened)}
    argument = {job.row: str(job.weights)}
    command = ['depth_kd_training', 'study']
    found = evaluation.document(rows, {job.row: model}, argument, plan, about, command)
    evaluation.write(file, found)


def count_work(job: Job, opened: Dataset) -> None:
    """Count parameters and GFLOPs at the size of the frames that judge a run first."""
    cost = job.cost()
    if 'gflops' not in cost:
        size = opened[0].image.shape[:2]
        row = catalogue.describe(catalogue.Entry(job.row, 'weights', job.weights), size)
        cost |= {'parameters': row.params, 'gflops': row.gflops, 'size': list(size)}
        files.replace(job.folder / COST, json.dumps(cost).encode())


class Memory:
    """
    Read the memory that a run uses, megabytes.

    On the CPU it is the peak of the resident memory of its first process, without those that load
    data; on a GPU what is in use there beyond what was before, from moment to moment.
    """

    def __init__(self, device: str) -> None:
        self.device = open_device(device)
        on_gpu = self.device.type == 'cuda'
        self.name = torch.cuda.get_device_name(self.device) if on_gpu else 'cpu'
        self.before = self._in_use() if on_gpu else 0

    def read(self, process: int) -> float | None:
        """Give megabytes; None where the system does not tell."""
        if self.device.type == 'cuda':
            return round((self._in_use() - self.before) / 1e6, 1)
        try:
            text = Path(f'/proc/{process}/status').read_text()
        except OSError:
            return None
        found = re.search(r'^VmHWM:\s+(\d+) kB', text, re.MULTILINE)
        return round(int(found[1]) * 1024 / 1e6, 1) if found else None

    def _in_use(self) -> int:
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free


def call(
    words: Sequence[str], log: Path, threads: int | None, stop: Stop, held: int,
    watch: Callable[[int], Any] = lambda process: None,
) -> int:  # fmt: skip
    """Run a command of ours in a process; give its exit status, negative for a signal."""
    environment = dict(os.environ)
    if threads:
        environment['OMP_NUM_THREADS'] = str(threads)
    with log.open('wb') as file:
        process = subprocess.Popen(
            [sys.executable, '-m', 'depth_kd_training', *words], stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, env=environment, pass_fds=(held,),
            start_new_session=True,  # Ctrl-C reaches the study alone, which asks its runs once
        )  # fmt: skip
    told = False
    try:
        while process.poll() is None:
            if stop.asked and not told:
                told = True
                process.terminate()
            if stop.at_once:
                process.kill()
            watch(process.pid)
            time.sleep(POLL_S)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.returncode


def raise_for(code: int, name: str, log: Path, stop: Stop) -> None:
    """Raise StoppedError or RunError where a command did not come to its end."""
    if code == 0:
        return
    stop.check()
    text = log.read_text(errors='replace').strip()
    told = TOLD.search(text)
    reason = ' '.join(told[1].split()) if told else text.rpartition('\n')[2]
    if code < 0:
        reason = f'killed by signal {-code}, perhaps for lack of memory; give fewer --workers'
    raise RunError(f'{name}: {reason or f"ended with {code}"} ({log})')


@contextmanager
def locked(path: Path, stop: Stop) -> Iterator[int]:
    """Hold a lock, waiting for others; give its descriptor, which another process may share."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a') as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stop.check()
                time.sleep(POLL_S)
        yield file.fileno()
