"""Runs of a study as tasks of a Ray cluster, one each; all machines share the study's folder."""

from __future__ import annotations

from typing import Any

from depth_kd_training.config import ConfigError
from depth_kd_training.study_plan import Job
from depth_kd_training.study_runs import perform, POLL_S, RunError, Stop, Stopped


class Cluster:
    """
    Do jobs on the Ray cluster at an address; `slots` is how many it can do at a time.

    A task takes a GPU where the cluster has any and the device is not `cpu`, else `threads`
    processors.
    """

    def __init__(self, address: str, device: str, threads: int) -> None:
        try:
            import ray
        except ImportError:
            raise ConfigError(
                "--ray: Ray is not installed: pip install 'depth_kd_ros[ray]', here and on the "
                'machines of the cluster'
            ) from None
        if device not in ('auto', 'cpu', 'cuda'):
            raise ConfigError(f'--devices {device}: Ray chooses among GPUs; give auto, cpu or cuda')
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f'--ray {address}: {error}') from error
        self.ray: Any = ray
        found = ray.cluster_resources()
        on_gpu = device == 'cuda' or (device == 'auto' and found.get('GPU', 0) >= 1)
        each = {'num_gpus': 1} if on_gpu else {'num_cpus': threads}
        self.slots = int(found.get('GPU', 0) if on_gpu else found.get('CPU', 0) // threads)
        if not self.slots:
            raise ConfigError(f'--ray {address}: the cluster has no {each} for a run, but {found}')
        self.task = ray.remote(max_retries=0, **each)(_task)
        self.threads = None if on_gpu else threads

    def perform(self, job: Job, device: str, stop: Stop) -> None:
        """Wait for a job's task; where a stop is asked, it saves and ends."""
        reference, cancelled = self.task.remote(job, device, self.threads), False
        while not self.ray.wait([reference], timeout=POLL_S)[0]:
            if stop.asked and not cancelled:
                self.ray.cancel(reference)  # interrupts the task, which stops its process
                cancelled = True
        try:
            self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            stop.check()
            cause = getattr(error, 'cause', error)
            told = str(cause) if isinstance(cause, RunError) else f'{job.name}: {cause}'
            raise RunError(told) from error


def _task(job: Job, device: str, threads: int | None) -> None:
    """Do a job in a process of the cluster."""
    try:
        perform(job, device, threads, Stop())
    except KeyboardInterrupt:
        raise Stopped from None
