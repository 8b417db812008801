"""Convert and verify a recording with all ranks: what ``parnwb convert`` and ``parnwb verify`` do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.errors import TargetError
from parnwb.io import NWBParallelIO
from parnwb.progress import Progress, View
from parnwb.recordings.interfaces import build_nwbfile
from parnwb.recordings.metadata import load_metadata
from parnwb.recordings.movies import (
    BESIDE,
    begun_with_copies,
    check_movies_word,
    ingest_movies_here,
    movies_placed,
    say_counted_frames,
)
from parnwb.site import ZARR_SUFFIX
from parnwb.sources.sending import NotSendableError
from parnwb.target import stored_bytes, tell_nobody

if TYPE_CHECKING:
    from mpi4py import MPI
    from pynwb import NWBFile

    from parnwb.verification import Verdict
    from parnwb.writer import Written

Value = TypeVar("Value")
Step = Callable[[str], None]


@dataclass(frozen=True)
class SourceData:
    """What is to be converted, and how neuroconv is to read it.

    Parameters
    ----------
    path
        File or folder.
    interface
        Name of a data interface or converter of neuroconv; None recognises SpikeGLX by its files.
    options
        For the interface, as ``key=value`` gave them.
    metadata
        YAML file in neuroconv's metadata format, merged over what the interface extracts.
    movies
        What becomes of movies that its series name, one of ``MOVIES``: here it matters whether they are ingested.
    on_mismatch
        What becomes of movies that are ingested and not what their series says: ``'raise'`` or ``'warn'``.
    """

    path: Path
    interface: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    metadata: Path | None = None
    movies: str = "keep"
    on_mismatch: str = "raise"

    def nwbfile(self, step: Step = tell_nobody) -> NWBFile:
        """Build the NWBFile, its bulk data left where they are; ``step`` is told now and then. Independent."""
        metadata = load_metadata(self.metadata) if self.metadata is not None else None
        nwbfile = build_nwbfile(self.path, interface=self.interface, options=dict(self.options), metadata=metadata)
        if self.movies == "ingest":
            ingest_movies_here(nwbfile, self.on_mismatch, step)
        return nwbfile


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Parameters
    ----------
    path
        The file.
    raw_bytes, file_bytes
        Uncompressed bytes of the bulk data, and bytes of the file, with those of its parts.
    written_bytes
        Uncompressed bytes that this job wrote: fewer where it resumed another.
    seconds
        From the first look at the source to the finished file.
    backend, reason
        What filled it, and why.
    written
        What this rank did.
    """

    path: Path
    raw_bytes: int
    file_bytes: int
    written_bytes: int
    seconds: float
    backend: str
    reason: str
    written: Written = field(repr=False, compare=False)

    @property
    def ratio(self) -> float:
        """Uncompressed over stored bytes."""
        return self.raw_bytes / max(1, self.file_bytes)


def convert(
    source: SourceData,
    output: Path,
    comm: MPI.Intracomm,
    *,
    resume: bool = False,
    progress: Progress | View | bool | None = None,
    **settings: Any,
) -> Converted:
    """Convert a recording to an NWB file with all ranks. Collective.

    The root alone asks neuroconv, and sends the others what they must read; where a source cannot be sent,
    every rank asks neuroconv itself.

    Parameters
    ----------
    resume
        Whether to go on where an earlier job ended; without one the file is begun.
    progress
        As for ``NWBParallelIO``.
    settings
        Other settings for ``NWBParallelIO``.
    """
    ranks = Ranks(comm, until_checked(settings.get("watchdog", DEFAULT_WATCHDOG)))

    try:
        mode = "resume" if resume else "w"
        build = builder(source, output, ranks.going_on)
        return write_built(ranks, build, output, mode, comm=comm, progress=progress, **settings)
    finally:
        ranks.free()


def builder(source: SourceData, output: Path, step: Step = tell_nobody) -> Callable[[], NWBFile]:
    """Return what builds a recording's NWBFile, for an output that is no file of it. Independent."""

    def build() -> NWBFile:
        check_apart(source.path, output)
        return source.nwbfile(step)

    return build


def write_built(
    ranks: Ranks,
    build: Callable[[], NWBFile],
    output: Path,
    mode: str,
    *,
    break_lock: bool = False,
    progress: Progress | View | bool | None = None,
    movies: str = "keep",
    **settings: Any,
) -> Converted:
    """Write the NWBFile that ``build`` returns, called on the root alone where that is enough. Collective.

    Parameters
    ----------
    build
        Returns a new NWBFile of neuroconv's, the same on every rank; may be called twice.
    output, mode, break_lock, progress, settings
        For ``NWBParallelIO``; a mode that creates.
    movies
        One of ``MOVIES``; those that are to be ingested ``build`` has ingested. A file that is resumed goes on with the
        movies that it names.
    """
    began = time.monotonic()
    with ranks.agreed("looking at what becomes of movies"):
        check_movies_word(movies, output)
    with NWBParallelIO(output, mode, progress=False, break_lock=break_lock, **settings):
        pass  # refuses settings and outputs that cannot work, before neuroconv looks at a long recording
    was_begun = False
    if movies in BESIDE and mode == "resume":
        was_begun = ranks.on_root("looking for movies of an earlier job", lambda: begun_with_copies(output, settings))

    def write(nwbfile: NWBFile | None) -> NWBParallelIO:
        with movies_placed(ranks, nwbfile, output, settings.get("comm"), movies, was_begun=was_begun):
            say_counted_frames(ranks, nwbfile, output)
            with NWBParallelIO(output, mode, progress=progress, **settings) as io:
                io.write(nwbfile)
        return io

    return converted(ranks, _with_nwbfile(ranks, build, write), began)


