"""Whatever the rank count: what is written once more is what was there, in anything that a reader can find out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pynwb
import pytest
from contract.odd_files import MARK, prepare
from contract.repack_program import RECODED
from contract.rewritten import STORAGE, assert_same
from contract.roads import numbers_of_ranks
from mpi_launch import run_mpi

from parnwb.errors import LinkError, ParnwbError
from parnwb.repacking import merge, repack, split
from parnwb.sources.raw_chunks import RawChunks
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

RANKS = numbers_of_ranks(1, 2, 3, 4)
IN_PARTS: dict[str, set[str]] = {
    "links.nwb": {"left", "right", "referred"},
    "links_left.nwb": {"left"},
    "links_lfp.nwb": set(),
    "links_right.nwb": {"right"},
    "links_units.nwb": set(),
}
"""Acquisition of the file of links, and of each part."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the prepared files, and a folder with what became of them for each number of ranks."""
    folder = tmp_path_factory.mktemp("repack")
    prepare(folder)
    for ranks in RANKS:
        (folder / str(ranks)).mkdir()
        program = Path(__file__).with_name("repack_program.py")
        done = run_mpi(ranks, [sys.executable, program, folder, folder / str(ranks)], timeout=200)
        assert done.returncode == 0, f"{ranks} ranks\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    return folder


def output(folder: Path, ranks: int, case: str) -> Path:
    if (failed := folder / str(ranks) / f"{case}.failed").exists():
        pytest.fail(failed.read_text(), pytrace=False)
    return folder / str(ranks) / f"{case}.h5"


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("name", ["old", "userblock", "new"])
def test_what_is_not_asked_to_change_is_the_same(folder: Path, name: str, ranks: int) -> None:
    source, found = folder / f"{name}.h5", output(folder, ranks, f"same_{name}")
    assert_same(source, found, without=("allocation time",))
    assert found.stat().st_size < source.stat().st_size - 700_000, "what nothing refers to is still there"
    with h5py.File(source) as there, h5py.File(found) as here:
        assert here["/a/regions"][0] and list(here) == list(there), "root's members in the order of their creation"
        old, new = (h5py.h5r.get_region(file["/a/regions"][0], file.id).get_select_bounds() for file in (there, here))
        assert old == new
        for path in ("/z/masked", "/z/gz", "/z/scaled", "/z/part"):
            chunks = [RawChunks(file[path]) for file in (there, here)]
            for start in ((0, 0), (here[path].chunks[0], 0), (1000, 0) if path == "/z/part" else (0, 0)):
                assert chunks[0].read(start) == chunks[1].read(start), "stored bytes and filter masks"
    if name == "userblock":
        assert found.read_bytes().startswith(MARK)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("name", ["old", "userblock", "new"])
