"""Every second of a thread counts once, for the innermost phase."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from parnwb.timing import Phases


def ticking() -> Phases:
    """Return phases whose clock goes on by a second with each look at it."""
    seconds = count()
    return Phases(lambda: float(next(seconds)))


def test_a_phase_within_another_stops_its_clock() -> None:
    phases = ticking()
    with phases("writing"):  # looks at 0, 1, 2, 3
        with phases("commit"):
            pass
    assert phases.seconds == {"writing": 2.0, "commit": 1.0}


def test_seconds_of_one_phase_add_up_and_those_outside_do_not_count() -> None:
    phases = ticking()
    for _ in range(3):
        with phases("writing"):
            pass
    assert phases.seconds == {"writing": 3.0}


def test_a_phase_that_fails_is_left() -> None:
    phases = ticking()
    with phases("outer"):
        with pytest.raises(ValueError), phases("inner"):
            raise ValueError
        with phases("after"):
            pass
    assert phases.seconds == {"outer": 3.0, "inner": 1.0, "after": 1.0}


def test_items_are_counted_and_not_what_is_done_with_them() -> None:
    phases = ticking()
    with phases("assembling"):
        assert list(phases.each("reading", [1, 2])) == [1, 2]
    assert phases.seconds["reading"] == 3.0  # two items, and the end of them


def test_threads_do_not_stop_each_others_clocks() -> None:
    phases = Phases()

    def encode() -> None:
        with phases("encoding"):
            inside.set()
            assert done.wait(10)

    inside, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=encode)
    with phases("waiting"):
        thread.start()
        assert inside.wait(10)
        done.set()
        thread.join()
    assert set(phases.seconds) == {"waiting", "encoding"}
    assert phases.seconds["waiting"] >= phases.seconds["encoding"] > 0


def test_the_view_grows_and_cannot_be_written_to() -> None:
    phases = ticking()
    seconds = phases.seconds
    with phases("opening"):
        pass
    assert seconds == {"opening": 1.0}
    with pytest.raises(TypeError):
        seconds["opening"] = 2.0  # type: ignore[index]
