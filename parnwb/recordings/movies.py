"""What becomes of movies that a recording's series name: they stay, are brought along, or are read into the file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.comm import Ranks
from parnwb.errors import LinkError
from parnwb.restore import Earlier, find_earlier, leaves_movies
from parnwb.target import Target, tell_nobody

if TYPE_CHECKING:
    from mpi4py import MPI
    from pynwb import NWBFile

MOVIES = ("keep", "copy", "move", "ingest")
"""What can become of movies: they stay where they are, are copied or moved beside the file, or are read into it."""

BESIDE = ("copy", "move")


def check_movies_word(movies: str, output: Path) -> None:
    """Refuse what cannot become of movies. Independent."""
    if movies not in MOVIES:
        allowed = ", ".join(MOVIES)
        raise LinkError(
            f"movies must be one of {allowed}, got {movies!r}",
            where=str(output),
            remedy="keep leaves them where they are",
        )


def begun_with_copies(output: Path, settings: Mapping[str, Any]) -> bool:
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


def ingest_movies_here(nwbfile: NWBFile, on_mismatch: str = "raise", step: Callable[[str], None] = tell_nobody) -> None:
    """Read the movies of neuroconv's NWBFile into it, which are named as seen from the working folder. Independent."""
    from parnwb.movies import counted_otherwise, ingest_movies, say_counted

    say_counted(nwbfile, counted_otherwise(nwbfile, Path.cwd(), step))
    ingest_movies(nwbfile, Path.cwd(), on_mismatch, step)


def say_counted_frames(ranks: Ranks, nwbfile: NWBFile | None, output: Path) -> None:
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
def movies_placed(
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
