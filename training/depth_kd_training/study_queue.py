"""The runs of a study in turn: each after those that it needs, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
import statistics
import time

from depth_kd_training.study_plan import Job
from depth_kd_training.study_runs import RunError, Stop, StoppedError

Perform = Callable[[Job, str, Stop], None]
"""Do a job on a device."""
WAIT_S = 0.2


class Queue:
    """
    Do jobs on `slots`, a device for each that may run at a time, and tell of each.

    `failures` are the sentences of those that failed; what needs them is left out. `told` gets a
    line when a run begins and ends.
    """

    def __init__(
        self, jobs: Sequence[Job], slots: Sequence[str], perform: Perform,
        told: Callable[[str], object], result: Callable[[Job], str] = lambda job: '',
    ) -> None:  # fmt: skip
        self.jobs, self.perform, self.told, self.result = list(jobs), perform, told, result
        self.slots = list(slots)
        self.waiting = [job for job in jobs if not job.complete()]
        self.done = {job.folder for job in jobs if job not in self.waiting}
        self.lost: set[Path] = set()
        self.failures: list[str] = []
        self.seconds: dict[str, list[float]] = {}  # of finished runs, by row
        for job in jobs:
            if job.folder in self.done:
                self.seconds.setdefault(job.row, []).append(job.cost()['seconds'])

    def run(self, stop: Stop) -> None:
        """Do what is to be done, until all is or a stop is asked."""
        total, free, warned = len(self.waiting), list(self.slots), False
        running: dict[Future[None], tuple[Job, str, float]] = {}
        with ThreadPoolExecutor(len(free)) as pool:
            try:
                while self.waiting or running:
                    while free and not stop.asked and (job := self._next()):
                        slot = free.pop(0)
                        number = total - len(self.waiting)
                        place = '' if slot == 'auto' else f' on {slot}'
                        self.told(f'[{number}/{total}] {job.name}: begun{place}, {job.folder}')
                        future = pool.submit(self.perform, job, slot, stop)
                        running[future] = job, slot, time.monotonic()
                    if not running:
                        break
                    ended, _ = wait(running, WAIT_S, 'FIRST_COMPLETED')
                    for future in ended:
                        job, slot, start = running.pop(future)
                        free.append(slot)
                        rest = [other for other, _, _ in running.values()]
                        self._take(future, job, time.monotonic() - start, rest)
                    if running and stop.asked and not warned:
                        warned = True
                        self.told(
                            'stopping: each run finishes its step and saves; Ctrl-C again ends '
                            'them at once'
                        )
            except BaseException:
                stop.at_once = True
                raise

    def _next(self) -> Job | None:
        """Take the first run that has all it needs from those that wait."""
        for job in list(self.waiting):
            if self.lost.intersection(job.needs):
                self.waiting.remove(job)
                self.lost.add(job.folder)
                self.told(f'{job.name}: left out, for a run that it needs failed')
        for job in self.waiting:
            if self.done.issuperset(job.needs):
                self.waiting.remove(job)
                return job
        return None

    def _take(self, future: Future[None], job: Job, seconds: float, running: list[Job]) -> None:
        """Note how a run ended."""
        try:
            future.result()
        except StoppedError:
            self.told(f'{job.name}: stopped and saved')
            return
        except Exception as error:
            known = isinstance(error, (RunError, OSError))
            error = error if known else RunError(f'{job.name}: {error!r}')
            self.failures.append(str(error))
            self.lost.add(job.folder)
            self.told(f'failed: {error}')
            return
        self.done.add(job.folder)
        self.seconds.setdefault(job.row, []).append(seconds)
        self.told(
            f'{job.name}: done in {duration(seconds)}{self.result(job)}; {self._rest(running)}'
        )

    def _rest(self, running: list[Job]) -> str:
        """Say what is left and how long it may take: a run as its row's, or as the others."""
        left = [*self.waiting, *running]
        if not left:
            return 'none to go'
        usual = statistics.mean(s for row in self.seconds.values() for s in row)
        expected = [statistics.mean(self.seconds.get(job.row) or [usual]) for job in left]
        at_a_time = min(len(self.slots), len(left))
        return f'{len(left)} to go, about {duration(sum(expected) / at_a_time)}'


def duration(seconds: float) -> str:
    """Write a time as people do."""
    if seconds < 100:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 6000 else f'{seconds / 3600:.1f} h'
