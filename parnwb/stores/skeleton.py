"""The skeleton of a Zarr store: hdmf-zarr's own write on the root, with bulk arrays created empty and recorded.

As in ``parnwb.authoring.skeleton``: dtypes, chunks and codecs are those that hdmf-zarr and Zarr decide on themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from hdmf.backends.io import HDMFIO
from hdmf.build import BuildManager, DatasetBuilder, GroupBuilder
from hdmf.data_utils import AbstractDataChunkIterator
from hdmf_zarr import NWBZarrIO, ZarrDataIO
from hdmf_zarr.backend import ZarrIO
from hdmf_zarr.utils import ZarrIODataChunkIteratorQueue
from pynwb import NWBFile

from parnwb.authoring.bulk import bulk_sources, check_copied, link_mismatches, signature, uncopied_arrays
from parnwb.authoring.chunking import auto_chunks
from parnwb.authoring.export import Content, Prepare, prepared, write_content
from parnwb.authoring.skeleton import AuthoringOptions, check_series, own_error
from parnwb.builders import unwrapped
from parnwb.codec import coder_for
from parnwb.codec.cast import in_file_dtype
from parnwb.codec.filters import DEFLATE
from parnwb.codec.zarr import in_deflate
from parnwb.errors import LayoutError
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.links.policy import heed
from parnwb.resident.data import Resident
from parnwb.resident.gathering import gathered
from parnwb.site import BackendChoice
from parnwb.sources import Source, read_from, takes_over
from parnwb.sources.chunked import UnmaskedSource
from parnwb.sources.growing import GrowingSource
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.sample import sample
from parnwb.sources.zarr import read_zarr_spec
from parnwb.stores.compressor import compressor_settings
from parnwb.stores.memory import MemoryFolder
from parnwb.stores.references import known_pickles


@dataclass(frozen=True)
class StoreSkeleton:
    """A store in memory, complete but for the chunks of its bulk arrays.

    Parameters
    ----------
    folder
        What is in it.
    layout, sources, signature, backend
        As for ``parnwb.authoring.skeleton.Skeleton``.
    """

    folder: MemoryFolder
    layout: FileLayout
    sources: dict[str, Source]
    signature: dict[str, str]
    backend: BackendChoice

    def resize(self, path: str, shape: tuple[int, ...]) -> None:
        """Let an array have another shape. Independent."""
        zarr.open(self.folder, mode="r+")[path].resize(shape)

    def files(self) -> dict[str, bytes]:
        """Return what all files but those of chunks hold, by their paths in the store. Independent."""
        if ".zmetadata" in self.folder:
            zarr.consolidate_metadata(self.folder)
        return self.folder.files()


def author_store(content: Content, path: Path, manager: BuildManager, options: AuthoringOptions) -> StoreSkeleton:
    """Write an NWBFile, or what is exported, into memory, bulk arrays empty. Independent; on the root only.

    Parameters
    ----------
    content, path, manager, options
        As for ``parnwb.authoring.skeleton.author``.

    Raises
    ------
    LayoutError
        An array cannot be created as asked; its path and settings are named.
    """
    folder = MemoryFolder(path)
    io = _SkeletonIO(folder, manager, options, prepared(content))
    try:
        check_series(content, path, options)
        # Of compound values with references Zarr reads what stands for no value, a pickle, while they are written.
        with uncopied_arrays(), known_pickles():
            write_content(content, io, {"link_data": options.rule.link_data, **options.write_arguments})
    except Exception as error:
        raise own_error(error) from error
    return StoreSkeleton(folder, io.layout(), io.sources, io.signature, options.backend)


class _SkeletonIO(NWBZarrIO):
    """hdmf-zarr's writer, which leaves bulk arrays empty and remembers them."""

    def __init__(
        self, folder: MemoryFolder, manager: BuildManager, options: AuthoringOptions, prepare: Prepare
    ) -> None:
        super().__init__(folder, mode="w", manager=manager)
        self._options, self._prepare = options, prepare
        self._specs: dict[str, DatasetSpec] = {}
        self.sources: dict[str, Source] = {}
        self.signature: dict[str, str] = {}

    def export(self, src_io: HDMFIO, nwbfile: NWBFile | None, write_args: dict[str, Any], cache_spec: bool) -> None:
        """Write what another file holds; ``NWBZarrIO`` would not be told whether to cache specifications."""
        ZarrIO.export(self, src_io=src_io, container=nwbfile, write_args=write_args, cache_spec=cache_spec)

    def write_builder(self, builder: GroupBuilder, **kwargs: Any) -> None:
        """Find the bulk data, then write as hdmf-zarr does."""
        self._prepare(builder)
        rule = self._options.rule
        heed(link_mismatches(builder, rule, self.get_written), rule.on_mismatch)
        check_copied(builder, rule, self.get_written)
        own = {path: _as_stored(source) for path, source in bulk_sources(builder, rule, self.get_written).items()}
        self.sources = gathered(own, self._options.asking)
        self.signature = signature(builder, rule, self.get_written)
        # Drained right after their array has been created; not those of bulk data.
        self._ZarrIO__dci_queue = _SmallQueue()
        super().write_builder(builder=builder, **kwargs)

    def write_dataset(self, parent: zarr.Group, builder: DatasetBuilder, **kwargs: Any) -> Any:
        """Write as hdmf-zarr does; the values of bulk data stay out."""
        path = f"{parent.name.rstrip('/')}/{builder.name}"
        if path not in self.sources or self.get_written(builder):
            return super().write_dataset(parent=parent, builder=builder, **kwargs)
        source = self.sources[path]
        if isinstance(source, GrowingSource) and source.stream is not None:
            raise LayoutError(
                "a Stream keeps its rows in a journal, which only HDF5 files have here",
                where=path,
                remedy="Write an HDF5 file (.nwb), and then parnwb repack, or give an iterator that knows its rows",
            )
        group = _UnfilledGroup(parent, path, source, self._options)
        super().write_dataset(parent=group, builder=builder, force_data=_without_values(builder.data), **kwargs)
        spec = group.spec()
        if not isinstance(source, GrowingSource) and spec.shape != tuple(source.shape):
            raise LayoutError(
                f"the array was created with shape {spec.shape}, its data have {source.shape}",
                where=path,
                remedy=f"Check the shape given to {type(unwrapped(builder.data)).__name__}",
            )
        self._specs[path] = spec
        return parent[builder.name]

    def layout(self) -> FileLayout:
        """Return what was created."""
        return FileLayout(tuple(self._specs[path] for path in sorted(self._specs)))


