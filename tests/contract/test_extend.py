"""Whatever the rank count: a dataset that is extended becomes the one that h5py's resize makes of it."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from contract.compare import Allowed, differences, snapshot
from contract.extending import EXTENSIONS, NUMBERS, extend_plainly, prepare, series
from contract.inputs import values
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO

from parnwb import NWBParallelIO
from parnwb.errors import LayoutError, ParnwbError, SourceError, TargetError
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

RANKS = (1, 3, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all cases before (``before``), by h5py (``plain``) and by each number of ranks."""
    folder = tmp_path_factory.mktemp("extend")
    (folder / "before").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare(folder / "before")
        shutil.copytree(folder / "before", folder / "plain")
        for name in EXTENSIONS:
            extend_plainly(name, folder / "plain" / f"{name}.nwb")
    for ranks in RANKS:
        shutil.copytree(folder / "before", folder / str(ranks))
        program = Path(__file__).with_name("extending.py")
        done = run_mpi(ranks, [sys.executable, program, folder / str(ranks)], timeout=200)
        assert done.returncode == 0, f"{ranks} ranks\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    return folder


def extended(folder: Path, ranks: int, case: str) -> Path:
    path = folder / str(ranks) / f"{case}.nwb"
    if path.with_suffix(".failed").exists():
        pytest.fail(path.with_suffix(".failed").read_text(), pytrace=False)
    return path


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", EXTENSIONS)
def test_file_is_the_one_that_resize_makes(folder: Path, case: str, ranks: int) -> None:
    expected = snapshot(folder / "plain" / f"{case}.nwb")
    different = differences(expected, snapshot(extended(folder, ranks, case)), Allowed(size_ratio=1.1))
    assert not different, "\n".join(different)
    before = snapshot(folder / "before" / f"{case}.nwb")
    assert all(before[path]["shape"] != expected[path]["shape"] for path in EXTENSIONS[case].rows)


@pytest.mark.parametrize("case", EXTENSIONS)
def test_pynwb_and_verify_have_nothing_to_say(folder: Path, case: str) -> None:
    path = extended(folder, 3, case)
    assert not verify(path).findings
    with NWBHDF5IO(path, "r") as io:
        assert len(io.read().acquisition["last"].data) >= 4444


def test_chunks_that_were_full_stay_where_they_were(folder: Path) -> None:
    def chunks(path: Path) -> dict[tuple[int, ...], int]:
        with h5py.File(path) as file:
            dataset = file[series("gzip")]
            found = [dataset.id.get_chunk_info(number) for number in range(dataset.id.get_num_chunks())]
            return {item.chunk_offset: item.byte_offset for item in found}

    before, after = chunks(folder / "before" / "numbers.nwb"), chunks(extended(folder, 3, "numbers"))
    size = (folder / "before" / "numbers.nwb").stat().st_size
    assert before.pop((400, 0)) != after[400, 0]
    assert all(after[place] == address for place, address in before.items())
    assert len(after) == 8 and all(address >= size for place, address in after.items() if place not in before)


@pytest.mark.parametrize("case", ["last", "last_of_latest"])
def test_the_end_of_the_file_is_not_given_out_again(folder: Path, case: str) -> None:
    """There HDF5 would have put the first of the new chunks."""
    before = folder / "before" / f"{case}.nwb"
    with h5py.File(before) as file, h5py.File(extended(folder, 4, case)) as after:
        chunk = file[series("last")].id.get_chunk_info_by_coord((4400, 0))
        assert chunk.byte_offset + chunk.size == before.stat().st_size
        assert after[series("last")].id.get_chunk_info_by_coord((4400, 0)).byte_offset >= before.stat().st_size


@pytest.fixture
def path(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(folder / "before" / "numbers.nwb", tmp_path / "out.nwb"))


