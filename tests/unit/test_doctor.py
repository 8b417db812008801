"""What doctor says of releases, versions and folders."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from parnwb.doctor import describe, examine, known_faults, srun_type
from parnwb.target.space import Space


@pytest.mark.parametrize(
    ("mpi", "kind"), [("Open MPI 4.1.4", "pmix"), ("MPICH 5.0.2", "pmi2"), ("Intel MPI 2021.9.0", "pmi2"), ("", "")]
)
def test_srun_type_of_a_library(mpi: str, kind: str) -> None:
    assert srun_type(mpi) == kind


@pytest.mark.parametrize(
    ("version", "words"),
    [("1.10.8", ["skipped"]), ("1.14.0", ["wrong data"]), ("1.14.2", ["wrong data"]), ("1.14.3", []), ("2.0.0", [])],
)
def test_known_faults_of_parallel_hdf5(version: str, words: list[str]) -> None:
    found = list(known_faults(version))
    assert [any(word in advice.what for word in words) for advice in found] == [True] * len(words)
    assert not any(advice.prevents for advice in found)


def test_a_good_folder_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parnwb.doctor._about_slurm", lambda: iter(()))
    report = examine(tmp_path)
    assert report is not None and report.good, report
    assert list(tmp_path.iterdir()) == []
    assert json.loads(json.dumps(report.to_json()))["seats"][0]["file_system"] == report.seats[0].file_system
    assert list(describe(report))[-1].startswith("GOOD")


@pytest.mark.parametrize(
    ("mpi", "offered", "told"),
    [
        ("MPICH 5.0.2", "none pmix", "srun cannot start ranks of MPICH 5.0.2: it has no --mpi=pmi2"),
        ("MPICH 5.0.2", "none pmi2 pmix", None),
        ("Open MPI 4.1.4", "none pmix pmix_v4", None),
        ("Open MPI 4.1.4", "none pmi2", "it has no --mpi=pmix"),
    ],
)
def test_a_slurm_that_cannot_start_ranks_itself_is_told_of_and_ends_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mpi: str, offered: str, told: str | None
) -> None:
    """Job scripts ask doctor first, from ranks that have been started: some launcher works."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(f"#!/bin/sh\necho MPI plugin types are... {offered}\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("parnwb.doctor.mpi_library", lambda: mpi)
    report = examine(tmp_path)
    assert report is not None and report.good, report
    assert any(told in advice.what for advice in report.advice) if told else "srun" not in str(report.advice)
    assert any(line.startswith("MPI") and srun_type(mpi) in line for line in describe(report))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    report = examine(tmp_path / "missing")
    assert report is not None and not report.good
    assert any("missing: it cannot be written to" in line for line in describe(report))


def test_ranks_that_are_worlds_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpi4py.MPI")
    monkeypatch.setenv("PMI_SIZE", "3")
    report = examine(tmp_path)
    assert report is not None and not report.good
    assert (report.launched, report.ranks) == (3, 1)
    assert any("a world of its own" in advice.what and "srun --mpi" in advice.remedy for advice in report.advice)


def test_a_quota_that_leaves_little_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, good in ((5 << 20, True), (0, False)):
        monkeypatch.setattr("parnwb.doctor.space_left", lambda folder, free=free: Space("the quota of user 7", free))
        report = examine(tmp_path)
        assert report is not None and report.good is good
        lines = "\n".join(describe(report))
        assert f"{free >> 20} MiB free by the quota of user 7" in lines
        assert f"the quota of user 7 leaves {free >> 20} MiB for files" in lines


def test_start_up_is_told_by_rank_or_from_the_first_to_the_last(tmp_path: Path) -> None:
    report = examine(tmp_path)
    assert report is not None and len(report.start_ups) == 1 and 0 < (report.start_ups[0] or 0) < 3600
    few, many = replace(report, start_ups=(1.0, None, 2.5)), replace(report, start_ups=(3.0, *[4.0] * 20, 9.0))
    assert "start-up    1.0 s (rank 0), 2.5 s (rank 2)" in list(describe(few))
    expected = "start-up    3.0 s (rank 0) to 9.0 s (rank 21), half of the ranks within 4.0 s"
    assert expected in list(describe(many))
