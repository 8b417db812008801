"""Datasets whose rows come from a generator: the root reads on while all ranks encode and write what it has read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from parnwb.backends import Growth, Job, PartialFile, Portion
from parnwb.codec.cast import in_file_dtype
from parnwb.comm import Ahead, Lane, Ranks
from parnwb.hyperslab import ravel
from parnwb.layout import DatasetSpec
from parnwb.planning.plan import MiB, WritePlan
from parnwb.sources import Source
from parnwb.sources.growing import GrowingSource
from parnwb.streaming.layers import Rows, Window, windowed, windows
from parnwb.streaming.rows import HeldRows, exchanged, owned

MOST_BYTES = 512 * MiB
"""What the root reads at once for all ranks: it holds this up to three times."""


@dataclass(frozen=True)
class Drain:
    """How the generators of a file are read. The same on all ranks but for the sources.

    Parameters
    ----------
    job, file
        What is written, and where to.
    decomposition, buffer_mb
        As for ``WritePlan``.
    every_layer
        Whether chunks in which no row lies are to be written too.
    """

    job: Job
    file: PartialFile
    decomposition: str
    buffer_mb: float
    every_layer: bool

    def run(self, number: int, source: Source | None, done: npt.NDArray[np.int64]) -> int:
        """Write one dataset, and return how many rows it has. Collective.

        Parameters
        ----------
        number
            Of the dataset.
        source
            Its generator; looked at on the root only.
        done
            On the root, positions of the chunks that an earlier attempt has written.

        Raises
        ------
        SourceError
            The generator fails, or gives something else than rows in order.
        """
        ranks, spec = self.job.ranks, self.job.layout.datasets[number]
        with _Reader(self, spec, source if ranks.is_root else None, done) as reader:
            while True:
                window, written = ranks.on_root(f"reading {spec.path}", reader.next)
                if window is None:
                    return ranks.broadcast(max(reader.rows, spec.shape[spec.major]))
                self._fill(number, reader.taken or window, written)

    def _fill(self, number: int, window: Window, written: npt.NDArray[np.bool_]) -> None:
        """Give the values of a window, which the root has, to those who write them. Collective."""
        spec, ranks = self.job.layout.datasets[number], self.job.ranks
        layout = windowed(self.job.layout, {number: window.rows})
        done = {number: written} if written.any() else {}
        plan = WritePlan(layout, ranks.size, self.decomposition, self.buffer_mb, done)
        with ranks.agreed(f"sharing {spec.path}"):
            part = layout.datasets[number]
            held = HeldRows(part.shape, spec.numpy_dtype, window.slabs(spec), spec.major)
        needed = exchanged(ranks, held, owned(plan, number), spec.major)
        end = window.first * spec.grid.chunk[spec.major] + window.rows
        growth = Growth(spec.with_rows(max(end, spec.shape[spec.major])).grid, window.first)
        self.file.fill(Portion(plan, {spec.path: needed}, {number: growth}))


class _Reader:
    """Reads windows ahead, on the root; elsewhere it does nothing."""

    def __init__(
        self, drain: Drain, spec: DatasetSpec, source: Source | None, done: npt.NDArray[np.int64]
    ) -> None:
        self._ranks: Ranks = drain.job.ranks
        self._interrupts = drain.job.interrupts
        self._spec, self._drain, self._done = spec, drain, done
        self.taken: Window | None = None
        self.rows = 0
        self._ahead: Ahead[Window] | None = None
        if source is not None:
            assert isinstance(source, GrowingSource)
            self._source = source
            self._ahead = Ahead(self._ranks, "reader", self._windows)

    def __enter__(self) -> _Reader:
        if self._ahead is not None:
            self._ahead.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._ahead is not None:
            self._ahead.__exit__(*exception)

    def next(self) -> tuple[Window | None, npt.NDArray[np.bool_]]:
        """Return the next window of which something is to be written, without its values, and which chunks are not.

        None after the last. When a signal has come the window is empty: filling it is the moment to stop.
        """
        assert self._ahead is not None
        nothing = np.zeros(0, dtype=bool)
        while True:
            self._ranks.wait_until(lambda: self._ahead.ready() or self._interrupts.received)  # type: ignore[union-attr]
            if self._interrupts.received:
                self.taken = Window(0, 0)
                return self.taken, nothing
            self.taken = self._ahead.take()
            if self.taken is None:
                return None, nothing
            written = self._written(self.taken)
            if not len(written) or not written.all():
                return replace(self.taken, pieces=()), written

    def _written(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return which chunks of a window are done, in C order."""
        whole, grid = self._spec.grid, self._spec.with_rows(window.rows).grid
        written = np.zeros(grid.size, dtype=bool)
        low = window.first * whole.layer
        first, last = np.searchsorted(self._done, [low, low + grid.size])
        for position in self._done[first:last].tolist():
            written[ravel(grid.index(position - low), grid.extent)] = True
        return written

    def _windows(self, lane: Lane) -> Iterator[Window]:
        drain, spec = self._drain, self._spec
        nbytes = int(min(drain.buffer_mb * MiB * self._ranks.size, MOST_BYTES))
        return windows(self._rows(lane), spec, nbytes, every_layer=drain.every_layer)

    def _rows(self, lane: Lane) -> Iterator[Rows]:
        spec = self._spec
        lane.step(f"reading {spec.path}")
        for first, values in self._source.arriving(spec.shape, spec.path):
            lane.step(f"reading {spec.path} after row {first}")
            self.rows = first + values.shape[spec.major]
            yield first, in_file_dtype(values, spec.numpy_dtype).astype(spec.numpy_dtype)


def positions(records: npt.NDArray[np.int64], numbers: Iterable[int]) -> Mapping[int, npt.NDArray[np.int64]]:
    """Return the positions of the chunks in records, sorted, by number of a dataset. Independent."""
    return {number: np.sort(records[records[:, 0] == number, 1]) for number in numbers}
