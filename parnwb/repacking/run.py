"""The run of one rewriting: the root knows what is written, all ranks write it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.comm import Ranks
from parnwb.errors import SourceError
from parnwb.io import NWBParallelIO
from parnwb.repacking.outside import check_found_from
from parnwb.repacking.result import Repacked

if TYPE_CHECKING:
    import h5py
    from mpi4py import MPI

    from parnwb.rewriting.rewriting import Rewriting

Content = Callable[[ExitStack], "Rewriting"]


def run(
    ranks: Ranks,
    comm: MPI.Intracomm | None,
    source: Path,
    output: Path | None,
    content: Content,
    settings: Mapping[str, Any],
) -> Repacked:
    """Write a file from others. Collective.

    Parameters
    ----------
    ranks, comm
        Who takes part.
    source
        The file that is read, for the report.
    output
        The new one; None to tell only what would become of it.
    content
        Returns what is written, and has what it opens closed; called on the root.
    settings
        For ``NWBParallelIO``, and ``resume``.
    """
    began = time.monotonic()
    with ExitStack() as files:
        if output is None:
            return ranks.on_root("looking at the file", lambda: _forecast(content(files), source))
        given = dict(settings)
        mode = "resume" if given.pop("resume", False) else "w"
        with NWBParallelIO(output, mode, comm=comm, **{"backend": "direct", **given}) as io:
            what = None
            with ranks.agreed("looking at the file"):
                if ranks.is_root:
                    what = content(files)
                    check_found_from(what, output)
                    size = _size(what)  # before it may be replaced
            io.rewrite(what)
        return ranks.on_root(
            "measuring the file",
            lambda: replace(_measured(what, output), before=size, seconds=time.monotonic() - began),
        )


def opened_source(path: Path, files: ExitStack) -> h5py.File:
    """Open a file for reading. Independent.

    Raises
    ------
    SourceError
        It cannot be opened.
    """
    import h5py

    try:
        return files.enter_context(h5py.File(path, "r"))
    except OSError as error:
        raise SourceError(
            f"the file cannot be opened: {error}",
            where=str(path),
            remedy="Give an HDF5 file that no program has open for writing",
        ) from error


def _forecast(content: Rewriting, source: Path) -> Repacked:
    from parnwb.repacking.forecast import forecast

    return forecast(content, source)


def _size(content: Rewriting) -> int:
    return sum(os.path.getsize(name) for name in content.found.files)


def _measured(content: Rewriting | None, output: Path) -> Repacked:
    """Return what became of the datasets. Independent; on the root."""
    import h5py

    from parnwb.repacking.result import Change, Stored
    from parnwb.sources import takes_over
    from parnwb.sources.raw_chunks import read_spec

    assert content is not None
    changes = []
    with h5py.File(output, "r") as file:
        for item in sorted(content.found.bulk, key=lambda item: item.path):
            made = file[item.path]
            is_copied = takes_over(content.sources[item.path], read_spec(made))
            raw = int(made.size * made.dtype.itemsize)
            changes.append(Change(item.path, raw, Stored.of(item.dataset), Stored.of(made), is_copied))
    return Repacked(output, tuple(changes), 0, os.path.getsize(output), 0)
