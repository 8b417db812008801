"""``cross``: a file written once more in the other format, HDF5 or Zarr, through what hdmf makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.comm import Ranks
from parnwb.errors import ParnwbError, SourceError
from parnwb.io import NWBParallelIO
from parnwb.repacking.result import Change, Repacked, Stored
from parnwb.site import ZARR_SUFFIX
from parnwb.target import stored_bytes

if TYPE_CHECKING:
    from hdmf.backends.io import HDMFIO
    from mpi4py import MPI

    from parnwb.layout import DatasetSpec
    from parnwb.rewriting.coding import Recoding

SAME = ("shape", "dtype", "chunks", "filters")
"""What two datasets have in common that have the same stored chunks."""


def crosses(source: Path, output: Path | None) -> bool:
    """Tell whether a file becomes one of the other format. Independent.

    Raises
    ------
    ParnwbError
        A store would become a store, or nothing.
    """
    from_store, to_store = source.is_dir(), output is not None and str(output).endswith(ZARR_SUFFIX)
    if from_store and (to_store or output is None):
        raise ParnwbError(
            "a Zarr store is written once more as an HDF5 file only",
            where=str(source),
            remedy="Give an output such as new.nwb; without dry_run (--dry-run) and inplace (--inplace)",
        )
    return from_store or to_store


def cross(
    ranks: Ranks,
    comm: MPI.Intracomm | None,
    source: Path,
    output: Path,
    recoding: Recoding,
    settings: Mapping[str, Any],
) -> Repacked:
    """Write a file in the other format. Collective.

    Parameters
    ----------
    ranks, comm
        Who takes part.
    source, output
        The file that is read, and the new one.
    recoding
        With which chunks and compression.
    settings
        For ``NWBParallelIO``, ``bulk_threshold`` among them, and ``resume``.
    """
    began = time.monotonic()
    given = dict(settings)
    mode = "resume" if given.pop("resume", False) else "w"
    with NWBParallelIO(output, mode, comm=comm, **given) as io, ExitStack() as files:
        content, size = None, 0
        with ranks.agreed("looking at the file"):
            if ranks.is_root:
                from parnwb.authoring.export import Export
                from parnwb.repacking.translating import prepare

                size = stored_bytes(source)
                content = Export(_opened(source, files), prepare=prepare(recoding, given["bulk_threshold"]))
        io.export(content, write_args={"link_data": False})
    assert io.written is not None
    paths = [spec.path for spec in io.written.plan.layout]

    def measured() -> Repacked:
        changes = tuple(_changes(source, output, paths))
        return Repacked(output, changes, size, stored_bytes(output), 0, time.monotonic() - began)

    return ranks.on_root("measuring the file", measured)


def _opened(path: Path, files: ExitStack) -> HDMFIO:
    """Open an NWB file of either format for reading. Independent."""
    try:
        if path.is_dir():
            from hdmf_zarr import NWBZarrIO

            from parnwb.stores.references import known_pickles

            files.enter_context(known_pickles())
            return files.enter_context(NWBZarrIO(str(path), "r"))
        from pynwb import NWBHDF5IO

        return files.enter_context(NWBHDF5IO(str(path), "r"))
    except Exception as error:
        raise SourceError(
            f"the file cannot be opened: {type(error).__name__}: {error}",
            where=str(path),
            remedy="Give an NWB file, or a Zarr store that hdmf-zarr can read (pip install 'parnwb[zarr]')",
        ) from error


def _changes(source: Path, output: Path, paths: list[str]) -> Iterator[Change]:
    """Iterate over what became of the datasets. Independent."""
    with _look(source) as old, _look(output) as new:
        for path in paths:
            after, now = new(path)
            try:
                before, then = old(path)
            except KeyError:  # of a link in a store
                continue
            is_copied = all(getattr(now, name) == getattr(then, name) for name in SAME)
            yield Change(path, now.nbytes, before, after, is_copied)


@contextmanager
def _look(path: Path) -> Iterator[Callable[[str], tuple[Stored, DatasetSpec]]]:
    """Open a file to see how its datasets are stored. Independent."""
    if path.is_dir():
        import zarr

        from parnwb.sources.zarr import read_zarr_spec

        root = zarr.open_group(str(path), mode="r")
        yield lambda name: (Stored.of_array(root[name]), read_zarr_spec(root[name]))
        return
    import h5py

    from parnwb.sources.raw_chunks import read_spec

    with h5py.File(path, "r") as file:
        yield lambda name: (Stored.of(file[name]), read_spec(file[name]))
