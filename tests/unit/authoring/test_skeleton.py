"""The skeleton: what pynwb writes, bulk datasets created as hdmf creates them, but empty."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO, h5tools
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import NWBHDF5IO, NWBFile, TimeSeries, get_manager
from pynwb.device import Device
from pynwb.ecephys import ElectrodeGroup

from parnwb.authoring.bulk_rule import BulkRule
from parnwb.authoring.skeleton import AuthoringOptions, Skeleton, author, check_chunks, open_on, own_error
from parnwb.codec.choose import BY_SPEED
from parnwb.errors import LayoutError, ParnwbError, SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FilterSpec
from parnwb.overlay import Overlay
from parnwb.site import BackendChoice
from parnwb.sources.raw_chunks import read_spec

pytestmark = [
    pytest.mark.filterwarnings("ignore::hdmf.build.warnings.DtypeConversionWarning"),
    pytest.mark.filterwarnings("ignore:lzf compression may not be available"),
]
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
RULE = BulkRule(threshold=1000)
VALUES = (np.arange(60_000) % 97).astype("<i2").reshape(3000, 20)


class Chunks(GenericDataChunkIterator):
    """An iterator that can be divided, and may say a wrong shape."""

    def __init__(self, array: np.ndarray, said: tuple[int, ...] | None = None, **keywords: Any) -> None:
        self.array, self.said = array, said or array.shape
        super().__init__(buffer_shape=array.shape, **keywords)

    def _get_data(self, selection: Any) -> np.ndarray:
        return self.array[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.said

    def _get_dtype(self) -> np.dtype:
        return self.array.dtype


def nwbfile_with(**data: Any) -> NWBFile:
    """An NWBFile with one series for each keyword; a dict is passed on as the arguments of the series."""
    nwbfile = NWBFile("a session", "id", START, file_create_date=START)
    for name, value in data.items():
        arguments = value if isinstance(value, dict) else {"data": value}
        nwbfile.add_acquisition(TimeSeries(name=name, unit="V", **{"rate": 10.0, **arguments}))
    return nwbfile


def authored(nwbfile: NWBFile, path: Path = Path("/nowhere/out.nwb"), **options: Any) -> Skeleton:
    return author(nwbfile, path, get_manager(), AuthoringOptions(**{"rule": RULE, **options}))


def spec_of(data: Any, **options: Any) -> DatasetSpec:
    (spec,) = authored(nwbfile_with(x=data), **options).layout
    return spec


def names(spec: DatasetSpec) -> list[str]:
    return [item.name for item in spec.filters]


@pytest.fixture
def file() -> Iterator[h5py.File]:
    with h5py.File("source", "w", driver="core", backing_store=False) as opened:
        yield opened


# -- the same as pynwb's -------------------------------------------------------------------------------------

CASES: dict[str, Any] = {
    "array": lambda: VALUES,
    "big-endian": lambda: VALUES.astype(">i2"),
    "floats": lambda: VALUES.astype("f4"),
    "booleans": lambda: VALUES > 50,
    "one-dimensional": lambda: VALUES.reshape(-1),
    "four-dimensional": lambda: VALUES.reshape(10, 100, 3, 20),
    "gzip": lambda: H5DataIO(VALUES, compression="gzip", compression_opts=7, chunks=(100, 10)),
    "all filters": lambda: H5DataIO(VALUES, compression=True, shuffle=True, fletcher32=True),
    "lzf": lambda: H5DataIO(VALUES, compression="lzf", shuffle=True),
    "growing": lambda: H5DataIO(VALUES, maxshape=(None, 20), chunks=True),
    "fill value": lambda: H5DataIO(VALUES, fillvalue=-7),
    "fill value, chunked": lambda: H5DataIO(VALUES, fillvalue=-7, chunks=(1000, 7)),
    "iterator": lambda: Chunks(VALUES, chunk_shape=(300, 20)),
    "wrapped iterator": lambda: H5DataIO(Chunks(VALUES, chunk_shape=(300, 20)), compression="gzip"),
    "float16": lambda: VALUES.astype("f2"),
    "timestamps": lambda: {"data": VALUES, "timestamps": np.arange(3000, dtype="f4"), "rate": None},
    "wrapped timestamps": lambda: {
        "data": VALUES,
        "timestamps": H5DataIO(np.arange(3000.0), chunks=True),
        "rate": None,
    },
}


def described(file: h5py.File) -> dict[str, Any]:
    """Everything but the values of bulk data and object ids."""
    seen: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        seen[name] = {
            key: np.asarray(value).tolist()
            for key, value in item.attrs.items()
            if key not in ("object_id", ".specloc")
        }
        if isinstance(item, h5py.Dataset):
            spec = read_spec(item)
            seen[name]["="] = (spec, item.id.get_create_plist().get_alloc_time())
            if name not in ("specifications",) and not name.startswith("acquisition"):
                seen[name]["values"] = np.asarray(item[()]).tolist()

    file.visititems(note)
    return seen


@pytest.mark.parametrize("name", CASES)
def test_file_is_pynwbs_but_for_the_bulk_values(name, tmp_path):
    with NWBHDF5IO(tmp_path / "oracle.nwb", "w") as io:
        io.write(nwbfile_with(x=CASES[name]()))
    skeleton = authored(nwbfile_with(x=CASES[name]()))
    with h5py.File(tmp_path / "oracle.nwb", "r") as oracle:
        assert described(skeleton.file) == described(oracle)
        for spec in skeleton.layout:
            bare = replace(spec, access="random", coder="")
            assert bare == read_spec(oracle[spec.path])
            values = skeleton.sources[spec.path].read(Hyperslab.whole(spec.shape))
            np.testing.assert_array_equal(values, oracle[spec.path][...])


@pytest.mark.parametrize("name", CASES)
def test_bulk_datasets_are_empty(name):
    skeleton = authored(nwbfile_with(x=CASES[name]()))
    assert len(skeleton.layout) >= 1
    assert sorted(skeleton.sources) == [spec.path for spec in skeleton.layout]
    for spec in skeleton.layout:
        assert skeleton.file[spec.path].id.get_storage_size() == 0
    assert "x" not in skeleton.signature and f"{skeleton.layout.datasets[0].path}" in skeleton.signature


def test_small_data_ride_along():
    skeleton = authored(nwbfile_with(small=np.arange(10), text=["a", "b"], large=VALUES))
    assert [spec.path for spec in skeleton.layout] == ["/acquisition/large/data"]
    assert skeleton.file["acquisition/small/data"][:].tolist() == list(range(10))


def test_no_bulk_at_all():
    skeleton = authored(nwbfile_with(small=np.arange(10)))
    assert (len(skeleton.layout), skeleton.sources) == (0, {})


def test_memory_holds_no_bulk():
    whole = np.zeros((64 << 20) // 8)
    overlay = authored(nwbfile_with(x=whole, y=H5DataIO(whole, compression=True))).overlay
    assert sum(len(data) for _, data in overlay.extents()) < 2 << 20


def test_shared_data_are_written_once():
    nwbfile = nwbfile_with(x=VALUES)
    nwbfile.add_stimulus(TimeSeries(name="same", data=nwbfile.acquisition["x"], unit="V", rate=1.0))
    skeleton = authored(nwbfile)
    assert [spec.path for spec in skeleton.layout] == ["/acquisition/x/data"]
    assert skeleton.file["stimulus/presentation/same/data"].id == skeleton.file["acquisition/x/data"].id


def test_arguments_of_write_are_passed_on():
    without = authored(nwbfile_with(x=VALUES), write_arguments={"cache_spec": False})
    assert "specifications" not in without.file
    assert "specifications" in authored(nwbfile_with(x=VALUES)).file


# -- copied HDF5 datasets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"chunks": (100, 7), "compression": "gzip", "shuffle": True},
        {"fillvalue": 3},
        {"maxshape": (None, 20)},
    ],
)
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_copied_dataset_is_created_as_it_is(file, settings, dtype):
    source = file.create_dataset("x", data=VALUES.astype(dtype), **settings)
    skeleton = authored(nwbfile_with(x=source), rule=BulkRule(1000, link_data=False))
    (spec,) = skeleton.layout
    assert replace(spec, access="random", coder="", path="/x") == read_spec(source)
    assert skeleton.file[spec.path].id.get_storage_size() == 0
    assert skeleton.file[spec.path].attrs["unit"] == "V"
    np.testing.assert_array_equal(skeleton.sources[spec.path].read(Hyperslab.whole(spec.shape)), VALUES)


def test_linked_dataset_stays_where_it_is(tmp_path):
    with h5py.File(tmp_path / "source.h5", "w") as source:
        source["x"] = VALUES
        source["x"].attrs["unit"] = "V"
    with h5py.File(tmp_path / "source.h5", "r") as source:
        skeleton = authored(nwbfile_with(x=source["x"]), tmp_path / "out.nwb")
        assert len(skeleton.layout) == 0
        link = skeleton.file.get("acquisition/x/data", getlink=True)
    assert isinstance(link, h5py.ExternalLink) and link.filename == "source.h5"


def test_numbers_of_few_bits_are_copied_by_hdf5(file):
    """N-bit of 12 bits: the codec would pack 16 and the values would come back wrong."""
    kind = h5py.h5t.STD_I16LE.copy()
    kind.set_precision(12)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((100, 20))
    creation.set_filter(h5py.h5z.FILTER_NBIT, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(VALUES.shape)
    source = h5py.Dataset(h5py.h5d.create(file.id, b"x", kind, space, creation))
    source[...] = -VALUES
    skeleton = authored(nwbfile_with(x=source), rule=BulkRule(1000, link_data=False))
    assert len(skeleton.layout) == 0
    np.testing.assert_array_equal(skeleton.file["acquisition/x/data"][...], -VALUES)


# -- default compression -------------------------------------------------------------------------------------


def test_no_default_leaves_data_as_they_are():
    assert spec_of(VALUES).filters == () and spec_of(VALUES).chunks is None and spec_of(VALUES).coder == ""


@pytest.mark.parametrize(("compression", "level"), [("gzip", 4), (0, 0), (1, 1), (9, 9)])
def test_default_level(compression, level):
    spec = spec_of(VALUES, compression=compression)
    assert spec.filters == (FilterSpec(1, (level,), "deflate"),)
    assert spec.chunks == tuple(NWBHDF5IO.compute_default_chunk_shape(VALUES.shape, VALUES.dtype))
    assert spec.coder == "zlib-0" if level == 0 else spec.coder


def test_auto_is_gzip_at_the_coders_level():
    spec = spec_of(VALUES, compression="auto")
    assert spec.coder in BY_SPEED
    assert spec.filters[-1] == FilterSpec(1, (int(spec.coder[-1]),), "deflate")
    assert names(spec) in (["deflate"], ["shuffle", "deflate"])


def test_auto_shuffles_where_it_helps():
    timestamps = np.arange(50_000) / 30_000
    assert names(spec_of(timestamps, compression="auto")) == ["shuffle", "deflate"]
    assert names(spec_of((VALUES % 3).astype("u1"), compression="auto")) == ["deflate"]


@pytest.mark.parametrize("compression", ["auto", "gzip", 9])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"compression": "gzip", "compression_opts": 2}, ["deflate"]),
        ({"compression": "lzf"}, ["lzf"]),
        ({"shuffle": True, "chunks": (100, 20)}, ["shuffle"]),
        ({"fletcher32": True}, ["fletcher32"]),
    ],
)
def test_data_with_a_filter_of_their_own_keep_it(compression, settings, expected):
    spec = spec_of(H5DataIO(VALUES, **settings), compression=compression)
    assert names(spec) == expected
    assert expected != ["deflate"] or spec.filters[0].options == (2,)


@pytest.mark.parametrize("compression", ["auto", "gzip"])
def test_default_keeps_chunks_and_all_else(compression):
    spec = spec_of(
        H5DataIO(VALUES, chunks=(123, 7), maxshape=(None, 20), fillvalue=5), compression=compression
    )
    assert (spec.chunks, spec.maxshape, spec.fillvalue) == ((123, 7), (None, 20), b"\5\0")
    assert "deflate" in names(spec)


@pytest.mark.parametrize("compression", ["auto", "gzip"])
def test_default_for_iterators_and_empty_ones(compression):
    spec = spec_of(Chunks(VALUES, chunk_shape=(300, 20)), compression=compression)
    assert spec.chunks == (300, 20) and "deflate" in names(spec)


def test_default_is_for_bulk_data_only():
    skeleton = authored(nwbfile_with(small=np.arange(10), large=VALUES), compression="gzip")
    assert skeleton.file["acquisition/small/data"].compression is None
    assert skeleton.file["acquisition/large/data"].compression == "gzip"


@pytest.mark.parametrize("level", range(1, 10))
def test_coder_of_a_level_is_named(level):
    spec = spec_of(H5DataIO(VALUES, compression="gzip", compression_opts=level))
    assert spec.filters[0].options == (level,) and spec.coder


def test_failing_source_is_named_while_it_is_sampled():
    class Broken(Chunks):
        def _get_data(self, selection: Any) -> np.ndarray:
            raise OSError("disk on fire")

    with pytest.raises(SourceError, match="disk on fire"):
        authored(nwbfile_with(x=Broken(VALUES, chunk_shape=(300, 20))), compression="auto")


# -- backends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"compression": "gzip"}, {"chunks": (100, 20)}])
def test_mpio_never_fills_and_needs_no_coder(settings):
    mpio = BackendChoice("mpio", "asked for")
    skeleton = authored(nwbfile_with(x=H5DataIO(VALUES, **settings)), backend=mpio)
    creation = skeleton.file["acquisition/x/data"].id.get_create_plist()
    assert creation.get_fill_time() == h5py.h5d.FILL_TIME_NEVER
    assert skeleton.layout.datasets[0].coder == "" and skeleton.backend.name == "mpio"


# -- what cannot be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "shape", "maxshape"),
    [
        (None, (4, 4), None),
        (True, (4, 4), None),
        (False, (4, 4), None),
        ((4, 4), (4, 4), None),
        ((9, 4), (4, 4), (None, 4)),
        ((9, 4), (4, 4), (9, 4)),
        ((9, 9), (4, 4), True),
        ((1, 1), (0, 4), None),
        ((np.int64(3),), (4,), None),
    ],
)
def test_possible_chunks(chunks, shape, maxshape):
    check_chunks(chunks, shape, maxshape, "/x")


@pytest.mark.parametrize(
    ("chunks", "shape", "maxshape", "words"),
    [
        ((0, 4), (4, 4), None, "one positive extent for each axis"),
        ((-1, 4), (4, 4), None, "one positive extent for each axis"),
        ((4,), (4, 4), None, "one positive extent for each axis"),
        ((4, 4, 4), (4, 4), None, "one positive extent for each axis"),
        ((0, 9), (4, 4), True, "one positive extent for each axis"),
        ((5, 4), (4, 4), None, r"larger than the fixed extents \(4, 4\) \(axis 0\)"),
        ((4, 5), (4, 4), (None, 4), r"\(axis 1\)"),
        ((10, 4), (4, 4), (9, 4), r"\(axis 0\)"),
        ((2, 4), (0, 4), None, r"\(axis 0\)"),
    ],
)
def test_impossible_chunks(chunks, shape, maxshape, words):
    with pytest.raises(LayoutError, match=words) as caught:
        check_chunks(chunks, shape, maxshape, "/acquisition/x/data")
    assert caught.value.where == "/acquisition/x/data"
    assert "H5DataIO(chunks=...)" in caught.value.remedy


@pytest.mark.parametrize("chunks", [(0, 20), (-5, 20), (3001, 20), (100,), (100, 20, 1)])
def test_impossible_chunks_in_an_nwbfile(chunks):
    with pytest.raises(LayoutError, match="chunks") as caught:
        authored(nwbfile_with(x=H5DataIO(VALUES, chunks=chunks)))
    assert caught.value.where == "/acquisition/x/data"


def test_what_hdf5_refuses_is_named_with_its_settings():
    with pytest.raises(
        LayoutError, match="HDF5 cannot create a dataset with .*'fillvalue': 'text'"
    ) as caught:
        authored(nwbfile_with(x=H5DataIO(VALUES, fillvalue="text")))
    assert caught.value.where == "/acquisition/x/data"
    assert "H5DataIO" in caught.value.remedy


def test_shape_of_an_iterator_that_differs_from_the_datasets():
    class Shorter(Chunks):
        def recommended_data_shape(self) -> tuple[int, ...]:
            return (2999, 20)

    with pytest.raises(
        LayoutError, match=r"created with shape \(2999, 20\), its data have \(3000, 20\)"
    ) as caught:
        authored(nwbfile_with(x=Shorter(VALUES, chunk_shape=(300, 20))))
    assert caught.value.where == "/acquisition/x/data"
    assert "Shorter" in caught.value.remedy


def test_small_data_that_hdf5_cannot_hold_are_named():
    nwbfile = nwbfile_with(x=VALUES)
    nwbfile.acquisition["x"].fields["data"] = np.array([object()] * 10)
    with pytest.raises(LayoutError, match="HDF5 cannot hold these data: TypeError: .*object") as caught:
        authored(nwbfile)
    assert caught.value.where == "/acquisition/x/data"


def test_error_of_pynwb_comes_with_all_its_words():
    nwbfile = nwbfile_with(x=VALUES)
    nwbfile.add_electrode_group(
        ElectrodeGroup(name="shank", description="d", location="somewhere", device=Device(name="orphan"))
    )
    with pytest.raises(ParnwbError, match="pynwb could not write the NWBFile: Orphan.*'orphan'") as caught:
        authored(nwbfile)
    assert type(caught.value.__cause__).__name__ == "OrphanContainerBuildError"


def test_own_error_is_found_in_hdmfs():
    ours = SourceError("ours", where="/x")
    for wrap in ("cause", "context"):
        try:
            try:
                raise ours
            except SourceError as error:
                if wrap == "cause":
                    raise RuntimeError("hdmf's") from error
                raise RuntimeError("hdmf's")  # noqa: B904 - as hdmf does
        except RuntimeError as outer:
            assert own_error(outer) is ours
    assert own_error(ours) is ours


def test_own_error_joins_the_words_of_the_whole_chain():
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        found = own_error(error)
    assert type(found) is LayoutError
    assert found.message == "pynwb could not write the NWBFile: ValueError: outer; because KeyError: 'inner'"


def test_own_error_of_a_chain_in_a_circle():
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert "one; because ValueError: other" in str(own_error(one))


# -- what it relies on ---------------------------------------------------------------------------------------


def test_hdmf_queues_iterators_where_the_skeleton_expects_it(tmp_path):
    """A private name of hdmf's: should it change, iterators would be drained into the skeleton."""
    with NWBHDF5IO(tmp_path / "x.nwb", "w") as io:
        queue = io._HDF5IO__dci_queue
    assert callable(queue.append) and callable(queue.exhaust_queue)
    source = inspect.getsource(h5tools.HDF5IO)
    assert "self.__dci_queue.append(dataset=dset, data=data)" in source
    assert "self.__dci_queue.exhaust_queue()" in source


