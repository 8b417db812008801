"""docs/external-files.md: each line of its table has an example, each example runs, and does what the line says."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from docs.blocks import ROOT, all_blocks
from docs.external_files import examples
from failure.faults import in_movies, linking
from mpi_launch import run_mpi

from parnwb.sources.raw_chunks import RawChunks
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]

PAGE = ROOT / "docs" / "external-files.md"
MADE = {
    "copy": "copied.nwb",
    "encode-anew": "encoded.nwb",
    "link": "linked.nwb",
    "copy-what-differs": "mended.nwb",
    "link-to-a-series": "series.nwb",
    "bring-movies-along": "filmed.nwb",
    "read-frames": "frames.nwb",
    "map-it": "mapped.nwb",
    "leave-it-in-place": "in_place.nwb",
    "modular-storage": "modular.nwb",
}


def lines_of_the_table() -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.fixture(scope="module", params=[1, 3])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which all examples have run."""
    pytest.importorskip("av", reason='needs the extra "movies"')
    folder: Path = tmp_path_factory.mktemp("external")
    linking.prepare(folder)
    in_movies.prepare(folder)
    np.arange(2000, dtype="<i2").tofile(folder / "raw.bin")
    program = Path(__file__).with_name("external_files.py")
    done = run_mpi(request.param, [sys.executable, program, PAGE], timeout=200, cwd=folder)
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    failed = [path.read_text() for path in folder.glob("*.failed")]
    assert not failed, failed[0]
    return folder


def test_every_line_has_an_example() -> None:
    _, blocks = examples(PAGE)
    linked = [match for line in lines_of_the_table() for match in re.findall(r"\(#([a-z-]+)\)", line[2])]
    assert len(linked) == len(lines_of_the_table()) and sorted(linked) == sorted(blocks)
    assert all(blocks.values()) and set(MADE) | {"preflight"} == set(blocks)


@pytest.mark.parametrize("anchor", MADE)
def test_what_readers_need(folder: Path, anchor: str, tmp_path: Path) -> None:
    """A file that needs nothing else is read from anywhere; the others miss what they need, and verify says so."""
    (line,) = (line for line in lines_of_the_table() if f"(#{anchor})" in line[2])
    path = folder / MADE[anchor]
    assert verify(path).ok
    moved = tmp_path / path.name
    moved.write_bytes(path.read_bytes())
    alone = not verify(moved, validate=False).findings
    by_absolute_name = anchor == "leave-it-in-place"
    assert alone is (line[3] == "nothing else" or by_absolute_name)


def test_copies(folder: Path) -> None:
    with h5py.File(folder / "raw.h5") as raw, h5py.File(folder / "copied.nwb") as copied:
        assert copied["/acquisition/raw/data"].file.filename == str(folder / "copied.nwb")
        assert np.array_equal(copied["/acquisition/raw/data"], raw["data"])
        with h5py.File(folder / "encoded.nwb") as file:
            data = file["/acquisition/raw/data"]
            assert (data.chunks, data.compression, data.shuffle) == ((100, 4), "gzip", True)
            assert np.array_equal(data, raw["data"]) and RawChunks(data).read((0, 0))
        with h5py.File(folder / "mended.nwb") as file:
            data = file["/acquisition/raw/data"]
            assert data.file.filename == str(folder / "mended.nwb") and np.array_equal(data, raw["data"])
            assert (data.attrs["unit"], data.attrs["conversion"]) == ("mA", 5.0)


def test_links(folder: Path) -> None:
    with h5py.File(folder / "linked.nwb") as file:
        link = file.get("/acquisition/raw/data", getlink=True)
        assert (link.filename, link.path) == ("raw.h5", "/data")
    with h5py.File(folder / "series.nwb") as file:
        assert file.get("/acquisition/source", getlink=True).filename == "other.nwb"
    with h5py.File(folder / "modular.nwb") as file:
        for name in ("left", "right"):
            assert file.get(f"/acquisition/{name}", getlink=True).filename == f"{name}.nwb"
            assert file[f"/acquisition/{name}/data"][...].all()
    with h5py.File(folder / "in_place.nwb") as file:
        assert file["/acquisition/raw/data"].external == [(str(folder / "raw.bin"), 0, 4000)]
        assert np.array_equal(file["/acquisition/raw/data"], np.fromfile(folder / "raw.bin", "<i2").reshape(400, 5))


def test_movies(folder: Path) -> None:
    with h5py.File(folder / "filmed.nwb") as file:
        series = file["/acquisition/camera"]
        names = series["external_file"].asstr()[()].tolist()
        own = series.attrs["object_id"]
        assert names == [f"filmed/{own}_external_file_{number}.avi" for number in range(2)]
        for name, original in zip(names, ("one.avi", "two.avi"), strict=True):
            assert (folder / name).read_bytes() == (folder / original).read_bytes()
    with h5py.File(folder / "frames.nwb") as file:
        frames = file["/acquisition/camera/data"]
        assert frames.shape == (22, in_movies.HEIGHT, in_movies.WIDTH, 3)
        expected = [9 * number for count in in_movies.COUNTS.values() for number in range(count)]
        assert np.abs(frames[...].mean(axis=(1, 2, 3)) - expected).max() < 3


def test_command_lines(tmp_path: Path) -> None:
    """Of docs/external-files.md, in a folder with what they name; each leaves its file."""
    for module in ("av", "cv2"):
        pytest.importorskip(module, reason='needs the extra "movies", and neuroconv\'s for videos')
    in_movies.prepare(tmp_path)
    (tmp_path / "session.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    blocks = [block for block in all_blocks() if block.page == "docs/external-files.md" and block.language == "sh"]
    commands = [shlex.split(line) for block in blocks for line in block.code.splitlines()]
    assert commands
    for command in commands:
        argv = [sys.executable, "-m", *command]
        done = run_mpi(2, argv, timeout=100, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        assert verify(tmp_path / command[3]).ok
        assert (tmp_path / "one.avi").is_file() and len(list((tmp_path / "from_shell").iterdir())) == 1


def test_preflight(folder: Path) -> None:
    good, *findings = (folder / "verdict.txt").read_text().splitlines()
    assert good == "True", findings
    bad, *findings = (folder / "linked.txt").read_text().splitlines()
    assert bad == "False" and any("DANDI takes no external links" in line for line in findings), findings
