"""Which ranks write which data files, and what is left when one fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from failure.faults.material import CHUNK, session, values
from hypothesis import given
from hypothesis import strategies as some
from pynwb import H5DataIO, NWBFile

from parnwb import NWBParallelIO, write_modular
from parnwb.backends import encoder
from parnwb.errors import ParnwbError, TargetError
from parnwb.interrupts import SIGNALS
from parnwb.modular import teams


@given(some.integers(1, 6), some.integers(1, 20), some.data())
def test_teams(files: int, ranks: int, data: some.DataObject) -> None:
    names = [f"{number}.nwb" for number in range(files)]
    weights = {name: data.draw(some.floats(0.1, 100)) for name in names}
    divided = teams(names, weights, ranks)
    assert len(divided) == ranks
    assert {name for own in divided for name in own} == set(names)
    for name in names:  # a file has one team, of neighbours
        numbers = [rank for rank, own in enumerate(divided) if name in own]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert len({tuple(divided[rank]) for rank in numbers}) == 1


def test_weights() -> None:
    assert [own for (own,) in teams(["a", "b"], {"a": 3.0}, 4)] == ["a", "a", "a", "b"]
    assert teams(["a", "b", "c"], {"b": 5.0}, 2) == [["b"], ["a", "c"]]


@pytest.mark.parametrize(
    ("parts", "settings", "words"),
    [
        ({}, {}, "needs a data file"),
        ({"out.nwb": session}, {}, "names of their own"),
        ({"a.nwb": session}, {"weights": {"b.nwb": 1}}, "weights must be positive"),
        ({"there.nwb": session}, {}, "is there already: there.nwb"),
        ({"a.nwb": session}, {"mode": "a"}, "mode must be one of w, resume, got 'a'"),
        ({"a.nwb": session}, {"mode": "resume", "overwrite": True}, "Pass one of both"),
    ],
)
def test_refused(tmp_path: Path, parts: dict, settings: dict, words: str) -> None:
    (tmp_path / "there.nwb").write_text("another's")
    with pytest.raises(ParnwbError, match=words):
        write_modular(tmp_path / "out.nwb", parts, lambda files: session(), progress=False, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["there.nwb"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(files: object) -> None:
        raise KeyError("no such series")

    with pytest.raises(KeyError, match="no such series"):
        write_modular(tmp_path / "out.nwb", {"a.nwb": session}, fail, progress=False)
    assert not list(tmp_path.iterdir())


def fail(files: object) -> NWBFile:
    raise KeyError("no such series")


def linking(files: Mapping[str, NWBFile]) -> NWBFile:
    nwbfile = session(name="own")
    for file in files.values():
        nwbfile.add_acquisition(next(iter(file.acquisition.values())))
    return nwbfile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_replaced_stays_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.nwb").write_text("an earlier job's")
    parts = {"a.nwb": session, "b.nwb": session}
    with pytest.raises(KeyError, match="no such series"):
        write_modular(tmp_path / "out.nwb", parts, fail, progress=False, overwrite=True, manifest=True)
    assert names(tmp_path) == ["a.nwb", "a.nwb.crc"]
    assert "probe" in h5py.File(tmp_path / "a.nwb")["acquisition"]


def test_parts_of_virtual_datasets_go_with_their_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no such series"):
        write_modular(tmp_path / "out.nwb", {"a.nwb": session}, fail, progress=False, backend="virtual")
    assert names(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_not_removed(tmp_path: Path) -> None:
    def second() -> NWBFile:
        (tmp_path / "b.nwb").write_text("another job's")
        return session()

    with pytest.raises(TargetError, match="has appeared while it was written"):
        write_modular(
            tmp_path / "out.nwb", {"a.nwb": session, "b.nwb": second}, linking, progress=False, bulk_threshold=1024
        )
    assert (tmp_path / "b.nwb").read_text() == "another job's"
    assert "a.nwb" not in names(tmp_path)


def test_a_file_that_another_job_has_put_in_place_of_ours_is_not_removed(tmp_path: Path) -> None:
    def second() -> NWBFile:
        (tmp_path / "other").write_text("another job's")
        (tmp_path / "other").rename(tmp_path / "a.nwb")
        raise KeyError("no such device")

    with pytest.raises(KeyError, match="no such device"):
        write_modular(tmp_path / "out.nwb", {"a.nwb": session, "b.nwb": second}, linking, progress=False)
    assert (tmp_path / "a.nwb").read_text() == "another job's"
    assert names(tmp_path) == ["a.nwb"]


def test_a_file_that_another_job_finishes_is_not_removed(tmp_path: Path) -> None:
    """It had the lock when this job began, and no final name yet."""
    other = NWBParallelIO(tmp_path / "b.nwb", progress=False)

    def first() -> NWBFile:
        with other:
            other.write(session(name="others"))
        return session()

    with pytest.raises(TargetError, match="exists and is not replaced"):
        write_modular(tmp_path / "out.nwb", {"a.nwb": first, "b.nwb": session}, linking, progress=False)
    assert names(tmp_path) == ["b.nwb"]
    assert "others" in h5py.File(tmp_path / "b.nwb")["acquisition"]


# -- signals ---------------------------------------------------------------------------------------------------


@pytest.fixture
def handlers() -> Iterator[None]:
    """Give signals their handlers back, which a job that was stopped keeps."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def compressed(name: str) -> NWBFile:
    return session(H5DataIO(values(), chunks=CHUNK, compression="gzip"), name=name)


