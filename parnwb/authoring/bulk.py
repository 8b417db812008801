"""Which data of an NWBFile are bulk: found in hdmf's builders, with a source and a signature for each dataset."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
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

from parnwb.authoring.bulk_rule import (
    DEFAULT_THRESHOLD_BYTES,
    BulkRule,
    is_array,
    listed_dtype,
    listed_shape,
)
from parnwb.builders import datasets_of, location, tree, unwrapped
from parnwb.element import NUMERIC_KINDS, comparable
from parnwb.errors import LinkError, SourceError
from parnwb.links.at_hand import lack_of
from parnwb.links.attributes import Mismatch, mismatches
from parnwb.links.mosaic import MosaicSource
from parnwb.links.raw import check_left_in_place
from parnwb.links.series import place_of
from parnwb.resident.data import Resident
from parnwb.sources import Source, as_source
from parnwb.sources.array import CastSource
from parnwb.sources.binary import BinarySource
from parnwb.sources.listed import ListSource
from parnwb.sources.zarr import is_zarr_array

# Settings of h5py, and so of H5DataIO, that put a filter into a dataset's pipeline.
FILTER_SETTINGS = ("compression", "shuffle", "fletcher32", "scaleoffset")
# Longer values are told by a digest.
MAX_SHOWN = 200
# What is made anew in every process, so that it differs between ranks which build the same NWBFile.
PER_PROCESS = ("object_id", "identifier", "file_create_date")
# Fields of compound values that name objects by such ids, as the tables of a HERD do.
ID_FIELDS = ("object_id", "file_object_id")
# Attributes that list the columns of a table, whose rows do not depend on their order. neuroconv takes the names of the
# columns of electrodes and units from sets, which are ordered at random in every process.
UNORDERED = ("colnames",)


Predicate = Callable[[Builder], bool]


def none_written(builder: Builder) -> bool:
    """Tell that nothing is in the file yet."""
    return False


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


def check_copied(root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written) -> None:
    """Refuse to copy datasets whose values are in other files that are not there. Independent.

    Raises
    ------
    LinkError
        HDF5 would read fill values or zeros, and say nothing.
    """
    for builder in datasets_of(root):
        if is_written(builder) or not rule.is_copied(builder):
            continue
        dataset = unwrapped(builder.data)
        if lack := lack_of(dataset):
            raise LinkError(
                f"what is copied must be there: {lack.said}",
                where=f"{location(builder)}, from {dataset.file.filename}:{dataset.name}",
                remedy=lack.remedy,
            )


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
    is_virtual = isinstance(data, h5py.Dataset) and data.is_virtual
    source = MosaicSource.of(data) if is_virtual else as_source(data)
    converts = (is_array(builder.data) or isinstance(builder.data, Resident)) and isinstance(builder.dtype, type)
    if converts and np.dtype(builder.dtype).newbyteorder("=") != source.dtype.newbyteorder("="):
        return CastSource(source, np.dtype(builder.dtype))
    return source


def has_filter(settings: Mapping[str, Any]) -> bool:
    """Tell whether the settings of a dataset ask for any filter. Independent."""
    return any(settings.get(name) not in (None, False) for name in FILTER_SETTINGS)


def signature(root: GroupBuilder, rule: BulkRule, is_written: Predicate = none_written) -> dict[str, str]:
    """Return a short text for everything that ranks must agree on, by path and attribute. Independent.

    Bulk data count with their shape and dtype, small data with their values; what every process makes anew
    (object ids, the identifier, the date of creation) does not count: the root's is written. An object that is named by
    its id counts with its place. Of what is in the file already only the attributes count, which pynwb writes again.
    """
    entries: dict[str, str] = {}
    places = _places(root)
    for builder in tree(root):
        path = location(builder)
        entries[path] = "in the file" if is_written(builder) else _content(builder, rule, places)
        for name, value in getattr(builder, "attributes", {}).items():
            if name not in PER_PROCESS:
                entries[f"{path}@{name}"] = _text(value, ordered=name not in UNORDERED)
    return entries


def _places(root: GroupBuilder) -> dict[str, str]:
    """Return where each object of a tree is, by its id."""
    with_attributes = (builder for builder in tree(root) if not isinstance(builder, LinkBuilder))
    return {str(builder.attributes.get("object_id")): location(builder) for builder in with_attributes}


def _content(builder: Builder, rule: BulkRule, places: Mapping[str, str]) -> str:
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
    return f"dataset {_text(_with_places(data, builder.dtype, places))} {options}".rstrip()


def _with_places(data: Any, dtype: Any, places: Mapping[str, str]) -> Any:
    """Return rows with the places of the objects that they name by ids; ids of others, which nobody knows, left out."""
    fields = [field["name"] for field in dtype] if isinstance(dtype, list) else []
    ids = {number for number, name in enumerate(fields) if name in ID_FIELDS}
    if not ids or not isinstance(data, list | tuple):
        return data
    return [[places.get(item) if number in ids else item for number, item in enumerate(row)] for row in data]


def _text(value: Any, *, ordered: bool = True) -> str:
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
    ordered = ordered and not isinstance(value, set)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject and ordered:
        digest = hashlib.sha256(np.ascontiguousarray(comparable(value)).tobytes()).hexdigest()[:16]
        return f"{value.shape} {value.dtype} values {digest}"
    if isinstance(value, (list, tuple, set, np.ndarray)):
        items = [_text(item) for item in value]
        items = items if ordered else sorted(items)
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
        is_large = isinstance(value, Resident) or (is_array(value) and value.nbytes >= DEFAULT_THRESHOLD_BYTES)
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
        if isinstance(array, np.ndarray | Resident):
            fields = HDF5IO.__resolve_dtype__(spec.dtype, array)
            if array.dtype == fields:
                return lambda: setattr(builder, "data", container.data)
            if isinstance(array, Resident):
                raise SourceError(
                    f"data that are spread over ranks must have their column's fields, {fields}, not {array.dtype}",
                    where=place_of(container),
                    remedy="Make the rows of that dtype",
                )
        # Others are converted as tuples are: by the order of their fields.
        return original(mapper, builder, spec, container, manager)

    return set_compound
