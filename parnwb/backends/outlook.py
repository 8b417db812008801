"""``Outlook``: the bytes of the next buffer are fetched from their file while this one is encoded."""

from __future__ import annotations

from types import TracebackType

from parnwb.backends.backend import Portion
from parnwb.backends.stretch import Stretch
from parnwb.errors import ParnwbError
from parnwb.machine.foresight import FileRange, Foresight
from parnwb.planning.plan import Buffer
from parnwb.sources import file_ranges


class Outlook:
    """Goes through the buffers of a stretch, one ahead of who reads them. Independent. Use as a context manager.

    It holds no memory of its own, unlike a thread that reads: of the usual chunks a buffer is one layer, and half of
    one cannot be encoded.

    Parameters
    ----------
    portion, stretch
        What is read.
    """

    def __init__(self, portion: Portion, stretch: Stretch) -> None:
        self._portion = portion
        # Buffers of its own: to take the reader's ahead of time would be to keep them from other ranks.
        self._coming = stretch.buffers(portion.plan)
        self._foresight = Foresight()

    def __enter__(self) -> Outlook:
        self._foresight.__enter__()
        self.advance()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._foresight.__exit__(kind, error, trace)

    def advance(self) -> None:
        """Announce the next buffer. To be called when one has been read, before it is encoded."""
        if (numbered := next(self._coming, None)) is not None:
            self._foresight.announce(self._ranges(numbered[1]))

    def _ranges(self, buffer: Buffer) -> list[FileRange]:
        try:
            return file_ranges(self._portion.source(buffer.dataset), buffer.slab)
        except ParnwbError:  # reading says so, when it comes to it
            return []
