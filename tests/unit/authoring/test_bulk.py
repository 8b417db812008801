"""What is bulk, what ranks must agree on, and that hdmf copies none of it while it builds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO
from hdmf.build import BuildManager, DatasetBuilder, GroupBuilder, ObjectMapper
from hdmf.common import DynamicTable, VectorData, VectorIndex
from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator
from pynwb import NWBFile, TimeSeries, get_manager
from pynwb.file import Subject
from pynwb.ophys import PlaneSegmentation
from pynwb.testing.mock.ophys import mock_ImagingPlane

from parnwb.authoring.bulk import build, bulk_sources, signature, uncopied_arrays
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.builders import location, unwrapped
from parnwb.sources import Access

pytestmark = pytest.mark.filterwarnings("ignore::hdmf.build.warnings.DtypeConversionWarning")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
RULE = BulkRule(threshold=1000)
LARGE = np.arange(1000, dtype="<i2")


class Chunks(GenericDataChunkIterator):
    """An iterator that can be divided."""

    def __init__(self, array: np.ndarray, **keywords: Any) -> None:
        self.array = array
        super().__init__(**keywords)

    def _get_data(self, selection: Any) -> np.ndarray:
        return self.array[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.array.shape

    def _get_dtype(self) -> np.dtype:
        return self.array.dtype


def chunks_of(array: np.ndarray) -> Chunks:
    return Chunks(array, buffer_shape=array.shape, chunk_shape=array.shape)


def nwbfile_with(**data: Any) -> NWBFile:
    """An NWBFile with one series for each keyword; a dict is passed on as the arguments of the series."""
    nwbfile = NWBFile("a session", "id", START, file_create_date=START)
    for name, value in data.items():
        arguments = value if isinstance(value, dict) else {"data": value}
        nwbfile.add_acquisition(TimeSeries(name=name, unit="V", **{"rate": 10.0, **arguments}))
    return nwbfile


def built(nwbfile: NWBFile) -> GroupBuilder:
    return build(nwbfile, get_manager(), "out.nwb")


def applies(data: Any, rule: BulkRule = RULE) -> bool:
    return rule.applies(DatasetBuilder("data", data))


@pytest.fixture
def file() -> Iterator[h5py.File]:
    with h5py.File("source", "w", driver="core", backing_store=False) as opened:
        yield opened


# -- what is bulk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda data: data, H5DataIO])
@pytest.mark.parametrize(
    ("data", "bulk"),
    [
        (LARGE, True),
        (np.zeros(500, "<i2"), True),  # just at the threshold
        (np.zeros(499, "<i2"), False),
        (np.zeros(1000, "?"), True),
        (np.zeros((10, 20), ">f8"), True),
        (np.zeros(1000, "<c16"), False),
        (np.array(["text"] * 1000), False),
        (np.array(["text"] * 1000, dtype=object), False),
        (np.zeros(1000, "S5"), False),
        (np.zeros(1000, np.longdouble), True),
        (np.zeros(1000, np.clongdouble), False),
        (np.zeros(1000, [("a", "<i2"), ("b", "<f4")]), False),  # what the schema says is not compound
        (np.zeros((0, 5000)), False),
        (list(range(125)), True),
        (list(range(124)), False),
        (tuple([0.5] * 125), True),
        ([True] * 1000, True),
        ([[1.5, 2.5]] * 63, True),
        ([np.zeros(5)] * 25, True),
        (["text"] * 1000, False),
        ([b"text"] * 1000, False),
        ([[], []], False),
        ([], False),
        ([None] * 1000, False),
        ([datetime(2026, 1, 1)] * 1000, False),
    ],
    ids=lambda value: str(getattr(value, "dtype", type(value).__name__)),
)
def test_large_numeric_arrays_are_bulk(data, bulk, wrap):
    assert applies(wrap(data)) is bulk


PIXEL = [{"name": "x", "dtype": "uint32"}, {"name": "weight", "dtype": "float32"}]
REFERRING = [*PIXEL, {"name": "series", "dtype": {"reftype": "object"}}]


@pytest.mark.parametrize("wrap", [lambda data: data, H5DataIO])
@pytest.mark.parametrize(
    ("data", "dtype", "bulk"),
    [
        ([(1, 0.5)] * 125, PIXEL, True),
        ([(1, 0.5)] * 124, PIXEL, False),
        (np.zeros(125, "u4, f4"), PIXEL, True),
        (np.zeros((125, 2)), PIXEL, False),
        ([(1, 0.5, None)] * 1000, REFERRING, False),
    ],
)
def test_compound_values_are_bulk_where_the_schema_has_them(data, dtype, bulk, wrap):
    assert RULE.applies(DatasetBuilder("data", wrap(data), dtype=dtype)) is bulk


def test_iterators_over_text_are_not_bulk_and_say_nothing_of_their_address():
    texts = [chunks_of(np.array(["a", "bc"] * 3000, dtype=object)) for _ in range(2)]
    assert not any(applies(text) for text in texts)
    described = [bulk_content(text) for text in texts]
    assert described[0] == described[1] == "dataset of shape (6000,) and dtype object"


def bulk_content(data: Any) -> str:
    root = GroupBuilder("root", datasets={"data": DatasetBuilder("data", data)})
    return signature(root, RULE)["/data"]


@pytest.mark.parametrize("data", [5, 5.0, "text", None, np.float64(3), np.array(3.0)])
def test_scalars_are_not_bulk(data):
    assert not applies(data, BulkRule(threshold=0))


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.parametrize("wrap", [lambda data: data, H5DataIO])
def test_divisible_iterators_are_always_bulk(size, wrap):
    assert applies(wrap(chunks_of(np.zeros(size, "<i2"))))


@pytest.mark.parametrize("wrap", [lambda data: data, H5DataIO])
def test_iterators_that_only_run_once_are_bulk_if_they_give_numbers(wrap):
    nwbfile = nwbfile_with(x=wrap(DataChunkIterator(data=iter(range(10)), dtype=np.dtype("i8"))))
    (source,) = bulk_sources(built(nwbfile), RULE).values()
    assert source.access is Access.GROWING
    first, values = next(source.arriving((1,), "/acquisition/x/data"))
    assert (first, values.tolist()) == (0, [0])
    assert not applies(wrap(DataChunkIterator(data=iter(["a", "b"]))))


@pytest.mark.parametrize("link", [True, False])
def test_hdf5_datasets_are_bulk_where_they_are_copied(file, link):
    dataset = file.create_dataset("x", data=LARGE)
    assert applies(dataset, BulkRule(1000, link_data=link)) is not link
    assert applies(H5DataIO(dataset, link_data=False), BulkRule(1000, link_data=link))
    assert not applies(H5DataIO(dataset, link_data=True), BulkRule(1000, link_data=link))


def test_hdf5_datasets_that_only_hdf5_understands_ride_with_the_metadata(file):
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    space, kind = h5py.h5s.create_simple((1000,)), h5py.h5t.STD_I16LE
    narrow = h5py.h5t.STD_I16LE.copy()
    narrow.set_precision(12)
    nbit = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    nbit.set_chunk((100,))
    nbit.set_filter(h5py.h5z.FILTER_NBIT, h5py.h5z.FLAG_OPTIONAL, ())
    found = {
        "compact": h5py.Dataset(h5py.h5d.create(file.id, b"compact", kind, space, compact)),
        # 12 bits of 16: the codec's own N-bit would pack all 16, and the file would be read wrongly
        "narrow": h5py.Dataset(h5py.h5d.create(file.id, b"narrow", narrow, space, nbit)),
        "text": file.create_dataset("text", (1000,), h5py.string_dtype()),
    }
    rule = BulkRule(0, link_data=False)
    assert [name for name, dataset in found.items() if applies(dataset, rule)] == []


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_hdf5_datasets_with_values_in_other_files_are_bulk_of_any_size(file, tmp_path, rows):
    """HDF5 would copy where the values are, and they are not found from another folder."""
    virtual = h5py.VirtualLayout((rows,), "<i2")
    virtual[:] = h5py.VirtualSource("elsewhere.h5", "x", (rows,))
    found = [
        file.create_virtual_dataset("virtual", virtual),
        file.create_dataset("external", (rows,), "<i2", external=str(tmp_path / "raw")),
    ]
    for dataset in found:
        assert applies(dataset, BulkRule(10**6, link_data=False))
        assert not applies(dataset, BulkRule(0))  # a link leads to where they are found


def test_text_in_other_files_rides_with_the_metadata(file):
    virtual = h5py.VirtualLayout((10,), h5py.string_dtype())
    virtual[:] = h5py.VirtualSource("elsewhere.h5", "x", (10,), h5py.string_dtype())
    assert not applies(file.create_virtual_dataset("virtual", virtual), BulkRule(0, link_data=False))


@pytest.mark.parametrize("dtype", ["?", "<i2", ">i2", "|u1", "<f2", ">f8"])
@pytest.mark.parametrize("chunks", [None, (100,)])
def test_usual_hdf5_datasets_are_bulk(file, dtype, chunks):
    assert applies(file.create_dataset("x", (1000,), dtype, chunks=chunks), BulkRule(0, link_data=False))


def test_unwrapped():
    assert unwrapped(LARGE) is unwrapped(H5DataIO(LARGE)) is LARGE


# -- in an NWBFile -------------------------------------------------------------------------------------------


def test_sources_by_path(tmp_path):
    mapped = np.memmap(tmp_path / "raw", dtype="<f4", mode="w+", shape=(500, 4))
    mapped[:] = 7
    root = built(
        nwbfile_with(
            small=[1.0, 2.0],
            large={"data": LARGE, "timestamps": np.linspace(0, 1, 1000), "rate": None},
            mapped=H5DataIO(mapped, compression=True),
            chunked=chunks_of(LARGE.reshape(100, 10)),
        )
    )
    sources = bulk_sources(root, RULE)
    assert {path: (source.shape, source.dtype.str) for path, source in sources.items()} == {
        "/acquisition/large/data": ((1000,), "<i2"),
        "/acquisition/large/timestamps": ((1000,), "<f8"),
        "/acquisition/mapped/data": ((500, 4), "<f4"),
        "/acquisition/chunked/data": ((100, 10), "<i2"),
    }


def test_location_is_the_path_in_the_file():
    root = built(nwbfile_with(x=LARGE))
    assert location(root) == "/"
    assert location(root.groups["acquisition"].groups["x"].datasets["data"]) == "/acquisition/x/data"


# -- what ranks agree on -------------------------------------------------------------------------------------


def rich(change: Callable[[dict[str, Any]], None] = lambda values: None) -> NWBFile:
    """An NWBFile with a bit of everything, of which ``change`` may alter one value."""
    values: dict[str, Any] = {
        "description": "a session",
        "experimenter": ["Anna", "Bertil"],
        "start": START,
        "keywords": ["alpha", "beta", "gamma", "delta", "epsilon"],
        "age": "P10D",
        "data": LARGE.copy(),
        "small": np.arange(10.0),
        "unit": "V",
        "conversion": 0.5,
        "settings": {"compression": "gzip", "compression_opts": 4, "chunks": (100,), "shuffle": True},
        "columns": {"red", "green", "blue", "black"},
        "electrodes": 4,
        "rate": 10.0,
    }
    change(values)
    nwbfile = NWBFile(
        values["description"],
        "id",
        values["start"],
        experimenter=values["experimenter"],
        keywords=values["keywords"],
        file_create_date=START,
    )
    nwbfile.subject = Subject(age=values["age"], subject_id="mouse", species="Mus musculus", sex="F")
    series = TimeSeries(
        name="large",
        data=H5DataIO(values["data"], **values["settings"]),
        unit=values["unit"],
        conversion=values["conversion"],
        rate=values["rate"],
    )
    nwbfile.add_acquisition(series)
    nwbfile.add_acquisition(TimeSeries(name="small", data=values["small"], unit="V", rate=1.0))
    device = nwbfile.create_device("probe")
    group = nwbfile.create_electrode_group("shank", "d", "somewhere", device)
    for column in values["columns"]:
        nwbfile.add_electrode_column(column, "c")
    for number in range(values["electrodes"]):
        nwbfile.add_electrode(location="CA1", group=group, **dict.fromkeys(values["columns"], number))
    nwbfile.add_unit(spike_times=[1.0, 2.0, 3.0])
    return nwbfile


def signature_of(nwbfile: NWBFile) -> dict[str, str]:
    return signature(built(nwbfile), RULE)


def changed(key: str, value: Any) -> dict[str, str]:
    return signature_of(rich(lambda values: values.__setitem__(key, value)))


def test_signature_is_equal_for_equal_files():
    """Object ids differ between the two, as they do between ranks."""
    one, other = rich(), rich()
    assert one.object_id != other.object_id
    assert signature_of(one) == signature_of(other)


def test_signature_passes_over_what_each_process_makes_anew():
    one, other = rich(), rich()
    other.fields["identifier"] = "another"
    other.fields["file_create_date"] = [datetime(2030, 1, 1, tzinfo=timezone.utc)]
    assert signature_of(one) == signature_of(other)


def with_terms(*, of: str = "one", key: str = "CA1") -> NWBFile:
    """An NWBFile whose HERD names one of its objects."""
    nwbfile = nwbfile_with(x=LARGE)
    devices = {name: nwbfile.create_device(name, description="CA1") for name in ("one", "other")}
    herd = nwbfile.get_external_resources()
    herd.add_ref(container=devices[of], attribute="description", key=key, entity_id="a:1", entity_uri="https://a/1")
    return nwbfile


def test_signature_of_a_herd_has_the_places_of_objects_instead_of_their_ids():
    reference = signature_of(with_terms())
    assert "'/general/devices/one'" in reference["/general/external_resources/objects"]
    assert signature_of(with_terms()) == reference
    for other, table in (({"of": "other"}, "objects"), ({"key": "CA3"}, "keys")):
        found = signature_of(with_terms(**other))
        differing = {name for name in {*reference, *found} if reference.get(name) != found.get(name)}
        assert differing == {f"/general/external_resources/{table}"}


def test_bulk_values_are_not_read():
    """Ranks may see different bytes only where their disks do; comparing them would cost a second reading."""
    assert changed("data", LARGE[::-1].copy()) == signature_of(rich())


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("description", "another session", "/session_description"),
        ("experimenter", ["Anna"], "/general/experimenter"),
        ("start", datetime(2026, 1, 2, 3, 4, 6, tzinfo=timezone.utc), "/session_start_time"),
        ("experimenter", ["Bertil", "Anna"], "/general/experimenter"),
        ("keywords", ["alpha"], "/general/keywords"),
        ("columns", ["red", "green", "blue", "white"], "/general/extracellular_ephys/electrodes@colnames"),
        ("age", "P11D", "/general/subject/age"),
        ("small", np.arange(10.0) + 1e-12, "/acquisition/small/data"),
        ("small", np.arange(10.0, dtype="<f4"), "/acquisition/small/data"),
        ("small", np.arange(11.0), "/acquisition/small/data"),
        ("unit", "A", "/acquisition/large/data@unit"),
        ("conversion", 0.25, "/acquisition/large/data@conversion"),
        ("rate", 10.5, "/acquisition/large/starting_time@rate"),
        ("data", LARGE[:-1], "/acquisition/large/data"),
        ("data", LARGE.reshape(500, 2), "/acquisition/large/data"),
        ("data", LARGE.astype("<i4"), "/acquisition/large/data"),
        ("data", LARGE.astype(">i2"), "/acquisition/large/data"),
        (
            "settings",
            {"compression": "gzip", "compression_opts": 5, "chunks": (100,)},
            "/acquisition/large/data",
        ),
        ("settings", {"chunks": (101,), "shuffle": True}, "/acquisition/large/data"),
        ("settings", {}, "/acquisition/large/data"),
    ],
)
def test_signature_differs_at_the_field_that_differs(key, value, field):
    reference, other = signature_of(rich()), changed(key, value)
    differing = {name for name in {*reference, *other} if reference.get(name) != other.get(name)}
    assert field in differing
    assert all(name.startswith(field.partition("@")[0].rsplit("/", 1)[0]) for name in differing)


def test_signature_sees_what_one_has_more():
    reference = signature_of(rich())
    assert changed("electrodes", 5) != reference
    assert changed("columns", {"red", "green", "blue", "white"}) != reference


@pytest.mark.parametrize("made", [list, tuple, lambda items: np.array(items), lambda items: np.array(items, object)])
def test_signature_sees_another_order_of_rows_of_text(made: Callable[[list[str]], Any]):
    """Each row belongs to those of the other columns."""

    def of(*labels: str) -> str:
        nwbfile = nwbfile_with(x=LARGE)
        column = VectorData(name="label", description="text", data=made(list(labels)))
        nwbfile.add_analysis(DynamicTable(name="table", description="labelled", columns=[column]))
        return signature_of(nwbfile)["/analysis/table/label"]

    assert of("a", "b") == of("a", "b") != of("b", "a")


def test_signature_passes_over_the_order_of_columns():
    """It comes from a set where neuroconv has made the table."""
    assert changed("columns", ["red", "green", "blue"]) == changed("columns", ["blue", "red", "green"])


def test_signature_of_long_text_and_compound_and_references():
    def with_text(text: str) -> dict[str, str]:
        nwbfile = nwbfile_with(x=LARGE)
        nwbfile.fields["notes"] = text
        nwbfile.create_device("one")
        return signature_of(nwbfile)

    assert with_text("µ" * 5000) != with_text("µ" * 4999 + "m")
    assert all(isinstance(value, str) for value in with_text("x").values())
    json.dumps(with_text("x"))


def test_signature_of_links():
    nwbfile = nwbfile_with(x=LARGE)
    shared = nwbfile.acquisition["x"]
    nwbfile.add_stimulus(TimeSeries(name="same", data=shared, unit="V", rate=1.0))
    text = signature_of(nwbfile)
    assert text["/stimulus/presentation/same/data"] == "link to /acquisition/x/data"


def test_signature_of_linked_hdf5_data_is_their_place(file):
    root = built(nwbfile_with(x=file.create_dataset("x", data=LARGE)))
    assert signature(root, RULE)["/acquisition/x/data"] == "dataset source:/x"


PROGRAM = """
import json, sys
sys.path[:0] = sys.argv[1:]
from test_bulk import rich, signature_of
print(json.dumps(signature_of(rich()), sort_keys=True))
"""


def test_signature_is_equal_in_every_process():
    """Sets are ordered anew in every process, and objects lie elsewhere: neither may show."""
    said = set()
    started = []
    for seed in ("0", "1", "77"):
        folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *folders]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    for process in started:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        said.add(out)
    assert len(said) == 1
    assert " at 0x" not in said.pop()


# -- no copies -----------------------------------------------------------------------------------------------


def test_conversion_is_given_back():
    before = ObjectMapper.__dict__["convert_dtype"]
    with uncopied_arrays():
        assert ObjectMapper.__dict__["convert_dtype"] is not before
        with uncopied_arrays():
            pass
        assert ObjectMapper.__dict__["convert_dtype"] is not before
    assert ObjectMapper.__dict__["convert_dtype"] is before
    with pytest.raises(ZeroDivisionError), uncopied_arrays():
        raise ZeroDivisionError
    assert ObjectMapper.__dict__["convert_dtype"] is before


@pytest.mark.parametrize("name", ["data", "timestamps"])
@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", "<i2", ">i2", "u2", "i4", "i8", "u8", "f2", "f4", ">f4", "f8", ">f8"]
)
def test_dtype_is_the_one_hdmf_finds_itself(name, dtype):
    """One element stands for the whole; hdmf must conclude the same from it."""
    values = np.ones(70_000, dtype)
    arguments = {"data": values, "timestamps": values, "rate": None}

    def builder(make: Callable[[], GroupBuilder]) -> DatasetBuilder:
        return make().groups["acquisition"].groups["x"].datasets[name]

    def plainly() -> GroupBuilder:
        return BuildManager(get_manager().type_map).build(
            nwbfile_with(x=arguments), source="out.nwb", root=True
        )

    try:
        expected = builder(plainly)
    except Exception as error:
        with pytest.raises(type(error)):
            built(nwbfile_with(x=arguments))
        return
    found = builder(lambda: built(nwbfile_with(x=arguments)))
    assert np.dtype(found.dtype) == np.dtype(expected.dtype)
    assert found.data is values


def test_small_arrays_are_converted_as_ever():
    root = built(nwbfile_with(x={"data": LARGE, "timestamps": np.ones(1000, "f4"), "rate": None}))
    assert root.groups["acquisition"].groups["x"].datasets["timestamps"].data.dtype == "f8"


@pytest.mark.parametrize("wrap", [lambda data: data, H5DataIO])
@pytest.mark.parametrize(("fields", "kept"), [("xyw", True), ("xwy", False)])
def test_compound_arrays_of_the_files_type_are_not_made_into_tuples(fields, kept, wrap):
    types = {"x": ("x", "<u4"), "y": ("y", "<u4"), "w": ("weight", "<f4")}
    pixels = np.zeros(100, [types[field] for field in fields])
    nwbfile = nwbfile_with()
    plane = mock_ImagingPlane(nwbfile=nwbfile)
    mask = VectorData(name="pixel_mask", description="pixels", data=wrap(pixels))
    index = VectorIndex(name="pixel_mask_index", data=[40, 100], target=mask)
    columns = {"columns": [mask, index], "colnames": ["pixel_mask"], "id": [0, 1]}
    cells = PlaneSegmentation(name="cells", description="regions", imaging_plane=plane, **columns)
    nwbfile.create_processing_module("ophys", "regions").add(cells)
    built_mask = built(nwbfile).groups["processing"].groups["ophys"].groups["cells"].datasets["pixel_mask"]
    assert (unwrapped(built_mask.data) is pixels) is kept
    assert kept or isinstance(unwrapped(built_mask.data), list)


MEMORY = """
import sys, threading, time
sys.path[:0] = sys.argv[2:]
import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from test_bulk import built, nwbfile_with, bulk_sources, RULE, signature

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024

peak, done = [0], threading.Event()

def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())

mapped = np.memmap(sys.argv[1], dtype="<f4", mode="r")
signature(built(nwbfile_with(warm=np.ones(20_000, "f4"))), RULE)  # what imports cost is not asked
before = anonymous()
watcher = threading.Thread(target=watch)
watcher.start()
root = built(nwbfile_with(
    bare={"data": mapped, "timestamps": mapped, "rate": None},
    wrapped={"data": H5DataIO(mapped, compression=True), "timestamps": H5DataIO(mapped), "rate": None},
))
sources, text = bulk_sources(root, RULE), signature(root, RULE)
done.set()
watcher.join()
assert len(sources) == 4
print(max(peak[0], anonymous()) - before)
"""


def test_building_copies_no_bulk_data(tmp_path):
    """200 MB of float32 timestamps: hdmf by itself makes 400 MB of float64 of them."""
    path = tmp_path / "timestamps"
    with path.open("wb") as stream:
        stream.truncate(200 * 2**20)
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    command = [sys.executable, "-W", "ignore", "-c", MEMORY, str(path), *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20
