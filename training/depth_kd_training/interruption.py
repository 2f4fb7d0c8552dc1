"""Ctrl-C and SIGTERM: the loop asks for them between steps, so that it can save."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from lightning_fabric import Fabric
import torch

AGAIN_S = 1.0  # one Ctrl-C may arrive twice: from the terminal and from torchrun


class Interruption:
    """Note the first signal; a second Ctrl-C, a second later, stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.when = 0.0

    def __enter__(self) -> Interruption:
        self.previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self.when = number, time.monotonic()
            if os.environ.get('RANK', '0') == '0':
                os.write(2, b'\nfinishing the step and saving; Ctrl-C again stops at once\n')
        elif number == signal.SIGINT and time.monotonic() - self.when > AGAIN_S:
            raise KeyboardInterrupt

    def asked(self, fabric: Fabric) -> bool:
        """Tell whether any process was asked to stop; all get the same answer at the same step."""
        if fabric.world_size == 1:
            return self.signal is not None
        asked = torch.tensor(float(self.signal is not None), device=fabric.device)
        return bool(fabric.all_reduce(asked, reduce_op='sum'))
