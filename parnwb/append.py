"""``Opened``: an existing file that is appended to. All that HDF5 writes to it stays in memory."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.authoring.growing_tables import check_tables, growing_tables
from parnwb.authoring.skeleton import AuthoringOptions, Skeleton, author_on
from parnwb.errors import ParnwbError, TargetError
from parnwb.growth import Growth, grown_sources, hold_end
from parnwb.layout import FileLayout
from parnwb.memory_file import reopen_on
from parnwb.overlay import Overlay
from parnwb.target import ExistingBytes

if TYPE_CHECKING:
    import h5py
    from hdmf.build import Builder, BuildManager
    from pynwb import NWBHDF5IO, NWBFile

EXTEND_ALL = "Extend all columns of the table by as many rows, its id and the indexes of ragged columns as well"


class Opened:
    """One rank's view of the file, which it can read and, in memory, change. Independent.

    Parameters
    ----------
    path
        The file.
    manager
        As for ``NWBHDF5IO``; None takes the namespaces that the file brings.
    leads
        Whether this rank locks the file and speaks for all.

    Attributes
    ----------
    bytes
        The file on disk.
    lowest
        Where HDF5's allocation ends: all that is new comes after it.
    nwbfile
        What ``read`` has returned; None before.

    Raises
    ------
    TargetError
        The file cannot be opened for appending; the reason is named.
    """

    def __init__(self, path: Path, manager: BuildManager | None, *, leads: bool) -> None:
        self._path, self._leads = path, leads
        self.nwbfile: NWBFile | None = None
        self.bytes = ExistingBytes(path, lock=leads)
        try:
            self._overlay = Overlay(end=self.bytes.size, beneath=self.bytes)
            self._file = self._open()
            self.lowest = self._overlay.end
            self._untouched = self._digest()
            self._io = self._reader(manager)
            self.manager: BuildManager = self._io.manager
        except BaseException:
            self.bytes.close()
            raise

    def _open(self) -> h5py.File:
        try:
            file = reopen_on(self._overlay, self._path)
            file.flush()  # HDF5 says where its allocation ends; what comes after is left from an interrupted append
        except OSError as error:
            self.bytes.check()
            raise TargetError(
                f"HDF5 cannot open the file for appending: {error}",
                where=str(self._path),
                remedy="It must be an HDF5 file that its last writer has closed",
            ) from error
        _, keeps_free_space, _ = file.id.get_create_plist().get_file_space_strategy()
        if keeps_free_space:
            file.close()
            raise TargetError(
                "the file has a list of free space, so that new data could overwrite what is there",
                where=str(self._path),
                remedy="Copy it with h5repack -S AGGREGATE, or append with pynwb.NWBHDF5IO",
            )
        return file

    def _reader(self, manager: BuildManager | None) -> NWBHDF5IO:
        from pynwb import NWBHDF5IO

        try:
            with warnings.catch_warnings():
                if not self._leads:
                    warnings.simplefilter("ignore")
                return NWBHDF5IO(path=str(self._path), mode="a", file=self._file, manager=manager)
        except Exception as error:
            raise self._unreadable(error) from error

    def read(self) -> NWBFile:
        """Return the NWBFile that the file holds.

        Raises
        ------
        TargetError
            pynwb cannot read it.
        StorageError
            The file system cannot.
        """
        if self.nwbfile is None:
            try:
                with warnings.catch_warnings():
                    if not self._leads:
                        warnings.simplefilter("ignore")
                    self.nwbfile = self._io.read()
            except Exception as error:
                raise self._unreadable(error) from error
        self.bytes.check()
        return self.nwbfile

    def _unreadable(self, error: Exception) -> ParnwbError:
        self.bytes.check()
        return TargetError(
            f"pynwb cannot read the file: {type(error).__name__}: {error}",
            where=str(self._path),
            remedy="It must be an NWB file of version 2 or later",
        )

    @property
    def changes(self) -> str | None:
        """A digest of all that the program has changed in this view, such as values of datasets; None for nothing."""
        self._file.flush()
        digest = self._digest()
        return None if digest == self._untouched else digest

    def _digest(self) -> str:
        digest = hashlib.sha256(str(self._overlay.end).encode())
        for start, data in self._overlay.extents():
            digest.update(f" {start} {len(data)} ".encode())
            digest.update(data)
        return digest.hexdigest()

    def is_written(self, builder: Builder) -> bool:
        """Tell whether what a builder stands for is in the file."""
        return bool(self._io.get_written(builder))

    def dataset(self, wanted: object) -> h5py.Dataset:
        """Return a dataset of the file.

        Parameters
        ----------
        wanted
            It itself, its path, or a container whose data it is, such as a column of a table.

        Raises
        ------
        TargetError
            It is not in this file.
        """
        import h5py

        found = getattr(wanted, "data", wanted) if not isinstance(wanted, h5py.Dataset) else wanted
        if isinstance(found, str):
            found = self._file.get(found)
        if not isinstance(found, h5py.Dataset) or found.file != self._file:
            raise TargetError(
                f"only a dataset of this file can be extended, got {wanted!r}",
                where=str(self._path),
                remedy="Give its path in the file, or what read has returned of it",
            )
        return found

    def author(self, nwbfile: NWBFile | None, options: AuthoringOptions, growths: Sequence[Growth] = ()) -> Skeleton:
        """Write what is new in memory, bulk datasets empty; on the root only.

        The skeleton is opened anew on what was written. So the user's own view stays open, with old data where they
        were; and HDF5 knows nothing of space that was freed meanwhile, which is still in use as long as the file on
        disk is the old one.

        Parameters
        ----------
        nwbfile
            What ``read`` returned, with more in it; None if only datasets grow.
        options
            How it is written.
        growths
            Datasets that get more rows.
        """
        if nwbfile is None:
            written = Skeleton(self._file, self._overlay, FileLayout(()), {}, {}, options.backend)
        else:
            written = author_on(self._file, self._overlay, nwbfile, self._path, self.manager, options, self._io)
        self._file.flush()
        overlay = self._copied(self._overlay)
        specs = list(written.layout)
        if growths:
            with reopen_on(overlay, self._path) as file:
                begun = [growth.begin(file) for growth in growths]
                filled = {**written.sources, **grown_sources(growths)}
                tables = growing_tables(file, filled, [growth.path for growth in growths])
                check_tables(tables, {}, {}, EXTEND_ALL)
            specs += [spec for spec in begun if spec is not None]
            overlay = self._copied(overlay)
        file = reopen_on(overlay, self._path)
        return replace(
            written,
            file=file,
            overlay=overlay,
            layout=FileLayout(tuple(sorted(specs, key=lambda spec: spec.path))),
            sources={**written.sources, **grown_sources(growths)},
            lowest=self.lowest,
            held=hold_end(file, overlay, self.lowest),
        )

    def _copied(self, overlay: Overlay) -> Overlay:
        return Overlay(overlay.extents(), overlay.end, self.bytes)

    def close_view(self) -> None:
        """Close HDF5's view of the file; the bytes stay open, and locked."""
        self._io.close()

    def close(self) -> None:
        """Close all."""
        try:
            self.close_view()
        finally:
            self.bytes.close()
