"""A conversion that stops at its plan, without MPI and without writing: the same skeleton, into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.bulk_rule import BulkRule
from parnwb.compression import Compression, check_compression
from parnwb.conversion import check_apart
from parnwb.plan import DEFAULT_BUFFER_MB, WritePlan
from parnwb.restore import Earlier
from parnwb.settings import WriteSettings, check_chunking
from parnwb.site import BackendChoice, backend_for, choose_backend
from parnwb.skeleton import Authored, AuthoringOptions, author, expected_bytes
from parnwb.stores.rule import StoreRule
from parnwb.target import FolderTarget, Target
from parnwb.target.space import space_left
from parnwb.write_queue import Policy, write_queue
from parnwb.writer import look_for_earlier

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


@dataclass(frozen=True)
class Rehearsal:
    """What a conversion would do.

    Parameters
    ----------
    plan
        By which the file would be written.
    backend
        Which would fill it, and why.
    what
        What would become of the output, in words.
    about
        Bytes that the data would take in the file, by a sample; 0 where nobody can tell.
    free
        Bytes that are free there.
    """

    plan: WritePlan
    backend: BackendChoice
    what: str
    about: int
    free: int


def rehearse(
    source: SourceData,
    output: Path,
    ranks: int,
    *,
    backend: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    compression: Compression = None,
    decomposition: str = "balanced",
    buffer_mb: float = DEFAULT_BUFFER_MB,
    queue: Policy = "file",
    chunks: str | None = None,
) -> Rehearsal:
    """Return what a conversion would do. Independent; nothing is written.

    Raises
    ------
    ParnwbError
        It would be refused.
    """
    backend = backend_for(output, backend)
    is_store = backend == "zarr"
    target = FolderTarget(output) if is_store else Target(output)
    settings = WriteSettings(
        backend=backend,
        rule=StoreRule() if is_store else BulkRule(),
        compression=compression,
        decomposition=decomposition,
        buffer_mb=buffer_mb,
        queue=queue,
        chunks=chunks,
        overwrite=overwrite,
        resume=resume,
    )
    earlier = look_for_earlier(target, settings)
    check_apart(source.path, output)
    choice = choose_backend(backend)
    options = AuthoringOptions(settings.rule, compression, choice, chunks=chunks)
    skeleton = _authored(source.nwbfile(), target.path, options)
    layout = skeleton.layout
    about = expected_bytes(skeleton, [spec.nbytes for spec in layout]).about
    plan = WritePlan(layout, ranks, decomposition, buffer_mb, queue=write_queue(queue, layout))
    return Rehearsal(plan, choice, _becomes(target, earlier), about, space_left(target.path.parent).free)


def _authored(nwbfile: NWBFile, path: Path, options: AuthoringOptions) -> Authored:
    """Return what would be authored, of which no file is open."""
    from pynwb import get_manager

    if options.backend.name == "zarr":
        from parnwb.stores.skeleton import author_store

        return author_store(nwbfile, path, get_manager(), options)
    skeleton = author(nwbfile, path, get_manager(), options)
    skeleton.file.close()
    return skeleton


def _becomes(target: Target, earlier: Earlier | None) -> str:
    if earlier is not None and earlier.finished:
        return "which an earlier job has finished"
    if earlier is not None:
        return f"going on after {len(earlier.committed.records)} chunks that an earlier job has committed"
    return "replacing the file that is there" if target.path.exists() else "a new file"
