"""Jobs on several processes: order, errors, and nobody left behind."""

from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys
import textwrap
import time

from depth_kd_training.simulation.processes import in_processes
import pytest

PATIENCE_S = 120.0


def square(number):
    return number * number


def pid_of(number):
    return os.getpid()


def fail_at_three(number):
    if number == 3:
        raise ValueError('three')
    return number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('workers', [0, 2])
def test_results_come_in_order(workers):
    assert list(in_processes(square, range(20), workers)) == [n * n for n in range(20)]


def test_jobs_run_in_other_processes():
    assert os.getpid() not in set(in_processes(pid_of, range(4), 2))
    assert set(in_processes(pid_of, range(4), 0)) == {os.getpid()}


def test_an_error_of_a_job_arrives_and_a_dead_process_is_told():
    results = in_processes(fail_at_three, range(9), 1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match='three'):
        next(results)
    with pytest.raises(ChildProcessError, match=r'a worker process died.*fewer --workers'):
        list(in_processes(die, range(3), 1))


def test_workers_end_with_the_first_process(tmp_path):
    script = tmp_path / 'parent.py'
    script.write_text(
        textwrap.dedent("""
        import os, pathlib, sys, time
        from depth_kd_training.simulation.processes import in_processes

        def stay(number):
            pathlib.Path(sys.argv[1], f'{os.getpid()}').touch()
            time.sleep(600)

        if __name__ == '__main__':
            list(in_processes(stay, range(2), 2))
        """)
    )
    (tmp_path / 'pids').mkdir()
    parent = subprocess.Popen([sys.executable, script, tmp_path / 'pids'])
    until(lambda: len(list((tmp_path / 'pids').iterdir())) == 2)
    parent.kill()
    parent.wait()
    pids = [path.name for path in (tmp_path / 'pids').iterdir()]
    until(lambda: not any(running(pid) for pid in pids))


def running(pid):
    """Tell whether a process is there, and no zombie."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
    except FileNotFoundError:
        return False


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.05)
