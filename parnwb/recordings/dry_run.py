"""A conversion that stops at its plan, without MPI and without writing: the same skeleton, into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.authoring.bulk_rule import BulkRule
from parnwb.authoring.skeleton import Authored, AuthoringOptions, author, expected_bytes
from parnwb.modes import target_of
from parnwb.movies import counted_otherwise, say_counted
from parnwb.planning.plan import WritePlan
from parnwb.planning.write_queue import write_queue
from parnwb.recordings.conversion import builder
from parnwb.recordings.movies import BESIDE, check_begun_with_copies, check_movies_word
from parnwb.restore import Earlier
from parnwb.settings import WriteSettings
from parnwb.site import BackendChoice, backend_for, choose_backend
from parnwb.stores.rule import StoreRule
from parnwb.target import Target
from parnwb.target.space import space_left
from parnwb.writer import layout_of, look_for_earlier, plan_of

if TYPE_CHECKING:
    from pynwb import NWBFile

    from parnwb.movies.placing import Placing
    from parnwb.recordings.conversion import SourceData


def plan_nwbfile(nwbfile: NWBFile, ranks: int, **settings: Any) -> WritePlan:
    """Return the plan by which ``ranks`` ranks would write ``nwbfile``. Independent; nothing is written.

    Parameters
    ----------
    settings
        For ``WriteSettings``.
    """
    given = WriteSettings(**settings)
    with _authored(nwbfile, Path("plan.nwb").absolute(), given, choose_backend(given.backend)) as skeleton:
        return _planned(skeleton, ranks, given)


def plan_conversion(source: SourceData, ranks: int, **settings: Any) -> WritePlan:
    """Return the plan by which ``ranks`` ranks would convert a recording. Independent; nothing is written."""
    nwbfile, rule = source.nwbfile(), BulkRule(on_mismatch=source.on_mismatch)
    say_counted(nwbfile, counted_otherwise(nwbfile, Path.cwd()))
    return plan_nwbfile(nwbfile, ranks, rule=rule, **settings)


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
    movies, movie_bytes
        How many movies would be brought beside it, and their bytes.
    """

    plan: WritePlan
    backend: BackendChoice
    what: str
    about: int
    free: int
    movies: int = 0
    movie_bytes: int = 0


def rehearse_conversion(source: SourceData, output: Path, ranks: int, **settings: Any) -> Rehearsal:
    """Return what ``convert`` would do with a recording. Independent; nothing is written.

    Parameters
    ----------
    ranks
        How many would do it.
    settings
        As for ``convert``.

    Raises
    ------
    ParnwbError
        It would be refused.
    """
    return rehearse(builder(source, output), output, ranks, **settings)


def rehearse(
    build: Callable[[], NWBFile],
    output: Path,
    ranks: int,
    *,
    resume: bool = False,
    movies: str = "keep",
    **settings: Any,
) -> Rehearsal:
    """Return what ``write_built`` would do. Independent; nothing is written.

    Raises
    ------
    ParnwbError
        It would be refused.
    """
    check_movies_word(movies, output)
    backend = backend_for(output, settings.get("backend", "auto"))
    target = target_of(output, "w", backend, settings.get("local"))
    chosen = {name: settings[name] for name in ("no_copy", "on_mismatch") if name in settings}
    rule = (StoreRule if backend == "zarr" else BulkRule)(**chosen)
    given = WriteSettings.among({**settings, "backend": backend, "rule": rule, "resume": resume})
    target.try_out(break_lock=settings.get("break_lock", False))
    earlier = look_for_earlier(target, given)
    choice, nwbfile = choose_backend(given.backend), build()
    if movies in BESIDE:
        check_begun_with_copies(earlier, target.path)
    sizes = [item.nbytes for item in _placed(nwbfile, target.path, movies, was_begun=earlier is not None)]
    say_counted(nwbfile, counted_otherwise(nwbfile, target.path.parent))
    with _authored(nwbfile, target.path, given, choice) as skeleton:
        plan = _planned(skeleton, ranks, given)
        expected = expected_bytes(skeleton, [spec.nbytes for spec in skeleton.layout])
    if earlier is None:
        target.require_space(expected.least)
    free = space_left(target.path.parent).free
    return Rehearsal(plan, choice, _becomes(target, earlier), expected.about, free, len(sizes), sum(sizes))


def _placed(nwbfile: NWBFile, path: Path, movies: str, *, was_begun: bool) -> list[Placing]:
    if movies not in BESIDE:
        return []
    from parnwb.movies import name_from_here, plan_placing

    if was_begun:
        name_from_here(nwbfile, path)
        return []
    return plan_placing(nwbfile, path, movies)


@contextmanager
def _authored(nwbfile: NWBFile, path: Path, settings: WriteSettings, choice: BackendChoice) -> Iterator[Authored]:
    from pynwb import get_manager

    options = AuthoringOptions(settings.rule, settings.compression, choice, chunks=settings.chunks)
    if choice.name == "zarr":
        from parnwb.stores.skeleton import author_store

        yield author_store(nwbfile, path, get_manager(), options)
        return
    skeleton = author(nwbfile, path, get_manager(), options)
    try:
        yield skeleton
    finally:
        skeleton.file.close()


def _planned(skeleton: Authored, ranks: int, settings: WriteSettings) -> WritePlan:
    layout = layout_of(skeleton)
    return plan_of(layout, ranks, settings, write_queue(settings.queue, layout))


def _becomes(target: Target, earlier: Earlier | None) -> str:
    if earlier is not None and earlier.finished:
        return "which an earlier job has finished"
    if earlier is not None:
        return f"going on after {len(earlier.committed.records)} chunks that an earlier job has committed"
    return "replacing the file that is there" if target.path.exists() else "a new file"
