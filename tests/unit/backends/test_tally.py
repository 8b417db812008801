"""What is told of each dataset, and when a commit is due because a turn has ended."""

from __future__ import annotations

import numpy as np

from parnwb.backends.tally import Tally
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.plan import WritePlan
from parnwb.write_queue import write_queue

LAYOUT = FileLayout(tuple(DatasetSpec(f"/{n}", (k,), (k,), "|u1", (1,)) for n, k in zip("abc", (4, 2, 1), strict=True)))


def tally_of(policy: object, **settings: object) -> Tally:
    return Tally(WritePlan(LAYOUT, 2, queue=write_queue(policy, LAYOUT), **settings))


def place(tally: Tally, *datasets: int) -> bool:
    tally.add(np.array(datasets, dtype=np.int64))
    return tally.reached_milestone


def test_it_tells_how_far_a_dataset_is():
    tally = tally_of("file")
    assert tally.tell(0) == "/a 0 %, 0 of 3 datasets complete"
    place(tally, 0, 0, 0, 2)
    assert tally.tell(0) == "/a 75 %, 1 of 3 datasets complete"
    place(tally, 0, 1, 1)
    assert tally.tell(1) == "/b 100 %, 3 of 3 datasets complete"


def test_what_an_earlier_attempt_did_counts():
    tally = tally_of("file", done={0: np.array([True, True, False, True])})
    assert tally.tell(0) == "/a 75 %, 0 of 3 datasets complete"


def test_what_grows_has_no_share_and_is_not_counted():
    grows = FileLayout((*LAYOUT, DatasetSpec("/d", (0,), (None,), "|u1", (1,))))
    tally = Tally(WritePlan(grows, 2))
    place(tally, 2, 3, 3)
    assert tally.tell(3) == "/d, 1 of 3 datasets complete"


def test_a_milestone_is_the_end_of_a_turn_but_the_last():
    tally = tally_of({"/b": 0, "/a": 1})
    assert not place(tally, 0, 1)
    assert place(tally, 1)
    assert place(tally, 0), "until there was a commit"
    tally.committed()
    assert not place(tally, 0)
    assert place(tally, 0)
    tally.committed()
    assert not place(tally, 2), "the end of the file has a frame of its own"


def test_turns_that_are_done_already_are_no_milestones():
    tally = tally_of({"/b": 0, "/a": 1}, done={1: np.array([True, True])})
    assert not place(tally, 0, 0, 0)
    assert place(tally, 0)


def test_other_policies_have_none():
    for policy in ("file", "largest", "round-robin"):
        assert not place(tally_of(policy), 0, 0, 0, 0, 1, 1, 2)