def _as_stored(source: Source) -> Source:
    """Return a source that has its chunks as Zarr could store them, if it is a chunked dataset of HDF5."""
    if isinstance(source, HDF5DatasetSource) and source.dataset.chunks is not None:
        return UnmaskedSource.of(source.dataset)
    return source


class _SmallQueue(ZarrIODataChunkIteratorQueue):
    """hdmf-zarr's queue of iterators, without those of bulk data: these are read when the store is filled."""

    def append(self, dataset: zarr.Array, data: Any) -> None:
        """Take no notice of bulk data."""
        if not isinstance(dataset, _UnfilledArray):
            super().append(dataset, data)


def _without_values(data: Any) -> Any:
    """Return what hdmf-zarr creates the same array from, though it reads no values of it."""
    settings = None
    if ZarrDataIO.is_h5py_dataset(data):
        data = ZarrDataIO.from_h5py_dataset(data)
    if isinstance(data, ZarrDataIO):
        settings = data.io_settings
    inner = unwrapped(data)
    is_iterator = isinstance(inner, AbstractDataChunkIterator) and not isinstance(inner, Resident)
    shown = inner if is_iterator else _NoValues(tuple(inner.shape), np.dtype(inner.dtype))
    return shown if settings is None else _Wrapped(shown, settings)


class _NoValues:
    """An array that has a shape and a type only. What becomes of its values is ignored by ``_UnfilledArray``."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.ndim = len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        return _NoValues(self.shape[1:], self.dtype) if self.ndim > 1 else self.dtype.type()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.zeros(0, dtype=dtype or self.dtype)


class _Wrapped(ZarrDataIO):
    """A ``ZarrDataIO`` of what has no values."""

    def __init__(self, data: Any, settings: Mapping[str, Any]) -> None:
        self._shown, self._settings = data, dict(settings)

    @property
    def data(self) -> Any:
        """What has no values."""
        return self._shown

    @property
    def io_settings(self) -> dict[str, Any]:
        """Settings for Zarr."""
        return self._settings

    @property
    def link_data(self) -> bool:
        """Whether it is linked: it is not."""
        return False


class _UnfilledArray(zarr.Array):
    """An array that ignores values which are assigned to it."""

    def __setitem__(self, selection: Any, values: Any) -> None:
        """Take no values."""


class _UnfilledGroup(zarr.Group):
    """A group in which one new array is created as asked, but stays empty."""

    def __init__(self, group: zarr.Group, path: str, source: Source, options: AuthoringOptions) -> None:
        super().__init__(group.store, path=group.path)
        self._bulk_path, self._bulk_source, self._options = path, source, options
        self._array: zarr.Array | None = None

    def require_dataset(self, name: str, shape: Any, dtype: Any = None, exact: bool = False, **settings: Any) -> Any:
        """Create it: nothing has its name."""
        return self.create_dataset(name, shape=shape, dtype=dtype, **settings)

    def create_dataset(self, name: str, **settings: Any) -> zarr.Array:
        """Create as Zarr does, with the default compression and chunks where it has none of its own."""
        shape, chunks = tuple(settings["shape"]), settings.get("chunks")
        if self._options.chunks == "auto" and chunks in (None, True) and 0 not in shape:
            settings["chunks"] = auto_chunks(shape, np.dtype(settings["dtype"]).itemsize)
        if "compressor" not in settings and "filters" not in settings:
            settings |= compressor_settings(self._options.compression)
        try:
            made = super().create_dataset(name, **settings)
        except Exception as error:
            shown = {key: value for key, value in settings.items() if value is not None}
            raise LayoutError(
                f"Zarr cannot create an array with {shown}: {error}",
                where=self._bulk_path,
                remedy="Change the settings given to ZarrDataIO",
            ) from error
        self._array = _UnfilledArray(made.store, path=made.path)
        return self._array

    def spec(self) -> DatasetSpec:
        """Return what was created, as the store has it."""
        assert self._array is not None
        source = self._bulk_source
        major = source.axis if isinstance(source, GrowingSource) else 0
        grows = isinstance(source, GrowingSource)
        spec = read_zarr_spec(self._array, self._bulk_path)
        maxshape = tuple(None if grows and axis == major else extent for axis, extent in enumerate(spec.shape))
        spec = replace(read_from(spec, source), major=major, maxshape=maxshape)
        deflated = in_deflate(spec) or spec
        if not any(item.identifier == DEFLATE for item in deflated.filters) or takes_over(source, spec):
            return spec
        with self._options.phases("sampling"):
            pieces = [in_file_dtype(piece, spec.numpy_dtype) for piece in sample(source, spec.grid, spec.path)]
            return replace(spec, coder=coder_for(deflated, [piece.astype(spec.numpy_dtype) for piece in pieces]))
