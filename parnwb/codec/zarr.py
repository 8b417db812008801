"""Codecs of Zarr arrays: what Zarr's metadata say of them, as filters of a layout, and chunks that are encoded so.

Zarr's names for some of HDF5's filters are others, the bytes are the same: those are HDF5's in a layout, so that chunks
can go from one format to the other as they are stored.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec.filters import DEFLATE, FLETCHER32, NUMCODECS, SHUFFLE, shuffle
from parnwb.codec.protocol import Pipeline
from parnwb.errors import CodecError
from parnwb.layout import DatasetSpec, FilterSpec

ZLIB_HEADER, ZLIB_TRAILER = 2, 4
ZLIBS_OWN_LEVEL = 6
"""What zlib takes for level -1, which HDF5 does not have."""
GZIP_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF))


def filters_of(configurations: Sequence[Mapping[str, Any]], itemsize: int) -> tuple[FilterSpec, ...]:
    """Return codecs as filters of a layout. Independent.

    Parameters
    ----------
    configurations
        Of the codecs, in the order of encoding, as Zarr's metadata have them: filters first, then the compressor.
    itemsize
        Bytes of an element.
    """
    return tuple(_filter_of(dict(configuration), itemsize) for configuration in configurations)


def _filter_of(configuration: dict[str, Any], itemsize: int) -> FilterSpec:
    name = configuration["id"]
    if name == "shuffle" and configuration.get("elementsize") == itemsize:
        return FilterSpec(SHUFFLE, (itemsize,), "shuffle")
    if name == "zlib":
        return FilterSpec(DEFLATE, (_level(configuration),), "deflate")
    if name == "fletcher32":
        return FilterSpec(FLETCHER32, (), "fletcher32")
    return FilterSpec(NUMCODECS, (), json.dumps(configuration, sort_keys=True))


def _level(configuration: Mapping[str, Any]) -> int:
    level = int(configuration.get("level", 1))
    return ZLIBS_OWN_LEVEL if level < 0 else level


def configuration_of(item: FilterSpec) -> dict[str, Any]:
    """Return a filter as Zarr's metadata have it. Independent.

    Raises
    ------
    CodecError
        Zarr has no such codec.
    """
    if item.identifier == SHUFFLE:
        return {"id": "shuffle", "elementsize": item.options[0]}
    if item.identifier == DEFLATE:
        return {"id": "zlib", "level": item.options[0]}
    if item.identifier == FLETCHER32:
        return {"id": "fletcher32"}
    if item.identifier == NUMCODECS:
        configuration: dict[str, Any] = json.loads(item.name)
        return configuration
    raise CodecError(f"filter {item.identifier} ({item.name or 'no name'}) is not one of Zarr's codecs")


def codec_of(item: FilterSpec) -> Any:
    """Return the codec of numcodecs that a filter is. Independent.

    Raises
    ------
    CodecError
        There is none, here or at all.
    """
    from numcodecs import get_codec

    configuration = configuration_of(item)
    try:
        return get_codec(configuration)
    except (ValueError, TypeError, ImportError) as error:
        raise CodecError(
            f"codec {configuration.get('id')!r} is not installed: {error}",
            remedy="Install the package that registers it with numcodecs, on every host",
        ) from error


def in_words(item: FilterSpec) -> str:
    """Return a codec's name, with the program and the level that it has. Independent."""
    configuration = configuration_of(item)
    told = (configuration.get(name) for name in ("id", "cname", "level", "clevel"))
    return "-".join(str(value) for value in told if value is not None)


def in_deflate(spec: DatasetSpec) -> DatasetSpec | None:
    """Return a dataset whose chunks have the deflate stream of gzip's in an HDF5 filter; None if it has no gzip.

    Independent.
    """
    *before, last = spec.filters or (FilterSpec(0, (), ""),)
    if last.identifier != NUMCODECS or any(item.identifier != SHUFFLE for item in before):
        return None
    configuration = configuration_of(last)
    if configuration["id"] != "gzip":
        return None
    return replace(spec, filters=(*before, FilterSpec(DEFLATE, (_level(configuration),), "deflate")))


class GzipFrames:
    """Chunks that zlib has compressed, in gzip's frames: the same stream between another head and tail.

    Parameters
    ----------
    inner
        Compresses.
    shuffled_itemsize
        Bytes of an element where a shuffle comes first; 1 where it does not.
    """

    def __init__(self, inner: Pipeline, shuffled_itemsize: int) -> None:
        self._inner, self._itemsize = inner, shuffled_itemsize
        self._planes = np.empty(0, dtype=np.uint8)

    def encode(self, chunk: npt.NDArray[Any]) -> tuple[int, Any]:
        """Return the frame; no filter is ever skipped."""
        from isal.isal_zlib import crc32

        _, stream = self._inner.encode(chunk)
        octets = self._shuffled(chunk.reshape(-1).view(np.uint8))
        tail = struct.pack("<II", crc32(octets), len(octets) & 0xFFFFFFFF)
        return 0, b"".join((GZIP_HEADER, memoryview(stream).cast("B")[ZLIB_HEADER:-ZLIB_TRAILER], tail))

    def _shuffled(self, octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the bytes that were compressed, which some coders shuffle by themselves: gzip has a sum of them."""
        if self._itemsize == 1:
            return octets
        if self._planes.size != octets.size:
            self._planes = np.empty_like(octets)
        return shuffle(octets, self._itemsize, self._planes)


class Codecs:
    """Codecs of numcodecs, one after the other.

    Parameters
    ----------
    spec
        The dataset that has them.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self._codecs = [codec_of(item) for item in spec.filters]

    def encode(self, chunk: npt.NDArray[Any]) -> tuple[int, Any]:
        """Return what the last codec gives; no codec is ever skipped."""
        data: Any = np.ascontiguousarray(chunk)
        for codec in self._codecs:
            data = codec.encode(data)
        return 0, data if isinstance(data, bytes) else np.ascontiguousarray(data).reshape(-1).view(np.uint8).data
