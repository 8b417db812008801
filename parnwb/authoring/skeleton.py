"""The skeleton: pynwb's own write on the root, with bulk datasets created empty and recorded as they are created.

hdmf decides dtypes, chunk shapes and filters while it writes, so nothing here predicts them: hdmf's code runs
unchanged on groups whose new datasets take no values, and what it created is the layout.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from hdmf.backends.hdf5 import h5tools
from hdmf.backends.hdf5.h5_utils import HDF5IODataChunkIteratorQueue
from hdmf.build import BuildManager, DatasetBuilder, GroupBuilder
from pynwb import NWBHDF5IO

from parnwb.authoring.bulk import (
    bulk_sources,
    check_copied,
    has_filter,
    left_in_place,
    link_mismatches,
    links_out,
    signature,
    uncopied_arrays,
)
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.authoring.chunking import auto_chunks, creation_anew
from parnwb.authoring.export import Content, Export, Prepare, prepared, write_content
from parnwb.builders import unwrapped
from parnwb.codec import choose_coding, coder_for, stored_share
from parnwb.codec.cast import in_file_dtype
from parnwb.codec.filters import DEFLATE
from parnwb.compression import Compression, filter_settings, is_none, needs_plugin
from parnwb.errors import LayoutError, ParnwbError
from parnwb.layout import ChunkGrid, DatasetSpec, FileLayout
from parnwb.links.mosaic import MosaicSource
from parnwb.links.places import check_places
from parnwb.links.policy import heed
from parnwb.links.raw import creation_of, warning_of
from parnwb.links.series import mismatched_series
from parnwb.memory_file import open_on
from parnwb.movies.checks import check_movies
from parnwb.overlay import Overlay
from parnwb.resident.data import Resident
from parnwb.resident.gathering import Asking, gathered
from parnwb.site import BackendChoice, choose_backend
from parnwb.sources import Access, Source, read_from, takes_over
from parnwb.sources.binary import BinarySource
from parnwb.sources.growing import GrowingSource
from parnwb.sources.raw_chunks import creation_of_same, creation_of_spec, is_outside, read_spec
from parnwb.sources.sample import sample
from parnwb.target import tell_nobody
from parnwb.timing import Phases


class Authored(Protocol):
    """What the root has authored, whatever the format: all but the bulk data."""

    @property
    def layout(self) -> FileLayout:
        """The bulk datasets."""

    @property
    def sources(self) -> dict[str, Source]:
        """Where their values come from, by path."""

    @property
    def signature(self) -> dict[str, str]:
        """What other ranks' NWBFiles must agree with."""

    @property
    def backend(self) -> BackendChoice:
        """Which is to fill it, and why."""


@dataclass(frozen=True)
class Skeleton:
    """An authored file in memory, its layout, and where its bulk data come from.

    Parameters
    ----------
    file
        Open on ``overlay``, complete but for the bulk data.
    overlay
        The file's bytes.
    layout
        The bulk datasets.
    sources
        By path.
    signature
        What other ranks' NWBFiles must agree with.
    backend
        Which is to fill it, and why.
    lowest
        Below this address are the bytes of a file that is appended to, and no chunk may be placed.
    held
        What keeps HDF5 from giving out the end of that file, where something was removed; None if nothing was.
    """

    file: h5py.File
    overlay: Overlay
    layout: FileLayout
    sources: dict[str, Source]
    signature: dict[str, str]
    backend: BackendChoice
    lowest: int = 0
    held: h5py.h5d.DatasetID | None = None


@dataclass(frozen=True)
class AuthoringOptions:
    """What shapes the skeleton beyond the NWBFile itself.

    Parameters
    ----------
    rule
        What is bulk.
    compression
        For bulk data without a filter of their own: None, ``'auto'``, ``'gzip'`` (level 4) or a level 0-9.
    backend
        Which is to fill the file, and why.
    write_arguments
        Passed on to ``NWBHDF5IO.write`` or ``export``.
    asking
        By whom the root samples data that are spread over ranks.
    phases
        Where the seconds count that it takes to choose codings.
    chunks
        For bulk data without chunks of their own: None for what pynwb does, or ``'auto'``.
    step
        Is told now and then where there can be much to read, so that a watchdog sees that it goes on.
    """

    rule: BulkRule = BulkRule()
    compression: Compression = None
    backend: BackendChoice = choose_backend("auto")
    write_arguments: Mapping[str, Any] = field(default_factory=dict)
    asking: Asking | None = None
    phases: Phases = field(default_factory=Phases)
    chunks: str | None = None
    step: Callable[[str], None] = tell_nobody


