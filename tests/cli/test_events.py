"""Events of real runs, line by line against their schema (docs/reference/events.md); who hears warnings and errors."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import pytest
from docs.blocks import the_block
from jsonschema import Draft202012Validator
from mpi_launch import mpi_vendor, run_mpi

from parnwb.site import BACKENDS

pytestmark = pytest.mark.mpi_skip

ROOT = Path(__file__).parents[2]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/reference/events.schema.json").read_text()))
PARNWB = [sys.executable, "-m", "parnwb"]
# Several commits; small buffers, so that ranks ask more than once.
OFTEN = ["--commit-interval", "0.001", "--buffer-mb", "0.1"]


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PARNWB_CONFIG": os.devnull}


def parsed(text: str) -> list[dict[str, Any]]:
    """Return lines, each of which must be as the schema says."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        SCHEMA.validate(line)
    return found


def names(lines: list[dict[str, Any]]) -> Counter[str]:
    return Counter(line["event"] for line in lines)


@pytest.fixture(scope="module")
def made(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what the page says, and verify it; return the folder of files and events."""
    folder = tmp_path_factory.mktemp("events")
    (folder / "RECORDING").symlink_to(recording)
    launcher, option, ranks, program, *argv = shlex.split(the_block("docs/reference/events.md", "--log-json"))
    assert (launcher, option, ranks, program) == ("mpiexec", "-n", "4", "parnwb")
    done = run_mpi(4, [*PARNWB, *argv, "--verify", "-v", *OFTEN], timeout=90, cwd=folder, env=environment())
    assert done.returncode == 0, done.stderr
    (folder / "out").write_text(done.stdout)
    (folder / "err").write_text(done.stderr)
    return folder


def test_a_run_tells_from_beginning_to_end(made: Path) -> None:
    lines = parsed((made / "events.jsonl").read_text())
    order = [line["event"] for line in lines if line["event"] not in ("warning", "progress", "dataset", "commit")]
    assert order == ["start", "plan", "end", "file", "start", "end"]
    assert [line["task"] for line in lines if line["event"] == "start"] == ["writing", "verifying"]
    assert {line["rank"] for line in lines} == {0}, "the root speaks for all"
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


def test_what_it_tells_is_what_became_of_the_file(made: Path) -> None:
    lines = parsed((made / "events.jsonl").read_text())
    plan = next(line for line in lines if line["event"] == "plan")
    done = {line["dataset"]: line for line in lines if line["event"] == "dataset"}
    with h5py.File(made / "session.nwb") as file:
        for planned in plan["datasets"]:
            dataset = file[planned["path"]]
            assert (list(dataset.shape), list(dataset.chunks)) == (planned["shape"], planned["chunks"])
            told = done[planned["path"]]
            assert (told["raw_bytes"], told["stored_bytes"]) == (dataset.nbytes, dataset.id.get_storage_size())
    assert len(done) == len(plan["datasets"]) == 2
    end = next(line for line in lines if line["event"] == "end")
    last = [line for line in lines if line["event"] == "progress" and line["task"] == "writing"][-1]
    for line in (end, last):
        assert line["raw_bytes"] == plan["remaining_bytes"] == sum(told["raw_bytes"] for told in done.values())
        assert line["stored_bytes"] == sum(told["stored_bytes"] for told in done.values())
    assert (end["status"], last["datasets_complete"], last["seconds_left"]) == ("done", 2, 0)
    (file_line,) = (line for line in lines if line["event"] == "file")
    assert file_line["file_bytes"] == (made / "session.nwb").stat().st_size


def test_commits_are_numbered_and_count_all_chunks(made: Path) -> None:
    lines = parsed((made / "events.jsonl").read_text())
    commits = [line for line in lines if line["event"] == "commit"]
    assert len(commits) > 1 and [line["number"] for line in commits] == list(range(1, len(commits) + 1))
    with h5py.File(made / "session.nwb") as file:
        chunks = sum(file[line["dataset"]].id.get_num_chunks() for line in lines if line["event"] == "dataset")
    assert sum(line["chunks"] for line in commits) == chunks


def test_events_are_few(made: Path) -> None:
    """However often ranks ask."""
    lines = parsed((made / "events.jsonl").read_text())
    seconds = sum(line["seconds"] for line in lines if line["event"] == "end")
    assert names(lines)["progress"] <= seconds + 2


def test_who_asks_for_more_reads_it_once_with_rank_and_host(made: Path) -> None:
    said = (made / "err").read_text()
    host = os.uname().nodename
    assert said.count(f"parnwb progress [rank 0 on {host}]: plan: 2 dataset(s) on 4 rank(s), balanced; direct: ") == 1
    assert said.count("session.nwb is complete, ") == 1
    assert len(re.findall(r"^parnwb: warning: ", said, re.MULTILINE)) == len(
        [line for line in parsed((made / "events.jsonl").read_text()) if line["event"] == "warning"]
    )
    assert "GOOD" in (made / "out").read_text()


def test_standard_output_has_events_and_nothing_else(recording: Path, tmp_path: Path) -> None:
    argv = ["convert", recording, tmp_path / "out.nwb", "--log-json", "-", "--progress", "none"]
    done = subprocess.run([*PARNWB, *argv], capture_output=True, text=True, timeout=60, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(parsed(done.stdout))["file"] == 1
    assert "MB/s on 1 rank" in done.stderr and "writing out.nwb" not in done.stderr


def test_an_error_of_one_rank_is_told_once_and_by_its_name(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = run_mpi(3, [sys.executable, program], timeout=60, cwd=tmp_path, env=environment())
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("no such luck") == 1
    lines = parsed((tmp_path / "events.jsonl").read_text())
    *_, end, error = lines
    assert (end["event"], end["status"]) == ("end", "failed") and "no such luck" in end["error"]
    assert (error["event"], error["rank"], error["kind"]) == ("error", 2, "SourceError")
    assert error["host"] == os.uname().nodename and "no such luck" in error["text"]
    assert names(lines)["error"] == 1


# A command that fails on the last rank; the loggers of all ranks write to one file.
PROGRAM = '''
import sys
from mpi4py import MPI
from parnwb import cli
from parnwb.backends.asking import AskedAddresses
from parnwb.errors import SourceError
from parnwb.recordings.made_recording import make_spikeglx_recording
from pathlib import Path

recording = Path("recording")
if MPI.COMM_WORLD.Get_rank() == 0:
    make_spikeglx_recording(recording, megabytes=2)
MPI.COMM_WORLD.Barrier()


def fail(*arguments):
    raise SourceError("no such luck")


if MPI.COMM_WORLD.Get_rank() == 2:
    AskedAddresses.begin = fail
sys.argv = ["parnwb", "convert", "recording/demo_g0", "out.nwb", "--log-json", "events.jsonl", "--buffer-mb", "0.1"]
cli.main()
'''


def test_a_place_for_events_that_cannot_be_written_is_refused_by_all(recording: Path, tmp_path: Path) -> None:
    argv = ["convert", recording, "out.nwb", "--log-json", "nowhere/events.jsonl"]
    done = run_mpi(2, [*PARNWB, *argv], timeout=60, cwd=tmp_path, env=environment())
    assert done.returncode == 1 and done.stderr.count("the log of events cannot be written") == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_the_schema_knows_all_backends(recording: Path, tmp_path: Path) -> None:
    (plan,) = (event for event in SCHEMA.schema["oneOf"] if event["title"] == "plan")
    assert plan["properties"]["backend"]["enum"] == [name for name in BACKENDS if name != "auto"]
    argv = ["convert", recording, "out.nwb.zarr", "--log-json", "-", "--progress", "none"]
    done = subprocess.run([*PARNWB, *argv], capture_output=True, text=True, timeout=60, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line["backend"] for line in parsed(done.stdout) if line["event"] == "plan"] == ["zarr"]


@pytest.mark.skipif(mpi_vendor() != "openmpi", reason="backend mpio needs parallel HDF5: .venv-mpio has it")
def test_parallel_hdf5_tells_what_is_known(recording: Path, tmp_path: Path) -> None:
    argv = ["convert", recording, "out.nwb", "--backend", "mpio", "--log-json", "events.jsonl", *OFTEN]
    done = run_mpi(3, [*PARNWB, *argv], timeout=90, cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    lines = parsed((tmp_path / "events.jsonl").read_text())
    last = [line for line in lines if line["event"] == "progress"][-1]
    assert (last["ranks_waiting"], last["datasets"], last["datasets_complete"]) == (None, 2, 2)
    assert names(lines)["dataset"] == 2 and names(lines)["commit"] == 0
