"""What is told of each dataset, and when a commit is due because a turn has ended."""

from __future__ import annotations

import numpy as np

from parnwb.backends.tally import Tally
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.plan import WritePlan
from parnwb.planning.write_queue import write_queue

LAYOUT = FileLayout(tuple(DatasetSpec(f"/{n}", (k,), (k,), "|u1", (1,)) for n, k in zip("abc", (4, 2, 1), strict=True)))


def tally_of(policy: object, **settings: object) -> Tally:
    return Tally(WritePlan(LAYOUT, 2, queue=write_queue(policy, LAYOUT), **settings))


def place(tally: Tally, *datasets: int) -> bool:
    tally.add(np.array(datasets, dtype=np.int64), np.ones(len(datasets), dtype=np.int64))
    return tally.reached_milestone


def told(tally: Tally) -> str:
    return str(tally.state(waiting=0))


def test_it_tells_how_far_a_dataset_is():
    tally = tally_of("file")
    assert told(tally) == "" and [extent.share for extent in tally.state(0).extents] == [0, 0, 0]
    place(tally, 0, 0, 0, 2)
    assert told(tally) == "/a 75 %, 1 of 3 datasets complete"
    place(tally, 1, 1, 0)
    assert told(tally) == "/b 100 %, 3 of 3 datasets complete"
    assert str(tally.state(waiting=2)).endswith("complete, 2 rank(s) wait")


def test_it_tells_once_which_datasets_are_complete_and_what_they_take():
    tally = tally_of("file")
    sizes = np.array([10, 20, 5], dtype=np.int64)
    assert tally.add(np.array([1, 1, 0]), sizes) == [1]
    assert tally.add(np.array([0, 2, 0]), sizes) == [2]
    done = tally.done("/out.nwb", 1)
    assert (done.path, done.dataset, done.raw_bytes, done.stored_bytes) == ("/out.nwb", "/b", 2, 30)
    assert tally.add(np.array([], dtype=np.int64), np.array([], dtype=np.int64)) == []


def test_what_an_earlier_attempt_did_counts():
    tally = tally_of("file", done={0: np.array([True, True, False, True])})
    place(tally, 1)
    assert told(tally) == "/b 50 %, 0 of 3 datasets complete"
    assert tally.state(0).extents[0].share == 0.75


def test_what_grows_has_no_share_and_is_not_counted():
    grows = FileLayout((*LAYOUT, DatasetSpec("/d", (0,), (None,), "|u1", (1,))))
    tally = Tally(WritePlan(grows, 2))
    place(tally, 3, 3, 2)
    assert told(tally) == "/d, 1 of 3 datasets complete"


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
