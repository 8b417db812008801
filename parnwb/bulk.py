"""Which data of an NWBFile are bulk: found in hdmf's builders, with a source and a signature for each dataset."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from hdmf.backends.hdf5 import HDF5IO
from hdmf.backends.hdf5.h5_utils import H5Dataset
from hdmf.build import (
    Builder,
    BuildManager,
    DatasetBuilder,
    GroupBuilder,
    LinkBuilder,
    ObjectMapper,
    ReferenceBuilder,
)
from hdmf.data_utils import AbstractDataChunkIterator, DataIO
from hdmf.spec import DatasetSpec as HdmfDatasetSpec
from hdmf.utils import get_data_shape

from parnwb.builders import datasets_of, location, tree, unwrapped
from parnwb.element import is_self_contained
from parnwb.errors import LinkError, ParnwbError
from parnwb.links.attributes import Mismatch, mismatches
from parnwb.links.policy import check_policy
from parnwb.links.raw import check_left_in_place, flat_file
from parnwb.resident import Resident
from parnwb.sources import Source, as_source
from parnwb.sources.array import CastSource
from parnwb.sources.binary import BinarySource
from parnwb.sources.listed import ListSource
from parnwb.sources.zarr import is_zarr_array

DEFAULT_THRESHOLD_BYTES = 64 * 1024
NUMERIC_KINDS = "biuf"
# Settings of h5py, and so of H5DataIO, that put a filter into a dataset's pipeline.
FILTER_SETTINGS = ("compression", "shuffle", "fletcher32", "scaleoffset")
# Longer values are told by a digest.
MAX_SHOWN = 200
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
        Arrays (of numpy or Zarr), lists and copied HDF5 datasets of at least so many bytes in the file are bulk if each
        element is all there is to write (``parnwb.element.is_self_contained``): numbers, booleans, compound values of
        these. Iterators over such elements, and data that are spread over ranks, always are. Text and references, which
        only HDF5 can place, never are.
    link_data
        What becomes of an ``h5py.Dataset`` that is not wrapped: True links to it, False copies it.
    export_source
        The file that is exported: its datasets are copied all the same where they keep their place.
    on_mismatch
        What becomes of links to datasets that are not what the container says: ``'raise'``, ``'warn'`` or ``'copy'``.
    no_copy
        Whether data in flat binary files stay there, as HDF5's external storage.
    """

    threshold: int = DEFAULT_THRESHOLD_BYTES
    link_data: bool = True
    export_source: str | None = None
    on_mismatch: str = "raise"
    no_copy: bool = False

    def __post_init__(self) -> None:
        check_policy(self.on_mismatch)
        for name in ("link_data", "no_copy"):
            if not isinstance(getattr(self, name), bool):
                raise ParnwbError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, int) or self.threshold < 0:
            raise ParnwbError(f"bulk_threshold must be a number of bytes, 0 or more, got {self.threshold!r}")

    def applies(self, builder: DatasetBuilder) -> bool:
        """Tell whether the data of ``builder`` are bulk."""
        data = unwrapped(builder.data)
        if self.left_in_place(builder) is not None:
            return False
        if isinstance(data, Resident):
            return True
        if isinstance(data, AbstractDataChunkIterator):  # those of text, say, are drained where metadata are written
            return is_self_contained(np.dtype(data.dtype))
        if isinstance(data, h5py.Dataset):
            if self.is_mended(builder) or (self.asked_settings(builder) and not self.is_linked(builder)):
                return self._is_large(data.shape, data.dtype, 0) and is_plain(data)
            return not self.is_linked(builder) and self._is_large(data.shape, data.dtype) and is_plain(data)
        if _is_array(data):
            return _is_array_of_its_elements(data, builder.dtype) and self._is_large(data.shape, data.dtype)
        if isinstance(data, list | tuple):
            dtype = listed_dtype(data, builder.dtype)
            return dtype is not None and self._is_large(listed_shape(data, dtype), dtype)
        return False

    def left_in_place(self, builder: DatasetBuilder) -> BinarySource | None:
        """Return the flat file in which data stay; None if they do not."""
        source = flat_file(builder) if self.no_copy else None
        return source if source is not None and self._is_large(source.shape, source.dtype) else None

    def is_linked(self, builder: DatasetBuilder) -> bool:
        """Tell whether hdmf makes a link of a dataset, as it was asked to."""
        data = unwrapped(builder.data)
        if not isinstance(data, h5py.Dataset) or self._is_exported(builder, data):
            return False
        own = getattr(builder.data, "link_data", None) if isinstance(builder.data, DataIO) else None
        return self.link_data if own is None else bool(own)

    @staticmethod
    def asked_settings(builder: DatasetBuilder) -> dict[str, Any]:
        """Return with which settings an HDF5 dataset is to be written anew; nothing for one that is as it is."""
        if not isinstance(builder.data, DataIO) or not isinstance(unwrapped(builder.data), h5py.Dataset):
            return {}
        return {name: value for name, value in builder.data.io_settings.items() if value is not None}

    def is_mended(self, builder: DatasetBuilder) -> bool:
        """Tell whether a dataset is copied because a link to it would not be what the container says."""
        return self.on_mismatch == "copy" and self.is_linked(builder) and bool(mismatches(builder))

    def _is_exported(self, builder: DatasetBuilder, data: h5py.Dataset) -> bool:
        """Tell whether a dataset is copied by an export, as hdmf decides it."""
        if self.export_source is None or os.path.abspath(data.file.filename) != self.export_source:
            return False
        return (location(builder).rpartition("/")[0] or "/") == data.parent.name

    def _is_large(self, shape: tuple[int, ...], dtype: np.dtype[Any], threshold: int | None = None) -> bool:
        large = math.prod(shape) * dtype.itemsize >= (self.threshold if threshold is None else threshold)
        return large and len(shape) > 0 and is_self_contained(dtype)


