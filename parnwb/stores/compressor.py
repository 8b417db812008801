"""What ``compression=`` means for Zarr arrays."""

from __future__ import annotations

from typing import Any

from parnwb.compression import Compression, parted
from parnwb.errors import CodecError


def compressor_settings(compression: Compression) -> dict[str, Any]:
    """Return the keywords with which Zarr creates an array that is compressed so. Independent.

    Parameters
    ----------
    compression
        As for ``NWBParallelIO``: None and ``'auto'`` leave the choice to Zarr, whose default every reader of Zarr has.

    Raises
    ------
    CodecError
        It is a filter of HDF5 that Zarr does not have.
    """
    import numcodecs

    if compression in (None, "auto"):
        return {}
    if compression == "none":
        return {"compressor": None}
    name, level = parted(compression)
    if name == "gzip":
        return {"compressor": numcodecs.GZip(level=level)}
    if name == "zstd":
        return {"compressor": numcodecs.Zstd(level=level)}
    raise CodecError(
        f"compression {compression!r} is a filter of HDF5, which Zarr does not have",
        remedy="Choose auto (Zarr's default), gzip, zstd or none; or give ZarrDataIO(data, compressor=...)",
    )
