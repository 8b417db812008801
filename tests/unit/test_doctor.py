"""What doctor says of releases, versions and folders."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parnwb import compression, doctor
from parnwb.comm import Ranks, world
from parnwb.doctor import Seat, describe, examine, known_faults, mpi_libraries, srun_type
from parnwb.machine.striping import Striping
from parnwb.target.space import Space


@pytest.mark.parametrize(
    ("mpi", "kind"), [("Open MPI 4.1.4", "pmix"), ("MPICH 5.0.2", "pmi2"), ("Intel MPI 2021.9.0", "pmi2"), ("", "")]
)
def test_srun_type_of_a_library(mpi: str, kind: str) -> None:
    assert srun_type(mpi) == kind


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.10.8", ["skipped"]),
        ("1.14.0", ["wrong data"]),
        ("1.14.2", ["wrong data"]),
        ("1.14.3", []),
        ("2.0.0", ["different orders"]),
        ("2.1.1", ["different orders"]),
    ],
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


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    """Nothing can be written there, and what was not written cannot be removed."""
    (tmp_path / "notes.md").write_text("")
    report = examine(tmp_path / "notes.md")
    assert report is not None and not report.good
    assert any("notes.md: it cannot be written to: Not a directory. Check" in line for line in describe(report))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_keeps_what_is_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """By one process, and by the root of ranks."""
    pytest.importorskip("mpi4py.MPI")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    ranks = Ranks(world())
    seats = [doctor._seat_alone(tmp_path), *doctor._seats(ranks, tmp_path)]
    ranks.free()
    words = f"what is written there cannot be removed: {os.strerror(number)}"
    assert [seat.trouble for seat in seats] == [words, words]


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


# -- what is wrong, and what to do about it -----------------------------------------------------------------------

SEAT = Seat(
    host="node1",
    versions={"parnwb": "1.0", "HDF5": "1.14.6"},
    cores=(0, 1),
    open_files=1024,
    free_memory=1 << 34,
    free_shared_memory=1 << 30,
    file_system="lustre",
    free_bytes=1 << 40,
    limited_by="the file system",
    trouble="",
    start_up=1.0,
)
ELSEWHERE = replace(SEAT, host="node2")
OLDER = {"parnwb": "1.0", "HDF5": "1.10.8"}


@pytest.mark.parametrize(
    ("seats", "what", "remedy", "prevents"),
    [
        ([SEAT, replace(ELSEWHERE, versions=OLDER)], "HDF5 is 1.14.6 on node1 and 1.10.8 on node2", "the same", True),
        ([SEAT] * 3, "3 ranks share 2 cores on node1", "--cpus-per-task", False),
        ([replace(SEAT, open_files=64)], "a process may have 64 open files on node1", "ulimit -n 1024", True),
        ([SEAT, replace(ELSEWHERE, free_memory=1 << 28)], "256 MiB of memory are free for 1 ranks", "mem", True),
        ([replace(SEAT, free_shared_memory=1 << 20)] * 2, "1 MiB of /dev/shm are free for 2 ranks", "shm-size", True),
        ([replace(SEAT, trouble="it cannot be written to")], "/data: it cannot be written to", "permissions", True),
        ([SEAT, replace(ELSEWHERE, trouble="not seen")], "/data on node2: not seen", "hosts share", True),
        ([replace(SEAT, free_bytes=1 << 20)], "the file system leaves 1 MiB for files in", "another folder", False),
        ([replace(SEAT, file_system="nfs4")], "cannot write one file: with several the root", "parallel file", False),
        ([SEAT, replace(ELSEWHERE, file_system="fuse.x")], "fuse.x, of which it is not", "--writers-per-node", False),
        (
            [replace(SEAT, file_system="ext4"), replace(ELSEWHERE, file_system="nfs4")],
            "/data is of type nfs4, on which several hosts cannot write one file",
            "Run all ranks on one host",
            False,
        ),
    ],
)
def test_what_is_wrong_has_a_remedy(seats: list[Seat], what: str, remedy: str, prevents: bool) -> None:
    """One seat is no reason, so that each of these is the only thing that is wrong."""
    found = [*doctor._about_versions(seats), *doctor._about_limits(seats), *doctor._about_folder(Path("/data"), seats)]
    assert len(found) == 1, found
    assert what in found[0].what and remedy in found[0].remedy and found[0].prevents is prevents


def test_what_is_well_is_not_spoken_of() -> None:
    seats = [SEAT, ELSEWHERE]
    assert not [*doctor._about_versions(seats), *doctor._about_limits(seats), *doctor._about_folder(Path("/d"), seats)]


def test_a_folder_on_one_server_of_lustre(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, told in ((1, True), (4, False)):
        monkeypatch.setattr(doctor, "striping_of", lambda folder, count=count: Striping(count))
        found = list(doctor._about_folder(Path("/data"), [SEAT]))
        assert [advice.remedy for advice in found] == ["lfs setstripe --stripe-count 8 --stripe-size 4M /data"] * told


@pytest.mark.parametrize(
    ("mpi", "ranks", "variables", "told"),
    [
        ("Open MPI 4.1.4", 31, {}, "OMPI_MCA_fcoll"),
        ("Open MPI 4.1.4", 30, {}, None),
        ("Open MPI 4.1.4", 31, {"OMPI_MCA_fcoll": "two_phase"}, None),
        ("Open MPI 5.0.7", 31, {}, None),
        ("Open MPI 4.1.4", 2, {"OMPI_MCA_io": "romio321"}, "unset OMPI_MCA_io"),
        ("MPICH 5.0.2", 99, {"OMPI_MCA_io": "romio321"}, None),
    ],
)
def test_known_faults_of_an_mpi(
    monkeypatch: pytest.MonkeyPatch, mpi: str, ranks: int, variables: dict[str, str], told: str | None
) -> None:
    for name in ("OMPI_MCA_fcoll", "OMPI_MCA_io"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor, "parallel_hdf5", lambda: True)
    monkeypatch.setattr(doctor, "mpi_library", lambda: mpi)
    monkeypatch.setattr(doctor, "mpi_libraries", lambda maps: ())
    found = list(doctor._about_hdf5("1.14.6", ranks))
    assert len(found) == bool(told) and all(told in advice.remedy and not advice.prevents for advice in found)


LOCKS, SYNC = "HDF5 locks files", "refuses independent writes of backend 'mpio' on NFS"


@pytest.mark.parametrize(
    ("kind", "mpi", "version", "variables", "told"),
    [
        ("nfs4", "MPICH 5.0.2", "1.14.6", {}, [LOCKS, SYNC]),
        ("nfs", "Intel MPI 2021.9.0", "2.0.0", {"HDF5_USE_FILE_LOCKING": "FALSE"}, [SYNC]),
        ("nfs4", "MPICH 5.0.2", "1.14.6", {"HDF5_USE_FILE_LOCKING": "0", "HDF5_DO_MPI_FILE_SYNC": "0"}, []),
        ("nfs4", "MPICH 5.0.2", "1.12.2", {"HDF5_USE_FILE_LOCKING": "BEST_EFFORT"}, []),
        ("nfs4", "MPICH 5.0.2", "1.12.2", {"HDF5_USE_FILE_LOCKING": "TRUE"}, [LOCKS]),
        ("nfs4", "Open MPI 5.0.7", "1.14.6", {}, [LOCKS]),
        ("nfs4", "Open MPI 5.0.7", "1.14.6", {"OMPI_MCA_io": "romio341"}, [LOCKS, SYNC]),
        ("lustre", "MPICH 5.0.2", "1.14.6", {}, []),
    ],
)
def test_what_hdf5_asks_of_nfs(
    monkeypatch: pytest.MonkeyPatch, kind: str, mpi: str, version: str, variables: dict[str, str], told: list[str]
) -> None:
    for name in ("HDF5_USE_FILE_LOCKING", "HDF5_DO_MPI_FILE_SYNC", "OMPI_MCA_io"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor, "parallel_hdf5", lambda: True)
    monkeypatch.setattr(doctor, "mpi_library", lambda: mpi)
    seats = [replace(SEAT, versions={"HDF5": version}), replace(ELSEWHERE, file_system=kind)]
    found = list(doctor._about_nfs(seats))
    assert len(found) == len(told) and all(words in advice.what for words, advice in zip(told, found, strict=True))
    assert all("export HDF5_" in advice.remedy and not advice.prevents for advice in found)
    monkeypatch.setattr(doctor, "parallel_hdf5", lambda: False)
    assert not any(SYNC in advice.what for advice in doctor._about_nfs(seats))


MAPS = """\
7f00-7f10 r-xp 00000000 fe:01 11 /usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40.30.4
7f10-7f20 r--p 00000000 fe:01 11 /usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40.30.4
7f20-7f30 r-xp 00000000 fe:01 12 /usr/lib/x86_64-linux-gnu/libmpi_mpifh.so.40.30.0
7f30-7f40 r-xp 00000000 fe:01 13 /home/anna/.venv/lib/python3.11/site-packages/h5py/defs.so
"""


def test_an_h5py_of_another_mpi_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = "/usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40.30.4"
    assert mpi_libraries(MAPS) == (one,)
    two = mpi_libraries(MAPS + "7f50-7f60 r-xp 00000000 fe:01 14 /home/anna/.venv/lib/libmpi.so.12.5.2\n")
    assert two == ("/home/anna/.venv/lib/libmpi.so.12.5.2", one)
    monkeypatch.setattr(doctor, "parallel_hdf5", lambda: True)
    monkeypatch.setattr(doctor, "mpi_libraries", lambda maps: two)
    told = [advice for advice in doctor._about_hdf5("1.14.6", 2) if "another MPI" in advice.what]
    assert len(told) == 1 and told[0].prevents and "Build h5py anew" in told[0].remedy


def test_this_process_has_one_mpi() -> None:
    """The one of mpi4py, which is h5py's where that has any."""
    pytest.importorskip("mpi4py.MPI")
    assert len(mpi_libraries(Path("/proc/self/maps").read_text())) == 1


