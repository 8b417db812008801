"""Which data of an NWBFile are bulk: found in hdmf's builders, with a source and a signature for each dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from hdmf.build import (
    Builder,
    BuildManager,
    DatasetBuilder,
    GroupBuilder,
    LinkBuilder,
    ObjectMapper,
    ReferenceBuilder,
)
from hdmf.data_utils import AbstractDataChunkIterator, DataIO, GenericDataChunkIterator
from hdmf.spec import DatasetSpec as HdmfDatasetSpec

from parnwb.errors import ParnwbError
from parnwb.sources import Source, as_source
from parnwb.sources.array import CastSource

DEFAULT_THRESHOLD_BYTES = 64 * 1024
NUMERIC_KINDS = "biuf"
# Settings of h5py, and so of H5DataIO, that put a filter into a dataset's pipeline.
FILTER_SETTINGS = ("compression", "shuffle", "fletcher32", "scaleoffset")
# What is made anew in every process, so that it differs between ranks which build the same NWBFile.
PER_PROCESS = ("object_id", "identifier", "file_create_date")


Predicate = Callable[[Builder], bool]


def none_written(builder: Builder) -> bool:
    """Tell that nothing is in the file yet."""
    return False


@dataclass(frozen=True)
class BulkRule:
    """What is filled by all ranks instead of riding with the skeleton.

    Parameters
    ----------
    threshold
        Numeric arrays and copied HDF5 datasets of at least so many bytes are bulk; iterators of numbers always are.
    link_data
        What becomes of an ``h5py.Dataset`` that is not wrapped: True links to it, False copies it.
    """

    threshold: int = DEFAULT_THRESHOLD_BYTES
    link_data: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, int) or self.threshold < 0:
            raise ParnwbError(f"bulk_threshold must be a number of bytes, 0 or more, got {self.threshold!r}")

    def applies(self, builder: DatasetBuilder) -> bool:
        """Tell whether the data of ``builder`` are bulk."""
        data, link_data = builder.data, self.link_data
        if isinstance(data, DataIO):
            link_data = getattr(data, "link_data", link_data)
            data = data.data
        if isinstance(data, GenericDataChunkIterator):
            return True
        if isinstance(data, AbstractDataChunkIterator):  # those of text, say, are drained where metadata are written
            return np.dtype(data.dtype).kind in NUMERIC_KINDS
        if isinstance(data, h5py.Dataset):
            return not link_data and self._is_large(data) and self._is_plain(data)
        return isinstance(data, np.ndarray) and self._is_large(data)

    def _is_large(self, data: Any) -> bool:
        return data.ndim > 0 and data.dtype.kind in NUMERIC_KINDS and data.size * data.dtype.itemsize >= self.threshold

    @staticmethod
    def _is_plain(dataset: h5py.Dataset) -> bool:
        creation = dataset.id.get_create_plist()
        layouts = (h5py.h5d.CHUNKED, h5py.h5d.CONTIGUOUS)
        # Of numbers with fewer bits than their bytes have, as N-bit packs them, only HDF5 knows where the bits go.
        own = h5py.h5t.py_create(dataset.dtype, logical=True)
        return (
            creation.get_layout() in layouts
            and creation.get_external_count() == 0
            and bool(dataset.id.get_type().equal(own))
        )


def location(builder: Builder) -> str:
    """Return the path that a builder's object gets in the file."""
    names = []
    current: Any = builder
    while current.parent is not None:
        names.append(current.name)
        current = current.parent
    return "/" + "/".join(reversed(names))


def unwrapped(data: Any) -> Any:
    """Return the data inside a ``DataIO``, or the data themselves."""
    return data.data if isinstance(data, DataIO) else data


def bulk_sources(root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written) -> dict[str, Source]:
    """Return the source of every bulk dataset below ``root``, by path; not of those that are written. Independent."""
    return {location(builder): _source(builder) for builder in _bulk(root, rule, is_written)}


def _bulk(root: GroupBuilder, rule: BulkRule, is_written: Predicate) -> Iterator[DatasetBuilder]:
    return (builder for builder in _datasets(root) if not is_written(builder) and rule.applies(builder))


def _source(builder: DatasetBuilder) -> Source:
    """Return what reads a builder's data as they go to HDF5.

    hdmf converts bare arrays with numpy and leaves all others to HDF5; the two differ where values do not fit.
    """
    source = as_source(unwrapped(builder.data))
    converts = isinstance(builder.data, np.ndarray) and isinstance(builder.dtype, type)
    if converts and np.dtype(builder.dtype).newbyteorder("=") != source.dtype.newbyteorder("="):
        return CastSource(source, np.dtype(builder.dtype))
    return source


