"""The mailbox of size one: newest wins, nothing is lost without being counted."""

from __future__ import annotations

import threading
import time

from depth_kd_ros.nodes.worker import Worker
import pytest

LIMIT_S = 30


def until(done):
    end = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < end
        time.sleep(0.001)


class Log:
    def __init__(self):
        self.done, self.displaced, self.failed = [], [], []
        self.started, self.go_on = threading.Event(), threading.Event()

    def work(self, item):
        self.started.set()
        assert self.go_on.wait(LIMIT_S)
        if item == 'bad':
            raise RuntimeError('bad item')
        self.done.append(item)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def worker(log):
    made = Worker(log.work, log.displaced.append, lambda i, e: log.failed.append((i, str(e))))
    yield made
    log.go_on.set()
    assert made.stop(LIMIT_S)


def test_newest_wins_and_the_displaced_are_told(worker, log):
    worker.put(1)
    assert log.started.wait(LIMIT_S)
    for item in (2, 3, 4):  # while 1 is in work
        worker.put(item)
    assert log.displaced == [2, 3]
    log.go_on.set()
    until(lambda: len(log.done) == 2)
    assert log.done == [1, 4]


def test_exception_loses_that_item_only(worker, log):
    log.go_on.set()
    worker.put('bad')
    until(lambda: log.failed)
    worker.put('good')
    until(lambda: log.done)
    assert (log.failed, log.done) == ([('bad', 'bad item')], ['good'])


def test_stop_finishes_the_item_in_work_and_drops_the_waiting_one(worker, log):
    worker.put(1)
    assert log.started.wait(LIMIT_S)
    worker.put(2)
    stopper = threading.Thread(target=worker.stop, args=(LIMIT_S,))
    stopper.start()
    log.go_on.set()
    stopper.join(LIMIT_S)
    assert log.done in ([1], [1, 2]) and not stopper.is_alive()
    before = list(log.done)
    worker.put(3)
    assert log.done == before


def test_stop_tells_when_the_work_does_not_end(worker, log):
    worker.put(1)
    assert log.started.wait(LIMIT_S)
    assert not worker.stop(0.01)
