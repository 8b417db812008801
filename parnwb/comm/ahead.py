"""``Ahead``: a thread that makes items a little before they are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from parnwb.comm.watchdog import Lane

if TYPE_CHECKING:
    from parnwb.comm.ranks import Ranks

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """Makes items in a thread, at most one more than has been taken. Independent.

    Use as a context manager.

    Parameters
    ----------
    ranks
        Whose watchdog looks at the thread.
    name
        Of the thread.
    make
        Iterates over the items, in the thread, and says in the lane what it does.
    """

    def __init__(self, ranks: Ranks, name: str, make: Callable[[Lane], Iterator[Item]]) -> None:
        self._ranks, self._make = ranks, make
        self._ready: queue.Queue[Item | BaseException | None] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"parnwb-{name}", daemon=True)

    def __enter__(self) -> Ahead[Item]:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        while self._thread.is_alive():  # it may be waiting for room in the queue
            self._discard()
            self._thread.join(timeout=0.01)

    def ready(self) -> bool:
        """Tell whether ``take`` would return at once."""
        return not self._ready.empty()

    def take(self) -> Item | None:
        """Return the next item, or None after the last one.

        Raises
        ------
        Exception
            Whatever ended the thread.
        """
        item = self._ready.get_nowait()
        if isinstance(item, BaseException):
            raise item
        return item

    def _discard(self) -> None:
        try:
            self._ready.get_nowait()
        except queue.Empty:
            pass

    def _run(self) -> None:
        with self._ranks.another_thread() as lane:
            try:
                for item in self._make(lane):
                    lane.rest()
                    self._ready.put(item)
                    del item  # it is the taker's: while the next is made this thread holds none
                    if self._stopped.is_set():
                        return
                last: BaseException | None = None
            except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that takes it
                last = error
            lane.rest()
            self._ready.put(last)
