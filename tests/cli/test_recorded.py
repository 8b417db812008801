"""Each command's printed text at 80 columns, as people read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from shutil import copytree
from typing import Any

import h5py
import numpy as np
import pytest
from cli.recording import compare, normalised, short_folder, too_wide
from hdmf.backends.hdf5 import H5DataIO
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from parnwb.cli.start import commands
from parnwb.doctor import Advice, Report, Seat, describe

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "program.py"
SPECIFICATION = """
data_interfaces: {raw: SpikeGLXRecordingInterface}
experiments:
  all:
    sessions:
      - nwbfile_name: one
        source_data: {raw: {folder_path: rec, stream_id: imec0.ap}}
      - metadata:
          NWBFile: {session_start_time: 2024-03-05T10:15:30+00:00}
          Subject: {subject_id: mouse, sex: U, species: Mus musculus}
        source_data: {raw: {folder_path: rec, stream_id: imec0.ap}}
"""
WITHOUT_MPI = {
    "plan": ["plan", "rec", "--ranks", "3"],
    "plan_plotted": ["plan", "rec", "--ranks", "3", "--plot", "plan.png"],
    "plan_of_many": ["plan", "rec", "--ranks", "1000"],
    "plan_of_small_buffers": ["plan", "rec", "--ranks", "2", "--buffer-mb", "1"],
    "dry_run": ["convert", "rec", "new.nwb", "--dry-run"],
    "dry_run_specification": ["convert", "sessions.yml", "nwb", "--dry-run"],
    "dry_run_refused": ["convert", "rec", "there.nwb", "--dry-run"],
    "jobscript": ["jobscript", "rec", "out.nwb", "--site", "site.sh", "--script", "job.sbatch"],
    "doctor": ["doctor", "."],
    "doctor_nowhere": ["doctor", "nowhere"],
    "no_such_command": ["convrt"],
    "no_such_option": ["convert", "rec", "out.nwb", "--overwrit"],
    "output_is_missing": ["convert", "rec"],
    "decomposition_is_unknown": ["plan", "rec", "--ranks", "2", "--decomposition", "dice"],
    "report_is_no_page": ["convert", "rec", "out.nwb", "--report", "report.txt"],
}
# These follow each other in one launch.
WITH_MPI = {
    "convert": ["convert", "rec", "out.nwb", "--report", "report.html"],
    "verify": ["verify", "out.nwb", "--against", "rec", "--report", "verdict.html"],
    "convert_report_is_no_page": ["convert", "rec", "other.nwb", "--report", "report.txt"],
    "campaign": ["campaign", "sessions.yaml"],
    "verify_missing": ["verify", "nowhere.nwb"],
    "repack_dry_run": ["repack", "out.nwb", "--dry-run", "--chunks", "1000x64", "--compression", "gzip"],
    "repack": ["repack", "out.nwb", "again.nwb", "--chunks", "1000x64", "--compression", "gzip"],
    "repack_inplace": ["repack", "again.nwb", "--inplace", "--dataset", "*/*AP/data", "chunks=500x32"],
    "repack_into_itself": ["repack", "again.nwb", "again.nwb"],
    "repack_to_a_store": ["repack", "again.nwb", "again.nwb.zarr"],
    "repack_pattern": ["repack", "again.nwb", "new.nwb", "--dataset", "/units/*", "chunks=auto"],
    "split": ["split", "again.nwb", "links.nwb", "--part", "ap.nwb", "*/ElectricalSeriesAP"],
    "merge": ["merge", "links.nwb", "whole.nwb"],
    "merge_store": ["merge", "again.nwb.zarr", "other.nwb"],
    "verify_another": ["verify", "out.nwb", "--against", "changed"],
    "verify_damaged": ["verify", "damaged.nwb"],
    "demo": ["demo", "--megabytes", "2"],
}
REWRITING = [name for name, argv in WITH_MPI.items() if argv[0] in ("repack", "merge", "split")]


@pytest.fixture(scope="module")
def folder(recording: Path) -> Iterator[Path]:
    with short_folder() as folder:
        copytree(recording, folder / "rec")
        change_a_value(copytree(recording, folder / "changed"))
        write_damaged(folder / "damaged.nwb")
        (folder / "site.sh").write_text((ROOT / "jobscripts" / "site.sh").read_text())
        (folder / "there.nwb").write_text("")
        (folder / "sessions.yml").write_text(SPECIFICATION)
        (folder / "sessions.yaml").write_text(
            "sessions:\n- {source: rec, output: a.nwb}\n- {source: nowhere, output: b.nwb}\n"
        )
        yield folder


def change_a_value(recording: Path) -> None:
    """Make one value of a recording another."""
    with next(recording.rglob("*.ap.bin")).open("r+b") as file:
        file.seek(2 * (100 * 385 + 7))
        file.write(b"\xff\x7f")


def write_damaged(path: Path) -> None:
    """Write a file of which a chunk has lost its first bytes, and an attribute is gone."""
    nwbfile = NWBFile("Of two faults", "damaged", datetime(2024, 3, 5, tzinfo=timezone.utc))
    data = H5DataIO(np.arange(20_000, dtype="i2").reshape(1000, 20), chunks=(500, 20), compression="gzip")
    nwbfile.add_acquisition(TimeSeries(name="series", data=data, unit="V", rate=1000.0))
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    with h5py.File(path, "r+") as file:
        place = file["/acquisition/series/data"].id.get_chunk_info(1).byte_offset
        del file["/acquisition/series/data"].attrs["unit"]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(16))


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "80", "PARNWB_CONFIG": os.devnull}


def cases(folder: Path, lines: dict[str, list[str]]) -> Path:
    path = folder / "cases.json"
    path.write_text(json.dumps([{"name": name, "argv": argv} for name, argv in lines.items()]))
    return path


def printed(stdout: str) -> dict[str, list[dict[str, Any]]]:
    lines = [json.loads(line) for line in stdout.splitlines()]
    return {line["name"]: line["outcomes"] for line in lines}


def text_of(argv: list[str], outcome: dict[str, Any], folder: Path) -> str:
    said = f"$ parnwb {' '.join(argv)}\n{outcome['out']}"
    said += f"--- standard error\n{outcome['err']}" if outcome["err"] else ""
    return normalised(f"{said}--- exit status {outcome['status']}\n", folder)


@pytest.fixture(scope="module")
def without_mpi(folder: Path) -> dict[str, list[dict[str, Any]]]:
    lines = {f"help_{name}": [name, "--help"] for name in commands.commands} | {"help": ["--help"]} | WITHOUT_MPI
    command = [sys.executable, PROGRAM, cases(folder, lines)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return printed(done.stdout)


@pytest.fixture(scope="module")
def with_mpi(folder: Path) -> dict[str, list[dict[str, Any]]]:
    command = [sys.executable, PROGRAM, cases(folder, WITH_MPI)]
    done = run_mpi(2, command, env=environment(), timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return printed(done.stdout)


@pytest.mark.parametrize("name", ["help", *(f"help_{name}" for name in commands.commands)])
def test_help(without_mpi: dict[str, list[dict[str, Any]]], folder: Path, name: str) -> None:
    outcome = without_mpi[name][0]
    text = outcome["out"]
    assert not too_wide(text)
    assert "..." not in text.split("Commands:")[-1] if name == "help" else "Examples:" in text
    compare(name, text)


@pytest.mark.parametrize("name", WITHOUT_MPI)
def test_what_is_said(without_mpi: dict[str, list[dict[str, Any]]], folder: Path, name: str) -> None:
    text = text_of(WITHOUT_MPI[name], without_mpi[name][0], folder)
    if name.startswith("doctor"):  # what it says is another thing on each machine, but not what is wrong
        lines = text.splitlines()
        kept = [line for line in lines if not line.startswith("  note: ")]
        text = "".join(f"{line if line[:1] == ' ' else line.split('  ')[0].split(':')[0]}\n" for line in kept)
    compare(name, text)


def test_what_doctor_says_of_another_machine() -> None:
    """All of it: of this machine the labels alone are compared."""
    versions = {"parnwb": "1.2.3", "HDF5": "1.14.3", "h5py": "3.11.0", "mpi4py": "4.0.0"}
    quota = "the quota of user 7"
    seat = Seat("node1", versions, (0, 1, 2, 3), 1024, 8 << 30, 1 << 30, "lustre", 5 << 30, quota, "", 1.25)
    report = Report(
        mpi="MPICH 4.2.0",
        launched=40,
        ranks=40,
        hosts={"node1": 20, "node2": 20},
        srun="pmi2",
        versions=versions,
        parallel_hdf5=True,
        filters=("gzip", "shuffle"),
        coders=("zlib", "isal"),
        folder="/scratch/project",
        backend="direct",
        reason="ranks encode and write by themselves",
        start_ups=tuple(1.0 + rank / 10 for rank in range(40)),
        seats=(seat, replace(seat, host="node2")),
        advice=(Advice("h5py has a fault", "Use another", prevents=False), Advice("node2 sees no folder", "Share it")),
    )
    compare("doctor_elsewhere", "\n".join(describe(report)) + "\n")
    compare("doctor_of_few", "\n".join(describe(replace(report, start_ups=(1.25, None), ranks=2, advice=()))) + "\n")
    unknown = replace(seat, free_memory=-1, free_bytes=-1, file_system="ext4")
    report = replace(report, mpi="", srun="", parallel_hdf5=False, start_ups=(None,), seats=(unknown,), advice=())
    compare("doctor_that_knows_little", "\n".join(describe(report)) + "\n")


@pytest.mark.parametrize("name", WITH_MPI)
def test_what_two_ranks_say(with_mpi: dict[str, list[dict[str, Any]]], folder: Path, name: str) -> None:
    root, other = with_mpi[name]
    if name == "campaign":  # whoever leads a team says what it begins and ends, in any order
        root = {**root, "err": ""}
    else:
        assert (other["out"], other["err"]) == ("", ""), "the root alone speaks"
    text = text_of(WITH_MPI[name], root, folder)
    if name in REWRITING:
        assert not too_wide(root["out"].replace(str(folder), "FOLDER"))
    compare(name, text)


def test_a_dry_run_writes_nothing(without_mpi: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    assert without_mpi["dry_run"][0]["status"] == 0
    assert not (folder / "new.nwb").exists() and not list(folder.glob("new.nwb*"))


def test_a_plan_is_plotted(without_mpi: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    assert without_mpi["plan_plotted"][0]["status"] == 0
    assert (folder / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_every_error_says_what_to_do_next(
    without_mpi: dict[str, list[dict[str, Any]]], with_mpi: dict[str, list[dict[str, Any]]]
) -> None:
    failed = {n: outcomes[0] for n, outcomes in (without_mpi | with_mpi).items() if outcomes[0]["status"] in (1, 2)}
    steps = ("--help", "Choose", "Check", "Did you mean", "next: ", "parnwb repack")
    assert len(failed) >= 10
    assert not [name for name, outcome in failed.items() if not any(step in f"{outcome}" for step in steps)]
