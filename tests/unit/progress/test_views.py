"""What is shown where: lines in logs, all datasets on a terminal."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
from unit.progress.told import ENDED, STARTED, STATE, Kept, Screen, Told, progressed

from parnwb.errors import ParnwbError
from parnwb.progress import Extent, PlainLines, Silent, State, Terminal, progress_for, view_by_name, view_of
from parnwb.progress.terminal import duration
from parnwb.progress.view import Own

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NOTHING = State()


@pytest.mark.parametrize(
    ("show", "stream", "kind"),
    [
        (None, io.StringIO, Silent),
        (None, Screen, Terminal),
        (False, io.StringIO, Silent),
        (False, Screen, Silent),
        (True, io.StringIO, PlainLines),
        (True, Screen, Terminal),
    ],
)
def test_what_is_shown_where(show: bool | None, stream: type[io.StringIO], kind: type) -> None:
    assert type(progress_for(show, stream())) is kind


def test_views_have_names() -> None:
    assert [type(view_by_name(name)) for name in ("terminal", "plain", "none")] == [Terminal, PlainLines, Silent]
    assert type(view_by_name("auto")) is PlainLines, "the tests' standard error is no terminal"


def test_what_a_user_may_give() -> None:
    kept, told = Kept(), Told()
    assert view_of(kept) is kept and type(view_of(told)) is Own and type(view_of(False)) is Silent
    with pytest.raises(ParnwbError, match="True, False, None or an object with start, advance and finish, got 3"):
        view_of(3)


@pytest.mark.parametrize("interval", [None, "1", -1.0, float("nan"), True])
def test_a_view_says_how_often_it_is_told(interval: object) -> None:
    """What the root alone would meet, hours of work later."""
    with pytest.raises(ParnwbError, match=r"also has interval, .* Add interval = 1\.0"):
        view_of(type("Mine", (), {"heed": print} | ({} if interval is None else {"interval": interval}))())


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            progressed(),
            "writing x.nwb (direct): 50 % of 400 MB, 100 MB/s, ratio 4.00, 2 s left; "
            "/b/data 25 %, 1 of 3 datasets complete, 3 rank(s) wait",
        ),
        (progressed(state=NOTHING), "writing x.nwb (direct): 50 % of 400 MB, 100 MB/s, ratio 4.00, 2 s left"),
        (progressed(0, 0, state=NOTHING), "writing x.nwb (direct): 0 % of 400 MB, 0 MB/s"),
        (progressed(400_000_000, 0, state=NOTHING), "writing x.nwb (direct): 100 % of 400 MB, 200 MB/s"),
        (progressed(500_000_000, 0, state=NOTHING), "writing x.nwb (direct): 500 MB, 250 MB/s"),
        (progressed(state=State((Extent("/[0]/data", None),), 0)), "writing x.nwb (direct): 50 % of 400 MB, 100 MB/s, "
         "ratio 4.00, 2 s left; /[0]/data, 0 of 0 datasets complete"),
    ],
)
def test_lines(event: object, expected: str) -> None:
    stream = io.StringIO()
    PlainLines(stream).heed(event)
    assert stream.getvalue() == f"{expected}\n"


def test_lines_are_written_in_one_piece() -> None:
    """Launchers mix what ranks write, and would put standard output between a line and its end."""
    pieces = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return len(text)

    PlainLines(Stream()).heed(progressed())
    assert len(pieces) == 1 and pieces[0].endswith("\n")


def test_lines_tell_of_progress_alone() -> None:
    stream = io.StringIO()
    view = PlainLines(stream)
    view.heed(STARTED)
    view.heed(ENDED)
    assert stream.getvalue() == ""


def shown(*events: object, columns: int = 80, lines: int = 24, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that were drawn last."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    screen = io.StringIO()  # no terminal: a launcher stands in between
    view = Terminal(screen)
    for event in events:
        view.heed(event)
    view.heed(ENDED)
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h"), "the cursor stays hidden"
    drawings = re.split(r"(?:\x1b\[1A\x1b\[2K|\x1b\[2K)+\r?|\r", ESCAPES.sub(lambda m: m.group(), screen.getvalue()))
    return [line.rstrip() for line in ESCAPES.sub("", drawings[-1]).splitlines() if line.strip()]


def test_a_terminal_has_all_datasets_in_one_view(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(STARTED, progressed(), monkeypatch=monkeypatch)
    assert lines[0].startswith("writing x.nwb (direct)")
    assert lines[1] == "  200 of 400 MB, 80 MB/s, 25 MB/s stored, 2 s left, 3 rank(s) wait"
    for line, (path, share) in zip(
        lines[2:], [("/a/data", "100 %"), ("/b/data", "25 %"), ("/c/data", "0 %"), ("/d/data", "...")], strict=False
    ):
        assert line.strip().startswith(path) and line.endswith(share)
    assert lines[6:] == ["  1 of 3 datasets complete"]


def test_it_does_not_outgrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [1.0] * 50 + [0.5] * 3 + [0.0] * 50
    state = State(tuple(Extent(f"/acquisition/{'long_' * 20}{n}/data", share) for n, share in enumerate(shares)), 51)
    lines = shown(STARTED, progressed(state=state), columns=60, lines=12, monkeypatch=monkeypatch)
    assert len(lines) <= 12 and max(map(len, lines)) <= 60
    assert sum(line.endswith(" 50 %") for line in lines[2:]) == 3, "those under way are shown first"
    assert lines[-1] == "  50 of 103 datasets complete; 95 not shown"


def test_paths_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(progressed(state=State((Extent("/a[bold]/data", 0.5),))), monkeypatch=monkeypatch)
    assert "/a[bold]/data" in lines[2]


def test_a_terminal_says_nothing_of_nothing() -> None:
    screen = Screen()
    view = Terminal(screen)
    view.heed(ENDED)
    assert screen.getvalue() == ""


@pytest.mark.parametrize(("seconds", "words"), [(3.4, "3 s"), (65, "1 min 5 s"), (7265, "2 h 1 min")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_state_of_nothing_says_nothing() -> None:
    assert (str(NOTHING), NOTHING.complete, NOTHING.known) == ("", 0, 0)
    assert [extent.path for extent in STATE.under_way] == ["/b/data"]


FULL = """
import sys, warnings
from parnwb.cli.speaking import listening, show_warning
from parnwb.progress import Meter, PlainLines, Started

warnings.showwarning = show_warning
with listening():
    meter = Meter([PlainLines()], clock=iter(range(1000)).__next__)
    meter.begin(Started("out.nwb", "writing", "out.nwb", 100, 1, ("here",)))
    for _ in range(100):
        meter.advance(1, 1)
    meter.end()
print("all is written")
"""


@pytest.mark.parametrize("options", [[], ["-W", "error"]])
def test_a_full_disk_of_logs_ends_no_writing(options: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, *options, "-c", FULL]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60, check=False)
    assert done.stdout == "all is written\n"
