"""Jobs on all cores, their results in order; no process outlives the one that began them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
import multiprocessing
import os
import signal
import threading
from typing import TypeVar

import cv2
import torch

AHEAD = 4  # results per process that may wait
Item = TypeVar('Item')
Result = TypeVar('Result')


def in_processes(
    job: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """
    Do a job for each item, in so many processes of one thread each; 0: in this one.

    Raises ChildProcessError where a process died, and whatever a job raises.
    """
    if workers == 0:
        yield from map(job, items)
        return
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(min(workers, max(1, len(items))), context, _settle)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(job, item))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            'a worker process died, perhaps for lack of memory: give fewer --workers'
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _settle() -> None:
    """Take one core, leave Ctrl-C to the first process, and end with it."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the first process to be gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
