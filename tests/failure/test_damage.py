"""Bytes that change on disk, before a resume and after the end: found on three ranks as on one, by the same words."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import h5py
import pytest
from failure.calls import KILLED, EndAfter, Log, in_child, unwatch, watch
from failure.resuming import (
    Stop,
    assert_same,
    commits_every,
    committed_in,
    comparable,
    journal_of,
    open_and_close,
    partial_of,
    session,
    stopped_at,
    write,
    write_plainly,
)
from mpi_launch import run_mpi

from parnwb.errors import ResumeError
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]
RANKS = 3
PROGRAM = """
    import json, sys, warnings
    sys.path.insert(0, sys.argv[2])
    warnings.simplefilter("ignore")
    from mpi4py import MPI
    from pathlib import Path
    from failure.resuming import session, write
    from parnwb.errors import ParnwbError
    from parnwb.verification import verify

    folder, comm = Path(sys.argv[1]), MPI.COMM_WORLD
    told = {}
    for name in ("damaged", "whole"):
        try:
            write(folder / name / "out.nwb", session(), comm=comm, manifest=True)
            told[name] = "written"
        except ParnwbError as error:
            told[name] = str(error)
    for name in ("finished", "whole"):
        verdict = verify(folder / name / "out.nwb", comm=comm, validate=False)
        told[f"findings of {name}"] = sorted(map(str, verdict.findings))
        told[f"checksums of {name}"] = verdict.checksums
    told = comm.gather(told)
    if comm.rank == 0:
        print(json.dumps(told))
"""


def flip(path: Path, address: int) -> None:
    content = bytearray(path.read_bytes())
    content[address] ^= 4
    path.write_bytes(content)


def begin(path: Path) -> Path:
    path.parent.mkdir()
    with commits_every(3), stopped_at(30), pytest.raises(Stop):
        write(path, session(), "w", commit_interval=1)
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Damage files in the same way for one rank and for three, and return what each was told."""
    top = tmp_path_factory.mktemp("damage")
    damaged, whole = begin(top / "damaged" / "out.nwb"), begin(top / "whole" / "out.nwb")
    committed = committed_in(damaged)
    assert committed is not None
    for number in (-1, len(committed.records) // 2, 3):  # of different ranks' shares
        flip(partial_of(damaged), int(committed.records[number, 2]))
    finished = top / "finished" / "out.nwb"
    finished.parent.mkdir()
    write(finished, session(), "w", manifest=True)
    with h5py.File(finished) as file:
        places = [file[f"/acquisition/{name}/data"].id.get_chunk_info(2) for name in ("chunked", "filtered")]
        places = [info.byte_offset for info in places] + [file["/acquisition/bare/data"].id.get_offset()]
    for address in places:
        flip(finished, address)

    program = top / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    before = {path: path.read_bytes() for path in damaged.parent.iterdir()}
    done = run_mpi(RANKS, [sys.executable, program, top, str(Path(__file__).parents[1])], timeout=100)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ResumeError) as refused:
        write(damaged, session())
    assert {path: path.read_bytes() for path in damaged.parent.iterdir()} == before, "a refusal changes nothing"
    alone = verify(finished, validate=False)
    assert_same(whole, comparable(write_plainly(top / "plain.nwb", session())))
    assert not journal_of(whole).exists()
    return {
        "ranks": json.loads(done.stdout.splitlines()[-1]),
        "refused": str(refused.value),
        "findings": sorted(map(str, alone.findings)),
        "checksums": alone.checksums,
    }


def test_damage_before_a_resume_is_refused_alike(told: dict[str, Any]) -> None:
    assert [one["damaged"] for one in told["ranks"]] == [told["refused"]] * RANKS
    assert "3 of its committed chunks are not what was written, the first is /acquisition/bare/" in told["refused"]


def test_what_is_whole_is_resumed_and_its_checksums_are_those_of_both_attempts(told: dict[str, Any]) -> None:
    for one in told["ranks"]:
        assert one["whole"] == "written"
        assert one["findings of whole"] == []
        assert one["checksums of whole"] > 100


def test_damage_of_a_finished_file_is_found_alike(told: dict[str, Any]) -> None:
    assert len([text for text in told["findings"] if "are not what was written" in text]) == 3
    for name in ("chunked", "filtered", "bare"):
        assert any(text.startswith(f"/acquisition/{name}/data[") for text in told["findings"])
    for one in told["ranks"]:
        stored = [text for text in one["findings of finished"] if "are not what was written" in text]
        assert stored == [text for text in told["findings"] if "are not what was written" in text]
        assert one["checksums of finished"] == told["checksums"]
        # Where reading fails the hyperslab is that of a buffer, which depends on the number of ranks.
        assert any("cannot be read" in text for text in one["findings of finished"])


# -- the end of the process while checksums are left -----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True])
def test_a_process_that_ends_after_any_of_the_last_calls(tmp_path: Path, old: bool) -> None:
    """The next one leaves the file and its own checksums; never does a file have those of another one."""
    path, older = tmp_path / "out" / "out.nwb", tmp_path / "older" / "out.nwb"
    older.parent.mkdir()
    write(older, session(1, seed=3), "w", manifest=True)
    earlier = {item.name: item.read_bytes() for item in older.parent.iterdir()} if old else {}

    def lay_out() -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        for name, content in earlier.items():
            (path.parent / name).write_bytes(content)

    def attempt(mode: str = "w") -> None:
        write(path, session(1), mode, manifest=True, overwrite=old)

    def end_after(number: int) -> None:
        watch(path.parent, EndAfter(number))
        attempt()

    lay_out()
    log = Log([])
    watch(path.parent, log)
    try:
        attempt()
    finally:
        unwatch()
    names = [f"{call.kind} {Path(call.path).name}" for call in log.calls]
    first = names.index("create out.nwb.partial.crc")
    assert names[-2:] == ["unlink out.nwb.partial.journal", "unlink out.nwb.lock"] and len(names) - first > 9
    for number in range(first, len(names)):
        lay_out()
        assert in_child(lambda n=number: end_after(n)) == KILLED
        beside = path.with_name("out.nwb.crc")
        if beside.exists():
            assert path.exists() and verify(path, validate=False).ok, names[number - 1]
        if path.exists() and not journal_of(path).exists():
            assert beside.exists()
            assert path.with_name("out.nwb.lock").exists(), names[number - 1]
            whole = path.read_bytes()
            open_and_close(path)
            assert path.read_bytes() == whole
        else:
            attempt("resume")
        verdict = verify(path, validate=False)
        assert verdict.ok and verdict.checksums, names[number - 1]
        left = {item.name for item in path.parent.iterdir()}
        assert left == {"out.nwb", "out.nwb.crc"}, names[number - 1]
