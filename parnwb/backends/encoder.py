"""``Encoder``: a thread that reads and encodes the next buffer while the last one is being written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.backends.backend import Portion
from parnwb.backends.outlook import Outlook
from parnwb.backends.stretch import Stretch
from parnwb.codec import ChunkAssembler, Crew
from parnwb.comm import Ahead, Lane, Ranks
from parnwb.commits.journal import crc32c
from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.iterator import IndependentChunkIterator
from parnwb.layout import DatasetSpec
from parnwb.machine.foresight import Foresight
from parnwb.planning.plan import Buffer
from parnwb.sources import EncodedSource, takes_over
from parnwb.sources.source import Room, Stored
from parnwb.timing import Phases

IndexedChunk = tuple[tuple[int, ...], npt.NDArray[Any]]
StoredChunk = tuple[tuple[int, ...], tuple[int, Any] | None]  # index in the chunk grid; filter mask and bytes
# What the seconds of the encoder's thread count as.
READING, ASSEMBLING, ENCODING = "encoder: reading", "encoder: assembling", "encoder: encoding"
CHECKSUMS, AHEAD = "encoder: checksums", "encoder: waiting for the writer"
REQUEST_COLUMNS = 5  # dataset, position in the chunk grid, stored bytes, filter mask, CRC-32C
STORED_BYTES = 2  # of these columns


@dataclass(frozen=True)
class Batch:
    """The encoded chunks of one buffer.

    Parameters
    ----------
    requests
        One row for each chunk: dataset, position, stored bytes, filter mask, CRC-32C.
    payloads
        The bytes of each.
    raw_bytes
        Uncompressed bytes of these chunks in the file's dtype.
    place
        Dataset and hyperslab of the buffer.
    behind
        Number of the first part of a buffer behind these, in its owner's list.
    release
        To be called when the payloads are not needed any more: their memory may be used again.
    """

    requests: npt.NDArray[np.int64]
    payloads: list[Any]
    raw_bytes: int
    place: str
    behind: int = 0
    release: Callable[[], None] = lambda: None


class Encoder(Ahead[Batch]):
    """Runs ahead of the writer by at most one batch. Independent.

    Use as a context manager.

    Parameters
    ----------
    ranks
        Whose watchdog looks at the thread.
    portion, stretch
        What is read and encoded.
    threads
        How many encode.
    foresight
        By which is announced what will be read.
    """

    def __init__(
        self, ranks: Ranks, portion: Portion, stretch: Stretch, threads: int, foresight: Foresight
    ) -> None:
        phases, outlook = ranks.phases, Outlook(portion, stretch.owner, foresight)

        def batches(lane: Lane) -> Iterator[Batch]:
            with phases(ASSEMBLING), Crew(threads) as crew:
                for batch in encoded(portion, stretch, crew, outlook, lane, phases):
                    with phases(AHEAD):
                        yield batch
                    del batch  # it is the taker's

        self._stretch = stretch
        super().__init__(ranks, "encoder", batches)

    def __exit__(self, *exception: object) -> None:
        """End the thread, also where it waits until it may go on."""
        self._stretch.end_at(0)
        super().__exit__(*exception)


def encoded(
    portion: Portion, stretch: Stretch, crew: Crew, outlook: Outlook, lane: Lane, phases: Phases
) -> Iterator[Batch]:
    """Read and encode the buffers of a stretch, in the plan's order; say so in ``lane``. Independent.

    As soon as one has been read the next one is announced, before this one is encoded.

    Memory for chunks is that of one dataset: where a queue alternates it is had anew for every buffer.
    """
    plan = portion.plan
    taken = phases.each(AHEAD, stretch.buffers(plan))
    for dataset, buffers in groupby(taken, lambda numbered: numbered[1].dataset):
        spec, source = plan.layout.datasets[dataset], portion.source(dataset)
        if takes_over(source, spec):
            shelf = Shelf(spec)
            for behind, buffer in buffers:
                batch = take_over(portion, buffer, source, lane, phases, shelf)
                yield replace(batch, behind=behind, release=shelf.lend())
            continue
        pipeline, assembler = crew.pipeline(spec), ChunkAssembler(spec)
        stream = IndependentChunkIterator(plan, stretch.owner, dataset, source, lane.step)
        for behind, buffer in buffers:
            with phases(AHEAD):
                assembler.take_back()
            pieces = outlook.beyond(buffer, stream.pieces(buffer.slab))
            chunks = assembler.assemble(buffer.slab, phases.each(READING, pieces))
            batch = replace(encode(portion, buffer, chunks, pipeline, lane, phases), behind=behind)
            yield replace(batch, release=assembler.lend()) if not spec.filters else batch
            del batch, chunks  # while the next is encoded nothing is held of this one


def encode(
    portion: Portion,
    buffer: Buffer,
    chunks: Iterable[IndexedChunk],
    pipeline: Callable[[Iterable[IndexedChunk]], Iterator[StoredChunk]],
    lane: Lane,
    phases: Phases,
) -> Batch:
    """Encode the chunks of one buffer. Independent."""
    spec = portion.plan.layout.datasets[buffer.dataset]

    def wanted() -> Iterator[IndexedChunk]:
        for index, chunk in phases.each(ASSEMBLING, chunks):
            if not portion.plan.is_done(buffer.dataset, index):
                lane.step(f"encoding {portion.elements(buffer.dataset, spec.grid.cell(index)).place(spec.place)}")
                yield index, chunk

    def encoded_chunks() -> Iterator[StoredChunk]:
        for stored in phases.each(ENCODING, pipeline(wanted())):
            lane.moved()  # where threads encode, all chunks have been named before the first is done
            yield stored

    return _batch(portion, buffer, encoded_chunks(), phases)


class Shelf:
    """Memory for stored chunks of a dataset, which comes back when they have been written.

    The first touch of new memory costs more than reading into it; of what filters have made smaller, most is never
    touched.

    Parameters
    ----------
    spec
        The dataset.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self._nbytes = math.prod(spec.grid.chunk) * spec.itemsize
        self._free: list[Room] = []
        self._taken: list[Room] = []

    def take(self) -> Room:
        """Return room for a chunk, and a little more: filters may make it larger."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._nbytes + self._nbytes // 64 + 1024, dtype=np.uint8)
        self._taken.append(memory)
        return memory

    def lend(self) -> Callable[[], None]:
        """Keep what has been taken until the function that is returned is called, by any thread."""
        lent, self._taken = self._taken, []
        return lambda: self._free.extend(lent)


def take_over(
    portion: Portion, buffer: Buffer, source: EncodedSource, lane: Lane, phases: Phases, shelf: Shelf
) -> Batch:
    """Return the chunks of one buffer as their file has them; those that it lacks the new one will lack, too.

    Independent. Their memory is the shelf's.

    Raises
    ------
    SourceError
        A chunk cannot be read, or is cut off where no filter would notice it.
    """
    plan = portion.plan
    spec = plan.layout.datasets[buffer.dataset]

    def chunks() -> Iterator[StoredChunk]:
        for index, elements in plan.chunks(buffer):
            if not plan.is_done(buffer.dataset, index):
                lane.step(f"copying {elements.place(spec.place)}")
                with phases(READING):
                    stored = source.read_chunk(elements.start, shelf.take())
                if stored is not None:
                    _check_whole(stored[1], spec, elements)
                yield index, stored

    return _batch(portion, buffer, chunks(), phases)


def _check_whole(data: Stored, spec: DatasetSpec, elements: Hyperslab) -> None:
    """Refuse a chunk that has gone through no filters and is shorter or longer than chunks are. Independent."""
    if spec.chunks is not None and not spec.filters and len(data) != spec.chunk_bytes:
        raise SourceError(
            f"a stored chunk without filters must have {spec.chunk_bytes} bytes, this one has {len(data)}",
            where=elements.place(spec.place),
            remedy="The source is damaged there: compare it with a copy",
        )


def _batch(portion: Portion, buffer: Buffer, chunks: Iterable[StoredChunk], phases: Phases) -> Batch:
    spec = portion.plan.layout.datasets[buffer.dataset]
    rows, payloads, raw_bytes = [], [], 0
    for index, stored in chunks:
        raw_bytes += spec.grid.cell(index).size * spec.itemsize
        if stored is not None:
            mask, data = stored
            with phases(CHECKSUMS):
                checksum = crc32c(data)
            rows.append((buffer.dataset, portion.position(buffer.dataset, index), len(data), mask, checksum))
            payloads.append(data)
    requests = np.array(rows, dtype=np.int64).reshape(-1, REQUEST_COLUMNS)
    return Batch(requests, payloads, raw_bytes, portion.elements(buffer.dataset, buffer.slab).place(spec.place))
