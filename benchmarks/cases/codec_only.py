"""The limit of the processor: all ranks encode chunks that are in memory, as parnwb would, and keep nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from measure import Measurement

from cases import Case, Task

CASES = (
    Case("codec only, auto", {"compression": "auto"}, launch="mpi"),
    Case("codec only, gzip-4", {"compression": "gzip"}, launch="mpi"),
)
LEAST_SECONDS = 1.0
MOST_BYTES = 192 * 2**20


def write(task: Task, comm: Any) -> dict[str, Any]:
    """Encode for as long as this rank's share of the recording takes, a second at least. Collective."""
    from pynwb import get_manager

    from parnwb.authoring.bulk_rule import BulkRule
    from parnwb.authoring.skeleton import AuthoringOptions, author
    from parnwb.codec import open_pipeline
    from parnwb.planning.plan import WritePlan

    options = AuthoringOptions(BulkRule(), task.options["compression"])
    skeleton = author(task.recording.nwbfile(), Path(task.output), get_manager(), options)
    plan = WritePlan(skeleton.layout, comm.size)
    chunks, spec = _own_chunks(plan, skeleton.sources, comm.rank)
    pipeline, done, share = open_pipeline(spec), 0, plan.nbytes(comm.rank)
    with Measurement(comm) as measured:
        began = time.perf_counter()
        while chunks and (done < share or time.perf_counter() - began < LEAST_SECONDS):
            chunk = chunks[done // spec.chunk_bytes % len(chunks)]
            pipeline.encode(chunk)
            done += chunk.nbytes
        rate = done / (time.perf_counter() - began)
    shuffled = any(one.identifier == 2 for one in spec.filters)
    result = measured.result(coding=f"{spec.coder}{' + shuffle' if shuffled else ''}", stored_bytes=0)
    # What it would take for the recording at the sum of all ranks' rates: no rank waits for another.
    return {**result, "seconds": task.recording.raw_bytes / sum(comm.allgather(rate))}


def _own_chunks(plan: Any, sources: Any, rank: int) -> tuple[list[Any], Any]:
    """Return some of the chunks that a rank has of the largest dataset."""
    from parnwb.codec import ChunkAssembler
    from parnwb.sources import read_pieces

    spec = max(plan.layout, key=lambda one: one.nbytes)
    chunks: list[Any] = []
    for buffer in plan.buffers(rank, plan.layout.datasets.index(spec)):
        pieces = read_pieces(sources[spec.path], buffer.slab, spec.path)
        chunks += [chunk.copy() for _, chunk in ChunkAssembler(spec).assemble(buffer.slab, pieces)]
        if len(chunks) * spec.chunk_bytes >= MOST_BYTES:
            break
    return chunks, spec
