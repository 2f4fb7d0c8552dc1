"""Runs of a study as tasks of a Ray cluster, one each; all machines share the study's folder."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from depth_kd_training.recipe import ConfigError
from depth_kd_training.study_plan import Job
from depth_kd_training.study_runs import perform, POLL_S, RunError, Stop, StoppedError

CORES = 2  # of a run without a GPU


class Cluster:
    """
    Do jobs on the Ray cluster at an address; `slots` is how many it can do at a time.

    A task takes a GPU where the cluster has any and the device is not `cpu`, else `CORES`.
    """

    def __init__(self, address: str, device: str) -> None:
        try:
            ray: Any = importlib.import_module('ray')
        except ImportError:
            raise ConfigError(
                "--ray: Ray is not installed: pip install 'depth_kd_ros[ray]', here and on the "
                'machines of the cluster'
            ) from None
        if device not in ('auto', 'cpu', 'cuda'):
            raise ConfigError(
                f'--devices {device}: Ray chooses among GPUs; give auto, cpu or cuda'
            )
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f'--ray {address}: {error}') from error
        self.ray = ray
        found = ray.cluster_resources()
        on_gpu = device == 'cuda' or (device == 'auto' and found.get('GPU', 0) >= 1)
        each = {'num_gpus': 1} if on_gpu else {'num_cpus': CORES}
        self.slots = int(found.get('GPU', 0) if on_gpu else found.get('CPU', 0) // CORES)
        if not self.slots:
            raise ConfigError(f'--ray {address}: the cluster has no {each} for a run, but {found}')
        self.task = ray.remote(max_retries=0, **each)(_task)
        self.threads = None if on_gpu else CORES

    def perform(self, job: Job, device: str, stop: Stop) -> None:
        """Wait for a job's task; where a stop is asked, it saves and ends."""
        flag = job.folder.with_suffix('.stop')
        flag.unlink(missing_ok=True)
        reference, told = self.task.remote(job, device, self.threads, flag), False
        try:
            while not self.ray.wait([reference], timeout=POLL_S)[0]:
                if stop.asked and not told:
                    told = True
                    flag.touch()  # a task that runs sees it; one that waits is never begun
                    self.ray.cancel(reference)
            self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            stop.check()
            cause = getattr(error, 'cause', error)
            known = isinstance(cause, RunError)
            raise RunError(str(cause) if known else f'{job.name}: {cause}') from error
        finally:
            flag.unlink(missing_ok=True)


def _task(job: Job, device: str, threads: int | None, flag: Path) -> None:
    """Do a job in a process of the cluster."""
    try:
        perform(threads, job, device, Stop(flag=flag))
    except KeyboardInterrupt:
        raise StoppedError from None
