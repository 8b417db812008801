"""What the root sends to ranks without an NWBFile: by pickle, and never much. One process is both here."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from parnwb.comm import Ranks
from parnwb.hyperslab import Hyperslab
from parnwb.sources import Source, as_source
from parnwb.sources.array import MAX_PICKLED_BYTES
from parnwb.sources.listed import ListSource
from parnwb.sources.sending import MAX_SENT_BYTES, Received, receive_sources


def received(own: dict[str, Source]) -> dict[str, Source]:
    """Return what a rank gets that has no sources of its own."""
    return receive_sources(Ranks(), own, have_own=False).sources


def zeros(nbytes: int) -> Source:
    return as_source(np.broadcast_to(np.int8(0), (nbytes,)))


def test_arrays_within_the_limits_arrive() -> None:
    own = {f"/{number}": as_source(np.full(100, number)) for number in range(3)}
    found = received(own)
    assert sorted(found) == sorted(own)
    for path, source in found.items():
        assert source is not own[path]
        assert np.array_equal(source.read(Hyperslab((0,), (100,))), np.full(100, int(path[1:])))


def test_the_largest_array_may_still_be_sent() -> None:
    assert received({"/one": zeros(MAX_PICKLED_BYTES)})["/one"].shape == (MAX_PICKLED_BYTES,)


def test_what_is_too_much_stays_with_the_root() -> None:
    own = {f"/{number}": zeros(MAX_PICKLED_BYTES // 2) for number in range(9)} | {"/large": zeros(2 * MAX_SENT_BYTES)}
    with pytest.warns(UserWarning, match="rank 0 alone writes /3, .*/large: the other ranks have no NWBFile"):
        found = receive_sources(Ranks(), own, have_own=False)
    assert found.kept == {"/3", "/4", "/5", "/6", "/7", "/8", "/large"}
    assert set(found.sources) == {"/0", "/1", "/2"}


def test_lists_count_as_the_arrays_that_they_travel_as() -> None:
    numbers = ListSource([1, 2, 3], (3,), np.dtype("i2"))
    too_many = ListSource([], (MAX_PICKLED_BYTES // 8 + 1,), np.dtype("f8"))
    with pytest.warns(UserWarning, match="rank 0 alone writes /many"):
        found = receive_sources(Ranks(), {"/few": numbers, "/many": too_many}, have_own=False)
    assert found.kept == {"/many"}
    assert found.sources["/few"].read(Hyperslab((1,), (2,))).tolist() == [2, 3]


def test_files_of_any_size_are_sent_as_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with open(path, "wb") as file:
        file.truncate(4 * MAX_SENT_BYTES)
    own = {f"/{n}": as_source(np.memmap(path, "i1", "r")) for n in range(3)}
    assert sum(len(pickle.dumps(source)) for source in own.values()) < 10_000
    assert received(own)["/2"].shape == (4 * MAX_SENT_BYTES,)


def test_who_has_all_needs_nothing() -> None:
    own = {"/large": zeros(2 * MAX_SENT_BYTES)}
    assert receive_sources(Ranks(), own, have_own=True) == Received(own)
