"""HDF5 files in memory: h5py on an ``Overlay``, which a disk sees only when somebody writes its bytes there."""

from __future__ import annotations

import os
from pathlib import Path

import h5py

from parnwb.overlay import Overlay


def open_on(
    overlay: Overlay,
    path: Path,
    creation: h5py.h5p.PropFCID | None = None,
    oldest: int = h5py.h5f.LIBVER_EARLIEST,
) -> h5py.File:
    """Create an HDF5 file on ``overlay`` that believes to be ``path``, as relative links need it. Independent.

    Parameters
    ----------
    creation
        Properties of the file.
    oldest
        The version of HDF5 that is to read all of it.
    """
    access = _access_to(overlay, oldest)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access))


def reopen_on(overlay: Overlay, path: Path) -> h5py.File:
    """Open the HDF5 file that ``overlay`` holds, for writing. Independent."""
    return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDWR, fapl=_access_to(overlay)))


def _access_to(overlay: Overlay, oldest: int = h5py.h5f.LIBVER_EARLIEST) -> h5py.h5p.PropFAID:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(oldest, h5py.h5f.LIBVER_LATEST)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, overlay)
    return access
