"""Events, warnings and errors as one JSON object a line."""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from unit.progress.told import STARTED, progressed

from parnwb.errors import TargetError
from parnwb.progress import JsonLines, Silent, meter_of
from parnwb.voice import NOTICE, last_words, say


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """A stream to which the logger writes JSON lines."""
    stream, logger = io.StringIO(), logging.getLogger("parnwb")
    handler, level = JsonLines(stream), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_have_time_rank_and_host_first(heard: io.StringIO) -> None:
    meter_of(Silent(), 0, "node7").tell(STARTED)
    (line,) = lines(heard)
    assert list(line)[:4] == ["event", "time", "rank", "host"]
    assert line["time"].endswith("Z")
    del line["time"]
    assert line == {
        "event": "start",
        "rank": 0,
        "host": "node7",
        "path": "/out/x.nwb",
        "task": "writing",
        "label": "writing x.nwb (direct)",
        "total_bytes": 400_000_000,
        "ranks": 8,
        "hosts": ["a", "b"],
    }


def test_progress_has_rates_time_left_and_what_is_under_way(heard: io.StringIO) -> None:
    meter_of(Silent(), 0, "node7").tell(progressed())
    (line,) = lines(heard)
    assert (line["raw_mbs"], line["stored_mbs"], line["recent_mbs"], line["seconds_left"]) == (100, 25, 80, 2)
    assert (line["ranks_waiting"], line["datasets"], line["datasets_complete"]) == (3, 3, 1)
    assert line["under_way"] == [{"path": "/b/data", "share": 0.25}]


def test_warnings_and_errors_are_lines_and_what_is_said_for_people_is_none(heard: io.StringIO) -> None:
    say(NOTICE, "campaign", "begin a.nwb")
    say(logging.WARNING, "warnings", "the disk is nearly full", 3, "node2", kind="UserWarning")
    say(logging.ERROR, "job", "it failed", 5, "node3", kind="SourceError")
    told = [(line["event"], line["rank"], line["host"], line["kind"], line["text"]) for line in lines(heard)]
    assert told == [
        ("warning", 3, "node2", "UserWarning", "the disk is nearly full"),
        ("error", 5, "node3", "SourceError", "it failed"),
    ]


def test_last_words_are_on_standard_error_and_in_the_log(
    heard: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    last_words("rank 2: it is stuck", 2, "node1")
    assert capsys.readouterr().err == "parnwb: rank 2: it is stuck\n"
    (line,) = lines(heard)
    assert (line["event"], line["rank"], line["text"]) == ("error", 2, "rank 2: it is stuck")


def test_last_words_do_not_wait_for_a_listener_that_hangs(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(io.StringIO())
    logger = logging.getLogger("parnwb")
    logger.addHandler(handler)
    handler.acquire()
    try:
        last_words("the end", 0)
    finally:
        handler.release()
        logger.removeHandler(handler)
    assert capsys.readouterr().err == "parnwb: the end\n"


def test_last_words_do_not_wait_for_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads, or a lock of the thread that is stuck."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    monkeypatch.setattr("sys.stderr", os.fdopen(write, "w", closefd=False))
    began = time.monotonic()
    last_words("the end", 0)
    assert time.monotonic() - began < 3
    os.close(read)  # and who waits gets EPIPE


def test_last_words_that_cannot_be_written_end_nobody(heard: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stderr", full)
        last_words("there is no room for this", 0)
        with suppress(OSError):
            full.close()
    assert [line["event"] for line in lines(heard) if line["text"] == "there is no room for this"] == ["error"]


def test_a_file_is_appended_to_and_opened_when_there_is_something_to_say(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    logger = logging.getLogger("parnwb.test_json_lines")
    for text in ("one", "two"):
        handler = JsonLines(path)
        logger.addHandler(handler)
        assert path.exists() == (text == "two")
        logger.warning(text)
        logger.removeHandler(handler)
        handler.close()
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["one", "two"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="the log of events cannot be written: No such file"):
        JsonLines(tmp_path / "nowhere" / "events.jsonl").open()


def test_a_full_disk_ends_the_lines_and_not_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    handler = JsonLines(Path("/dev/full"))
    logger = logging.getLogger("parnwb.test_json_lines")
    logger.addHandler(handler)
    logger.warning("one")
    logger.warning("two")
    logger.removeHandler(handler)
    handler.close()
    assert capsys.readouterr().err.count("events are not written any more: [Errno 28]") == 1


def test_a_library_says_nothing_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("parnwb").handlers)
    say(logging.ERROR, "job", "nobody listens")
    assert capsys.readouterr() == ("", "")


def test_looking_leaves_nothing_and_takes_nothing_away(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("a line\n")
    for name in ("old", "new"):
        log = JsonLines(tmp_path / name)
        log.look()
        log.close()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "a line\n")]
    for name in ("", "nowhere/new"):
        with pytest.raises(TargetError, match="the log of events cannot be written"):
            JsonLines(tmp_path / name).look()


def test_looking_at_a_pipe_does_not_send_its_reader_away(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    log = JsonLines(tmp_path / "pipe")
    try:
        log.look()
        with pytest.raises(BlockingIOError):  # there is nothing yet; b"" would be the end
            os.read(reader, 1)
    finally:
        log.close()
        os.close(reader)
