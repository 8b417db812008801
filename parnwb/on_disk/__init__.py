"""Finished files as they are on disk, to be examined and read back: HDF5 files and Zarr stores."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from parnwb.comm import Ranks
from parnwb.errors import VerificationError
from parnwb.finding import Finding
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.on_disk.words import one_line
from parnwb.sources import Source
from parnwb.target.folder import is_store

__all__ = ["OnDisk", "on_disk", "one_line"]


class OnDisk(Protocol):
    """A finished file, or store. All calls are independent."""

    def examine(
        self, sources: Mapping[str, Source], ranks: Ranks
    ) -> tuple[FileLayout, FileLayout, list[Finding]]:
        """Return the datasets whose elements are their bytes, the others, and what is missing. On the root.

        Parameters
        ----------
        sources
            What they are to be compared with, by path.
        ranks
            Whose watchdog is told what is looked at.
        """

    def opened(self, layout: FileLayout) -> AbstractContextManager[Any]:
        """Open it for reading: what is entered has datasets by their paths, which are read by slices."""

    def converted(self, source: Source, spec: DatasetSpec) -> Source:
        """Return a source whose values are as they should be stored, or will be converted as HDF5 does it."""

    def validate(self) -> Any:
        """Return what pynwb's validator returns; raise what keeps it from reading. On the root."""


def on_disk(path: Path) -> OnDisk:
    """Return what is at ``path``. Independent.

    Raises
    ------
    VerificationError
        It is partial, or a folder that is no Zarr store, or a store that cannot be read here.
    """
    if path.suffix == ".partial":
        raise VerificationError(
            "a partial file is not complete",
            where=str(path),
            remedy="It is left over from a writing that failed, or is still going on",
        )
    if not path.is_dir():
        from parnwb.on_disk.hdf5 import HDF5OnDisk

        return HDF5OnDisk(path)
    if not is_store(path):
        raise VerificationError(
            "a folder is no NWB file, unless it is a Zarr store",
            where=str(path),
            remedy="Give the name of one file, or of a store such as out.nwb.zarr",
        )
    try:
        from parnwb.on_disk.store import StoreOnDisk
    except ImportError as error:
        raise VerificationError(
            f"this store cannot be read without hdmf-zarr: {error}",
            where=str(path),
            remedy="pip install 'parnwb[zarr]'",
        ) from error
    return StoreOnDisk(path)
