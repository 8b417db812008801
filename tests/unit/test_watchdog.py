"""What counts as a step that takes too long, by the watchdog's own clock."""

from __future__ import annotations

import math
import time

import pytest

from parnwb.comm.watchdog import DEFAULT_WATCHDOG, Lane, Watchdog, check_watchdog, until_checked
from parnwb.errors import ParnwbError


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan, "600", True])
def test_what_is_no_limit_is_refused(seconds):
    with pytest.raises(ParnwbError, match="watchdog must be a number of seconds"):
        check_watchdog(seconds)
    assert until_checked(seconds) == DEFAULT_WATCHDOG


@pytest.mark.parametrize("seconds", [None, 0, 0.5, 600])
def test_limits(seconds):
    check_watchdog(seconds)
    assert until_checked(seconds) == seconds
    assert Watchdog(seconds).active == bool(seconds)


@pytest.fixture
def alarms():
    """Return a watchdog of 0.2 s and the texts of the steps for which it has barked."""
    watchdog, texts = Watchdog(0.2), []

    def bark(lane: Lane) -> None:
        texts.append(lane.text)

    watchdog.start(bark)
    yield watchdog, texts
    watchdog.stop()


def test_a_step_that_does_not_end_is_found_in_any_thread(alarms):
    watchdog, texts = alarms
    with watchdog.main.at("writing"), watchdog.lane() as lane:
        lane.step("reading")
        time.sleep(0.6)
    assert set(texts) == {"writing", "reading"} and texts[0] == "reading"


def test_steps_that_end_and_waiting_are_fine(alarms):
    watchdog, texts = alarms
    with watchdog.main.at("writing"):
        for number in range(20):
            watchdog.main.step(f"writing {number}")
            time.sleep(0.03)
        with watchdog.main.resting():
            time.sleep(0.5)
        assert watchdog.doing() == "writing 19"
    time.sleep(0.5)
    assert texts == []


def test_what_it_was_doing_outside_comes_back(alarms):
    watchdog, _ = alarms
    with watchdog.main.at("outside"):
        with watchdog.main.at("inside", together=True):
            assert (watchdog.doing(), watchdog.main.together) == ("inside", True)
        assert (watchdog.doing(), watchdog.main.together) == ("outside", False)
    assert watchdog.doing() == ""
