"""Movies beside the NWB file, where ``dandi organize`` would put them, copied by all ranks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.errors import LinkError, ParnwbError
from parnwb.links.series import place_of
from parnwb.movies.checks import external_series
from parnwb.movies.names import placed_name
from parnwb.target import Permissions, Target, create_file, sync_folder

if TYPE_CHECKING:
    from mpi4py import MPI
    from pynwb import NWBFile
    from pynwb.image import ImageSeries

PIECE_BYTES = 64 * 2**20
"""What a rank copies at once."""

HOW = ("copy", "move")


@dataclass(frozen=True)
class Placing:
    """One movie.

    Parameters
    ----------
    source
        Where it is.
    target
        Where it goes.
    nbytes
        How long it is.
    version
        What its file was when this was planned, as by ``_version``.
    """

    source: str
    target: str
    nbytes: int
    version: tuple[int, ...]

    @classmethod
    def of(cls, source: str, target: str) -> Placing:
        """Plan to place a movie. Independent."""
        status = _status(source)
        return cls(source, target, status.st_size, _version(status))

    def require_unchanged(self) -> None:
        """Refuse a movie of which the copy is not, or not all of it. Independent."""
        status = _status(self.source)
        if _version(status) != self.version:
            raise LinkError(
                f"a movie must not change while it is copied: it had {self.nbytes} bytes and has {status.st_size}, or "
                "was written again",
                where=self.source,
                remedy="It stays where it is. Wait until its recording has ended",
            )

    @property
    def partial(self) -> Path:
        """Its name while it is copied."""
        return Path(f"{self.target}.partial")


def place_movies(
    nwbfile: NWBFile | None, path: str | Path, comm: MPI.Intracomm | None = None, how: str = "copy"
) -> dict[str, list[str]]:
    """Bring the external files of all ``ImageSeries`` beside an NWB file that is to be written. Collective.

    They go where ``dandi organize`` puts them: into a folder of the file's name, as
    ``session/OBJECT-ID_external_file_0.avi``. The series then name them there, relative to the file. All ranks copy,
    pieces of 64 MiB each; a movie gets its name when it is whole.

    Parameters
    ----------
    nwbfile
        Made, not read from a file; on the root at least, and changed on all ranks that have it.
    path
        The NWB file, that will be written.
    comm
        Communicator; None for this process alone.
    how
        ``'copy'``; or ``'move'``, which removes the originals when all copies are safe.

    Returns
    -------
    placed
        The new names, by place of the series.

    Raises
    ------
    LinkError
        A movie is not there, changes while it is copied, or another file has its new name. The same on all ranks.
    """
    ranks = Ranks(comm, until_checked(DEFAULT_WATCHDOG))
    try:
        named, placings = _copied(ranks, nwbfile, path, how)
        try:
            _look_at_originals(ranks, placings, how)
        except BaseException:
            if ranks.is_root:
                _withdraw(placings)
            raise
        _taken_over(ranks, nwbfile, named, placings, how)
        return named
    finally:
        ranks.free()


@contextmanager
def movies_beside(
    nwbfile: NWBFile | None, path: Path, comm: MPI.Intracomm | None, how: str
) -> Iterator[dict[str, list[str]]]:
    """Do as ``place_movies`` around the writing of the file: until that is whole, originals stay. Collective.

    If the writing fails the copies go again, but for those that committed work names, which mode ``'resume'`` goes on
    with. An original that has changed since it was copied is not removed, and an error: the file is whole, but has not
    the end of the movie.

    Parameters
    ----------
    nwbfile, path, comm, how
        As for ``place_movies``; relative names begin in the working folder, or beside the file if they are not
        found there.
    """
    ranks = Ranks(comm, until_checked(DEFAULT_WATCHDOG))
    try:
        with ranks.agreed("looking for movies in the working folder"):
            if nwbfile is not None:
                name_from_here(nwbfile, path)
        named, placings = _copied(ranks, nwbfile, path, how)
        try:
            with ranks.agreed("naming the movies that are beside the file"):
                if nwbfile is not None:
                    _rename(nwbfile, named)
            yield named
        except BaseException:
            if ranks.is_root and not Target(path.absolute()).journal.exists():
                _withdraw(placings)
            raise
        _look_at_originals(ranks, placings, how)
        _taken_over(ranks, None, named, placings, how)
    finally:
        ranks.free()


def plan_placing(nwbfile: NWBFile, path: Path, how: str) -> list[Placing]:
    """Return what ``movies_beside`` would copy, and name it as that would find it; refuse what it would refuse.

    Independent; nothing is written.
    """
    name_from_here(nwbfile, path)
    return _planned(nwbfile, path.absolute(), how)[1]


def _copied(
    ranks: Ranks, nwbfile: NWBFile | None, path: str | Path, how: str
) -> tuple[dict[str, list[str]], list[Placing]]:
    """Copy all movies, and return their new names by series, and what was copied. Collective."""
    with ranks.agreed("placing movies"):
        if how not in HOW:
            raise ParnwbError(f"how must be one of {', '.join(HOW)}, got {how!r}")
    named, placings = ranks.on_root("looking for movies", lambda: _planned(nwbfile, Path(path).absolute(), how))
    with _tidied_up(placings if ranks.is_root else []):
        with ranks.agreed("making room for movies"):
            if ranks.is_root:
                _make_room(placings)
        with ranks.agreed("copying movies"):
            _copy_share(ranks, placings)
        with ranks.agreed("naming movies"):
            if ranks.is_root:
                _publish(placings)
    return named, placings


def _look_at_originals(ranks: Ranks, placings: list[Placing], how: str) -> None:
    """Refuse to remove any of them if one has changed since it was copied. Collective."""
    with ranks.agreed("looking at the originals"):
        for item in placings if ranks.is_root and how == "move" else []:
            item.require_unchanged()


def _taken_over(
    ranks: Ranks, nwbfile: NWBFile | None, named: dict[str, list[str]], placings: list[Placing], how: str
) -> None:
    """Let the copies count from now on. Collective."""
    with ranks.agreed("removing the originals"):
        if ranks.is_root and how == "move":
            _remove_originals(placings)
        if nwbfile is not None:
            _rename(nwbfile, named)


def _external(nwbfile: NWBFile) -> dict[str, ImageSeries]:
    return {place_of(item): item for item in external_series(nwbfile)}


def name_from_here(nwbfile: NWBFile, path: Path) -> None:
    """Let series that name movies as seen from the working folder, as neuroconv does, name them from the file's.

    Independent.
    """
    folder = path.absolute().parent
    for series in external_series(nwbfile):
        names = [str(name) for name in series.external_file]
        series.fields["external_file"] = [
            name if "://" in name or not _begins_here(name, folder) else _seen_from(folder, name) for name in names
        ]


def _begins_here(name: str, folder: Path) -> bool:
    """Tell whether a name is seen from the working folder: another file may have the same name beside the NWB file."""
    return os.path.isfile(name) or not (folder / name).is_file()


def _seen_from(folder: Path, name: str) -> str:
    # The last link of a name is kept: what it leads to may have a name of its own, without the movie's suffix.
    seen, last = os.path.split(os.path.abspath(name))
    return os.path.relpath(os.path.join(os.path.realpath(seen), last), os.path.realpath(folder))


def _planned(nwbfile: NWBFile | None, path: Path, how: str) -> tuple[dict[str, list[str]], list[Placing]]:
    """Return the new names by series, and what is to be copied."""
    if nwbfile is None:
        raise ParnwbError("the root must have the NWBFile, got None", where="rank 0")
    named: dict[str, list[str]] = {}
    placings: dict[str, Placing] = {}
    for place, series in _external(nwbfile).items():
        named[place] = []
        for number, name in enumerate(map(str, series.external_file)):
            source = path.parent / name
            if "://" in name:
                named[place].append(name)
                continue
            new = placed_name(path, series.object_id, number, source.suffix)
            if not source.is_file():
                raise LinkError(
                    "a movie must be there to be brought along",
                    where=f"{place}: {source}",
                    remedy="Name it relative to the NWB file, or by its absolute path",
                )
            _refuse_to_replace(str(path.parent / new))
            placings[new] = Placing.of(str(source), str(path.parent / new))
            named[place].append(new)
    if how == "move" and len({item.source for item in placings.values()}) < len(placings):
        raise LinkError("a movie that two series name cannot be moved to both", remedy="Use how='copy'")
    return named, list(placings.values())


def _make_room(placings: list[Placing]) -> None:
    for item in placings:
        folder = item.partial.parent
        if folder.exists() and not folder.is_dir():
            raise LinkError(
                "movies go into a folder of the file's name", where=str(folder), remedy="Give the file another name"
            )
        folder.mkdir(exist_ok=True)
        item.partial.unlink(missing_ok=True)  # of a job that was killed; a link goes, what it leads to stays
        descriptor = create_file(item.partial, Permissions.of(Path(item.source)))
        try:
            os.ftruncate(descriptor, item.nbytes)
        finally:
            os.close(descriptor)


def _copy_share(ranks: Ranks, placings: list[Placing]) -> None:
    """Copy every so many pieces of all movies. Independent, between two agreements."""
    pieces = [(item, start) for item in placings for start in range(0, item.nbytes, PIECE_BYTES)]
    for item, start in pieces[ranks.rank :: ranks.size]:
        ranks.step(f"copying {item.source}")
        ranks.look_up()
        _copy_piece(item, start, min(PIECE_BYTES, item.nbytes - start))


def _copy_piece(item: Placing, start: int, nbytes: int) -> None:
    with open(item.source, "rb", buffering=0) as source, open(item.partial, "r+b", buffering=0) as target:
        done = 0
        while done < nbytes:
            data = os.pread(source.fileno(), min(2**20, nbytes - done), start + done)
            if not data:
                item.require_unchanged()
                raise EOFError(f"{item.source} ends before its {item.nbytes} bytes")
            done += os.pwrite(target.fileno(), data, start + done)
        os.fsync(target.fileno())


@contextmanager
def _tidied_up(placings: list[Placing]) -> Iterator[None]:
    """Remove what is not whole, or has no name yet, if anything fails."""
    try:
        yield
    except BaseException:
        for item in placings:
            with suppress(OSError):
                item.partial.unlink(missing_ok=True)
        raise


def _publish(placings: list[Placing]) -> None:
    """Give all movies their names, and make these safe; or none."""
    named: list[Placing] = []
    try:
        for item in placings:
            item.require_unchanged()
            shutil.copystat(item.source, item.partial)
            _refuse_to_replace(item.target)
            os.replace(item.partial, item.target)
            named.append(item)
        for folder in dict.fromkeys(item.partial.parent for item in placings):
            sync_folder(folder)
            sync_folder(folder.parent)
    except BaseException:
        for item in named:
            with suppress(OSError):
                os.unlink(item.target)
        raise


def _withdraw(placings: list[Placing]) -> None:
    """Remove copies of a file that did not come to be, and the folder if nothing else is in it."""
    for item in placings:
        with suppress(OSError):
            os.unlink(item.target)
    for folder in dict.fromkeys(item.partial.parent for item in placings):
        with suppress(OSError):
            folder.rmdir()


def _remove_originals(placings: list[Placing]) -> None:
    """Remove them; after a power failure the new names must be there, so these are safe by now."""
    for item in placings:
        os.unlink(item.source)


def _status(path: str) -> os.stat_result:
    with open(path, "rb") as file:  # opened, because file systems of a network may remember what it was
        return os.fstat(file.fileno())


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _refuse_to_replace(target: str) -> None:
    if os.path.lexists(target):
        raise LinkError("a movie must not replace another file", where=target, remedy="Remove it first")


def _rename(nwbfile: NWBFile, named: dict[str, list[str]]) -> None:
    for place, series in _external(nwbfile).items():
        series.fields["external_file"] = list(named[place])
