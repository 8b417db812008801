"""``repack`` and ``merge``: a file written once more, with other chunks and filters, or with all that it links to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.authoring.bulk_rule import DEFAULT_THRESHOLD_BYTES, BulkRule
from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.commits.amendment import finish_append_alone
from parnwb.compression import Compression
from parnwb.errors import ParnwbError
from parnwb.repacking.crossing import check_no_store, cross, crosses
from parnwb.repacking.result import Repacked
from parnwb.repacking.run import opened_source, run
from parnwb.restore import check_nothing_lost
from parnwb.target import Target

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.rewriting.coding import Chunks, Coding, Recoding
    from parnwb.rewriting.rewriting import Rewriting


def repack(
    source: str | Path,
    output: str | Path | None = None,
    comm: MPI.Intracomm | None = None,
    *,
    chunks: Chunks = None,
    compression: Compression = None,
    datasets: Mapping[str, Mapping[str, Any]] | None = None,
    inplace: bool = False,
    dry_run: bool = False,
    bulk_threshold: int = DEFAULT_THRESHOLD_BYTES,
    **settings: Any,
) -> Repacked:
    """Write a file once more, with other chunks or another compression of its large datasets. Collective.

    All else stays as it is: attributes, object ids, references, links, cached specifications. Chunks of datasets whose
    coding stays are copied as they are stored. What nothing refers to is not copied. It need not be an NWB file.

    An NWB file becomes a Zarr store, as hdmf-zarr has them, where the output ends in ``.zarr``, and a store becomes an
    NWB file or another store: through hdmf, with the same object ids, references and links. Chunks stay, and so does
    compression that both formats have; else it is Zarr's default there, and ``'auto'`` in HDF5.

    Parameters
    ----------
    source
        The file.
    output
        The new file; None with ``inplace`` or ``dry_run``.
    comm
        Communicator of the ranks that take part; None for this process alone.
    chunks
        None to keep the chunks of each dataset, or ``'auto'``, as for ``NWBParallelIO``. What is compressed and has
        none gets these.
    compression
        None to keep the filters of each dataset; ``'none'`` to take them away; or as for ``NWBParallelIO``. Checksums
        (Fletcher32) stay, and the shuffle filter, where the new compression is none that shuffles itself.
    datasets
        By pattern of paths (``'/acquisition/*/data'``), ``chunks`` (a shape, too) and ``compression`` of the datasets
        that match, before those for all; the first pattern that matches counts.
    inplace
        Whether the new file takes the place of the old one, when it is complete. An unfinished one of another job, with
        work that is committed, needs ``overwrite`` or ``resume`` besides.
    dry_run
        Whether only to tell what would become of the file.
    bulk_threshold
        Datasets of fewer bytes are copied as they are, by the root.
    **settings
        For ``NWBParallelIO``: ``overwrite``, ``resume``, ``progress``, ``commit_interval``, ``manifest`` and so on.

    Returns
    -------
    repacked
        What became of each large dataset; the same on all ranks.

    Raises
    ------
    ParnwbError
        The same on all ranks. The old file is untouched.
    """
    source = Path(source).absolute()

    def place() -> Path | None:
        if sum((output is not None, inplace, dry_run)) != 1:
            raise ParnwbError(
                "repack takes one of an output, inplace and dry_run",
                where=str(source),
                remedy="Give an output; or inplace=True (--inplace), or dry_run=True (--dry-run)",
            )
        return None if dry_run else Path(os.path.realpath(source)) if inplace else _apart(Path(str(output)), source)

    may_begin_anew = bool(settings.get("overwrite") or settings.get("resume"))

    def content(files: ExitStack) -> Rewriting:
        if inplace:  # replaces the file that is read, but not what another job has not finished
            check_nothing_lost(Target(Path(os.path.realpath(source))), overwrite=may_begin_anew)
        return _content(source, files, _recoding(chunks, compression, datasets), bulk_threshold, contains_all=False)

    settings = {**settings, "overwrite": True} if inplace else settings

    def work(ranks: Ranks, output: Path | None) -> Repacked:
        if not ranks.on_root("looking at the formats", lambda: crosses(source, output)):
            return run(ranks, comm, source, output, content, settings)
        assert output is not None
        recoding = _recoding(chunks, compression, datasets)
        return cross(ranks, comm, source, output, recoding, {**settings, "bulk_threshold": bulk_threshold})

    return _run(source, place, work, comm, settings)


def merge(
    source: str | Path,
    output: str | Path | None = None,
    comm: MPI.Intracomm | None = None,
    *,
    chunks: Chunks = None,
    compression: Compression = None,
    datasets: Mapping[str, Mapping[str, Any]] | None = None,
    dry_run: bool = False,
    bulk_threshold: int = DEFAULT_THRESHOLD_BYTES,
    **settings: Any,
) -> Repacked:
    """Write a file once more, with all that it has in other files: behind links, in virtual datasets. Collective.

    Stored chunks are copied as they are; so are those of virtual datasets whose parts have the same chunks and filters
    and meet where chunks do. What comes from another file brings along what it refers to, in the same place there.

    Parameters
    ----------
    source, output, comm, chunks, compression, datasets, dry_run, bulk_threshold, **settings
        As for ``repack``.

    Raises
    ------
    LinkError
        Something is not where a link says, or would be in the place of something else. The same on all ranks.
    ParnwbError
        As for ``repack``.
    """
    source = Path(source).absolute()

    def place() -> Path | None:
        if (output is None) != dry_run:
            raise ParnwbError("merge takes an output or dry_run", where=str(source), remedy="Give one of them")
        check_no_store("merge", source, [] if output is None else [Path(str(output))])
        return None if dry_run else _apart(Path(str(output)), source)

    def content(files: ExitStack) -> Rewriting:
        return _content(source, files, _recoding(chunks, compression, datasets), bulk_threshold, contains_all=True)

    def work(ranks: Ranks, output: Path | None) -> Repacked:
        return run(ranks, comm, source, output, content, settings)

    return _run(source, place, work, comm, settings)


def _run(
    source: Path,
    place: Callable[[], Path | None],
    work: Callable[[Ranks, Path | None], Repacked],
    comm: MPI.Intracomm | None,
    settings: Mapping[str, Any],
) -> Repacked:
    ranks = Ranks(comm, until_checked(settings.get("watchdog", DEFAULT_WATCHDOG)))
    try:
        with ranks.agreed("checking what is asked for"):
            output = place()
        ranks.same({"source": str(source), "output": str(output)}, "Pass the same keywords on every rank")
        with ranks.agreed("finishing an interrupted append"):
            if ranks.is_root:
                finish_append_alone(source)
        return work(ranks, output)
    finally:
        ranks.free()


def _content(
    source: Path, files: ExitStack, recoding: Recoding, threshold: int, *, contains_all: bool
) -> Rewriting:
    """Return what is written. Independent; on the root."""
    from parnwb.rewriting.rewriting import Rewriting
    from parnwb.rewriting.survey import Scope, survey

    scope = Scope(BulkRule(threshold=threshold), contains_all=contains_all)
    return Rewriting(survey(opened_source(source, files), scope, files), recoding)


def _recoding(
    chunks: Chunks, compression: Compression, datasets: Mapping[str, Mapping[str, Any]] | None
) -> Recoding:
    from parnwb.rewriting.coding import Coding, Recoding

    def coding(given: Mapping[str, Any]) -> Coding:
        if unknown := set(given) - {"chunks", "compression"}:
            raise ParnwbError(f"of a dataset chunks and compression can be asked for, got {', '.join(sorted(unknown))}")
        return Coding(**given)

    patterns = tuple((pattern, coding(given)) for pattern, given in (datasets or {}).items())
    return Recoding(Coding(chunks, compression), patterns)


def _apart(output: Path, source: Path) -> Path:
    """Refuse to write over the file that is read."""
    if output.exists() and source.exists() and output.samefile(source):
        raise ParnwbError(
            "the output must not be the file that is read",
            where=str(output),
            remedy="Choose another name, or repack it with inplace=True (--inplace)",
        )
    return output.absolute()