def test_iterators_are_not_drained():
    class Counting(Chunks):
        read = 0

        def __next__(self) -> Any:
            Counting.read += 1
            return super().__next__()

    authored(nwbfile_with(x=Counting(VALUES, chunk_shape=(300, 20))))
    assert Counting.read == 0


def test_no_warning_of_an_open_file(recwarn):
    """Hdmf warns when a writer is forgotten; the skeleton's file is meant to stay open."""
    authored(nwbfile_with(x=VALUES))
    gc.collect()
    assert [str(w.message) for w in recwarn if "not closed" in str(w.message)] == []


def test_file_believes_to_be_the_final_one(tmp_path):
    overlay = Overlay()
    file = open_on(overlay, tmp_path / "märz.nwb")
    assert file.filename == str(tmp_path / "märz.nwb")
    file.close()
    assert list(tmp_path.iterdir()) == []
    assert overlay.end > 0


@pytest.mark.parametrize("dtype", ["?", "<i2", ">f8", "f2"])
@pytest.mark.parametrize(
    "settings", [{}, {"fillvalue": 1}, {"fillvalue": 0}, {"chunks": (5,), "maxshape": (None,)}]
)
def test_spec_is_read_as_the_file_has_it(file, dtype, settings):
    spec = read_spec(file.create_dataset("x", (10,), dtype, **settings))
    assert (spec.path, spec.shape, spec.numpy_dtype) == ("/x", (10,), np.dtype(dtype))
    assert spec.chunks == settings.get("chunks") and spec.maxshape == settings.get("maxshape", (10,))
    expected = np.array(settings["fillvalue"], dtype).tobytes() if "fillvalue" in settings else b""
    assert spec.fillvalue == expected


# -- chunks that are chosen ----------------------------------------------------------------------------------

CHANNELS = np.zeros((50_000, 130), dtype="<i2")


@pytest.mark.parametrize("compression", [None, 4])
def test_data_without_chunks_of_their_own_get_some(compression: Any) -> None:
    assert spec_of(CHANNELS, chunks="auto", compression=compression).chunks == (45_454, 44)
    grows = H5DataIO(CHANNELS, maxshape=(None, 130), chunks=True)
    assert spec_of(grows, chunks="auto", compression=compression).chunks == (45_454, 44)
    frames = np.zeros((20, 512, 512), dtype="<u2")
    assert spec_of(frames, chunks="auto", compression=compression).chunks == (7, 512, 512)


def test_chunks_of_their_own_stay() -> None:
    assert spec_of(H5DataIO(CHANNELS, chunks=(100, 10)), chunks="auto").chunks == (100, 10)
    assert spec_of(Chunks(CHANNELS, chunk_shape=(300, 26)), chunks="auto").chunks == (300, 26)
    assert spec_of(CHANNELS).chunks == authored(nwbfile_with(x=CHANNELS), chunks=None).layout.datasets[0].chunks