def author(content: Content, path: Path, manager: BuildManager, options: AuthoringOptions) -> Skeleton:
    """Write an NWBFile, or what is exported, into memory, bulk datasets empty. Independent; on the root only.

    Parameters
    ----------
    content
        As for ``NWBHDF5IO.write``, or an export.
    path
        Final path of the file, for links that are relative to it.
    manager
        pynwb's, or the user's own.
    options
        See there.

    Raises
    ------
    LayoutError
        A dataset cannot be created as asked; its path and settings are named.
    """
    overlay = Overlay()
    return author_on(open_on(overlay, path), overlay, content, path, manager, options)


def author_on(
    file: h5py.File,
    overlay: Overlay,
    content: Content,
    path: Path,
    manager: BuildManager,
    options: AuthoringOptions,
    reader: NWBHDF5IO | None = None,
) -> Skeleton:
    """Write ``content`` into ``file``, as ``author`` does. Independent; on the root only.

    Parameters
    ----------
    file
        Open on ``overlay``.
    reader
        By which it was read from ``file``; only what is new since then is written.
    """
    io = _SkeletonIO(file, path, manager, options, reader, prepared(content))
    try:
        check_series(content, path, options)
        with uncopied_arrays():
            write_content(content, io, {"link_data": options.rule.link_data, **options.write_arguments})
    except Exception as error:
        raise own_error(error) from error
    return Skeleton(file, overlay, io.layout(), io.sources, io.signature, options.backend)


def check_series(content: Content, path: Path, options: AuthoringOptions) -> None:
    """Refuse series that are not what they say, by themselves or by their movies. Independent; on the root only."""
    nwbfile = content.nwbfile if isinstance(content, Export) else content
    if nwbfile is not None:
        heed(mismatched_series(nwbfile), options.rule.on_mismatch)
        check_movies(nwbfile, path, options.rule.on_mismatch, options.step)


