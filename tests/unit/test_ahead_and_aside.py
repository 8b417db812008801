"""Threads beside the one that writes hold nothing of what they have handed over: it may be as large as a buffer."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from functools import partial

import pytest

from parnwb.comm import Ahead, Aside, Lane, Ranks

pytestmark = pytest.mark.once


class Buffer:
    """Something that can be seen to be gone."""

    def written(self) -> None:
        """Do nothing."""


def test_a_thread_that_is_ahead_holds_no_item_that_was_taken() -> None:
    ranks, go_on, seen = Ranks(None), threading.Event(), []

    def make(lane: Lane) -> Iterator[Buffer]:
        yield Buffer()
        go_on.wait(60)
        seen.append(first() is None)

    with Ahead(ranks, "encoder", make) as ahead:
        ranks.wait_until(ahead.ready, lambda: False)
        item = ahead.take()
        first = weakref.ref(item)
        del item
        go_on.set()
        ranks.wait_until(ahead.ready, lambda: False)
        assert ahead.take() is None
    assert seen == [True]


def test_a_thread_at_ones_side_holds_nothing_of_what_it_has_done() -> None:
    ranks, buffer = Ranks(None), Buffer()
    with Aside(ranks, "writer") as aside:
        aside.do("writing", partial(Buffer.written, buffer), lambda: False)
        there = weakref.ref(buffer)
        del buffer
        assert there() is None
