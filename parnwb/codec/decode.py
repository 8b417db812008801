"""The filters that parnwb applies by itself, undone: quicker than HDF5, whose zlib takes three times as long."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec.filters import DEFLATE, FLETCHER32, SHUFFLE, fletcher32, unshuffle
from parnwb.codec.pipeline import OWN_ORDER
from parnwb.errors import CodecError
from parnwb.layout import DatasetSpec


def can_decode(spec: DatasetSpec) -> bool:
    """Tell whether all filters of a dataset are among these, in their usual order. Independent."""
    identifiers = tuple(item.identifier for item in spec.filters)
    return identifiers == tuple(item for item in OWN_ORDER if item in identifiers)


def decode(spec: DatasetSpec, mask: int, stored: Any) -> npt.NDArray[Any]:
    """Return the values of a chunk, of the shape of a chunk. Independent.

    Parameters
    ----------
    spec
        The dataset; see ``can_decode``.
    mask
        The filters that were skipped.
    stored
        The chunk as it is in the file.

    Raises
    ------
    CodecError
        The bytes are not what these filters make of a chunk.
    """
    data = stored
    for place in reversed(range(len(spec.filters))):
        if not mask >> place & 1:
            data = _undone(spec.filters[place].identifier, data, spec)
    if len(data) != spec.chunk_bytes:
        raise CodecError(f"a chunk of {spec.chunk_bytes} bytes has {len(data)}", where=spec.path)
    return np.frombuffer(data, dtype=spec.numpy_dtype).reshape(spec.grid.chunk)


def _undone(identifier: int, data: Any, spec: DatasetSpec) -> Any:
    if identifier == FLETCHER32:
        values, checksum = data[:-4], bytes(data[-4:])
        if fletcher32(values) != checksum:
            raise CodecError("the checksum of a chunk (Fletcher32) is not that of its bytes", where=spec.path)
        return values
    if identifier == DEFLATE:
        return _inflated(data, spec)
    assert identifier == SHUFFLE
    source = np.frombuffer(data, dtype=np.uint8)
    if len(source) % spec.itemsize:
        raise CodecError(f"{len(source)} shuffled bytes are no whole elements", where=spec.path)
    return unshuffle(source, spec.itemsize, np.empty_like(source)).data


def _inflated(data: Any, spec: DatasetSpec) -> Any:
    import deflate

    try:
        return deflate.zlib_decompress(data, spec.chunk_bytes)
    except Exception as error:
        raise CodecError(f"a chunk cannot be inflated: {error}", where=spec.path) from error
