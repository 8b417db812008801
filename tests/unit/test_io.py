"""How an output is taken and given back: whatever happens in between, the next one can have it."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from failure.resuming import Stop, commits_every, session, stopped_at, write
from pynwb import NWBHDF5IO

from parnwb import NWBParallelIO
from parnwb.append import Opened
from parnwb.commits.journal import replay
from parnwb.errors import LaunchError, ParnwbError, StorageError, TargetError
from parnwb.verification import verify

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("path", ["/", None, 5])
def test_what_is_no_file_name_is_refused_as_such(path: object) -> None:
    with pytest.raises(TargetError, match="must be the path of a file"):
        NWBParallelIO(path)  # type: ignore[arg-type]


def test_an_output_that_nobody_closes_is_free_again(tmp_path: Path) -> None:
    path, before = tmp_path / "out.nwb", signal.getsignal(signal.SIGTERM)
    io = NWBParallelIO(path, "w", progress=False)
    io.write(session(1, movie=False))
    assert (tmp_path / "out.nwb.lock").exists() and signal.getsignal(signal.SIGTERM) != before
    with pytest.warns(ResourceWarning, match="never closed"):
        del io
        gc.collect()
    assert not (tmp_path / "out.nwb.lock").exists() and signal.getsignal(signal.SIGTERM) == before
    with NWBParallelIO(path, "resume", progress=False) as io:
        io.write(session(1, movie=False))
    assert [item.name for item in tmp_path.iterdir()] == ["out.nwb"]


def test_a_view_that_cannot_be_closed_keeps_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.nwb"
    with NWBHDF5IO(path, "w") as plain:
        plain.write(session(1, movie=False))

    def fail(self: Opened) -> None:
        raise OSError("HDF5 cannot close it")

    io = NWBParallelIO(path, "a", progress=False)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="cannot close"):
        patch.setattr(Opened, "close_view", fail)
        io.close()
    assert [item.name for item in tmp_path.iterdir()] == ["out.nwb"]
    del io
    gc.collect()
    with NWBParallelIO(path, "a", progress=False) as io:
        assert "filtered" in io.read().acquisition


@pytest.mark.parametrize("name", ["break_lock", "progress"])
@pytest.mark.parametrize("value", [1, "yes", [False]])
def test_what_only_looks_true_is_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ParnwbError, match=f"{name} must be True"):
        NWBParallelIO(tmp_path / "out.nwb", **{name: value})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [NWBParallelIO, verify])
@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda MPI: MPI.COMM_NULL, "got MPI.COMM_NULL. A rank that takes no part must not call it"),
        (lambda MPI: MPI.COMM_WORLD.Split(MPI.UNDEFINED), "got MPI.COMM_NULL. A rank that takes no part"),
        (lambda MPI: "world", "got 'world'"),
        (lambda MPI: MPI, "got <module"),
    ],
)
def test_what_is_no_communicator_is_refused(
    tmp_path: Path, make: Callable[[object], object], got: str, call: Callable[..., object]
) -> None:
    from mpi4py import MPI

    with pytest.raises(LaunchError, match="comm must be an intracommunicator") as found:
        call(tmp_path / "out.nwb", comm=make(MPI))
    assert got in str(found.value) and not list(tmp_path.iterdir())


def test_a_job_that_fails_and_cannot_tidy_up_says_one_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> bool:
        raise StorageError("the folder is gone")

    path = tmp_path / "out.nwb"
    with pytest.raises(ValueError, match="of the program"), NWBParallelIO(path) as io:
        io.write(session(1))
        monkeypatch.setattr("parnwb.io.is_worth_keeping", refuse)
        raise ValueError("of the program")
    assert not path.with_name("out.nwb.lock").exists()


def test_a_resumed_journal_is_replayed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replays = tmp_path / "out.nwb", []
    with pytest.raises(Stop), commits_every(3), stopped_at(20):
        write(path, session(), "w", commit_interval=1)
    monkeypatch.setattr("parnwb.restore.replay", lambda journal: replays.append(journal) or replay(journal))
    write(path, session())
    assert len(replays) == 1


def test_public_names_are_what_they_say() -> None:
    """In a fresh process, where nobody has imported the module of the same name before."""
    program = "from parnwb import NWBParallelIO, verify; print(verify.__module__, callable(verify))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["parnwb.verification", "True"], done.stderr
