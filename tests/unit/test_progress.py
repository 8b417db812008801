"""What the root tells its user."""

from __future__ import annotations

import io

import pytest

from parnwb import progress
from parnwb.progress import Bar, Extrapolated, Guarded, PlainLines, Silent, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("show", "stream", "kind"),
    [
        (None, io.StringIO, Silent),
        (None, Terminal, Bar),
        (False, io.StringIO, Silent),
        (False, Terminal, Silent),
        (True, io.StringIO, PlainLines),
        (True, Terminal, Bar),
    ],
)
def test_what_is_shown_where(show, stream, kind):
    assert type(progress_for(show, stream())) is kind


def test_silent_says_nothing(capsys):
    told = Silent()
    told.start("writing", 100)
    told.advance(50, 10)
    told.finish()
    assert capsys.readouterr() == ("", "")


def test_lines_come_at_intervals_and_at_the_end(clock):
    stream = io.StringIO()
    told = PlainLines(stream, interval=5)
    told.start("writing x.nwb", 400_000_000)
    for _ in range(4):
        clock[0] += 3
        told.advance(90_000_000, 30_000_000)
    clock[0] += 1
    told.finish()
    lines = stream.getvalue().splitlines()
    assert lines == [
        "writing x.nwb: 45 % of 400 MB, 30 MB/s, ratio 3.00, 7 s left",
        "writing x.nwb: 90 % of 400 MB, 30 MB/s, ratio 3.00, 1 s left",
        "writing x.nwb: 90 % of 400 MB, 28 MB/s, ratio 3.00, 1 s left",
    ]


def test_lines_are_written_in_one_piece(clock):
    """Launchers mix what ranks write, and would put standard output between a line and its end."""
    pieces = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return len(text)

    told = PlainLines(Stream())
    told.start("writing x.nwb", 0)
    told.finish()
    assert pieces == ["writing x.nwb: 100 % of 0 MB, 0 MB/s\n"]


def test_lines_of_nothing_to_do(clock):
    stream = io.StringIO()
    told = PlainLines(stream)
    told.start("writing x.nwb", 0)
    told.finish()
    assert stream.getvalue() == "writing x.nwb: 100 % of 0 MB, 0 MB/s\n"


def test_lines_when_done_name_no_time_left(clock):
    stream = io.StringIO()
    told = PlainLines(stream)
    told.start("writing", 1_000_000)
    clock[0] += 2
    told.advance(1_000_000, 0)
    told.finish()
    assert stream.getvalue() == "writing: 100 % of 1 MB, 0 MB/s\n"


def test_lines_begin_anew(clock):
    stream = io.StringIO()
    told = PlainLines(stream)
    for label in ("first", "second"):
        told.start(label, 2_000_000)
        clock[0] += 1
        told.advance(2_000_000, 1_000_000)
        told.finish()
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "first: 100 % of 2 MB",
        "second: 100 % of 2 MB",
    ]


def test_failing_before_anything_was_done_speaks_all_the_same(clock):
    stream = io.StringIO()
    told = PlainLines(stream)
    told.start("writing", 1_000_000)
    clock[0] += 1
    told.finish()
    assert stream.getvalue() == "writing: 0 % of 1 MB, 0 MB/s\n"


def test_bar_goes_through_its_life(capsys):
    told = Bar()
    told.start("writing x.nwb", 1000)
    told.advance(400, 100)
    told.advance(600, 200)
    told.finish()
    told.finish()
    assert "x.nwb" in capsys.readouterr().err


def test_bar_of_nothing_to_do():
    told = Bar()
    told.start("writing", 0)
    told.finish()


@pytest.mark.parametrize("make", [Silent, lambda: PlainLines(io.StringIO()), Bar])
def test_finish_without_start(make):
    """A failure may come before the start."""
    make().finish()


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def start(self, label: str, total: int) -> None:
        self.calls.append(("start", label, total))

    def advance(self, raw: int, stored: int) -> None:
        self.calls.append(("advance", raw, stored))

    def finish(self) -> None:
        self.calls.append(("finish",))


def test_bytes_of_one_rank_stand_for_all():
    told = Told()
    shown = Extrapolated(told, total=900, own=300)
    shown.start("x", 900)
    for _ in range(3):
        shown.advance(100, 33)
    shown.finish()
    assert told.calls == [("start", "x", 900), *[("advance", 300, 99)] * 3, ("finish",)]


def test_rank_without_bytes_stands_for_nothing():
    told = Told()
    Extrapolated(told, total=900, own=0).advance(0, 0)
    assert told.calls == [("advance", 0, 0)]


def test_guarded_passes_all_on():
    told = Told()
    shown = Guarded(told)
    shown.start("x", 10)
    shown.advance(10, 5)
    shown.finish()
    assert told.calls == [("start", "x", 10), ("advance", 10, 5), ("finish",)]


@pytest.mark.parametrize("failing", ["start", "advance", "finish"])
def test_display_that_fails_is_silent_from_then_on(failing):
    """A closed pipe or a full disk of logs must not end the writing."""
    told = Told()

    def fail(*arguments: object) -> None:
        told.calls.append(("failed",))
        raise BrokenPipeError("gone")

    setattr(told, failing, fail)
    shown = Guarded(told)
    with pytest.warns(UserWarning, match="progress display failed and is silent from here on: gone"):
        shown.start("x", 10)
        shown.advance(5, 1)
        shown.advance(5, 1)
        shown.finish()
    assert told.calls[-1] == ("failed",) and told.calls.count(("failed",)) == 1


def test_lines_end_with_what_is_being_written(clock):
    stream = io.StringIO()
    told = PlainLines(stream, interval=5)
    told.start("writing x.nwb", 100_000_000)
    told.show("/acquisition/a/data 50 %, 0 of 2 datasets complete")
    clock[0] += 5
    told.advance(50_000_000, 0)
    told.finish()
    expected = "writing x.nwb: 50 % of 100 MB, 10 MB/s, 5 s left; /acquisition/a/data 50 %, 0 of 2 datasets complete"
    assert stream.getvalue().splitlines()[0] == expected


def test_a_bar_shows_paths_as_they_are(capsys):
    told = Bar()
    told.start("writing", 100)
    told.show("/a[0]/data 1 %")
    assert told._bar.tasks[0].fields["now"] == "/a[0]/data 1 %"
    told.finish()


def test_what_is_written_is_passed_on_to_whoever_takes_it():
    seen = []

    class Old(Silent):
        show = property()  # what users wrote before there was such a method

    class New(Silent):
        def show(self, what: str) -> None:
            seen.append(what)

    Guarded(Old()).show("nobody hears it")
    Guarded(Extrapolated(New(), 10, 5)).show("a")
    assert seen == ["a"]
