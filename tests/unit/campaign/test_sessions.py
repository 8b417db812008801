"""Lists of sessions: what they may say, and what is refused where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from parnwb.campaign.sessions import read_sessions
from parnwb.campaign.turns import Turns, finish, prepare
from parnwb.errors import SourceError, TargetError


def write(folder: Path, text: str) -> Path:
    path = folder / "sessions.yaml"
    path.write_text(text)
    return path


def test_paths_begin_at_the_list_and_common_entries_are_for_all(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
metadata: common.yaml
interface: SpikeGLXRecordingInterface
options: {stream_id: imec0.ap}
sessions:
- {source: a, output: a.nwb}
- {source: /data/b, output: /out/b.nwb, metadata: b.yaml, options: {stream_id: 7}}
""",
    )
    first, second = read_sessions(path)
    assert (first.source.path, first.output) == (tmp_path / "a", tmp_path / "a.nwb")
    assert (first.source.interface, first.source.options) == ("SpikeGLXRecordingInterface", {"stream_id": "imec0.ap"})
    assert first.source.metadata == tmp_path / "common.yaml"
    assert (second.source.path, second.output) == (Path("/data/b"), Path("/out/b.nwb"))
    assert (second.source.metadata, second.source.options) == (tmp_path / "b.yaml", {"stream_id": "7"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1", "unknown entry 'a'"),
        ("sessions: []", "lists its sessions"),
        ("sessions: [a]", "must be a mapping"),
        ("sessions: [{source: a}]", "session 1.*|a path as its output"),
        ("sessions: [{source: a, output: b, outptu: c}]", "unknown entry 'outptu'"),
        ("sessions: [{source: a, output: b}, {source: c, output: b}]", "two have the output"),
        ("sessions: [{source: a, output: b, options: x}]", "options are a mapping"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read_sessions(write(tmp_path, text))


def test_sizes_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.bin").write_bytes(bytes(1000))
    (tmp_path / "a" / "d.bin").write_bytes(bytes(10))
    found = read_sessions(write(tmp_path, "sessions: [{source: a, output: a.nwb}, {source: nowhere, output: b.nwb}]"))
    assert [session.nbytes() for session in found] == [1010, 0]


def test_each_turn_is_taken_once(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    (tmp_path / "results.json.turns-old").mkdir()
    folder = prepare(results)
    teams = [Turns(folder, 2, 7) for _ in range(3)]
    taken = [turns.take() for _ in range(3) for turns in teams]
    assert sorted(number for number in taken if number is not None) == [2, 3, 4, 5, 6]
    assert [turns.take() for turns in teams] == [None] * 3
    finish(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="--results"):
        prepare(tmp_path / "no" / "results.json")
    with pytest.raises(TargetError, match="--results"):
        Turns(tmp_path / "no", 0, 1).take()
