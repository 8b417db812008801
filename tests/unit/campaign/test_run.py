"""What a campaign says of itself, and one that a single process runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parnwb.campaign import Arrangement, Campaign, Outcome, run
from parnwb.campaign.turns import Turns
from parnwb.comm import alone
from parnwb.errors import TargetError
from parnwb.recordings.made_recording import make_spikeglx_recording
from parnwb.target.lock import Lock
from parnwb.target.process import Process


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["converted", "was there"], 0),
        (["converted", "failed"], 1),
        (["failed", "stopped"], 75),
        (["converted", "not begun"], 75),
    ],
)
def test_the_exit_status_tells_whether_to_run_it_again(statuses: list[str], status: int) -> None:
    outcomes = tuple(Outcome("a", "b", each) for each in statuses)
    assert Campaign(outcomes, Arrangement((1,), (0, 1), 1.0), 1.0).status == status


def test_a_single_process_converts_one_after_another(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py.MPI")
    make_spikeglx_recording(tmp_path / "good", megabytes=1)
    (tmp_path / "metadata.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    (tmp_path / "sessions.yaml").write_text("""
metadata: metadata.yaml
sessions:
- {source: missing, output: missing.nwb}
- {source: good, output: good.nwb}
""")
    results = tmp_path / "results.json"
    for expected in (["failed", "converted"], ["failed", "was there"]):
        done = run(tmp_path / "sessions.yaml", alone(), results=results, quiet=True)
        assert [outcome.status for outcome in done.outcomes] == expected
        assert json.loads(results.read_text()) == done.to_json()
        assert "missing" in done.outcomes[0].error
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"good", "good.nwb", "metadata.yaml", "sessions.yaml", "results.json"}


def test_results_are_written_and_told_where_a_team_fails_between_two_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its host no longer sees the folder in which teams take turns."""
    pytest.importorskip("mpi4py.MPI")
    make_spikeglx_recording(tmp_path / "good", megabytes=1)
    (tmp_path / "metadata.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    lines = [f"- {{source: good, output: {name}.nwb}}\n" for name in ("one", "two")]
    (tmp_path / "sessions.yaml").write_text("".join(["metadata: metadata.yaml\nsessions:\n", *lines]))

    def fail(turns: Turns) -> None:
        raise TargetError("the folder is gone")

    monkeypatch.setattr(Turns, "take", fail)
    told: list[Campaign] = []
    results = tmp_path / "results.json"
    with pytest.raises(TargetError, match="the folder is gone"):
        run(tmp_path / "sessions.yaml", alone(), results=results, quiet=True, tell=told.append)
    assert [outcome.status for outcome in told[0].outcomes] == ["converted", "not begun"]
    assert json.loads(results.read_text()) == told[0].to_json()
    assert not list(tmp_path.glob("results.json.*"))


def test_what_keeps_no_journal_is_begun_anew(tmp_path: Path) -> None:
    """Of an unfinished file; one that is there is not replaced, nor one of which another backend has committed data."""
    pytest.importorskip("mpi4py.MPI")
    make_spikeglx_recording(tmp_path / "good", megabytes=1)
    (tmp_path / "metadata.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    (tmp_path / "there.nwb").write_text("a file")
    for name in ("there", "left"):
        (tmp_path / f"{name}.nwb.partial").write_text("left by a job that was killed")
    (tmp_path / "sessions.yaml").write_text("""
metadata: metadata.yaml
sessions:
- {source: good, output: left.nwb}
- {source: good, output: there.nwb}
- {source: good, output: store.nwb.zarr}
""")
    done = run(tmp_path / "sessions.yaml", alone(), results=tmp_path / "results.json", quiet=True, backend="virtual")
    assert [outcome.status for outcome in done.outcomes] == ["converted", "failed", "failed"]
    assert "exists and is not replaced" in done.outcomes[1].error
    assert "backend 'virtual' writes HDF5 files" in done.outcomes[2].error
    assert (tmp_path / "left.nwb.parts").is_dir() and (tmp_path / "there.nwb").read_text() == "a file"


def test_a_store_is_among_the_files_of_a_campaign(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py.MPI")
    pytest.importorskip("hdmf_zarr")
    make_spikeglx_recording(tmp_path / "good", megabytes=1)
    (tmp_path / "metadata.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    lines = "metadata: metadata.yaml\nsessions:\n- {source: good, output: out.nwb.zarr}\n"
    (tmp_path / "sessions.yaml").write_text(lines)
    for expected in ("converted", "was there"):
        done = run(tmp_path / "sessions.yaml", alone(), results=tmp_path / "results.json", quiet=True)
        assert [(outcome.status, outcome.error) for outcome in done.outcomes] == [(expected, "")]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/results.json", "the output folder must exist"),
        ("sessions.yaml/results.json", "the output folder must exist"),
        ("n" * 300, "cannot have this name"),
        ("a\0b", "null byte"),
        ("", "must be a file, not a folder"),
        ("/", "the results must be a file"),
    ],
)
def test_a_place_that_takes_no_results_is_refused_in_words(tmp_path: Path, place: str, words: str) -> None:
    pytest.importorskip("mpi4py.MPI")
    (tmp_path / "sessions.yaml").write_text("sessions:\n- {source: good, output: good.nwb}\n")
    with pytest.raises(TargetError, match=words):
        run(tmp_path / "sessions.yaml", alone(), results=tmp_path / place, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["sessions.yaml"]


def test_a_run_leaves_alone_what_is_anothers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which began when this one was thought to have ended; and what a lost one has left to look at."""
    pytest.importorskip("mpi4py.MPI")
    (tmp_path / "sessions.yaml").write_text("sessions:\n- {source: missing, output: good.nwb}\n")
    results, take = tmp_path / "results[1].json", Turns.take
    other = results.with_name(f"{results.name}.turns-of-another")

    def take_late(turns: Turns) -> int | None:
        other.mkdir()
        return take(turns)

    monkeypatch.setattr(Turns, "take", take_late)
    run(tmp_path / "sessions.yaml", alone(), results=results, quiet=True)
    assert list(tmp_path.glob("*.turns-*")) == [other]
    monkeypatch.setattr(Turns, "take", take)
    run(tmp_path / "sessions.yaml", alone(), results=results, quiet=True)
    assert not list(tmp_path.glob("*.turns-*"))
    lock = Lock(results.with_name(results.name + ".lock"), lost := results.with_name(results.name + ".lost"))
    lock.take([Process.this()])
    lost.write_text("of a lost job")
    with pytest.raises(TargetError, match="another job"):
        run(tmp_path / "sessions.yaml", alone(), results=results, quiet=True)
    lock.release()
    assert lost.exists()


@pytest.mark.parametrize("lines", [True, False])
def test_how_far_files_are_is_told_unless_nobody_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: bool
) -> None:
    pytest.importorskip("mpi4py.MPI")
    make_spikeglx_recording(tmp_path / "good", megabytes=1)
    (tmp_path / "metadata.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    listed = tmp_path / "sessions.yaml"
    listed.write_text("metadata: metadata.yaml\nsessions: [{source: good, output: good.nwb}]\n")
    run(listed, alone(), results=tmp_path / "results.json", lines=lines)
    assert ("writing good.nwb" in capsys.readouterr().err) == lines
