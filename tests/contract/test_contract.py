"""Whatever the backend, the transfer, the decomposition and the rank count: the file is the one pynwb writes.

Each rank count is one launch, which writes all cases by all roads; the tests compare what it left.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from zipfile import ZipFile

import h5py
import pynwb
import pytest
from contract.cases import CASES, build
from contract.compare import Allowed, Snapshot, differences, object_ids, snapshot
from contract.files import Files
from contract.roads import RANKS, Road, roads
from pynwb.resources import HERD

from parnwb import NWBParallelIO
from parnwb.site import parallel_hdf5

pytestmark = pytest.mark.mpi_skip

needs_parallel_hdf5 = pytest.mark.skipif(not parallel_hdf5(), reason="this h5py was built without MPI: no mpio")


def roads_of(case: str, ranks: int) -> list[Road]:
    return roads(list(CASES).index(case), ranks, parallel_hdf5=parallel_hdf5())


def is_refused(case: str, road: Road) -> bool:
    """Tell whether parallel HDF5 would write a file that cannot be read, so that parnwb must not let it."""
    old = h5py.version.hdf5_version_tuple[:2] < (1, 14)
    return road.backend == "mpio" and CASES[case].skips_chunks and old


FILES = [
    pytest.param(case, road, ranks, id=f"{case}-{road}-{ranks}-ranks")
    for ranks in RANKS
    for case in CASES
    for road in roads_of(case, ranks)
    if not is_refused(case, road)
]


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("contract"), "cases")


@pytest.mark.parametrize("case, road, ranks", FILES)
def test_file_is_the_one_that_pynwb_writes(contract: Files, case: str, road: Road, ranks: int) -> None:
    found = snapshot(contract.written(case, road, ranks))
    allowed = Allowed.of(road.backend, filters=CASES[case].free_filters, size_ratio=CASES[case].size_ratio)
    assert not (different := differences(contract.expected(case), found, allowed)), "\n".join(different)


@pytest.mark.parametrize("case", ["iterators", "session"])
def test_one_process_without_a_communicator_writes_it_too(contract: Files, case: str) -> None:
    path = contract.folder / "pynwb" / "parnwb" / f"{case}.nwb"
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with NWBParallelIO(path, "w", progress=False, backend="direct", **CASES[case].settings) as io:
            io.write(build(case, contract.inputs), **CASES[case].arguments)
    different = differences(contract.expected(case), snapshot(path), Allowed())
    assert not different, "\n".join(different)


def test_write_takes_every_keyword_that_pynwb_takes(contract: Files, tmp_path: Path) -> None:
    keywords = {"cache_spec": True, "link_data": False, "exhaust_dci": False, "expandable": ("VectorData",)}
    assert {"container", "herd", *keywords} == {item["name"] for item in pynwb.NWBHDF5IO.write.__docval__["args"]}
    found, terms = [], []
    for kind in (pynwb.NWBHDF5IO, NWBParallelIO):
        herd_path = tmp_path / f"{kind.__name__}.zip"
        nwbfile, herd = build("iterators", contract.inputs), HERD()
        series = next(iter(nwbfile.acquisition.values()))
        herd.add_ref(container=series, attribute="unit", key=series.unit, entity_id="UO:1", entity_uri="https://uo/1")
        with (
            warnings.catch_warnings(),
            kind(tmp_path / f"{kind.__name__}.nwb", "w", herd_path=str(herd_path)) as io,
        ):
            warnings.simplefilter("ignore")
            io.write(container=nwbfile, herd=herd, **keywords)
        found.append(snapshot(tmp_path / f"{kind.__name__}.nwb"))
        with ZipFile(herd_path) as archive:  # hdmf's has the tables below the names of folders
            terms.append({Path(name).name: archive.read(name) for name in archive.namelist()})
    different = differences(*found, Allowed())
    assert not different, "\n".join(different)
    assert terms[0] == terms[1] and len(terms[0]) == 6 and b"https://uo/1" in terms[1]["entities.tsv"]


@needs_parallel_hdf5
@pytest.mark.parametrize("ranks", RANKS)
def test_mpio_refuses_filters_that_skip_chunks(contract: Files, ranks: int) -> None:
    refused = [road for road in roads_of("lzf", ranks) if is_refused("lzf", road)]
    if not refused:
        pytest.skip("this HDF5 records skipped filters under mpio")
    for road in refused:
        reason = contract.failure("lzf", road, ranks)
        assert "filter 32000 (lzf) skips chunks that do not shrink" in reason
        assert "Use backend='direct', or HDF5 1.14 or newer" in reason


@pytest.mark.parametrize("case", CASES)
def test_object_ids_do_not_depend_on_the_rank_count(contract: Files, case: str) -> None:
    ways = {ranks: [road for road in roads_of(case, ranks) if not is_refused(case, road)] for ranks in RANKS}
    first, *others = [object_ids(contract.written(case, roads[0], ranks)) for ranks, roads in ways.items() if roads]
    assert others and first and len(set(first.values())) == len(first)
    assert all(other == first for other in others)


@pytest.mark.parametrize("case", CASES)
def test_pynwb_validates_and_reads_it(contract: Files, case: str) -> None:
    possible = {road.backend: road for road in roads_of(case, 3) if not is_refused(case, road)}
    path = contract.written(case, list(possible.values())[-1 - list(CASES).index(case) % 2], 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pynwb.validate(path=path) == []
        with pynwb.NWBHDF5IO(path, "r") as io:
            file = io.read()
            assert file.session_description == "a contract"
            assert file.identifier == "made on rank 0"
            for series in file.acquisition.values():
                if isinstance(series, pynwb.TimeSeries) and isinstance(series.data, h5py.Dataset):
                    assert series.data[()].shape == series.data.shape


def test_snapshots_differ_where_files_do(tmp_path: Path) -> None:
    """The comparison itself: one element, one attribute, one filter, one missing chunk are seen."""

    def one(name: str, **settings: object) -> Snapshot:
        path = tmp_path / f"{name}.h5"
        given = {"chunks": (2,), "dtype": "i2", "shape": (6,), "fill": range(6), "unit": "V", **settings}
        fill, unit = given.pop("fill"), given.pop("unit")
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("data", **given)
            dataset[: len(fill)] = list(fill)
            dataset.attrs["unit"] = unit
        return snapshot(path)

    reference = one("reference")
    assert differences(reference, one("same"), Allowed()) == []
    changes = {
        "values": {"fill": [0, 1, 2, 3, 4, 6]},
        "@unit": {"unit": "W"},
        "filters": {"shuffle": True},
        "chunks": {"chunks": (3,)},
        "maxshape": {"maxshape": (None,)},
        "dtype": {"dtype": ">i2"},
        "fill value": {"fillvalue": 1},
        "allocated": {"fill": range(4)},
    }
    for field, change in changes.items():
        found = differences(reference, one("other", **change), Allowed())
        assert any(line.startswith(f"/data: {field}") for line in found), (field, found)
