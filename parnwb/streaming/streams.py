"""Streams of a file that is being written: rows are held back until there are whole layers of chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.authoring.growing_tables import GrowingTable, check_tables
from parnwb.backends import NO_JOURNAL, Growth, Job, PartialFile, Portion
from parnwb.commits.amendment import AppendTarget
from parnwb.commits.journal import StreamState
from parnwb.errors import AgreementError, Interrupted, ParnwbError, SourceError
from parnwb.exactness import check_exact
from parnwb.hyperslab import Hyperslab
from parnwb.interrupts import ASKED_TO_STOP
from parnwb.layout import DatasetSpec
from parnwb.planning.plan import MiB, WritePlan
from parnwb.progress import FAILED
from parnwb.sources.growing import Stream, StreamedRows
from parnwb.streaming.layers import OBJECT_BYTES, Rows, Window, split, windowed
from parnwb.streaming.rows import HeldRows, exchanged, owned


@dataclass
class OpenStream:
    """One stream, as a rank knows it.

    Parameters
    ----------
    number
        Of its dataset.
    spec
        The dataset as it was created.
    stream
        What the program appends to; made from the root's where this rank has no NWBFile.
    rows
        Of all ranks.
    written
        How many of them are in chunks; whole layers.
    held
        What this rank has of the others, by number of row.
    held_bytes
        How much that is.
    end
        The last value, of a stream that may be an index; None where it is not known.
    """

    number: int
    spec: DatasetSpec
    stream: StreamedRows
    rows: int = 0
    written: int = 0
    held: list[Rows] = field(default_factory=list)
    held_bytes: int = 0
    end: int | None = None

    @property
    def thickness(self) -> int:
        """Rows in a layer of chunks."""
        return self.spec.grid.chunk[0]

    @property
    def whole(self) -> int:
        """Rows that fill layers."""
        return self.rows - self.rows % self.thickness

    def cost(self, values: npt.NDArray[Any]) -> int:
        """Return the bytes that it takes to hold an array, which is held in the stream's type."""
        return values.size * self.stream.dtype.itemsize + OBJECT_BYTES

    def keep(self, first: int, values: npt.NDArray[Any], count: int) -> None:
        """Hold this rank's rows, from number ``first`` on, of ``count`` that all ranks add."""
        if len(values):
            self.held.append((first, values))
            self.held_bytes += self.cost(values)
        self.rows += count
        self.stream.rows = self.rows

    def end_of(self, values: npt.NDArray[Any]) -> int | None:
        """Return the last of some values, if an index could have them."""
        return int(values[-1]) if len(values) and values.ndim == 1 and values.dtype.kind in "iu" else None

    def own_last(self) -> None:
        """Copy what is left of the last block: the program may change it when append has returned."""
        if self.held:
            low, values = self.held[-1]
            self.held[-1] = low, np.array(values, dtype=self.stream.dtype)

    def take(self, end: int) -> Window:
        """Return the rows from ``written`` to ``end`` and let go of those that this rank has."""
        before, self.held = split(self.held, end)
        self.held_bytes = sum(self.cost(values) for _, values in self.held)
        window = Window(self.written // self.thickness, end - self.written, self._counted(before))
        self.written = end
        return window

    def tail(self) -> Window:
        """Return the rows that fill no layer; they stay. For streams of which all else is written."""
        return Window(self.written // self.thickness, self.rows - self.written, self._counted(self.held))

    def _counted(self, pieces: Sequence[Rows]) -> tuple[Rows, ...]:
        first = self.written
        return tuple((low - first, values) for low, values in pieces)


class OpenStreams:
    """All streams of a file. All methods are collective, but for what is said.

    Parameters
    ----------
    job, file
        What is written, and where to; ``close`` lets go of both.
    streams
        By path.
    decomposition, buffer_mb
        As for ``WritePlan``.
    tables
        Those that have streams among their columns.
    """

    def __init__(
        self,
        job: Job,
        file: PartialFile,
        streams: Mapping[str, OpenStream],
        decomposition: str,
        buffer_mb: float,
        tables: Sequence[GrowingTable] = (),
    ) -> None:
        self._job, self._ranks, self._file = job, job.ranks, file
        self._streams = streams
        self._decomposition, self._buffer_mb, self._tables = decomposition, buffer_mb, tables
        self._left = self._held_bytes()
        self._committed_at = time.monotonic()

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each stream, by path. Independent."""
        return {path: stream.rows for path, stream in self._streams.items()}

    def named(self, stream: Stream | str) -> tuple[str, OpenStream]:
        """Return the path of a stream, and the stream. Independent.

        Raises
        ------
        ParnwbError
            It is not in this file.
        """
        for path, known in self._streams.items():
            if stream is known.stream or (isinstance(stream, str) and stream == path):
                return path, known
        shown = repr(stream) if isinstance(stream, str) else f"an object of type {type(stream).__name__}"
        raise ParnwbError(
            f"{shown} is no stream of this file; it has {', '.join(self._streams) or 'none'}",
            where=str(self._job.target.path),
            remedy="Append to a Stream of the NWBFile that was given to write, or to the path of one",
        )

    def append(self, given: Callable[[], Sequence[tuple[Stream | str, npt.ArrayLike]]]) -> None:
        """Add the blocks of all ranks to one or several streams, in the order of ranks.

        Cheap: most rows are only kept. No commit comes between the streams of one call.

        Raises
        ------
        ParnwbError
            The same on all ranks. ``Interrupted`` if any was asked to stop; then all is committed, but for an existing
            file, which stays as it was.
        """
        found: list[tuple[OpenStream, npt.NDArray[Any]]] = []

        def look() -> tuple[tuple[str, ...], list[tuple[int, int | None]], int, bool, bool]:
            paths = []
            for stream, block in given():
                path, known = self.named(stream)
                paths.append(path)
                values = known.stream.checked(block, path)
                check_exact(values, known.spec.numpy_dtype, path)  # which hdmf may have chosen otherwise
                found.append((known, values))
            self._check_once(paths)
            held = self._held_bytes() + sum(known.cost(values) for known, values in found) - self._left
            added = [(len(values), known.end_of(values)) for known, values in found]
            return tuple(paths), added, held, self._is_due(), bool(self._job.interrupts.received)

        told = self._ranks.gather_agreed("append", look)
        paths, added, held, due, stop = zip(*told, strict=True)
        self._compare(paths)
        for (known, values), of_ranks in zip(found, zip(*added, strict=True), strict=True):
            counts, ends = zip(*of_ranks, strict=True)
            known.keep(known.rows + sum(counts[: self._ranks.rank]), values, sum(counts))
            known.end = next((end for count, end in zip(counts[::-1], ends[::-1], strict=True) if count), known.end)
        if max(held) > self._buffer_mb * MiB:
            self._write(lambda item: item.whole)
        for known, values in found:
            if len(values):
                known.own_last()
        if due[0] or (any(stop) and not self._is_append):
            self.commit()
        if any(stop):
            raise self._ranks.known_to_all(self._stopped())

    def commit(self) -> None:
        """Make all rows safe, and let others read those in whole layers."""
        self._write(lambda item: item.whole)
        self._file.commit(self._states())
        self._committed_at = time.monotonic()

    def write_all(self) -> None:
        """Write those rows as well that no commit without a journal keeps; nothing can be appended after them."""
        self._write(lambda item: item.rows)

    def fault_of_tables(self, remedy: str) -> ParnwbError | None:
        """Return what pynwb could not read, if the file were completed now. The same on all ranks."""

        def look() -> ParnwbError | None:  # on the root, which alone knows the last rows of a file that is resumed
            ends = {path: item.end for path, item in self._streams.items() if item.end is not None}
            try:
                check_tables(self._tables, self.rows, ends, remedy)
            except ParnwbError as fault:
                return fault
            return None

        return self._ranks.on_root("looking at tables", look)

    def complete(self) -> None:
        """Write all rows and complete the file."""
        self._write(lambda item: item.whole)
        states = self._states()
        self._write(lambda item: item.rows)
        self._file.complete(states)
        self._job.progress.end()
        self.close()

    def close(self) -> None:
        """Let go of the file, complete or not."""
        self._job.progress.end(FAILED)
        self._file.close()
        if self._job.journal is not None:
            self._job.journal.close()

    def _check_once(self, paths: Sequence[str]) -> None:
        """Refuse several blocks for one stream, of which the order would be left to chance. Independent."""
        twice = next((path for path in paths if paths.count(path) > 1), None)
        if twice is not None:
            raise ParnwbError(
                "a call of append_together has one block for each stream, this one has several",
                where=twice,
                remedy="Name the stream once, by the Stream or by its path, with all its rows",
            )

    def _compare(self, paths: Sequence[tuple[str, ...]]) -> None:
        other = next((rank for rank, own in enumerate(paths) if own != paths[0]), None)
        if other is not None:
            first, differing = (", ".join(paths[rank]) or "none" for rank in (0, other))
            raise self._ranks.known_to_all(
                AgreementError(
                    f"all ranks must append to the same stream: rank 0 appends to {first}, rank {other} to {differing}",
                    remedy="Call append on every rank in the same order, with an empty block where a rank has none",
                )
            )

    @property
    def _is_append(self) -> bool:
        """Whether the file is one that changes when it is closed, and not before."""
        return isinstance(self._job.target, AppendTarget)

    def _is_due(self) -> bool:
        return self._job.journal is not None and time.monotonic() - self._committed_at >= self._job.commit_interval

    def _write(self, end: Callable[[OpenStream], int]) -> None:
        """Write all streams up to a row."""
        ready = [item for item in self._streams.values() if end(item) > item.written]
        taken = {item.number: (item, item.take(end(item))) for item in ready}
        if not taken:
            return
        ranks, layout = self._ranks, windowed(self._job.layout, {n: window.rows for n, (_, window) in taken.items()})
        plan = WritePlan(layout, ranks.size, self._decomposition, self._buffer_mb)
        sources, growth = {}, {}
        for number, (item, window) in taken.items():
            held = self._held(item, window)
            sources[item.spec.path] = exchanged(ranks, held, owned(plan, number), 0)
            growth[number] = Growth(item.spec.with_rows(item.written).grid, window.first)
        del taken
        self._file.fill(Portion(plan, sources, growth, in_one_piece=True))
        self._left = self._held_bytes()

    def _held_bytes(self) -> int:
        return sum(item.held_bytes for item in self._streams.values())

    def _held(self, item: OpenStream, window: Window) -> HeldRows:
        dtype, shape = item.stream.dtype, (window.rows, *item.stream.row_shape)
        pieces = [(slab, values.astype(dtype, copy=False)) for slab, values in window.slabs(item.spec)]
        return HeldRows(shape, dtype, pieces, 0)

    def _states(self) -> dict[int, StreamState]:
        """Return on the root how far all streams have come, with the rows that are in no chunk yet."""
        states = {}
        for item in self._streams.values():
            held = self._held(item, item.tail())
            tail = Hyperslab.whole(held.shape)
            gathered = exchanged(self._ranks, held, lambda rank, tail=tail: [tail] if rank == 0 else [], 0)  # type: ignore[misc]
            if self._ranks.is_root:
                first_open = item.written // item.thickness * item.spec.with_rows(item.rows).grid.layer
                states[item.number] = StreamState(item.rows, first_open, gathered.read(tail).tobytes())
        return states

    def _stopped(self) -> Interrupted:
        remedy = f"Backend '{self._job.backend}' {NO_JOURNAL}"
        if self._is_append:
            remedy = "The file is as it was: run it again"
        elif self._job.journal is not None:
            remedy = "What was appended is committed: run it again with mode 'resume', and go on after stream.rows"
        return Interrupted(ASKED_TO_STOP, where=str(self._job.target.partial), remedy=remedy)


def reopened(
    number: int, spec: DatasetSpec, stream: StreamedRows, state: StreamState | None, *, leads: bool
) -> OpenStream:
    """Return a stream as the last commit has it; the rows in no chunk yet are the root's. Independent.

    Parameters
    ----------
    state
        On the root with its tail.
    leads
        Whether this is the root.
    """
    stream.rows = 0
    opened = OpenStream(number, spec, stream)
    if state is None:
        return opened
    opened.rows = stream.rows = state.rows
    opened.written = opened.whole
    if leads and state.tail:
        try:
            values = np.frombuffer(state.tail, stream.dtype).reshape(-1, *stream.row_shape)
        except ValueError as error:
            raise SourceError(f"the committed rows do not fit this stream: {error}", where=spec.path) from error
        opened.held.append((opened.written, values))
        opened.held_bytes = opened.cost(values)
        opened.end = opened.end_of(values)
    return opened
