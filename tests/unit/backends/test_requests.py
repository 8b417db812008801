"""Requests of several ranks in one message."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parnwb.backends.requests import REQUEST_COLUMNS, Request, packed, unpacked

LARGE = st.integers(0, 2**40)
ASKED = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5), LARGE, LARGE, LARGE))


@given(ASKED, st.lists(st.integers(0, 9)))
def test_what_is_packed_is_unpacked(asked: list[tuple[int, ...]], ended: list[int]) -> None:
    rng = np.random.default_rng(0)
    requests = [Request(rank, rng.integers(0, 2**40, (n, REQUEST_COLUMNS)), *others) for rank, n, *others in asked]
    found, over = unpacked(packed(requests, ended))
    assert over == ended
    assert [(r.rank, r.raw_bytes, r.behind, r.high) for r in found] == [
        (r.rank, r.raw_bytes, r.behind, r.high) for r in requests
    ]
    assert all(np.array_equal(one.rows, other.rows) for one, other in zip(found, requests, strict=True))


def test_who_asks_for_work_is_known_after_the_journey() -> None:
    (found,), _ = unpacked(packed([Request.for_work(3)], []))
    assert found.is_for_work and found.rank == 3 and len(found.rows) == 0