def own_error(error: BaseException) -> ParnwbError:
    """Return the error of ours that hdmf wrapped in its own, or one that carries hdmf's whole chain of words."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        if isinstance(current, ParnwbError):
            return current
        chain.append(current)
        current = current.__cause__ or current.__context__
    words = "; because ".join(f"{type(item).__name__}: {item}" for item in chain)
    return LayoutError(f"pynwb could not write the NWBFile: {words}")


class _SkeletonIO(NWBHDF5IO):
    """pynwb's writer, which leaves bulk datasets empty and remembers them."""

    def __init__(
        self,
        file: h5py.File,
        path: Path,
        manager: BuildManager,
        options: AuthoringOptions,
        reader: NWBHDF5IO | None,
        prepare: Prepare,
    ) -> None:
        super().__init__(path=str(path), mode="w" if reader is None else "a", manager=manager, file=file)
        if reader is not None:
            self._written_builders = reader._written_builders
        # hdmf drains iterators from here right after creating their dataset; not bulk ones.
        self._HDF5IO__dci_queue = _SmallQueue()
        self._options, self._path, self._is_appended_to = options, path, reader is not None
        self._prepare = prepare
        self._specs: dict[str, DatasetSpec] = {}
        self._in_place: dict[str, BinarySource] = {}
        self.sources: dict[str, Source] = {}
        self.signature: dict[str, str] = {}

    def __del__(self) -> None:
        """Leave out hdmf's warning that the file is still open: it belongs to the ``Skeleton``."""

    def write_builder(self, builder: GroupBuilder, **kwargs: Any) -> None:
        """Find the bulk data, then write as pynwb does."""
        self._prepare(builder)
        self._check_links(builder)
        self._in_place = left_in_place(builder, self._options.rule, self.get_written)
        for path, source in self._in_place.items():
            warnings.warn(warning_of(path, source), stacklevel=2)
        own = bulk_sources(builder, self._options.rule, self.get_written)
        self.sources = gathered(own, self._options.asking)
        self.signature = signature(builder, self._options.rule, self.get_written)
        super().write_builder(builder, **kwargs)

    def _check_links(self, root: GroupBuilder) -> None:
        """Refuse links that would lead nowhere or mislead readers."""
        rule = self._options.rule
        found = link_mismatches(root, rule, self.get_written)
        heed(found, rule.on_mismatch)
        check_copied(root, rule, self.get_written)
        check_places(
            links_out(root, rule, self.get_written),
            root,
            self._path,
            export_source=rule.export_source,
            is_appended_to=self._is_appended_to,
        )

    def write_dataset(self, parent: h5py.Group, builder: DatasetBuilder, **kwargs: Any) -> Any:
        """Write as pynwb does; the values of bulk data stay out."""
        rule = self._options.rule
        if not self.get_written(builder) and (rule.is_mended(builder) or rule.has_lost_its_place(builder)):
            kwargs["link_data"] = False
            with unlinked(builder.data):
                return self._write_dataset(parent, builder, **kwargs)
        return self._write_dataset(parent, builder, **kwargs)

    def _write_dataset(self, parent: h5py.Group, builder: DatasetBuilder, **kwargs: Any) -> Any:
        path = f"{parent.name.rstrip('/')}/{builder.name}"
        if path in self._in_place:
            return super().write_dataset(_ExternalGroup(parent, self._in_place[path]), builder, **kwargs)
        if path not in self.sources or self.get_written(builder):
            return self._write_small(parent, builder, path, kwargs)
        is_converted = isinstance(builder.dtype, type) and self._options.rule.is_mended(builder)
        dtype, asked = builder.dtype if is_converted else None, self._options.rule.asked_settings(builder)
        forget_limits(builder.data)
        group = _UnfilledGroup(parent, path, self.sources[path], self._options, dtype, asked)
        with unread_zarr_arrays():
            result = super().write_dataset(group, builder, **kwargs)
        spec = group.spec()
        if spec.access != Access.GROWING and spec.shape != tuple(self.sources[path].shape):
            raise LayoutError(
                f"the dataset was created with shape {spec.shape}, its data have {self.sources[path].shape}",
                where=path,
                remedy=f"Check the shape given to {type(unwrapped(builder.data)).__name__} or H5DataIO",
            )
        self._specs[path] = spec
        return result

    def _write_small(self, parent: h5py.Group, builder: DatasetBuilder, path: str, kwargs: dict[str, Any]) -> Any:
        try:
            return super().write_dataset(_FilledGroup(parent), builder, **kwargs)
        except ParnwbError:
            raise
        except Exception as error:
            raise LayoutError(
                f"HDF5 cannot hold these data: {type(error).__name__}: {error}",
                where=path,
                remedy="Give numbers, booleans or text of one kind, and settings that fit their shape",
            ) from error

    @classmethod
    def __setup_chunked_dset__(cls, parent: h5py.Group, name: str, data: Any, options: Any = None) -> Any:
        """Create what iterators fill as pynwb does; data that are spread over ranks as it does for arrays."""
        create = cls.__list_fill__ if isinstance(data, Resident) else super().__setup_chunked_dset__
        return create(parent, name, data, options)

    def layout(self) -> FileLayout:
        """Return what was created."""
        return FileLayout(tuple(self._specs[path] for path in sorted(self._specs)))


def forget_limits(data: Any) -> None:
    """Let hdmf decide how far data that are spread over ranks may grow, as it does for arrays. Independent.

    ``H5DataIO`` takes the shape of all that looks like an iterator for its limit.
    """
    whole = unwrapped(data)
    if isinstance(whole, Resident) and whole is not data and data.io_settings.get("maxshape") == whole.shape:
        del data.io_settings["maxshape"]