def test_what_cannot_be_extended_is_refused(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["/acquisition/plain"]["fixed"] = values((10, 3))
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((4,))
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        space = h5py.h5s.create_simple((6,), (h5py.h5s.UNLIMITED,))
        h5py.h5d.create(file.id, b"/acquisition/plain/early", h5py.h5t.STD_I16LE, space, creation)
        file.create_dataset("elsewhere", data=[1.0], maxshape=(None,))
    before = path.read_bytes()
    other = h5py.File(path.with_name("other.h5"), "w", driver="core").create_dataset("x", (3, 8))
    rows = values((10, 8))
    refusals = {
        ("/acquisition/plain/fixed", (5, 3)): (LayoutError, r"only datasets in chunks.*maxshape"),
        ("/acquisition/plain/early", (5,)): (LayoutError, "all of this dataset its space at once"),
        (series("gzip"), (5, 7)): (LayoutError, r"shape of those that are there, \('any', 8\), got \(5, 7\)"),
        (series("gzip"), (8,)): (LayoutError, "shape of those"),
        (series("plain"), (400, 3)): (LayoutError, "cannot have more than 500 rows, it has 130 and would get 400"),
        ("/nowhere", (8,)): (TargetError, "only a dataset of this file.*'/nowhere'"),
        ("/acquisition", (8,)): (TargetError, "only a dataset of this file"),
        (other, (5, 8)): (TargetError, "only a dataset of this file"),
    }
    for (dataset, shape), (kind, words) in refusals.items():
        with pytest.raises(kind, match=words), NWBParallelIO(path, "r+", progress=False) as io:
            io.extend(dataset, values(shape))
    with pytest.raises(LayoutError, match="numbers can only be followed by numbers"):
        with NWBParallelIO(path, "r+", progress=False) as io:
            io.extend(series("flags"), ["a", "b"])
    lossy = [
        (series("gzip"), np.full((500, 8), 2**15), r"32768 \(int64\) at \(\d+, \d\) is none of int16"),
        (series("wide"), np.full((5, 10), 0.1), r"0\.1 \(float64\) at \(.*\) is none of float32"),
        ("/acquisition/timed/timestamps", [2**53 + 1] * 3, "9007199254740993 .* is none of float64"),
        (series("checked"), [-1.0], "-1.0 .* is none of uint32"),
        (series("wide"), [[1e300] * 10], r"1e\+300 \(float64\) at \(.*\) is none of float32"),
    ]
    for dataset, new, words in lossy:
        with pytest.raises(SourceError, match=words), NWBParallelIO(path, "r+", progress=False) as io:
            io.extend(dataset, new)
    with pytest.raises(SourceError, match="new rows must be an array"), NWBParallelIO(path, "r+") as io:
        io.extend(series("gzip"), [[1, 2], [3]])
    with pytest.raises(ParnwbError, match="once before each write"), NWBParallelIO(path, "r+", progress=False) as io:
        io.extend(series("gzip"), rows)
        io.extend(series("gzip"), rows)
    with pytest.raises(LayoutError, match="HDF5 cannot write these rows"):
        with NWBParallelIO(path, "r+", progress=False) as io:
            io.extend(series("gzip"), rows)
            io.extend("/scratch/conditions/name", [object()])
    with pytest.raises(LayoutError, match="must stay as it is"), NWBParallelIO(path, "r+", progress=False) as io:
        data = io.read().acquisition["gzip"].data
        io.extend(data, rows)
        data.resize(500, axis=0)
    with pytest.raises(KeyError), NWBParallelIO(path, "r+", progress=False) as io:
        io.extend(series("gzip"), rows)
        raise KeyError("the program")
    assert path.read_bytes() == before
    with pytest.raises(ParnwbError, match="only datasets of an existing file"):
        with NWBParallelIO(path.with_name("new.nwb"), "a", progress=False) as io:
            io.extend(series("gzip"), rows)


def test_nothing_is_no_change(path: Path) -> None:
    before = path.read_bytes()
    with NWBParallelIO(path, "r+", progress=False) as io:
        io.extend(series("gzip"), np.empty((0, 8), "i2"))
    assert path.read_bytes() == before


def test_a_copy_of_a_dataset_that_grows_has_its_old_rows(path: Path) -> None:
    """And changes of the user's own view go with what is extended."""
    from contract.inputs import add

    with NWBParallelIO(path, "r+", progress=False, bulk_threshold=0) as io:
        file = io.read()
        old = file.acquisition["gzip"].data
        add(file, "copy", old)
        table = file.scratch["conditions"]
        table.add_row(name="late", weight=0.5)
        last = file.acquisition["last"].data
        last.resize(4450, axis=0)
        last[4444:] = 7
        for dataset, make in NUMBERS.items():
            io.extend(dataset, make(path.parent))
        io.extend(last, values((3, 8)))
        io.write(file, link_data=False)
    with h5py.File(path) as file:
        assert np.array_equal(file[series("copy")], values((450, 8)))
        assert np.array_equal(file[series("gzip")][:450], values((450, 8)))
        assert (file[series("last")][4444:4450] == 7).all() and len(file[series("last")]) == 4453
        assert list(file["/scratch/conditions/name"].asstr()) == ["first", "second", "late"]
    assert not verify(path).findings
