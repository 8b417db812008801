"""Command lines about values in other files: ``convert --no-copy`` and ``--movies``, ``verify --dandi``.

On one rank and on three.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from docs.external_files import session
from failure.faults import in_movies
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, TimeSeries

from parnwb.cli.campaign import campaign
from parnwb.cli.convert import convert
from parnwb.cli.jobscript import jobscript
from parnwb.cli.verify import verify
from parnwb.links.policy import POLICIES
from parnwb.recordings.movies import MOVIES

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

PROGRAM = Path(__file__).parent / "program.py"
ROWS, COLUMNS = 20_000, 8
DATA = "/acquisition/raw/data"
# As NeuroScope has it, whose file is all samples of all channels and nothing else.
PARAMETERS = f"""<parameters>
<acquisitionSystem><nBits>16</nBits><nChannels>{COLUMNS}</nChannels><samplingRate>20000</samplingRate>
<voltageRange>20</voltageRange><amplification>1000</amplification><offset>0</offset></acquisitionSystem>
<fieldPotentials><lfpSamplingRate>1250</lfpSamplingRate></fieldPotentials>
<anatomicalDescription><channelGroups><group>{"".join(f'<channel skip="0">{n}</channel>' for n in range(COLUMNS))}
</group></channelGroups></anatomicalDescription>
<spikeDetection><channelGroups><group><channels>{"".join(f"<channel>{n}</channel>" for n in range(COLUMNS))}
</channels></group></channelGroups></spikeDetection>
</parameters>
"""


@dataclass(frozen=True)
class Line:
    """A command line, its exit status, and what the root must say."""

    argv: Callable[[Path, Path], list[Any]]
    status: int
    says: tuple[str, ...]


# Each command line has a movie of its own.
FILMED = ("copied", "moved", "ingested", "spoiled", "kept", "listed", "begun", "one", "two")
FRAMES = 12
SPECIFICATION = """
metadata: {NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00', session_description: one}}
data_interfaces: {camera: ExternalVideoInterface}
experiments:
  one:
    metadata: {NWBFile: {institution: one}}
    sessions:
      - nwbfile_name: listed
        source_data: {camera: {file_paths: [films/listed.avi]}}
"""
CAMPAIGN = """
interface: ExternalVideoInterface
metadata: metadata.yaml
sessions:
- {source: films/one.avi, output: nwb/one.nwb}
- {source: films/two.avi, output: nwb/two.nwb}
"""


def filmed(folder: Path, name: str, how: str, *more: str) -> list[Any]:
    """Return the command that converts a movie, which is named as seen from the working folder."""
    given = ["--interface", "ExternalVideoInterface", "--metadata", folder / "metadata.yaml", "--movies", how]
    return ["convert", f"films/{name}.avi", folder / "nwb" / f"{name}.nwb", *given, "--quiet", *more]


def filmed_ingested(folder: Path) -> list[Any]:
    """Return how a movie is read whose frames are in the file."""
    _, source, _, *given = filmed(folder, "ingested", "ingest")
    return [source, *given]


def neuroscope(folder: Path, output: str) -> list[Any]:
    source = folder / "rat" / "rat.dat"
    given = ["--interface", "NeuroScopeRecordingInterface", "--metadata", folder / "metadata.yaml"]
    return ["convert", source, folder / output, *given, "--quiet"]


LINES = {
    "no_copy": Line(
        lambda folder, run: [*neuroscope(folder, "in_place.nwb"), "--no-copy"],
        0,
        (r"stays in .*rat\.dat: readers find it by this name only", "HDF5_EXTFILE_PREFIX"),
    ),
    "no_copy_of_a_file_with_another_column": Line(
        lambda folder, run: ["convert", run, folder / "refused.nwb", "--no-copy", "--quiet"],
        1,
        (r"has 385 columns, the dataset 384 \(a SpikeGLX file has a column", r"Write without no_copy \(--no-copy\)"),
    ),
    "verify_what_stays_in_place": Line(
        lambda folder, run: ["verify", folder / "in_place.nwb", "--quiet"], 0, ("GOOD",)
    ),
    "dandi_of_what_stays_in_place": Line(
        lambda folder, run: ["verify", folder / "in_place.nwb", "--dandi", "--quiet"],
        1,
        (r"wrong: .*has its values in .*rat\.dat, which is not uploaded", "BAD"),
    ),
    "dandi_of_a_good_file": Line(
        lambda folder, run: ["verify", folder / "good.nwb", "--dandi", "--quiet"],
        0,
        (rf"advice: {DATA}: has chunks \(1000, 8\)", "GOOD"),
    ),
    "dandi_of_a_link": Line(
        lambda folder, run: ["verify", folder / "linked.nwb", "--dandi", "--quiet"],
        1,
        (rf"wrong: {DATA}: links to raw.h5: DANDI takes no external links; write with link_data=False", "BAD"),
    ),
    "movies_are_copied": Line(lambda folder, run: filmed(folder, "copied", "copy", "--verify"), 0, ()),
    "movies_are_moved": Line(lambda folder, run: filmed(folder, "moved", "move", "--verify"), 0, ()),
    "movies_are_ingested": Line(lambda folder, run: filmed(folder, "ingested", "ingest", "--verify"), 0, ()),
    "movies_stay": Line(
        lambda folder, run: filmed(folder, "kept", "keep"), 1, ("kept.avi is not there, seen from", "--movies=copy")
    ),
    "movies_of_a_file_that_fails": Line(
        lambda folder, run: filmed(folder, "spoiled", "copy", "--compression", "zlib"), 1, ("zlib",)
    ),
    "movies_of_a_file_that_may_have_been_begun": Line(
        lambda folder, run: filmed(folder, "begun", "copy", "--resume"), 0, ()
    ),
    "movies_of_a_campaign": Line(
        lambda folder, run: ["campaign", folder / "campaign.yaml", "--movies", "copy", "--quiet"], 0, ()
    ),
    "verify_movies_that_were_ingested": Line(
        lambda folder, run: ["verify", folder / "nwb" / "ingested.nwb", "--against", *filmed_ingested(folder)],
        0,
        ("GOOD",),
    ),
    "movies_are_rehearsed": Line(
        lambda folder, run: filmed(folder, "kept", "move", "--dry-run"),
        0,
        (r"and move 1 movie\(s\) of 0\.\d MB beside it", "nothing was written"),
    ),
    "movies_are_rehearsed_as_data": Line(
        lambda folder, run: filmed(folder, "kept", "ingest", "--dry-run"), 0, ("Video kept/data", "nothing was written")
    ),
    "movies_of_a_specification": Line(
        lambda folder, run: ["convert", folder / "films.yml", folder / "nwb", "--movies", "copy", "--quiet"], 0, ()
    ),
    "movies_of_what_has_none": Line(
        lambda folder, run: [*neuroscope(folder, "no_movies.nwb"), "--movies", "copy"], 0, ("names no movies",)
    ),
    "dandi_of_movies": Line(
        lambda folder, run: ["verify", folder / "nwb" / "copied.nwb", "--dandi", "--quiet"], 1, ("Subject is missing",)
    ),
    "a_link_without_dandi": Line(lambda folder, run: ["verify", folder / "linked.nwb", "--quiet"], 0, ("GOOD",)),
}


# -- movies whose headers say other numbers than they have, as neuroconv takes them ---------------------------------

DROPPED, UNEVEN = "dropped.mkv", "uneven.mkv"


def header_says(folder: Path, film: str, name: str, how: str, *more: str) -> list[Any]:
    command, _, output, *given = filmed(folder, name, how, *more)
    return [command, f"films/{film}", output, *given]


COUNTED = rf"{FRAMES} frames of /Video dropped are counted, .* num_samples was {FRAMES + 1}"
LINES |= {
    "movies_of_a_wrong_header": Line(
        lambda folder, run: header_says(folder, DROPPED, "header", "copy", "--verify"), 0, (COUNTED,)
    ),
    "movies_of_a_wrong_header_as_data": Line(
        lambda folder, run: header_says(folder, DROPPED, "header_data", "ingest", "--verify"), 0, (COUNTED,)
    ),
    "movies_of_a_wrong_header_are_rehearsed": Line(
        lambda folder, run: header_says(folder, DROPPED, "rehearsed", "copy", "--dry-run"),
        0,
        (COUNTED, "nothing was written"),
    ),
    "movies_at_uneven_times": Line(
        lambda folder, run: header_says(folder, UNEVEN, "refused", "copy"),
        1,
        ("uneven.mkv has frames at uneven times|_external_file_0.mkv has frames at uneven", "--on-mismatch=warn"),
    ),
    "movies_at_uneven_times_on_request": Line(
        lambda folder, run: header_says(folder, UNEVEN, "uneven", "copy", "--on-mismatch", "warn"),
        0,
        ("external images: .* has frames at uneven times",),
    ),
    "movies_at_uneven_times_as_data": Line(
        lambda folder, run: header_says(folder, UNEVEN, "uneven_data", "ingest", "--on-mismatch=warn", "--verify"),
        0,
        ("are read all the same: .* has frames at uneven times",),
    ),
    "movies_of_a_file_that_is_replaced": Line(
        lambda folder, run: header_says(folder, DROPPED, "header", "copy", "--overwrite"),
        0,
        (r"in .*/nwb/header [0-9a-f-]{36}_external_file_0\.mkv are movies that header\.nwb does not name",),
    ),
}


def prepare_headers(folder: Path) -> None:
    """Write movies with a frame dropped, and many; and another's, under a name as seen from the working folder."""
    in_movies.write_movie(folder / "films" / DROPPED, FRAMES, lambda number: number + (number > 6))
    in_movies.write_movie(folder / "films" / UNEVEN, FRAMES, lambda number: number + 9 * (number > 3))
    (folder / "nwb" / "films").mkdir()
    (folder / "nwb" / "films" / "moved.avi").write_bytes(b"another's")


def test_frames_are_counted_where_headers_are_wrong(folder: Path, recording: Path) -> None:
    if module := missing("movies"):
        pytest.skip(f'needs the extra "movies", and neuroconv\'s for videos: {module} is not installed')
    outcomes(int((folder / "ranks").read_text()), folder, recording)
    for name, placed in (("header", True), ("uneven", True), ("header_data", False), ("uneven_data", False)):
        with NWBHDF5IO(folder / "nwb" / f"{name}.nwb", "r") as io:
            (series,) = io.read().acquisition.values()
            assert series.num_samples == FRAMES
            assert len(series.external_file or ()) == placed
            assert placed or np.abs(series.data[:].mean(axis=(1, 2, 3)) - 9 * np.arange(FRAMES)).max() < 3
    assert not list((folder / "nwb").glob("refused*")) and not list((folder / "nwb").glob("rehearsed*"))


def test_files_of_the_same_name_beside_the_output_are_left_alone(folder: Path, recording: Path) -> None:
    if module := missing("movies"):
        pytest.skip(f'needs the extra "movies", and neuroconv\'s for videos: {module} is not installed')
    outcomes(int((folder / "ranks").read_text()), folder, recording)
    assert (folder / "nwb" / "films" / "moved.avi").read_bytes() == b"another's"


def prepare(folder: Path) -> None:
    """Write what the command lines are about."""
    (folder / "rat").mkdir()
    values = (np.arange(ROWS * COLUMNS) % 251).astype("<i2").reshape(ROWS, COLUMNS)
    values.tofile(folder / "rat" / "rat.dat")
    (folder / "rat" / "rat.xml").write_text(PARAMETERS)
    (folder / "films").mkdir()
    (folder / "nwb").mkdir()
    (folder / "films.yml").write_text(SPECIFICATION)
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    for name in FILMED if not missing("movies") else ():
        in_movies.write_movie(folder / "films" / f"{name}.avi", FRAMES)
    if not missing("movies"):
        prepare_headers(folder)
    (folder / "metadata.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    with h5py.File(folder / "raw.h5", "w") as file:
        file.create_dataset("data", (8 * 10**5, COLUMNS), "i2", chunks=(1000, COLUMNS), fillvalue=1)
        file["data"][::1000] = 1  # a value in each chunk
        file["data"].attrs.update({"unit": "V", "conversion": 1.0, "resolution": -1.0, "offset": 0.0})
    for name, link_data in (("good.nwb", False), ("linked.nwb", True)):
        nwbfile = session()
        with h5py.File(folder / "raw.h5") as file, NWBHDF5IO(folder / name, "w") as io:
            nwbfile.add_acquisition(TimeSeries(name="raw", data=file["data"], unit="V", rate=30.0))
            io.write(nwbfile, link_data=link_data)


def missing(name: str) -> str | None:
    """Return what a command line needs and is not there."""
    needed = ("av", "cv2") if "movies" in name else ()
    return next((module for module in needed if find_spec(module) is None), None)


@cache
def outcomes(ranks: int, folder: Path, run: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what each rank printed, of all command lines in one launch."""
    prepare(folder)
    cases = [{"name": name, "argv": list(map(str, line.argv(folder, run)))} for name, line in LINES.items()]
    cases = [case for case in cases if not missing(case["name"])]
    (folder / "cases.json").write_text(json.dumps(cases))
    path = os.pathsep.join(filter(None, [str(PROGRAM.parents[2]), os.environ.get("PYTHONPATH")]))
    argv = [sys.executable, PROGRAM, folder / "cases.json"]
    done = run_mpi(ranks, argv, timeout=150, env={"PYTHONPATH": path}, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["name"]: line["outcomes"] for line in lines}


@pytest.fixture(scope="module", params=[1, 3])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of its own for each number of ranks."""
    folder: Path = tmp_path_factory.mktemp(f"{request.param}-ranks-")
    (folder / "ranks").write_text(str(request.param))
    return folder


@pytest.mark.parametrize("name", LINES)
def test_command_line(name: str, folder: Path, recording: Path) -> None:
    if module := missing(name):
        pytest.skip(f'needs the extra "movies", and neuroconv\'s for videos: {module} is not installed')
    ranks = int((folder / "ranks").read_text())
    found, line = outcomes(ranks, folder, recording)[name], LINES[name]
    said = [one["err"] + one["out"] for one in found]
    assert [one["status"] for one in found] == [line.status] * ranks, said
    assert said[1:] == [""] * (ranks - 1), "ranks other than the first have spoken too"
    for pattern in line.says:
        assert re.search(pattern, said[0]), f"not said: {pattern}\n{said[0]}"


def test_values_in_place_are_those_of_the_flat_file(folder: Path, recording: Path) -> None:
    ranks = int((folder / "ranks").read_text())
    outcomes(ranks, folder, recording)
    with h5py.File(folder / "in_place.nwb") as file:
        data = file["/acquisition/ElectricalSeries/data"]
        assert data.external == [(str(folder / "rat" / "rat.dat"), 0, ROWS * COLUMNS * 2)]
        assert np.array_equal(data, np.fromfile(folder / "rat" / "rat.dat", "<i2").reshape(ROWS, COLUMNS))
    assert not list(folder.glob("refused*"))


def test_what_becomes_of_movies(folder: Path, recording: Path) -> None:
    """They are beside the file, or in it, or where they were; what fails leaves all as it was."""
    if module := missing("movies"):
        pytest.skip(f'needs the extra "movies", and neuroconv\'s for videos: {module} is not installed')
    outcomes(int((folder / "ranks").read_text()), folder, recording)
    in_movies.write_movie(folder / "again.avi", FRAMES)
    original = (folder / "again.avi").read_bytes()
    for name in ("copied", "moved", "listed", "begun", "one", "two"):
        with h5py.File(folder / "nwb" / f"{name}.nwb") as file:
            series = next(iter(file["acquisition"].values()))
            (placed,) = series["external_file"].asstr()[()]
            assert placed == f"{name}/{series.attrs['object_id']}_external_file_0.avi"
        assert (folder / "nwb" / placed).read_bytes() == original
    assert sorted(path.stem for path in (folder / "films").glob("*.avi")) == sorted({*FILMED} - {"moved"})
    assert not list((folder / "nwb").glob("spoiled*")) and not list((folder / "nwb").glob("kept*"))
    with h5py.File(folder / "nwb" / "ingested.nwb") as file:
        series = next(iter(file["acquisition"].values()))
        assert "external_file" not in series and series["format"].asstr()[()] == "raw"
        means = series["data"][...].mean(axis=(1, 2, 3))
    assert len(means) == FRAMES and np.abs(means - 9 * np.arange(FRAMES)).max() < 3


def test_all_that_can_become_of_movies_is_offered() -> None:
    for command in (campaign, convert, jobscript, verify):
        (option,) = [option for option in command.params if option.name == "movies"]
        assert tuple(option.type.choices) == MOVIES
    for command in (campaign, convert, jobscript):
        (option,) = [option for option in command.params if option.name == "on_mismatch"]
        assert tuple(option.type.choices) == POLICIES