def is_plain(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset is stored as the dtype that h5py shows, and where ranks can reach it. Independent."""
    creation = dataset.id.get_create_plist()
    layouts = (h5py.h5d.CHUNKED, h5py.h5d.CONTIGUOUS)
    # Of numbers with fewer bits than their bytes have, as N-bit packs them, only HDF5 knows where the bits go.
    own = h5py.h5t.py_create(dataset.dtype, logical=True)
    return (
        creation.get_layout() in layouts
        and creation.get_external_count() == 0
        and bool(dataset.id.get_type().equal(own))
    )


def _is_array_of_its_elements(array: npt.NDArray[Any], dtype: Any) -> bool:
    """Tell whether hdmf writes an array element by element: a plain one, or compound values to a compound type.

    It makes text of variable length of fixed-length text; a plain array becomes something else in a compound type.
    """
    is_compound = isinstance(dtype, list) or getattr(dtype, "names", None) is not None
    return array.dtype.names is not None if is_compound else array.dtype.kind in NUMERIC_KINDS


def listed_dtype(items: Sequence[Any], dtype: Any) -> np.dtype[Any] | None:
    """Return the type that hdmf gives to the dataset of a list; None where it finds none. Independent.

    Parameters
    ----------
    items
        The list.
    dtype
        Of its builder.
    """
    try:
        # hdmf looks at the first item where the schema says nothing.
        return np.dtype(dtype if isinstance(dtype, type) else HDF5IO.__resolve_dtype__(dtype, items))
    except (TypeError, ValueError):
        return None


def listed_shape(items: Sequence[Any], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the shape of the dataset of a list; a tuple in it may be one compound value. Independent."""
    return (len(items),) if dtype.names is not None else tuple(get_data_shape(items))


def _is_array(data: Any) -> bool:
    """Tell whether hdmf converts the dtype of such data, where they are bare, as numpy does."""
    return isinstance(data, np.ndarray) or is_zarr_array(data)


def link_mismatches(root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written) -> list[Mismatch]:
    """Return in what datasets that will be links differ from what the containers say. Independent."""
    linked = (builder for builder in datasets_of(root) if not is_written(builder) and rule.is_linked(builder))
    return [item for builder in linked for item in mismatches(builder)]


def left_in_place(
    root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written
) -> dict[str, BinarySource]:
    """Return the flat files in which data stay, by path of their datasets. Independent.

    Raises
    ------
    LinkError
        Data in a flat file cannot stay there, or there are none.
    """
    found = {}
    for builder in datasets_of(root):
        source = rule.left_in_place(builder) if not is_written(builder) else None
        if source is not None:
            check_left_in_place(builder, source)
            found[location(builder)] = source
    if rule.no_copy and not found:
        raise LinkError(
            "no_copy leaves data in flat binary files, and none of these are in one",
            remedy="Give an np.memmap of a whole file, bare, or write without no_copy (--no-copy)",
        )
    return found


def links_out(root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written) -> list[Builder]:
    """Return what will be links and may lead to other files. Independent."""
    return [
        builder
        for builder in tree(root)
        if not is_written(builder)
        and (
            isinstance(builder, LinkBuilder)
            or (isinstance(builder, DatasetBuilder) and rule.is_linked(builder) and not rule.is_mended(builder))
        )
    ]


def bulk_sources(root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written) -> dict[str, Source]:
    """Return the source of every bulk dataset below ``root``, by path; not of those that are written. Independent."""
    return {location(builder): _source(builder) for builder in _bulk(root, rule, is_written)}


def _bulk(root: GroupBuilder, rule: BulkRule, is_written: Predicate) -> Iterator[DatasetBuilder]:
    return (builder for builder in datasets_of(root) if not is_written(builder) and rule.applies(builder))


def _source(builder: DatasetBuilder) -> Source:
    """Return what reads a builder's data as they go to HDF5.

    hdmf converts bare arrays with numpy and leaves all others to HDF5; the two differ where values do not fit.
    """
    data = unwrapped(builder.data)
    if isinstance(data, list | tuple):
        dtype = listed_dtype(data, builder.dtype)
        assert dtype is not None  # or the rule would not apply
        return ListSource(data, listed_shape(data, dtype), dtype)
    source = as_source(data)
    converts = (_is_array(builder.data) or isinstance(builder.data, Resident)) and isinstance(builder.dtype, type)
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
    for builder in tree(root):
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
    if (source := rule.left_in_place(builder)) is not None:
        return f"{source.shape} of {source.dtype} in {source.path}"
    if isinstance(data, AbstractDataChunkIterator):
        return f"dataset of shape {tuple(data.maxshape or ())} and dtype {data.dtype} {options}".rstrip()
    if rule.applies(builder):
        dtype = listed_dtype(data, builder.dtype) if isinstance(data, list | tuple) else data.dtype
        return f"dataset of shape {get_data_shape(data)} and dtype {dtype} {options}".rstrip()
    return f"dataset {_text(data)} {options}".rstrip()


def _text(value: Any) -> str:
    """Return a value as text that is equal in every process that made an equal value."""
    if isinstance(value, ReferenceBuilder):
        return f"reference to {location(value.builder)}"
    if isinstance(value, Builder):
        return f"reference to {location(value)}"
    if isinstance(value, H5Dataset):  # references that were read, in hdmf's wrapper
        value = value.dataset
    if isinstance(value, h5py.Dataset):
        return f"{value.file.filename}:{value.name}"
    if is_zarr_array(value):
        return _text(np.asarray(value))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return f"{value.shape} {value.dtype} values {digest}"
    if isinstance(value, (list, tuple, set, np.ndarray)):
        # Sets of strings, and what neuroconv makes of them, are ordered at random in every process.
        items = [_text(item) for item in value]
        items = sorted(items) if all(isinstance(item, str) for item in value) else items
        whole = f"[{', '.join(items)}]"
        digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
        return whole if len(whole) < MAX_SHOWN else f"{len(items)} items {digest}"
    if isinstance(value, str | bytes) and len(value) > MAX_SHOWN:
        raw = value.encode(errors="surrogatepass") if isinstance(value, str) else value
        return f"{value[:20]!r}... of {len(value)} characters, {hashlib.sha256(raw).hexdigest()[:16]}"
    return f"{value!r}" if isinstance(value, (str, bytes, int, float, bool, np.generic, type(None))) else str(value)


def build(nwbfile: Any, manager: BuildManager, path: str) -> GroupBuilder:
    """Return hdmf's builder tree for ``nwbfile`` without copying any bulk data. Independent."""
    with uncopied_arrays():
        return manager.build(nwbfile, source=path, root=True)


@contextmanager
def uncopied_arrays() -> Iterator[None]:
    """While hdmf builds, let it find the dtype of a large array without converting the whole of it.

    ``ObjectMapper.convert_dtype`` returns the dtype that the file will have, and to learn it makes a converted
    copy of arrays whose own dtype differs (float32 timestamps become float64). One element gives the same
    dtype; the values are converted buffer by buffer when they are written. Of compound datasets hdmf makes a list of
    tuples, in case that some field is a reference.
    """
    changed = {"convert_dtype": _convert_one, "_ObjectMapper__set_compound_dataset_to_refs": _set_compound}
    originals = {name: ObjectMapper.__dict__[name] for name in changed}
    for name, changing in changed.items():
        setattr(ObjectMapper, name, changing(originals[name]))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(ObjectMapper, name, original)


def _convert_one(original: Any) -> Any:
    def convert_dtype(cls: type[ObjectMapper], spec: Any, value: Any) -> tuple[Any, Any]:
        convert = original.__get__(None, cls)
        is_large = isinstance(value, Resident) or (_is_array(value) and value.nbytes >= DEFAULT_THRESHOLD_BYTES)
        # Of a dataset in a file hdmf tells the type that it has, not the one that an array of its values would get.
        is_large = is_large or isinstance(value, h5py.Dataset)
        if is_large and value.dtype.kind in NUMERIC_KINDS and isinstance(spec, HdmfDatasetSpec):
            with warnings.catch_warnings():
                if isinstance(value, h5py.Dataset):  # nothing is converted, unless a link to it is refused
                    warnings.simplefilter("ignore")
                return value, convert(spec, np.zeros((1,) * value.ndim, dtype=value.dtype))[1]
        return convert(spec, value)

    return classmethod(convert_dtype)


def _set_compound(original: Any) -> Any:
    def set_compound(mapper: ObjectMapper, builder: DatasetBuilder, spec: Any, container: Any, manager: Any) -> Any:
        array = unwrapped(container.data)
        # Others are converted as tuples are: by the order of their fields.
        if isinstance(array, np.ndarray) and array.dtype == HDF5IO.__resolve_dtype__(spec.dtype, array):
            return lambda: setattr(builder, "data", container.data)
        return original(mapper, builder, spec, container, manager)

    return set_compound
