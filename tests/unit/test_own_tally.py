"""How far datasets are, guessed from one rank's part."""

from __future__ import annotations

import numpy as np

from parnwb.layout import DatasetSpec, FileLayout
from parnwb.own_tally import OwnTally
from parnwb.planning.plan import WritePlan

LAYOUT = FileLayout(
    tuple(DatasetSpec(f"/{n}", (k,), (None,), "|u1", (1,)) for n, k in zip("abc", (4, 2, 0), strict=True))
)


def shares(tally: OwnTally) -> list[float | None]:
    return [extent.share for extent in tally.state().extents]


def test_guesses_give_way_to_what_is_known():
    tally = OwnTally(WritePlan(LAYOUT, 2))
    tally.guess(0, 2)
    assert shares(tally) == [0.5, 0, None]
    tally.guess(0, 100)
    assert shares(tally)[0] == 0.99, "the others may have something left"
    assert not tally.settle(0, 1)
    assert shares(tally)[0] == 0.25
    assert tally.settle(0, 3)
    assert shares(tally)[0] == 1 and str(tally.state()) == "/a 100 %, 1 of 2 datasets complete"
    assert tally.done("/out.nwb", 0).raw_bytes == 4


def test_what_was_there_is_complete_and_what_grows_never_is():
    tally = OwnTally(WritePlan(LAYOUT, 2, done={1: np.array([True, True])}))
    assert shares(tally) == [0, 1.0, None]
    tally.guess(2, 5)
    assert not tally.settle(2, 5)
    assert shares(tally)[2] is None
