"""``Encoder``: a thread that reads and encodes the next buffer while the last one is being written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.backends.backend import Portion
from parnwb.codec import ChunkAssembler, Pipeline, open_pipeline
from parnwb.comm import Ahead, Lane, Ranks
from parnwb.commits.journal import crc32c
from parnwb.iterator import IndependentChunkIterator
from parnwb.plan import Buffer

IndexedChunk = tuple[tuple[int, ...], npt.NDArray[Any]]
REQUEST_COLUMNS = 5  # dataset, position in the chunk grid, stored bytes, filter mask, CRC-32C


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
    """

    requests: npt.NDArray[np.int64]
    payloads: list[Any]
    raw_bytes: int
    place: str


class Encoder(Ahead[Batch]):
    """Runs ahead of the writer by at most one batch. Independent.

    Use as a context manager.

    Parameters
    ----------
    ranks
        Whose watchdog looks at the thread.
    portion
        What is read and encoded.
    """

    def __init__(self, ranks: Ranks, portion: Portion) -> None:
        super().__init__(ranks, "encoder", lambda lane: encoded(portion, ranks.rank, lane))


def encoded(portion: Portion, rank: int, lane: Lane) -> Iterator[Batch]:
    """Read and encode all buffers of a rank, in the plan's order; say so in ``lane``. Independent."""
    plan = portion.plan
    for dataset, spec in enumerate(plan.layout):
        if plan.count_chunks(rank, dataset) == 0:
            continue
        pipeline, assembler = open_pipeline(spec), ChunkAssembler(spec)
        stream = IndependentChunkIterator(plan, rank, dataset, portion.source(dataset), lane.step)
        for buffer, pieces in stream.in_pieces():
            yield encode(portion, buffer, assembler.assemble(buffer.slab, pieces), pipeline, lane)


def encode(
    portion: Portion, buffer: Buffer, chunks: Iterable[IndexedChunk], pipeline: Pipeline, lane: Lane
) -> Batch:
    """Encode the chunks of one buffer. Independent."""
    plan = portion.plan
    spec = plan.layout.datasets[buffer.dataset]
    rows, payloads, raw_bytes = [], [], 0
    grid = spec.grid
    for index, chunk in chunks:
        if plan.is_done(buffer.dataset, index):
            continue
        elements = grid.cell(index)
        lane.step(f"encoding {portion.elements(buffer.dataset, elements).place(spec.path)}")
        mask, data = pipeline.encode(chunk)
        raw_bytes += elements.size * spec.itemsize
        rows.append((buffer.dataset, portion.position(buffer.dataset, index), len(data), mask, crc32c(data)))
        payloads.append(data)
    requests = np.array(rows, dtype=np.int64).reshape(-1, REQUEST_COLUMNS)
    return Batch(requests, payloads, raw_bytes, portion.elements(buffer.dataset, buffer.slab).place(spec.path))