def test_values_stay_whatever_the_chunks_and_filters(folder: Path, name: str, ranks: int) -> None:
    found = output(folder, ranks, f"recoded_{name}")
    assert_same(folder / f"{name}.h5", found, without=STORAGE)
    with h5py.File(found) as file:
        group = file["z"]
        assert {name: group[name].chunks for name in ("gz", "scaled", "lzf", "contiguous", "floats")} == {
            "gz": (111, 7),
            "scaled": (200, 40),
            "lzf": (300, 20),
            "contiguous": (5000, 40),
            "floats": (333, 40),
        }
        assert group["gz"].compression_opts == 1 and group["gz"].fletcher32 and group["gz"].shuffle
        assert group["scaled"].scaleoffset is not None and group["lzf"].compression == "lzf"
        assert group["contiguous"].compression is None and group["floats"].compression is None
        assert group["flags"].compression == "gzip" == group["contiguous_filled"].compression


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", ["same_session", "recoded_session", "parted"])
def test_sessions_are_the_same_and_valid(folder: Path, case: str, ranks: int) -> None:
    source, found = folder / "session.nwb", output(folder, ranks, case)
    assert_same(source, found, without=STORAGE)
    assert pynwb.validate(path=str(found)) == []
    if case == "recoded_session":
        assert verify(found).ok
    if shutil.which("h5diff"):
        assert subprocess.run(["h5diff", source, found], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("ranks", RANKS)
def test_parts_are_valid_and_small(folder: Path, ranks: int) -> None:
    output(folder, ranks, "parted")
    parts = sorted(path.name for path in (folder / str(ranks)).glob("links*.nwb"))
    assert parts == sorted(IN_PARTS)
    for name in parts:
        path = folder / str(ranks) / name
        assert pynwb.validate(path=str(path)) == [], name
        with h5py.File(path) as file:
            assert set(file["acquisition"]) == IN_PARTS[name], name
            assert ("processing/ecephys" in file) is (name in ("links.nwb", "links_lfp.nwb")), name
            assert ("units" in file) is (name in ("links.nwb", "links_units.nwb")), name
    with h5py.File(folder / str(ranks) / "links.nwb") as file:
        assert isinstance(file.get("/acquisition/left", getlink=True), h5py.ExternalLink)
        assert isinstance(file.get("/acquisition/referred", getlink=True), h5py.HardLink), "a table refers to it"
        assert file["/acquisition/left/data"].shape == (40_000, 4)


@pytest.mark.parametrize("ranks", RANKS)
def test_a_file_is_replaced_when_the_new_one_is_complete(folder: Path, ranks: int) -> None:
    found = output(folder, ranks, "inplace")
    assert_same(folder / "old.h5", found, without=("allocation time",))
    assert found.stat().st_mode & 0o777 == 0o640
    assert not list(found.parent.glob("inplace.h5.*"))


@pytest.mark.parametrize("ranks", RANKS)
def test_what_was_in_other_files_is_contained(folder: Path, ranks: int) -> None:
    with h5py.File(folder / "virtual.h5") as there, h5py.File(output(folder, ranks, "merged")) as here:
        for name in there:
            assert np.array_equal(there[name][()], here[name][()]), name
            assert not here[name].is_virtual and not here[name].external
        assert here["stacked"].compression == "gzip" and here["stacked"].chunks == (100, 6)
        with h5py.File(folder / "part1.h5") as part:
            assert RawChunks(here["stacked"]).read((1300, 0)) == RawChunks(part["data"]).read((300, 0))
        links = [here.get(name, getlink=True) for name in ("again", "linked")]
        assert {type(link) for link in links} == {h5py.HardLink, h5py.SoftLink}


def test_a_dry_run_tells_sizes_and_waste(folder: Path) -> None:
    source = folder / "old.h5"
    told = repack(source, dry_run=True, **RECODED)
    really = output(folder, 1, "recoded_old").stat().st_size
    assert abs(told.after - really) < 0.1 * really
    assert 700_000 < told.unused < 850_000, "a dataset of 800,000 bytes was removed"
    assert abs(repack(folder / "1/same_old.h5", dry_run=True).unused) < 20_000
    assert {change.path: change.is_copied for change in told.changes}["/z/gz"] is False


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"datasets": {"/nothing/*": {"chunks": "auto"}}}, "matches none"),
        ({"datasets": {"*": {"chonks": 1}}}, "chonks"),
        ({"chunks": "large"}, "'auto'"),
        ({"compression": "zip"}, "compression"),
        ({"datasets": {"*/gz": {"chunks": (1, 2, 3)}}}, "one positive extent"),
        ({"inplace": True}, "one of"),
    ],
)
def test_what_makes_no_sense_is_refused(folder: Path, tmp_path: Path, given: dict[str, Any], words: str) -> None:
    shutil.copy(folder / "other.h5", tmp_path)
    with pytest.raises(ParnwbError, match=words):
        repack(folder / "old.h5", tmp_path / "out.h5", **given)
    assert [path.name for path in tmp_path.iterdir()] == ["other.h5"]


def test_links_that_would_be_lost_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="must be found from the folder of the new file"):
        repack(folder / "old.h5", tmp_path / "out.h5")
    with pytest.raises(ParnwbError, match="must not be the file that is read"):
        repack(folder / "old.h5", folder / "old.h5", overwrite=True)
    for name in ("virtual.h5", "part0.h5", "part1.h5"):
        shutil.copy(folder / name, tmp_path)
    with pytest.raises(LinkError, match=r"part2\.h5"):  # HDF5 would read fill values
        merge(tmp_path / "virtual.h5", tmp_path / "out.h5")
    with pytest.raises(ParnwbError, match="must stay: /acquisition/referred"):
        split(folder / "session.nwb", tmp_path / "out.nwb", parts={"one.nwb": ["/acquisition/referred"]})


def test_series_from_other_files_bring_what_they_refer_to(folder: Path, tmp_path: Path) -> None:
    """A file with nothing but a link to a series gets the table of its electrodes, too."""
    source = folder / "session.nwb"
    shutil.copy(source, tmp_path / "part.nwb")
    with h5py.File(source) as there, h5py.File(tmp_path / "master.nwb", "w") as file:
        file.attrs["object_id"] = "master"
        file["acquisition/left"] = h5py.ExternalLink("part.nwb", "/acquisition/left")
        merge(_closed(file), tmp_path / "merged.nwb")
        with h5py.File(tmp_path / "merged.nwb") as merged:
            table = merged[merged["/acquisition/left/electrodes"].attrs["table"]]
            assert table.name == "/general/extracellular_ephys/electrodes"
            assert table.attrs["object_id"] == there[table.name].attrs["object_id"]
            assert merged[table["group"][0]].name == "/general/extracellular_ephys/g"
            assert merged["/general/extracellular_ephys/g/device"] == merged["/general/devices/probe"]
            assert set(merged["acquisition"]) == {"left"}


def _closed(file: h5py.File) -> str:
    name = str(file.filename)
    file.close()
    return name
