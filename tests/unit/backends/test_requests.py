"""Requests of several ranks in one message."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parnwb.backends.requests import REQUEST_COLUMNS, Request, packed, unpacked

ASKED = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5), st.integers(0, 2**40)))


@given(ASKED, st.lists(st.integers(0, 9)))
def test_what_is_packed_is_unpacked(asked: list[tuple[int, int, int]], ended: list[int]) -> None:
    rng = np.random.default_rng(0)
    requests = [Request(rank, rng.integers(0, 2**40, (n, REQUEST_COLUMNS)), raw) for rank, n, raw in asked]
    found, over = unpacked(packed(requests, ended))
    assert over == ended
    assert [(r.rank, r.raw_bytes) for r in found] == [(r.rank, r.raw_bytes) for r in requests]
    assert all(np.array_equal(one.rows, other.rows) for one, other in zip(found, requests, strict=True))
