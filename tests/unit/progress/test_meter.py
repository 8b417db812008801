"""What the root counts, and how often views see it."""

from __future__ import annotations

import logging

import pytest
from unit.progress.told import APPENDING, STARTED, STATE, Clock, Kept, Told

from parnwb.errors import Interrupted
from parnwb.progress import Extrapolated, Meter, Started, view_of
from parnwb.progress.events import Ended, Progressed


def test_each_view_sees_progress_at_its_own_pace_and_all_of_it_at_the_end() -> None:
    clock, often, seldom = Clock(), Kept(1.0), Kept(5.0)
    meter = Meter([often, seldom], clock)
    with meter.task(STARTED):
        for _ in range(100):
            clock.now += 0.07
            meter.advance(1000, 100)
    assert (len(often.progressed), len(seldom.progressed)) == (7, 2)
    for view in (often, seldom):
        *_, last, end = view.events
        assert isinstance(last, Progressed) and isinstance(end, Ended)
        assert (last.raw_bytes, last.stored_bytes, end.raw_bytes, end.status) == (100_000, 10_000, 100_000, "done")
        assert view.events[0] is STARTED


def test_rates_are_of_all_the_time_and_of_the_last_seconds() -> None:
    clock, view = Clock(), Kept(1.0)
    meter = Meter([view], clock)
    meter.begin(STARTED)
    for rate in [100] * 20 + [10] * 20:
        clock.now += 1
        meter.advance(rate * 1_000_000, rate * 500_000)
    last = view.progressed[-1]
    assert last.rate == pytest.approx(55e6) and last.stored_rate == pytest.approx(27.5e6)
    assert last.recent_rate == pytest.approx(10e6)


def test_the_state_is_asked_for_when_a_view_is_to_see_it_only() -> None:
    clock, view, asked = Clock(), Kept(1.0), []
    meter = Meter([view], clock)
    meter.watch(lambda: asked.append(clock.now) or STATE)
    meter.begin(STARTED)
    for _ in range(1000):
        meter.advance(1, 1)
    assert asked == []
    clock.now += 1
    meter.advance(1, 1)
    assert asked == [101.0] and view.progressed[0].state is STATE


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no"), "failed"), (Interrupted("asked"), "stopped"), (KeyboardInterrupt(), "stopped")],
)
def test_a_task_that_does_not_come_to_its_end_says_why(error: BaseException, status: str) -> None:
    view = Kept()
    with pytest.raises(type(error)), Meter([view], Clock()).task(STARTED):
        raise error
    end = view.events[-1]
    assert isinstance(end, Ended) and end.status == status
    assert end.error == (str(error) or type(error).__name__)


def test_nothing_is_told_before_a_beginning_and_after_an_end() -> None:
    view = Kept()
    meter = Meter([view], Clock())
    meter.advance(5, 5)
    meter.end()
    assert view.events == []
    meter.begin(STARTED)
    meter.end()
    count = len(view.events)
    meter.advance(5, 5)
    meter.end()
    assert len(view.events) == count


def test_a_meter_without_views_counts_nothing() -> None:
    meter = Meter()
    with meter.task(STARTED):
        meter.advance(5, 5)


@pytest.mark.parametrize("failing", ["start", "advance", "finish"])
def test_display_that_fails_is_silent_from_then_on(failing: str) -> None:
    """A closed pipe or a full disk of logs must not end the writing, nor what others are shown."""
    told, other = Told(), Kept()

    def fail(*arguments: object) -> None:
        told.calls.append(("failed",))
        raise BrokenPipeError("gone")

    setattr(told, failing, fail)
    meter = Meter([view_of(told), other], Clock())
    with pytest.warns(UserWarning, match="progress display failed and is silent from here on: gone"):
        with meter.task(STARTED):
            meter.advance(5, 1)
            meter.advance(5, 1)
    assert told.calls[-1] == ("failed",) and told.calls.count(("failed",)) == 1
    assert isinstance(other.events[-1], Ended)


def test_an_object_of_the_users_is_told_of_all_bytes_at_once() -> None:
    told = Told()
    meter = Meter([view_of(told)], Clock())
    with meter.task(STARTED):
        meter.advance(10, 5)
        meter.advance(20, 6)
    with meter.task(Started("/y.nwb", "verifying", "verifying y.nwb", 3)):
        meter.advance(3, 0)
    expected = [("start", STARTED.label, 400_000_000), ("advance", 10, 5), ("advance", 20, 6), ("finish",)]
    assert told.calls == [*expected, ("start", "verifying y.nwb", 3), ("advance", 3, 0), ("finish",)]


def test_rows_that_are_appended_begin_nothing_anew_for_it() -> None:
    told = Told()
    meter = Meter([view_of(told)], Clock())
    with meter.task(APPENDING):
        meter.advance(10, 5)
    assert told.calls == [("advance", 10, 5)]


def test_an_object_of_the_users_may_be_told_what_is_written_now() -> None:
    class New(Told):
        def show(self, what: str) -> None:
            self.calls.append(("show", what))

    told = New()
    meter = Meter([view_of(told)], Clock())
    meter.watch(lambda: STATE)
    meter.begin(STARTED)
    meter.advance(1, 1)
    assert told.calls[-1] == ("show", "/b/data 25 %, 1 of 3 datasets complete, 3 rank(s) wait")


def test_bytes_of_one_rank_stand_for_all() -> None:
    told = Told()
    shown = Extrapolated(told, total=900, own=300)
    for _ in range(3):
        shown.advance(100, 33)
    assert told.calls == [("advance", 300, 99)] * 3
    Extrapolated(told, total=900, own=0).advance(0, 0)
    assert told.calls[-1] == ("advance", 0, 0)


def test_events_are_logged_with_rank_and_host(caplog: pytest.LogCaptureFixture) -> None:
    from parnwb.progress import Silent, meter_of

    with caplog.at_level(logging.INFO, "parnwb"), meter_of(Silent(), 0, "node7").task(STARTED):
        pass
    kinds = [record.event.name for record in caplog.records]
    assert kinds == ["start", "end"], "progress is for those who ask for DEBUG"
    assert {(record.name, record.rank, record.host) for record in caplog.records} == {("parnwb.progress", 0, "node7")}
    assert caplog.messages[0] == "writing x.nwb (direct): 400 MB on 8 rank(s)"