def test_filters_of_hdf5plugin_are_named_where_it_is() -> None:
    """``--compression`` offers them."""
    assert set(doctor.PLUGINS) == set(compression.PLUGINS)
    pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed here")
    assert set(doctor._filters()) >= {"gzip", *doctor.PLUGINS}


def test_filters_of_hdf5plugin_are_not_named_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.native, "is_available", lambda number: number < 32000)
    assert "gzip" in doctor._filters() and not set(doctor.PLUGINS) & set(doctor._filters())


def test_a_rank_that_hangs_ends_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ranks of it: their watchdog is on, for a time in which somebody waits."""
    watchdogs: list[float | None] = []

    class Watched(Ranks):
        def __init__(self, comm: Any, watchdog: float | None = None, *more: Any) -> None:
            watchdogs.append(watchdog)
            super().__init__(comm, watchdog, *more)

    pytest.importorskip("mpi4py.MPI")
    monkeypatch.setattr(doctor, "Ranks", Watched)
    monkeypatch.setattr(doctor, "launched_size", lambda: 2)
    assert examine(tmp_path) is not None
    assert watchdogs == [doctor.WATCHDOG] and 30 <= doctor.WATCHDOG <= 300


def test_programs_that_deflate_and_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CODERS", {"no_such_module": "quick"})
    monkeypatch.setattr(doctor.planes, "available", lambda: False)
    found = [(advice.what, advice.remedy, advice.prevents) for advice in doctor._about_coders()]
    assert found[0] == ("fast deflate programs cannot be loaded: quick", "Install parnwb anew", False)
    assert "was not compiled" in found[1][0] and found[1][1].startswith("Install gcc") and not found[1][2]


def test_a_machine_without_mpi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "mpi_library", lambda: "")
    report = examine(tmp_path)
    assert report is not None and not report.good
    assert any("mpi4py finds no MPI" in advice.what and "parnwb[mpich]" in advice.remedy for advice in report.advice)
