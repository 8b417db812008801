"""``Interrupts``: signals that ask a job to commit and stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
EX_TEMPFAIL = 75
ASKED_TO_STOP = "the job was asked to stop"
# A launcher and a batch system may both pass one signal on: what comes so soon after the first is no second one.
GRACE_SECONDS = 2.0


class Interrupts:
    """While active, remembers SIGTERM, SIGINT and SIGUSR1 instead of ending the process. Independent.

    A handler only sets a flag: one that raised would do so inside of HDF5. A SIGTERM or SIGINT that comes 2 s or more
    after the first signal ends the process at once. Off the main thread, where Python allows no handlers, nothing is
    remembered. Of several, one within another, all remember: what the inner one comes too late for concerns the outer.
    """

    def __init__(self) -> None:
        self.received = False
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if not self._previous and threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous = {}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._hear(number, now):
            return
        if number != signal.SIGUSR1 and now - self._since >= GRACE_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _hear(self, number: int, now: float) -> bool:
        """Remember a signal, here and in the one around this; tell whether it is the first."""
        around = getattr(self._previous.get(number), "__self__", None)
        if isinstance(around, Interrupts):
            around._hear(number, now)
        is_first = not self.received
        if is_first:
            self.received, self._since = True, now
        return is_first