def converted(ranks: Ranks, io: NWBParallelIO, began: float) -> Converted:
    """Return what a finished writer made, beginning at a ``time.monotonic``. Collective."""
    written = io.written
    assert written is not None
    return Converted(
        path=io.path,
        raw_bytes=written.plan.layout.nbytes,
        file_bytes=ranks.on_root("measuring the file", lambda: _bytes_of(io.path, ranks.going_on)),
        written_bytes=0 if written.published else written.plan.remaining_bytes,
        seconds=time.monotonic() - began,
        backend=written.backend.name,
        reason=written.backend.reason,
        written=written,
    )


def _bytes_of(path: Path, step: Callable[[str], None]) -> int:
    """Return what a file takes, with those that have parts of it. Independent."""
    from parnwb.links.following import parts_of

    return sum(stored_bytes(one, step) for one in (path, *parts_of(path)))


def check(
    output: Path,
    comm: MPI.Intracomm,
    *,
    against: SourceData | None = None,
    progress: Progress | View | bool = False,
    **settings: Any,
) -> Verdict:
    """Verify a file with all ranks, and compare it with its recording if there is one. Collective.

    Parameters
    ----------
    settings
        For ``verify``.
    """
    from parnwb.verification import verify

    ranks = Ranks(comm, until_checked(settings.get("watchdog", DEFAULT_WATCHDOG)))

    def run(nwbfile: NWBFile | None) -> Verdict:
        return verify(output, against=nwbfile, comm=comm, progress=progress, **settings)

    try:
        return run(None) if against is None else _with_nwbfile(ranks, lambda: against.nwbfile(ranks.going_on), run)
    finally:
        ranks.free()


def check_report_place(path: Path, comm: MPI.Intracomm) -> None:
    """Refuse a name for a report that cannot be one. Collective."""
    from parnwb.report import check_place

    check_opens("looking where the report goes", lambda: check_place(path), comm)


def check_opens(doing: str, look: Callable[[], None], comm: MPI.Intracomm) -> None:
    """Have the root look at a place where something is to be written; what it refuses all refuse. Collective."""
    ranks = Ranks(comm, DEFAULT_WATCHDOG)
    try:
        ranks.on_root(doing, look)
    finally:
        ranks.free()


def save_report(path: Path, made: Converted, comm: MPI.Intracomm, verdict: Verdict | None = None) -> None:
    """Leave a page about a conversion. Collective; the root writes it."""
    from parnwb.report import report_of

    ranks = Ranks(comm, DEFAULT_WATCHDOG)
    try:
        report = report_of(ranks, made.path, made.written, verdict)
        with ranks.agreed("writing the report"):
            if report is not None:
                report.save(path)
    finally:
        ranks.free()


def save_verification_report(path: Path, verdict: Verdict, comm: MPI.Intracomm) -> None:
    """Leave a page about a file that was verified. Collective; the root writes it."""
    from parnwb.report import verification_report

    report = verification_report(verdict, comm)
    ranks = Ranks(comm, DEFAULT_WATCHDOG)
    try:
        with ranks.agreed("writing the report"):
            if report is not None:
                report.save(path)
    finally:
        ranks.free()


def check_apart(source: Path, output: Path) -> None:
    """Refuse to replace a file that belongs to the recording, which may be its only copy."""
    if not output.exists() or not source.exists():
        return
    same = output.samefile(source)
    if output.suffix in (".nwb", ZARR_SUFFIX) and not same:
        return
    beside = output.resolve().parent == source.resolve().parent and output.stem == source.stem
    if same or beside or (source.is_dir() and source.resolve() in output.resolve().parents):
        raise TargetError(
            "the output must not replace a file of the source",
            where=str(output),
            remedy="Choose another name, which ends in .nwb",
        )


def _with_nwbfile(
    ranks: Ranks, build: Callable[[], NWBFile], use: Callable[[NWBFile | None], Value]
) -> Value:
    """Build on the root and use it everywhere; on every rank where the root's sources cannot be sent."""
    nwbfile = None
    with ranks.agreed("reading the recording's metadata"):
        if ranks.is_root:
            nwbfile = build()
    try:
        return use(nwbfile)
    except NotSendableError:
        with ranks.agreed("reading the recording's metadata on every rank"):
            nwbfile = build()
        return use(nwbfile)
