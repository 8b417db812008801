"""Ranks that fall silent end the job, with one message; ranks that are slow, or a job that is suspended, do not."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import h5py
import pytest
from contract.compare import Allowed, Snapshot, differences
from failure.resuming import committed_in, comparable, partial_of, write_plainly
from failure.silent import MIDWAY, SECONDS_PER_READ
from mpi_launch import mpi_vendor, run_mpi

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("silent.py")
WATCHDOG = 2.0
# What docs/reliability.md promises, and what a launcher needs to end the job on a busy machine.
LIMIT = 1.25 * WATCHDOG + 4 + 12
SECONDS = 60

parallel = pytest.mark.skipif(not h5py.get_config().mpi, reason="this h5py was built without MPI")
BACKENDS = ["direct", pytest.param("mpio", marks=parallel)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    from failure.faults.material import CHUNK, Asked, session
    from pynwb import H5DataIO

    nwbfile = session(H5DataIO(Asked(), chunks=CHUNK, compression="gzip"))
    return comparable(write_plainly(tmp_path_factory.mktemp("plain") / "plain.nwb", nwbfile))


@dataclass(frozen=True)
class Job:
    """One launch of three ranks, and what the test does to it meanwhile."""

    folder: Path
    backend: str

    @property
    def output(self) -> Path:
        return self.folder / "out.nwb"

    def run(
        self,
        way: str,
        victim: int,
        meddle: Callable[[], None] | None = None,
        *,
        ranks: int = 3,
        watchdog: float = WATCHDOG,
    ) -> CompletedProcess[str]:
        for mark in self.folder.glob("*-*"):
            mark.unlink()
        argv = [sys.executable, PROGRAM, way, str(victim), self.output, self.backend, str(watchdog), self.folder]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        thread = threading.Thread(target=meddle or (lambda: None), daemon=True)
        thread.start()
        done = run_mpi(ranks, argv, timeout=SECONDS, env={"PYTHONPATH": path})
        thread.join(SECONDS)
        return done

    def pids(self) -> dict[int, int]:
        return {int(mark.name[4:]): int(mark.read_text()) for mark in self.folder.glob("pid-*")}

    def wait_for_reads(self, number: int, ranks: int = 3) -> None:
        marks = [self.folder / f"reads-{rank}-{number}" for rank in range(ranks)]
        end = time.monotonic() + SECONDS
        while not all(mark.exists() for mark in marks) and time.monotonic() < end:
            time.sleep(0.005)

    def check_ended(self, done: CompletedProcess[str], *says: str) -> None:
        """Check that the job ended soon after a rank fell silent, and what it said about that."""
        assert time.time() - (self.folder / "silent").stat().st_mtime < LIMIT
        check_told(done, *says)
        assert not self.output.exists()

    def check_resumes(self, expected: Snapshot) -> None:
        """Check that work is committed and that two ranks make the right file of it."""
        committed = committed_in(self.output)
        assert committed is not None and len(committed.records) > 0
        done = self.run("in_peace", -1, ranks=2)
        assert done.returncode == 0, done.stderr
        self.check_finished(expected)

    def check_finished(self, expected: Snapshot) -> None:
        allowed = Allowed(size_ratio=2.0, fill_and_allocation_time=self.backend == "mpio")
        different = differences(expected, comparable(self.output), allowed)
        assert not different, "\n".join(different)


def check_told(done: CompletedProcess[str], *says: str) -> None:
    assert done.returncode != 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("parnwb: ")]
    assert len(lines) == 1, done.stderr
    for words in (*says, socket.gethostname()):
        assert words in lines[0], f"not said: {words}\n{lines[0]}"


@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_stopped_rank(tmp_path: Path, backend: str, victim: int, expected: Snapshot) -> None:
    job = Job(tmp_path, backend)
    done = job.run("stopped", victim)
    job.check_ended(done, f"rank {victim} on ", "no sign of life", "--watchdog", "reading /acquisition/probe/data[")
    if backend == "direct":
        job.check_resumes(expected)


@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_source_that_blocks(tmp_path: Path, backend: str, victim: int, expected: Snapshot) -> None:
    job = Job(tmp_path, backend)
    done = job.run("blocks", victim)
    job.check_ended(done, "longer than the watchdog's 2 s", "reading /acquisition/probe/data[", f"(rank {victim} on ")
    if backend == "direct":
        job.check_resumes(expected)


@parallel
@pytest.mark.parametrize("victim", [0, 2])
def test_rank_that_stops_while_others_are_inside_parallel_hdf5(tmp_path: Path, victim: int) -> None:
    job = Job(tmp_path, "mpio")
    done = job.run("stopped_inside", victim)
    job.check_ended(done, f"no answer comes from rank {victim} on ", "writing /acquisition/probe/data[")


@pytest.mark.parametrize("victim", [0, 2])
def test_rank_that_does_not_come(tmp_path: Path, victim: int) -> None:
    job = Job(tmp_path, "direct")
    done = job.run("absent", victim)
    job.check_ended(done, "all ranks must construct NWBParallelIO", f"rank {victim} did not")


def test_rank_that_dawdles_between_calls(tmp_path: Path) -> None:
    job = Job(tmp_path, "direct")
    done = job.run("dawdles", 1)
    job.check_ended(done, "rank 1 on ", "no sign of life", "between two calls of parnwb")


@pytest.mark.parametrize("backend", BACKENDS)
def test_slow_rank_lives(tmp_path: Path, backend: str, expected: Snapshot) -> None:
    """The others have read all of theirs long before, and wait much longer than the watchdog's seconds."""
    job = Job(tmp_path, backend)
    done = job.run("slow", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("reads-1-*"))) * SECONDS_PER_READ["slow"] > 3 * WATCHDOG
    job.check_finished(expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_suspended_job_lives(tmp_path: Path, backend: str, expected: Snapshot) -> None:
    job = Job(tmp_path, backend)

    def suspend() -> None:
        job.wait_for_reads(2)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in job.pids().values():
                os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(LIMIT)

    began = time.monotonic()
    done = job.run("in_peace", -1, suspend)
    assert time.monotonic() - began > LIMIT
    assert (done.returncode, done.stderr) == (0, "")
    job.check_finished(expected)


@pytest.mark.parametrize("way", ["building", "signal"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_signal_on_one_rank_stops_all(tmp_path: Path, backend: str, way: str, expected: Snapshot) -> None:
    """It comes twice at once, and the status must be the one that asks to be run again all the same."""
    job = Job(tmp_path, backend)
    done = job.run(way, 1)
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert done.stderr.count("asked to stop") == 1 and "Traceback" not in done.stderr, done.stderr
    assert ("mpio' keeps no journal" if (backend, way) == ("mpio", "signal") else "--resume") in done.stderr
    assert not job.output.exists()
    assert partial_of(job.output).exists() == ((backend, way) == ("direct", "signal"))
    assert job.run("in_peace", -1, ranks=2).returncode == 0
    job.check_finished(expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_signal_that_comes_too_late_stops_nothing(tmp_path: Path, backend: str, expected: Snapshot) -> None:
    job = Job(tmp_path, backend)
    done = job.run("publishing", 1)
    assert (done.returncode, done.stderr) == (0, "")
    job.check_finished(expected)


@pytest.mark.skipif(mpi_vendor() != "mpich", reason="stops MPICH's launcher, which starts ranks as its children")
def test_dead_rank_that_the_launcher_overlooks(tmp_path: Path, expected: Snapshot) -> None:
    job = Job(tmp_path, "direct")
    ended: list[float] = []

    def kill() -> None:
        job.wait_for_reads(MIDWAY)
        pids = job.pids()
        proxy = int(Path(f"/proc/{pids[1]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(proxy, signal.SIGSTOP)
        os.kill(pids[2], signal.SIGKILL)
        began = time.monotonic()
        while not all(has_ended(pid) for pid in pids.values()) and time.monotonic() < began + SECONDS / 2:
            time.sleep(0.05)
        ended.append(time.monotonic() - began)
        os.kill(proxy, signal.SIGCONT)

    done = job.run("slow", 1, kill)
    assert ended[0] < LIMIT + 10  # and the time after which a rank gives MPI up
    assert done.returncode != 0
    assert "rank 2 on " in done.stderr and "no sign of life" in done.stderr, done.stderr
    assert not job.output.exists() and partial_of(job.output).exists()
    job.check_resumes(expected)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("way", "victim", "says"),
    [
        ("stopped", 0, "rank 0"),
        ("blocks", 2, "reading back /acquisition/"),
        ("examining", 0, "examining /"),
    ],
)
def test_silent_rank_in_verify(tmp_path: Path, way: str, victim: int, says: str) -> None:
    from failure.resuming import session

    path = write_plainly(tmp_path / "out.nwb", session(1))
    program = Path(__file__).with_name("silent_verify.py")
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    argv = [sys.executable, program, way, str(victim), path, str(WATCHDOG), tmp_path]
    done = run_mpi(3, argv, timeout=SECONDS, env={"PYTHONPATH": python_path})
    assert time.time() - (tmp_path / "silent").stat().st_mtime < LIMIT
    check_told(done, says)