def has_filter(settings: Mapping[str, Any]) -> bool:
    """Tell whether the settings of a dataset ask for any filter. Independent."""
    return any(settings.get(name) not in (None, False) for name in FILTER_SETTINGS)


def signature(root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written) -> dict[str, str]:
    """Return a short text for everything that ranks must agree on, by path and attribute. Independent.

    Bulk data count with their shape and dtype, small data with their values; what every process makes anew
    (object ids, the identifier, the date of creation) does not count: the root's is written. Of what is in the
    file already only the attributes count, which pynwb writes again.
    """
    entries: dict[str, str] = {}
    for builder in _all(root):
        path = location(builder)
        entries[path] = "in the file" if is_written(builder) else _content(builder, rule)
        for name, value in getattr(builder, "attributes", {}).items():
            if name not in PER_PROCESS:
                entries[f"{path}@{name}"] = _text(value)
    return entries


def _content(builder: Builder, rule: BulkRule) -> str:
    if isinstance(builder, LinkBuilder):
        return f"link to {location(builder.builder)}"
    if isinstance(builder, GroupBuilder):
        return "group"
    assert isinstance(builder, DatasetBuilder)
    if builder.name in PER_PROCESS:
        return "dataset"
    data = unwrapped(builder.data)
    settings = getattr(builder.data, "io_settings", {}) if isinstance(builder.data, DataIO) else {}
    if data is not None:  # hdmf notes both in the H5DataIO that it writes, so that they are there the second time
        settings = {key: value for key, value in settings.items() if key not in ("shape", "dtype")}
    options = " ".join(f"{key}={_text(value)}" for key, value in sorted(settings.items()))
    if isinstance(data, AbstractDataChunkIterator):
        return f"dataset of shape {tuple(data.maxshape or ())} and dtype {data.dtype} {options}".rstrip()
    if rule.applies(builder):
        return f"dataset of shape {data.shape} and dtype {data.dtype} {options}".rstrip()
    return f"dataset {_text(data)} {options}".rstrip()


def _text(value: Any) -> str:
    """Return a value as text that is equal in every process that made an equal value."""
    if isinstance(value, ReferenceBuilder):
        return f"reference to {location(value.builder)}"
    if isinstance(value, Builder):
        return f"reference to {location(value)}"
    if isinstance(value, h5py.Dataset):
        return f"{value.file.filename}:{value.name}"
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OV":
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return f"{value.shape} {value.dtype} values {digest}"
    if isinstance(value, (list, tuple, set, np.ndarray)):
        # Sets of strings, and what neuroconv makes of them, are ordered at random in every process.
        items = [_text(item) for item in value]
        items = sorted(items) if all(isinstance(item, str) for item in value) else items
        whole = f"[{', '.join(items)}]"
        return whole if len(whole) < 200 else f"{len(items)} items {hashlib.sha256(whole.encode()).hexdigest()[:16]}"
    return f"{value!r}" if isinstance(value, (str, bytes, int, float, bool, np.generic, type(None))) else str(value)


def _all(root: GroupBuilder) -> Iterator[Builder]:
    yield root
    for group in root.groups.values():
        yield from _all(group)
    yield from root.datasets.values()
    yield from root.links.values()


def _datasets(root: GroupBuilder) -> Iterator[DatasetBuilder]:
    return (builder for builder in _all(root) if isinstance(builder, DatasetBuilder))


def build(nwbfile: Any, manager: BuildManager, path: str) -> GroupBuilder:
    """Return hdmf's builder tree for ``nwbfile`` without copying any bulk data. Independent."""
    with uncopied_arrays():
        return manager.build(nwbfile, source=path, root=True)


@contextmanager
def uncopied_arrays() -> Iterator[None]:
    """While hdmf builds, let it find the dtype of a large array without converting the whole of it.

    ``ObjectMapper.convert_dtype`` returns the dtype that the file will have, and to learn it makes a converted
    copy of arrays whose own dtype differs (float32 timestamps become float64). One element gives the same
    dtype; the values are converted buffer by buffer when they are written.
    """
    original = ObjectMapper.__dict__["convert_dtype"]

    def convert_dtype(cls: type[ObjectMapper], spec: Any, value: Any) -> tuple[Any, Any]:
        convert = original.__get__(None, cls)
        is_large = isinstance(value, np.ndarray) and value.nbytes >= DEFAULT_THRESHOLD_BYTES
        if is_large and value.dtype.kind in NUMERIC_KINDS and isinstance(spec, HdmfDatasetSpec):
            return value, convert(spec, np.zeros((1,) * value.ndim, dtype=value.dtype))[1]
        return convert(spec, value)

    ObjectMapper.convert_dtype = classmethod(convert_dtype)
    try:
        yield
    finally:
        ObjectMapper.convert_dtype = original
