"""One thread that owns the network, fed by a mailbox of size one: the newest item wins."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any


class Worker:
    """
    Run `work(item)` in one thread; `put` never blocks and displaces an item still waiting.

    `displaced(item)` is called for each item that a newer one pushed out. An exception of `work`
    goes to `failed(item, error)` and loses that item only.
    """

    def __init__(
        self,
        work: Callable[[Any], None],
        displaced: Callable[[Any], None],
        failed: Callable[[Any, Exception], None],
    ) -> None:
        self._work, self._displaced, self._failed = work, displaced, failed
        self._ready = threading.Condition()
        self._item: Any = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='completion', daemon=True)
        self._thread.start()

    def put(self, item: Any) -> None:
        """Leave an item for the thread."""
        with self._ready:
            waiting, self._item = self._item, item
            self._ready.notify()
        if waiting is not None:
            self._displaced(waiting)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Finish the item in work, drop the waiting one, end the thread; tell if in time."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._item is not None or self._stopping)
                if self._stopping:
                    return
                item, self._item = self._item, None
            try:
                self._work(item)
            except Exception as error:
                self._failed(item, error)
