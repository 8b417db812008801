"""The collective calls: one conversion, and one after another from a specification.

The file is the one that neuroconv's own ``run_conversion`` would have written. Where that needs one process, the root
alone has neuroconv build the NWBFile; the reading, compressing and writing are shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.compression import Compression
from parnwb.errors import AgreementError
from parnwb.io import NWBParallelIO
from parnwb.neuroconv.conversion import AS_NEUROCONV, Conversion
from parnwb.neuroconv.keywords import check_mode, check_settings, divided
from parnwb.neuroconv.sessions import creator, is_complete, make_folder, namer, opened_once, own_compression
from parnwb.neuroconv.specification import Session, read_specification
from parnwb.recordings.conversion import Converted, converted, write_built
from parnwb.sources.sending import NotSendableError

if TYPE_CHECKING:
    from mpi4py import MPI
    from pynwb import NWBFile


def run_conversion(
    converter: Any,
    nwbfile_path: str | Path,
    *,
    nwbfile: NWBFile | None = None,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    backend: str | None = None,
    backend_configuration: Any = None,
    conversion_options: Mapping[str, Any] | None = None,
    append_on_disk_nwbfile: bool = False,
    comm: MPI.Intracomm | None = None,
    resume: bool = False,
    compression: Compression = AS_NEUROCONV,
    parallel_backend: str = "auto",
    **more: Any,
) -> Converted:
    """Do what ``converter.run_conversion`` does, with all ranks. Collective.

    Parameters
    ----------
    converter
        A data interface or converter of neuroconv, the same on every rank. The other ranks use theirs only where the
        root's sources cannot be sent to them (TIFF stacks, say); elsewhere it may be None there.
    nwbfile_path, metadata, overwrite
        As for neuroconv's ``run_conversion``.
    nwbfile
        As for neuroconv: an NWBFile in memory to add to; on every rank, or on the root alone.
    backend
        neuroconv's, a file format: ``'hdf5'`` or None. What fills the file is ``parallel_backend``.
    backend_configuration
        As for neuroconv; for HDF5.
    conversion_options
        As for neuroconv; for an interface they may also be given as keywords.
    append_on_disk_nwbfile
        As for neuroconv: whether to add to an existing file.
    comm
        Communicator of the ranks that take part; None for this process alone.
    resume
        Whether to go on where an earlier job ended; without one the file is begun.
    compression
        ``'neuroconv'``: as ``backend_configuration`` or neuroconv's default says. Anything else is as for
        ``NWBParallelIO``, and applies to datasets for which a ``backend_configuration`` asks for no filter; without
        one, to all bulk data.
    parallel_backend
        The ``backend`` of ``NWBParallelIO``.
    **more
        Other settings of ``NWBParallelIO`` (``buffer_mb``, ``commit_interval``, ``progress`` ...), and an interface's
        conversion options.

    Raises
    ------
    ParnwbError
        The same on all ranks. ``SourceError`` tells what neuroconv refused.
    """
    ranks = Ranks(comm, until_checked(more.get("watchdog", DEFAULT_WATCHDOG)))
    try:
        with ranks.agreed("run_conversion"):
            check_mode(nwbfile, backend, backend_configuration, append=append_on_disk_nwbfile, resume=resume)
            settings, options = divided(converter, more, conversion_options)
        ranks.same({"append_on_disk_nwbfile": append_on_disk_nwbfile}, "Pass the same keywords on every rank")
        settings |= {"comm": comm, "backend": parallel_backend, "compression": own_compression(compression)}

        @cache
        def conversion() -> Conversion:
            made = Conversion(converter, metadata, options, backend_configuration, compression)
            return made.prepared(appends=append_on_disk_nwbfile)

        if append_on_disk_nwbfile:
            return _append(ranks, conversion, Path(nwbfile_path), settings)
        mode = "resume" if resume else "w"
        settings |= {"overwrite": overwrite}
        if _check_given(ranks, nwbfile):
            return _add(ranks, conversion, nwbfile, Path(nwbfile_path), mode, settings)
        return write_built(ranks, creator(conversion), Path(nwbfile_path), mode, **settings)
    finally:
        ranks.free()


def run_conversion_from_yaml(
    specification_file_path: str | Path,
    data_folder_path: str | Path | None = None,
    output_folder_path: str | Path | None = None,
    overwrite: bool = False,
    *,
    comm: MPI.Intracomm | None = None,
    resume: bool = False,
    compression: Compression = AS_NEUROCONV,
    parallel_backend: str = "auto",
    movies: str = "keep",
    **others: Any,
) -> list[Converted]:
    """Convert the sessions of neuroconv's YAML conversion specification, one after another. Collective.

    Needs no ``dandi``, and uploads nothing. A session without ``nwbfile_name`` makes ``sub-SUBJECT_ses-SESSION.nwb``,
    after ``subject_id`` and ``session_id`` in the metadata, or else the session's start.

    Parameters
    ----------
    specification_file_path
        The YAML file.
    data_folder_path, output_folder_path
        Where the paths in it begin, and where the files go; None for the folder of the specification.
    overwrite
        Whether to replace existing files.
    comm, compression, parallel_backend, others
        As for ``run_conversion``.
    resume
        Whether to go on where an earlier job ended: finished sessions are left as they are, unless ``overwrite``.
    movies
        What becomes of external files of series: ``'keep'``, ``'copy'`` or ``'move'`` beside the NWB file, or
        ``'ingest'``: their frames become data.

    Returns
    -------
    converted
        What was made, in the specification's order, without the sessions that were finished already.

    Raises
    ------
    ParnwbError
        The same on all ranks, at the first session that fails; those before it are complete.
    """
    specification = Path(specification_file_path)
    data_folder = None if data_folder_path is None else Path(data_folder_path)
    output_folder = specification.parent if output_folder_path is None else Path(output_folder_path)
    ranks = Ranks(comm, until_checked(others.get("watchdog", DEFAULT_WATCHDOG)))
    settings = {**others, "comm": comm, "overwrite": overwrite, "backend": parallel_backend}
    settings |= {"compression": own_compression(compression)}
    mode = "resume" if resume else "w"

    def sessions_to_convert() -> list[Session]:
        check_settings(others)
        found = read_specification(specification, data_folder)
        make_folder(output_folder)
        return found

    made: list[Converted] = []
    taken: set[Path] = set()
    try:
        for session in ranks.on_root("reading the conversion specification", sessions_to_convert):
            conversion = opened_once(
                session,
                compression,
                ingests_movies=movies == "ingest",
                on_mismatch=others.get("on_mismatch", "raise"),
            )
            path = ranks.on_root("naming the file", namer(session, conversion, output_folder, taken))
            taken.add(path)
            if resume and not overwrite and ranks.on_root("looking at the output", partial(is_complete, path)):
                continue
            build = creator(conversion, ranks.going_on)
            made.append(write_built(ranks, build, path, mode, movies=movies, **settings))
    finally:
        ranks.free()
    return made


def _append(
    ranks: Ranks, conversion: Callable[[], Conversion], path: Path, settings: Mapping[str, Any]
) -> Converted:
    """Add to an existing file, on the root alone where that is enough. Collective."""
    began = time.monotonic()

    def append(everywhere: bool) -> NWBParallelIO:
        with NWBParallelIO(path, "r+", **settings) as io:
            nwbfile = io.read()
            io.write(conversion().added_to(nwbfile) if everywhere or ranks.is_root else None)
        return io

    try:
        io = append(everywhere=False)
    except NotSendableError:
        io = append(everywhere=True)
    return converted(ranks, io, began)


def _add(
    ranks: Ranks,
    conversion: Callable[[], Conversion],
    nwbfile: NWBFile | None,
    path: Path,
    mode: str,
    settings: Mapping[str, Any],
) -> Converted:
    """Write the NWBFile that was given, with what is added to it where it was given. Collective."""
    began = time.monotonic()
    with NWBParallelIO(path, mode, **settings) as io:
        io.write(None if nwbfile is None else conversion().added_to(nwbfile))
    return converted(ranks, io, began)


def _check_given(ranks: Ranks, nwbfile: NWBFile | None) -> bool:
    """Tell whether an NWBFile was given: on every rank, or on the root alone. Collective."""
    given = ranks.gather_all(nwbfile is not None)
    if any(given) and not (given[0] and len(set(given[1:])) <= 1):
        raise ranks.known_to_all(
            AgreementError(
                f"nwbfile must be given on every rank or on rank 0 alone, rank {given.index(not given[0])} differs",
                remedy="Give it on every rank",
            )
        )
    return any(given)
