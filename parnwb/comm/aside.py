"""``Aside``: a thread that does one thing after another, while its rank serves those who ask."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parnwb.comm.ranks import Ranks

Task = tuple[str, Callable[[], None]]


class Aside:
    """Does what it is given in a thread, one thing at a time. Independent.

    Use as a context manager; leaving it waits for what has begun.

    Parameters
    ----------
    ranks
        Whose watchdog looks at the thread.
    name
        Of the thread.
    """

    def __init__(self, ranks: Ranks, name: str) -> None:
        self._ranks = ranks
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"parnwb-{name}", daemon=True)

    def __enter__(self) -> Aside:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._tasks.put(None)
        self._thread.join()

    def do(self, text: str, function: Callable[[], None], meanwhile: Callable[[], bool]) -> None:
        """Run ``function`` in the thread and return when it has ended, doing ``meanwhile`` over and over.

        Parameters
        ----------
        text
            What it does, for the watchdog.

        Raises
        ------
        Exception
            Whatever ``function`` or ``meanwhile`` has raised, or another rank that has failed.
        """
        self._ended.clear()
        self._tasks.put((text, function))
        self._ranks.wait_until(self._ended.is_set, meanwhile)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        with self._ranks.another_thread() as lane:
            while (task := self._tasks.get()) is not None:
                text, function = task
                lane.step(text)
                try:
                    function()
                except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits
                    self._error = error
                del task, function  # and the data that they hold: it may be long until there is another
                lane.rest()
                self._ended.set()
