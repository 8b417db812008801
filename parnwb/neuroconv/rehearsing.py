"""A specification's conversion that stops at the plan of each session, without MPI and without writing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parnwb.compression import Compression
from parnwb.neuroconv.conversion import AS_NEUROCONV
from parnwb.neuroconv.keywords import check_settings
from parnwb.neuroconv.sessions import creator, is_complete, make_folder, namer, opened_once, own_compression
from parnwb.neuroconv.specification import Session, read_specification
from parnwb.recordings.dry_run import Rehearsal, rehearse


@dataclass(frozen=True)
class Rehearsed:
    """What would become of one session.

    Parameters
    ----------
    session
        As the specification has it.
    path
        Where its file would go.
    found
        What would be done; None where an earlier job has finished it.
    """

    session: Session
    path: Path
    found: Rehearsal | None


def rehearse_sessions(
    specification: Path,
    data_folder_path: Path | None = None,
    output_folder_path: Path | None = None,
    overwrite: bool = False,
    *,
    ranks: int,
    resume: bool = False,
    compression: Compression = AS_NEUROCONV,
    parallel_backend: str = "auto",
    movies: str = "keep",
    **others: Any,
) -> list[Rehearsed]:
    """Return what ``run_conversion_from_yaml`` would do with each session. Independent; nothing is left behind.

    Parameters
    ----------
    ranks
        How many would do it.
    data_folder_path, output_folder_path, overwrite, resume, compression, parallel_backend, movies, others
        As for ``run_conversion_from_yaml``.

    Raises
    ------
    ParnwbError
        It would be refused, at the first session that would be.
    """
    check_settings(others)
    sessions = read_specification(specification, data_folder_path)
    folder = specification.parent if output_folder_path is None else output_folder_path
    settings = {**others, "overwrite": overwrite, "backend": parallel_backend, "resume": resume, "movies": movies}
    settings |= {"compression": own_compression(compression)}
    rehearsed: list[Rehearsed] = []
    is_new = not folder.exists()
    make_folder(folder)  # only so is it known that it can be made, and what it is like
    try:
        for session in sessions:
            conversion = opened_once(
                session,
                compression,
                ingests_movies=movies == "ingest",
                on_mismatch=others.get("on_mismatch", "raise"),
            )
            path = namer(session, conversion, folder, [one.path for one in rehearsed])()
            stays = resume and not overwrite and is_complete(path)
            found = None if stays else rehearse(creator(conversion), path, ranks, **settings)
            rehearsed.append(Rehearsed(session, path, found))
    finally:
        if is_new:
            with suppress(OSError):  # somebody has use for it meanwhile
                folder.rmdir()
    return rehearsed