@contextmanager
def unread_zarr_arrays() -> Iterator[None]:
    """Let hdmf treat a Zarr array as any other, which it would read whole before it assigns it. Independent."""
    original = h5tools.is_zarr_array
    h5tools.is_zarr_array = lambda data: False
    try:
        yield
    finally:
        h5tools.is_zarr_array = original


@contextmanager
def unlinked(data: Any) -> Iterator[None]:
    """Let hdmf copy a dataset that was wrapped in order to be linked to. Independent."""
    name = "_H5DataIO__link_data"
    before = getattr(data, name, None)
    if before is None:
        yield
        return
    setattr(data, name, False)
    try:
        yield
    finally:
        setattr(data, name, before)


class _SmallQueue(HDF5IODataChunkIteratorQueue):
    """hdmf's queue of iterators, without those of bulk data: these are read when the file is filled."""

    def append(self, dataset: h5py.Dataset, data: Any) -> None:
        """Take no notice of bulk data."""
        if not isinstance(dataset, _UnfilledDataset):
            super().append(dataset, data)


class _UnfilledDataset(h5py.Dataset):
    """A dataset that ignores values which are assigned to it."""

    def __setitem__(self, selection: Any, values: Any) -> None:
        """Take no values."""


ROWS_AT_ONCE = 4096
"""Rows of text and the like that the root copies at once, where HDF5 cannot copy them by itself."""


class _FilledGroup(h5py.Group):
    """A group into which datasets are copied with their values, wherever these are."""

    def __init__(self, group: h5py.Group) -> None:
        super().__init__(group.id)

    def copy(self, source: h5py.Dataset, dest: Any, name: str, **settings: Any) -> None:
        """Copy as HDF5 does; but of what is in other files it would copy the names of these only."""
        if not is_outside(source):
            super().copy(source, dest, name, **settings)
            return
        kind, space = source.id.get_type(), source.id.get_space()
        new = h5py.Dataset(h5py.h5d.create(self.id, name.encode(), kind, space, creation_anew(source)))
        if source.shape == ():
            new[()] = source[()]
            return
        for low in range(0, len(source) if source.size else 0, ROWS_AT_ONCE):  # all of it may be too much
            new[low : low + ROWS_AT_ONCE] = source[low : low + ROWS_AT_ONCE]


class _ExternalGroup(h5py.Group):
    """A group in which one new dataset has its values in another file."""

    def __init__(self, group: h5py.Group, source: BinarySource) -> None:
        super().__init__(group.id)
        self._source = source

    def create_dataset(self, name: str, **settings: Any) -> h5py.Dataset:
        """Create what has the file's bytes for its values."""
        return _UnfilledDataset(super().create_dataset(name, **creation_of(self._source)).id)


