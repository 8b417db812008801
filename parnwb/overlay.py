"""``Overlay``: the bytes of a file that HDF5 has written, kept in memory; the payload of chunks goes elsewhere.

HDF5 on the root sees an ordinary file. It writes metadata, small datasets and, for every chunk that is authored, a
dummy of the chunk's length, which the overlay recognises and whose address it notes instead of its bytes.

h5py ignores what a file object returns and HDF5 1.10.8 crashes where one raises, so nothing here raises, logs,
locks or touches a disk, and every read fills its buffer. Where a file is appended to, what HDF5 has not written is
read from the file underneath, which does not raise either.
"""

from __future__ import annotations

import bisect
import io
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

# A fill of reserved space comes in pieces of up to 1 MiB; metadata is written in much smaller ones.
LARGE_WRITE = 64 * 1024


class Beneath(Protocol):
    """A file whose bytes show through where an overlay has none."""

    size: int

    def read_into(self, view: memoryview, address: int) -> None:
        """Fill ``view`` from ``address`` on, with zeros where nothing can be read. Never raises."""


class Overlay(io.RawIOBase):
    """Extents of bytes, exactly as HDF5 wrote them. Independent; one thread at a time.

    Parameters
    ----------
    extents, end
        What was kept before, to go on with it.
    beneath
        The file that is appended to; None for a new one.

    Attributes
    ----------
    payload
        ``(address, length)`` of every write that was expected and came.
    dropped
        ``(address, length)`` of the large writes that came while ``reserving`` and were not kept.
    """

    def __init__(
        self, extents: Iterable[tuple[int, bytes]] = (), end: int = 0, beneath: Beneath | None = None
    ) -> None:
        super().__init__()
        self._beneath = beneath
        self._starts: list[int] = []
        self._extents: dict[int, bytearray] = {}
        self._position = 0
        self._end = 0
        self._expected_address, self._expected_length = 0, -1
        self._kept_end = 0  # no extent reaches beyond
        self.payload: list[tuple[int, int]] = []
        self.reserving = False
        self.dropped: list[tuple[int, int]] = []
        self.add(extents)
        self._end = end
        self._changed: list[tuple[int, int]] = []

    # -- what HDF5 calls -----------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position for the next call."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readable(self) -> bool:
        """Tell that reads work."""
        return True

    def writable(self) -> bool:
        """Tell that writes work."""
        return True

    def seekable(self) -> bool:
        """Tell that seeks work."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the whole of ``buffer``; what was never written reads as zeros, or as the file beneath has it."""
        view = memoryview(buffer).cast("B")
        if self._beneath is None:
            view[:] = bytes(len(view))
        else:
            self._beneath.read_into(view, self._position)
        low, high = self._position, self._position + len(view)
        for start in self._overlapping(low, high):
            extent = self._extents[start]
            begin, end = max(low, start), min(high, start + len(extent))
            view[begin - low : end - low] = memoryview(extent)[begin - start : end - start]
        self._position = high
        return len(view)

    def write(self, buffer: Any) -> int:
        """Keep the bytes, or note the address if this is the payload that was announced."""
        view = memoryview(buffer).cast("B")
        start, length = self._position, len(view)
        self._position = start + length
        if start + length > self._end:
            self._end = start + length
        if length == self._expected_length and _address(view) == self._expected_address:
            self._expected_length = -1
            self.payload.append((start, length))
            if start < self._kept_end:
                self._cut(start, start + length)  # what HDF5 had there before it freed the place
        elif self.reserving and length >= LARGE_WRITE:
            self.dropped.append((start, length))
        else:
            self._keep(start, view)
            self._changed.append((start, start + length))
        return length

    def truncate(self, size: int | None = None) -> int:
        """Set the end of the file to HDF5's end of allocation."""
        self._end = self._position if size is None else size
        self._cut(self._end, sys.maxsize)
        return self._end

    def flush(self) -> None:
        """Do nothing: all bytes are in memory."""

    # -- what the allocator calls --------------------------------------------------------------------------

    def expect(self, address: int, length: int) -> None:
        """Announce one payload by the memory address and length of the buffer that HDF5 will pass.

        Both are compared: by length alone a payload as long as a B-tree node would be taken for it.
        """
        self._expected_address, self._expected_length = address, length

    @property
    def expecting(self) -> bool:
        """True while an announced payload has not come."""
        return self._expected_length >= 0

    def add(self, extents: Iterable[tuple[int, bytes]]) -> None:
        """Keep ``(address, bytes)`` that were kept elsewhere before; those that come later win."""
        for start, data in extents:
            self._keep(start, memoryview(data))

    def discard(self, low: int, high: int) -> None:
        """Forget the bytes of ``low <= address < high``; others write them."""
        self._cut(low, high)

    @property
    def end(self) -> int:
        """End of the file as HDF5 sees it."""
        return self._end

    def extents(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over ``(address, bytes)`` of all that is kept, by address, neighbours joined."""
        run: list[bytearray] = []
        begin = expected = 0
        for start in self._starts:
            if run and start != expected:
                yield begin, b"".join(run)
                run = []
            begin = begin if run else start
            run.append(self._extents[start])
            expected = start + len(self._extents[start])
        if run:
            yield begin, b"".join(run)

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Return ``(address, bytes)`` of what is kept and was written since the last call, by address."""
        changes = []
        for low, high in _merged(self._changed):
            for start in self._overlapping(low, high):
                extent = self._extents[start]
                begin, end = max(low, start), min(high, start + len(extent))
                changes.append((begin, bytes(extent[begin - start : end - start])))
        self._changed.clear()
        return changes

    # -- extents -------------------------------------------------------------------------------------------

    def _overlapping(self, low: int, high: int) -> list[int]:
        first = max(0, bisect.bisect_right(self._starts, low) - 1)
        last = bisect.bisect_left(self._starts, high)
        return [s for s in self._starts[first:last] if s + len(self._extents[s]) > low]

    def _keep(self, start: int, view: memoryview) -> None:
        if not view:
            return
        self._kept_end = max(self._kept_end, start + len(view))
        holders = self._overlapping(start, start + len(view))
        if len(holders) == 1:
            extent, offset = self._extents[holders[0]], start - holders[0]
            if offset >= 0 and offset + len(view) <= len(extent):
                extent[offset : offset + len(view)] = view
                return
        self._cut(start, start + len(view))
        bisect.insort(self._starts, start)
        self._extents[start] = bytearray(view)

    def _cut(self, low: int, high: int) -> None:
        for start in self._overlapping(low, high):
            extent = self._extents.pop(start)
            self._starts.remove(start)
            for begin, end in ((start, low), (high, start + len(extent))):
                if begin < end:
                    bisect.insort(self._starts, begin)
                    self._extents[begin] = extent[begin - start : end - start]


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _address(view: memoryview) -> int:
    address: int = np.frombuffer(view, dtype=np.uint8).__array_interface__["data"][0] if len(view) else 0
    return address
