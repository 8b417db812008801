"""What doctor says of releases, versions and folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parnwb.doctor import describe, examine, known_faults, srun_type


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
