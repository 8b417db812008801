"""``Opened``: an existing file that is appended to. All that HDF5 writes to it stays in memory."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.errors import ParnwbError, TargetError
from parnwb.overlay import Overlay
from parnwb.skeleton import AuthoringOptions, Skeleton, author_on, reopen_on
from parnwb.target import ExistingBytes

if TYPE_CHECKING:
    import h5py
    from hdmf.build import Builder, BuildManager
    from pynwb import NWBHDF5IO, NWBFile


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

    def is_written(self, builder: Builder) -> bool:
        """Tell whether what a builder stands for is in the file."""
        return bool(self._io.get_written(builder))

    def extend(self, nwbfile: NWBFile, options: AuthoringOptions) -> Skeleton:
        """Write what is new in memory, bulk datasets empty; on the root only.

        The skeleton is opened anew on what was written. So the user's own view stays open; and HDF5 knows nothing of
        space that was freed meanwhile, which is still in use as long as the file on disk is the old one.
        """
        written = author_on(self._file, self._overlay, nwbfile, self._path, self.manager, options, self._io)
        self._file.flush()
        overlay = Overlay(self._overlay.extents(), self._overlay.end, self.bytes)
        return replace(written, file=reopen_on(overlay, self._path), overlay=overlay, lowest=self.lowest)

    def close_view(self) -> None:
        """Close HDF5's view of the file; the bytes stay open, and locked."""
        self._io.close()

    def close(self) -> None:
        """Close all."""
        try:
            self.close_view()
        finally:
            self.bytes.close()
