"""A conversion that stops at its plan, without MPI and without writing: the same skeleton, into memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.bulk_rule import BulkRule
from parnwb.compression import Compression, check_compression
from parnwb.plan import DEFAULT_BUFFER_MB, WritePlan
from parnwb.settings import check_chunking
from parnwb.skeleton import AuthoringOptions, author
from parnwb.write_queue import Policy, write_queue

if TYPE_CHECKING:
    from pynwb import NWBFile

    from parnwb.conversion import SourceData


def plan_nwbfile(
    nwbfile: NWBFile,
    ranks: int,
    *,
    compression: Compression = None,
    decomposition: str = "balanced",
    buffer_mb: float = DEFAULT_BUFFER_MB,
    rule: BulkRule | None = None,
    queue: Policy = "file",
    chunks: str | None = None,
) -> WritePlan:
    """Return the plan by which ``ranks`` ranks would write ``nwbfile``. Independent; nothing is written."""
    from pynwb import get_manager

    check_compression(compression)
    check_chunking(chunks)
    options = AuthoringOptions(rule or BulkRule(), compression, chunks=chunks)
    skeleton = author(nwbfile, Path("plan.nwb").absolute(), get_manager(), options)
    skeleton.file.close()
    layout = skeleton.layout
    return WritePlan(layout, ranks, decomposition, buffer_mb, queue=write_queue(queue, layout))


def plan_conversion(source: SourceData, ranks: int, **settings: object) -> WritePlan:
    """Return the plan by which ``ranks`` ranks would convert a recording. Independent; nothing is written."""
    return plan_nwbfile(source.nwbfile(), ranks, **settings)  # type: ignore[arg-type]
