"""Convert and verify a recording with all ranks: what ``parnwb convert`` and ``parnwb verify`` do."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.errors import LinkError, TargetError
from parnwb.io import NWBParallelIO
from parnwb.progress import Progress, View
from parnwb.recordings.interfaces import build_nwbfile
from parnwb.recordings.metadata import load_metadata
from parnwb.restore import Earlier, find_earlier, leaves_movies
from parnwb.site import ZARR_SUFFIX
from parnwb.sources.sending import NotSendableError
from parnwb.target import Target, stored_bytes, tell_nobody

if TYPE_CHECKING:
    from mpi4py import MPI
    from pynwb import NWBFile

    from parnwb.verification import Verdict
    from parnwb.writer import Written

Value = TypeVar("Value")
Step = Callable[[str], None]
MOVIES = ("keep", "copy", "move", "ingest")
"""What can become of movies: they stay where they are, are copied or moved beside the file, or are read into it."""

BESIDE = ("copy", "move")


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
        was_begun = ranks.on_root("looking for movies of an earlier job", lambda: _was_begun(output, settings))

    def write(nwbfile: NWBFile | None) -> NWBParallelIO:
        with _movies_placed(ranks, nwbfile, output, settings.get("comm"), movies, was_begun=was_begun):
            _say_counted(ranks, nwbfile, output)
            with NWBParallelIO(output, mode, progress=progress, **settings) as io:
                io.write(nwbfile)
        return io

    return converted(ranks, _with_nwbfile(ranks, build, write), began)


def check_movies_word(movies: str, output: Path) -> None:
    """Refuse what cannot become of movies. Independent."""
    if movies not in MOVIES:
        raise LinkError(f"movies must be one of {', '.join(MOVIES)}, got {movies!r}", where=str(output))


def _was_begun(output: Path, settings: Mapping[str, Any]) -> bool:
    """Tell whether there is something to resume, which names copies of its movies. Independent; on the root."""
    earlier = find_earlier(Target(output.absolute()), overwrite=settings.get("overwrite", False))
    check_begun_with_copies(earlier, output)
    return earlier is not None


def check_begun_with_copies(earlier: Earlier | None, output: Path) -> None:
    """Refuse to bring movies beside a file that was begun without: it names them where they are. Independent."""
    if earlier is not None and leaves_movies(earlier):
        raise LinkError(
            "movies can be brought along for a new file only: this one was begun with movies that stay where they are",
            where=str(output),
            remedy="Resume it without --movies (movies), or begin anew with --overwrite and without --resume",
        )


def ingest_movies_here(nwbfile: NWBFile, on_mismatch: str = "raise", step: Step = tell_nobody) -> None:
    """Read the movies of neuroconv's NWBFile into it, which are named as seen from the working folder. Independent."""
    from parnwb.movies import counted_otherwise, ingest_movies, say_counted

    say_counted(nwbfile, counted_otherwise(nwbfile, Path.cwd(), step))
    ingest_movies(nwbfile, Path.cwd(), on_mismatch, step)


def _say_counted(ranks: Ranks, nwbfile: NWBFile | None, output: Path) -> None:
    """Let neuroconv's series say how many frames their movies have, not what the headers of these say. Collective."""

    def counted() -> dict[str, int]:
        from parnwb.movies import counted_otherwise

        return {} if nwbfile is None else counted_otherwise(nwbfile, output.absolute().parent, ranks.going_on)

    found = ranks.on_root("counting the frames of movies", counted)
    with ranks.agreed("saying how many frames movies have"):
        if nwbfile is not None and found:
            from parnwb.movies import say_counted

            say_counted(nwbfile, found)


@contextmanager
def _movies_placed(
    ranks: Ranks, nwbfile: NWBFile | None, output: Path, comm: MPI.Intracomm | None, movies: str, *, was_begun: bool
) -> Iterator[None]:
    """Bring movies beside a file that is written within, if they are to be and are not there yet. Collective."""
    if movies not in BESIDE:
        yield
        return
    from parnwb.movies import movies_beside, name_from_here

    if was_begun:
        with ranks.agreed("looking for movies in the working folder"):
            if nwbfile is not None:
                name_from_here(nwbfile, output)
        if ranks.is_root and movies == "move":
            what = "an earlier job has begun the file, which names its copies of movies: the originals stay"
            warnings.warn(what, stacklevel=2)
        yield
        return
    with movies_beside(nwbfile, output.absolute(), comm, movies) as named:
        if ranks.is_root and not named:
            warnings.warn(f"the source names no movies that could be brought along ({movies})", stacklevel=2)
        yield


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
