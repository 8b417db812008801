"""Values that stay in a flat binary file: HDF5's external storage, where it is honest.

The dataset is then the file's bytes, whoever changes them, and HDF5 looks for the file by the name that is stored.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hdmf.build import DatasetBuilder
from hdmf.data_utils import DataIO, GenericDataChunkIterator

from parnwb.builders import location, unwrapped
from parnwb.errors import LinkError
from parnwb.sources.adapt import as_source
from parnwb.sources.binary import BinarySource


def flat_file(builder: DatasetBuilder) -> BinarySource | None:
    """Return the flat binary file that holds the data of a builder, None where they are elsewhere. Independent."""
    data = unwrapped(builder.data)
    if not isinstance(data, np.ndarray | GenericDataChunkIterator):
        return None
    source = as_source(data)
    return source if isinstance(source, BinarySource) else None


def check_left_in_place(builder: DatasetBuilder, source: BinarySource) -> None:
    """Refuse to leave data where they are if they are not what the dataset must be. Independent.

    Raises
    ------
    LinkError
        Columns, type or filters are in the way.
    """
    where, remedy = f"{location(builder)} in {source.path}", "Write without no_copy (--no-copy)"
    if source.columns is not None and source.shape != source.file_shape:
        raise LinkError(
            f"only a whole file can be left in place: it has {source.file_shape[-1]} columns, the dataset "
            f"{source.shape[-1]} (a SpikeGLX file has a column of its own for synchronisation)",
            where=where,
            remedy=remedy,
        )
    wanted = np.dtype(builder.dtype) if isinstance(builder.dtype, type) else source.dtype
    if wanted.newbyteorder("=") != source.dtype.newbyteorder("="):
        raise LinkError(
            f"values that are left in place cannot be converted: the file has {source.dtype}, the dataset {wanted}",
            where=where,
            remedy=remedy,
        )
    asked = builder.data.io_settings if isinstance(builder.data, DataIO) else {}
    if asked := sorted(name for name, value in asked.items() if value not in (None, False)):
        raise LinkError(
            f"values that are left in place have neither chunks nor filters, asked for are {', '.join(asked)}",
            where=where,
            remedy=f"Give the data bare, without H5DataIO, or {remedy[0].lower()}{remedy[1:]}",
        )


def creation_of(source: BinarySource) -> dict[str, Any]:
    """Return h5py's settings of a dataset whose values are in a file. Independent."""
    nbytes = int(np.prod(source.shape)) * source.dtype.itemsize
    return {
        "shape": source.shape,
        "dtype": source.dtype,
        "external": [(os.fspath(source.path), source.offset, nbytes)],
    }


def warning_of(path: str, source: BinarySource) -> str:
    """Return what a user must know of such a dataset. Independent."""
    return (
        f"{path} stays in {source.path}: readers find it by this name only, on this machine, and a change of that "
        "file changes the data. HDF5 would look for a relative name in the reader's working folder, unless "
        "HDF5_EXTFILE_PREFIX='${ORIGIN}' is set; DANDI takes no such file"
    )