@pytest.mark.parametrize("when", ["made", "written"])
def test_a_signal_keeps_what_is_finished_and_the_next_job_goes_on(
    tmp_path: Path,
    when: str,
    handlers: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, settings = tmp_path / "out.nwb", {"progress": False, "bulk_threshold": 1024, "buffer_mb": 0.01}
    real, calls = encoder.encode, []

    def encode(*arguments: Any) -> Any:
        calls.append(1)
        if when == "written" and len(calls) == 4 and "a.nwb" in names(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    def second() -> NWBFile:
        calls.clear()
        if when == "made":
            os.kill(os.getpid(), signal.SIGTERM)
        return compressed("second")

    monkeypatch.setattr(encoder, "encode", encode)
    parts = {"a.nwb": session, "b.nwb": second, "c.nwb": lambda: compressed("third")}
    with pytest.raises(SystemExit) as raised:
        write_modular(path, parts, linking, **settings)
    assert raised.value.code == 75
    assert "Data files that are finished stay: call write_modular again with mode='resume'" in capsys.readouterr().err
    begun = ["b.nwb.partial", "b.nwb.partial.journal"] if when == "written" else []
    assert names(tmp_path) == ["a.nwb", *begun]
    first = (tmp_path / "a.nwb").stat()

    with pytest.raises(ParnwbError, match="is there already: a.nwb.*mode='resume' if an earlier job was ended"):
        write_modular(path, parts, linking, **settings)

    def not_again() -> NWBFile:
        raise AssertionError("a data file that is finished is not made again")

    calls.clear()
    parts |= {"a.nwb": not_again, "b.nwb": lambda: compressed("second")}
    when = "resumed"
    assert write_modular(path, parts, linking, mode="resume", **settings)[-1] == path
    assert names(tmp_path) == ["a.nwb", "b.nwb", "c.nwb", "out.nwb"]
    assert (tmp_path / "a.nwb").stat().st_ino == first.st_ino
    assert len(calls) < 14 if begun else len(calls) == 14, len(calls)
    with h5py.File(path) as file:
        for name in ("probe", "second", "third"):
            assert np.array_equal(file[f"acquisition/{name}/data"], values())
    with pytest.raises(ParnwbError, match="is there already: out.nwb.*It is finished"):
        write_modular(path, parts, linking, mode="resume", **settings)


KILLED = """
import os, signal, sys
from test_modular import linking, session, write_modular

def second():
    os.kill(os.getpid(), signal.SIGKILL)

write_modular(sys.argv[1], {"a.nwb": session, "b.nwb": second}, linking, progress=False)
"""


def test_a_job_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "out.nwb"
    where = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2])))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], env={**os.environ, "PYTHONPATH": where}, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL and "a.nwb" in names(tmp_path)
    first = (tmp_path / "a.nwb").stat().st_ino
    parts = {"a.nwb": session, "b.nwb": lambda: session(name="second")}
    write_modular(path, parts, linking, mode="resume", progress=False)
    assert names(tmp_path) == ["a.nwb", "b.nwb", "out.nwb"]
    assert (tmp_path / "a.nwb").stat().st_ino == first


def test_what_fails_when_it_is_resumed_keeps_what_is_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no such series"):
        write_modular(tmp_path / "out.nwb", {"a.nwb": session}, fail, progress=False, mode="resume")
    assert names(tmp_path) == ["a.nwb"]