class _UnfilledGroup(h5py.Group):
    """A group in which one new dataset is created as asked, but stays empty."""

    def __init__(
        self,
        group: h5py.Group,
        path: str,
        source: Source,
        options: AuthoringOptions,
        dtype: type | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(group.id)
        self._dtype, self._asked = dtype, dict(asked or {})
        self._path, self._source, self._compression = path, source, options.compression
        self._phases, self._chunks = options.phases, options.chunks
        # Parallel HDF5 would write all of a dataset twice; and it deflates by itself.
        self._never_fill = self._hdf5_encodes = options.backend.name == "mpio"
        self._coder = ""

    def create_dataset(self, name: str, **settings: Any) -> h5py.Dataset:
        """Create as h5py does, with the default compression where there is none."""
        settings["chunks"] = whole_extents(settings.get("chunks"), settings["shape"], self._path)
        check_chunks(settings["chunks"], settings["shape"], settings.get("maxshape"), self._path)
        if self._chunks == "auto" and self._has_no_own_chunks(settings):
            settings["chunks"] = auto_chunks(tuple(settings["shape"]), np.dtype(settings["dtype"]).itemsize)
        settings.update(self._default_coding(settings))
        if self._never_fill:
            settings["fill_time"] = "never"
            if self._source.access is Access.GROWING:  # or chunks that it gets later could not be written in part
                settings["dcpl"] = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                settings["dcpl"].set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        try:
            dataset = super().create_dataset(name, **settings)
        except Exception as error:
            shown = {key: value for key, value in settings.items() if value is not None and key != "dcpl"}
            raise LayoutError(
                f"HDF5 cannot create a dataset with {shown}: {error}",
                where=self._path,
                remedy="Change the settings given to H5DataIO",
            ) from error
        return _UnfilledDataset(dataset.id)

    def copy(self, source: h5py.Dataset, dest: Any, name: str, **settings: Any) -> None:
        """Create an empty dataset like ``source``, where hdmf would copy it; or as asked, which hdmf would not heed."""
        parts = self._source.common_spec if isinstance(self._source, MosaicSource) else None
        if self._asked or (parts is None and is_outside(source)):
            self._create_anew(source, name)
            return
        creation = creation_of_same(source) if parts is None else creation_of_spec(parts)
        if self._never_fill:
            creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        same = self._dtype is None or np.dtype(self._dtype) == source.dtype.newbyteorder("=")
        kind = source.id.get_type() if same else h5py.h5t.py_create(np.dtype(self._dtype))
        h5py.h5d.create(self.id, name.encode(), kind, source.id.get_space(), creation)

    def _create_anew(self, source: h5py.Dataset, name: str) -> None:
        found = read_spec(source)
        kept: dict[str, Any] = {"chunks": found.chunks, "maxshape": found.maxshape if found.chunks else None}
        if found.maxshape != found.shape and found.chunks is None:  # a virtual one, or in raw files
            kept = {"chunks": auto_chunks(found.shape, found.itemsize), "maxshape": found.maxshape}
        if found.fillvalue:
            kept["fillvalue"] = found.fill
        dtype = source.dtype if self._dtype is None else np.dtype(self._dtype)
        self.create_dataset(name, shape=source.shape, dtype=dtype, **{**kept, **self._asked})

    def spec(self) -> DatasetSpec:
        """Return what was created, as the file has it."""
        major = self._source.axis if isinstance(self._source, GrowingSource) else 0
        created = read_spec(self[self._path])
        spec = replace(read_from(created, self._source), coder=self._coder, major=major)
        needs_coder = any(item.identifier == DEFLATE for item in spec.filters) and not takes_over(self._source, spec)
        if spec.coder or self._hdf5_encodes or not needs_coder:
            return spec
        with self._phases("sampling"):
            return replace(spec, coder=coder_for(spec, self._sample(spec.grid, spec.numpy_dtype)))

    @staticmethod
    def _has_no_own_chunks(settings: Mapping[str, Any]) -> bool:
        """Tell whether nobody but hdmf has chosen the chunks of a dataset that has any elements."""
        shape, chunks = tuple(settings["shape"]), settings["chunks"]
        if 0 in shape or not shape:
            return False
        # What hdmf chooses for all that grow comes here like a choice of the user.
        return isinstance(chunks, bool | None) or chunks == NWBHDF5IO.compute_default_chunk_shape(
            shape, np.dtype(settings["dtype"])
        )

    def _default_coding(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        wanted, shape, dtype = self._compression, settings["shape"], np.dtype(settings["dtype"])
        if is_none(wanted) or has_filter(settings):
            return {}
        chunks = settings.get("chunks")
        if chunks in (None, False, True):
            chunks = NWBHDF5IO.compute_default_chunk_shape(shape, dtype)
        if wanted != "auto":
            if needs_plugin(wanted):
                warn_of_plugin(wanted)
            return {"chunks": chunks, **filter_settings(wanted)}
        grid = ChunkGrid(tuple(shape), tuple(shape) if chunks is True else tuple(chunks)) if 0 not in shape else None
        with self._phases("sampling"):
            choice = choose_coding(self._sample(grid, dtype) if grid else [])
        self._coder = choice.coder
        return {
            "chunks": chunks,
            "compression": "gzip",
            "compression_opts": choice.level,
            "shuffle": choice.shuffle,
        }

    def _sample(self, grid: ChunkGrid, dtype: np.dtype[Any]) -> list[np.ndarray[Any, Any]]:
        return [in_file_dtype(piece, dtype).astype(dtype) for piece in sample(self._source, grid, self._path)]


@dataclass(frozen=True)
class Expected:
    """Bytes that datasets will take in the file.

    Parameters
    ----------
    about
        As a sample of each has it.
    least
        If all of a dataset became as small as that piece of its sample which became smallest, and a tenth smaller:
        the file will hardly be smaller than that.
    """

    about: int
    least: int


LEAST_OF_SMALLEST = 0.9


def expected_bytes(skeleton: Authored, remaining: Sequence[int]) -> Expected:
    """Return what is still to be stored. Independent; on the root.

    Datasets of which nothing is known, by a filter other than deflate or because they come in order, count as nothing.

    Parameters
    ----------
    remaining
        Uncompressed bytes of each dataset that are still to be written.
    """
    about = least = 0.0
    for spec, nbytes in zip(skeleton.layout, remaining, strict=True):
        shares = [1.0] if not spec.filters else _stored_shares(skeleton, spec) if spec.coder and nbytes else []
        if shares:
            about += nbytes * sum(shares) / len(shares)
            least += nbytes * (LEAST_OF_SMALLEST * min(shares) if spec.filters else 1)
    return Expected(int(about), int(least))


def _stored_shares(skeleton: Authored, spec: DatasetSpec) -> list[float]:
    """Return for each piece of a dataset's sample which part of its bytes it takes in the file."""
    dtype, pieces = spec.numpy_dtype, sample(skeleton.sources[spec.path], spec.grid, spec.path)
    return [stored_share(spec, [in_file_dtype(piece, dtype).astype(dtype)]) for piece in pieces]


def whole_extents(chunks: Any, shape: tuple[int, ...], path: str) -> Any:
    """Return a chunk shape as a tuple of integers; neuroconv gives some extents as floats. None and True stay."""
    if chunks is None or isinstance(chunks, bool):
        return chunks
    extents = (chunks,) if np.isscalar(chunks) else tuple(chunks)
    try:
        whole = all(int(extent) == extent for extent in extents)
    except (TypeError, ValueError, OverflowError):  # text, not a number, infinite
        whole = False
    if not whole:
        raise LayoutError(
            f"chunk extents must be whole numbers, got {extents} for shape {tuple(shape)}",
            where=path,
            remedy="Give H5DataIO(chunks=...) positive extents within the shape, or chunks=True",
        )
    return tuple(int(extent) for extent in extents)


def check_chunks(chunks: Any, shape: tuple[int, ...], maxshape: Any, path: str) -> None:
    """Refuse chunk shapes that HDF5 cannot have.

    Raises
    ------
    LayoutError
        Not one positive extent for each axis, or larger than an axis that cannot grow.
    """
    if chunks is None or isinstance(chunks, bool):
        return
    extents = tuple(chunks)
    limits = tuple(maxshape) if maxshape is not None and not isinstance(maxshape, bool) else tuple(shape)
    remedy = "Give H5DataIO(chunks=...) positive extents within the shape, or chunks=True"
    if len(extents) != len(shape) or any(extent < 1 for extent in extents):
        raise LayoutError(
            f"chunks must have one positive extent for each axis of shape {tuple(shape)}, got {extents}",
            where=path,
            remedy=remedy,
        )
    if maxshape is True:
        return
    too_large = [n for n, (c, m) in enumerate(zip(extents, limits, strict=True)) if m is not None and c > max(m, 1)]
    if too_large:
        raise LayoutError(
            f"chunks {extents} must not be larger than the fixed extents {limits} (axis {too_large[0]})",
            where=path,
            remedy=remedy,
        )


def warn_of_plugin(compression: Compression) -> None:
    """Say that readers need more than HDF5. Independent."""
    warnings.warn(
        f"compression {compression!r} is not part of HDF5: whoever reads the file needs its plugin (Python: import "
        "hdf5plugin; MatNWB: HDF5_PLUGIN_PATH); 'auto' and 'gzip' need none",
        stacklevel=2,
    )
