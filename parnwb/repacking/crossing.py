"""``cross``: a file written once more through what hdmf makes of it: from or to a Zarr store."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.comm import Ranks
from parnwb.element import NUMERIC_KINDS
from parnwb.errors import LayoutError, LinkError, ParnwbError, SourceError
from parnwb.io import NWBParallelIO
from parnwb.repacking.outside import check_movies_found_from
from parnwb.repacking.result import Change, Repacked, Stored
from parnwb.site import ZARR_SUFFIX
from parnwb.target import stored_bytes

if TYPE_CHECKING:
    from hdmf.backends.io import HDMFIO
    from mpi4py import MPI

    from parnwb.layout import DatasetSpec
    from parnwb.rewriting.coding import Recoding

Place = tuple[Stored, "DatasetSpec"]
"""How a dataset is stored, in words and as a layout has it."""
SAME = ("shape", "dtype", "chunks", "filters")
"""What two datasets have in common that have the same stored chunks."""


def crosses(source: Path, output: Path | None) -> bool:
    """Tell whether a Zarr store is read or written. Independent.

    Raises
    ------
    ParnwbError
        Nothing would become of a store; or one would be replaced by something else.
    """
    from_store, to_store = source.is_dir(), output is not None and str(output).endswith(ZARR_SUFFIX)
    if from_store and output is None:
        raise ParnwbError(
            "what would become of a file is told of HDF5 files only, this is a Zarr store",
            where=str(source),
            remedy=f"Without dry_run (--dry-run) give an output, such as new.nwb{ZARR_SUFFIX}: the old store stays",
        )
    if from_store and not to_store and output == Path(os.path.realpath(source)):
        raise ParnwbError(
            f"a Zarr store that is replaced must have a name that ends in {ZARR_SUFFIX}",
            where=str(source),
            remedy="Rename it, or give an output instead of inplace (--inplace)",
        )
    return from_store or to_store


def check_no_store(work: str, source: Path, outputs: Sequence[Path]) -> None:
    """Refuse Zarr stores where only HDF5 files are read and written. Independent.

    Parameters
    ----------
    work
        What takes none.

    Raises
    ------
    ParnwbError
        Names the first store.
    """
    stores = [source] if source.is_dir() else [path for path in outputs if path.name.endswith(ZARR_SUFFIX)]
    if stores:
        remedy = (
            f"parnwb repack {source.name} whole.nwb makes an HDF5 file of it, with what its links lead to"
            if source.is_dir()
            else "Give names that end in .nwb; parnwb repack makes a store of an HDF5 file, with what its links lead to"
        )
        what = f"{work} reads and writes HDF5 files only, this is a Zarr store"
        raise ParnwbError(what, where=str(stores[0]), remedy=remedy)


def cross(
    ranks: Ranks,
    comm: MPI.Intracomm | None,
    source: Path,
    output: Path,
    recoding: Recoding,
    settings: Mapping[str, Any],
) -> Repacked:
    """Write a file in the format that the name of the output says. Collective.

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
        in_store: dict[str, Place] = {}
        with ranks.agreed("looking at the file"):
            if ranks.is_root:
                from parnwb.authoring.export import Export
                from parnwb.repacking.translating import prepare

                files_to_read = _opened(source, files)
                check_movies_found_from(source, output)
                changing = prepare(recoding, given["bulk_threshold"], to_store=str(output).endswith(ZARR_SUFFIX))
                content = Export(files_to_read, prepare=changing)
                size = stored_bytes(source)
                if source.is_dir():  # before it may be replaced
                    in_store = _arrays(source)
        linked = ranks.on_root("looking at links", lambda: _link_out(source))
        try:
            io.export(content, write_args={"link_data": False})
        except LayoutError as error:
            if error.remedy:
                raise
            raise ranks.known_to_all(_explained(error, source, output, linked)) from error
    assert io.written is not None
    paths = [spec.path for spec in io.written.plan.layout]

    def measured() -> Repacked:
        old = in_store if source.is_dir() else _datasets(source, paths)
        new = _arrays(output) if output.is_dir() else _datasets(output, paths)
        changes = tuple(_change(path, old[path], new[path]) for path in paths if path in old)  # else behind a link
        return Repacked(output, changes, size, stored_bytes(output), 0, time.monotonic() - began)

    return ranks.on_root("measuring the file", measured)


def _explained(error: LayoutError, source: Path, output: Path, linked: str) -> ParnwbError:
    """Return what is said of a file that hdmf has not written. Independent."""
    if linked:
        return LinkError(
            f"what {linked} leads to cannot be written to another format as it is: {error.message}",
            where=str(source),
            remedy="Let parnwb merge make one file of it first, and repack that",
        )
    return LayoutError(
        f"hdmf cannot write all of it to {output.name}: {error.message}",
        where=str(source),
        remedy="Keep it in the format that it has, which is written without hdmf, or remove what that is",
    )


def _link_out(path: Path) -> str:
    """Return the place of the first link to another file, empty if there is none. Independent."""
    if path.is_dir():
        return ""
    import h5py

    from parnwb.links.following import outward_links

    with h5py.File(path, "r") as file:
        return next((link.path for link in outward_links(file)), "")


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


def _change(path: str, old: Place, new: Place) -> Change:
    (before, then), (after, now) = old, new
    is_copied = all(getattr(now, name) == getattr(then, name) for name in SAME)
    return Change(path, now.nbytes, before, after, is_copied)


def _datasets(path: Path, names: list[str]) -> dict[str, Place]:
    """Return how datasets of an HDF5 file are stored, by their paths. Independent."""
    import h5py

    from parnwb.sources.raw_chunks import read_spec

    with h5py.File(path, "r") as file:
        return {name: (Stored.of(file[name]), read_spec(file[name])) for name in names}


def _arrays(path: Path) -> dict[str, Place]:
    """Return how all arrays of numbers in a store are stored, by their paths. Independent."""
    import zarr

    from parnwb.sources.zarr import read_zarr_spec
    from parnwb.stores.references import known_pickles

    found: dict[str, Place] = {}

    def look(item: Any) -> None:
        if isinstance(item, zarr.Array) and item.dtype.kind in NUMERIC_KINDS and item.shape:
            found[item.name] = (Stored.of_array(item), read_zarr_spec(item))

    with known_pickles():  # of compound values, in the metadata
        zarr.open_group(str(path), mode="r").visitvalues(look)
    return found
