"""Pickles of stores: what hdmf-zarr has written is read, all else is refused before anything is made of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")

from hdmf_zarr.utils import ZarrReference
from numcodecs.pickles import Pickle

from parnwb.stores.references import known_pickles

REFERENCES = [ZarrReference(source=".", path=f"/{name}", object_id=name, source_object_id="s") for name in "abcd"]
ROWS = [("idx_start", "<i4"), ("count", ">i4"), ("timeseries", "O")]
FINE: dict[str, Any] = {
    "references": np.array(REFERENCES, dtype=object),
    "plain": np.array(["text", b"bytes", 1, 2.5, True, None, -(10**30)], dtype=object),
    "scalars": np.array([np.str_("text"), np.int16(-3), np.float64(2.5), np.bool_(True), np.bytes_(b"a")], object),
    "cube": np.array([*"abcdefghijkl"], dtype=object).reshape(2, 3, 2),
    "other order": np.asfortranarray(np.array([*"abcdef"], dtype=object).reshape(2, 3)),
    "rows": np.array([(n, -n, one) for n, one in enumerate(REFERENCES)], dtype=ROWS),
    "none": np.array([], dtype=object),
}


def decoded(pickled: bytes, out: Any = None) -> Any:
    with known_pickles():
        return Pickle().decode(pickled, out)


@pytest.mark.parametrize("name", FINE)
def test_what_was_pickled_comes_back(name: str) -> None:
    expected = FINE[name]
    for values in (decoded(Pickle().encode(expected)), decoded(Pickle().encode(expected), np.empty_like(expected))):
        assert values.dtype == expected.dtype and values.shape == expected.shape
        assert values.tolist() == expected.tolist()
        assert [type(item) for item in values.ravel().tolist()] == [type(item) for item in expected.ravel().tolist()]


@pytest.mark.parametrize("value", [0, np.zeros((), ROWS)[()]], ids=["number", "row"])
def test_what_stands_for_no_value_comes_back(value: Any) -> None:
    found = decoded(Pickle().encode(value))
    assert np.array(found, dtype=ROWS)[()] == np.array(value, dtype=ROWS)[()]


class Made:
    """Pickles as a call with arguments, and a state."""

    def __init__(self, *how: Any) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return self.how


multiarray = np.ndarray.__reduce__(np.zeros(1))[0].__module__
RECONSTRUCT, SCALAR = np.ndarray.__reduce__(np.zeros(1))[0], np.int8(1).__reduce__()[0]
FLAGLESS = (np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0))
BYTES = b"\x41" * 16


def array(*state: Any) -> Made:
    return Made(RECONSTRUCT, (np.ndarray, (0,), b"b"), state)


KIND = np.dtype(object)
BAD: dict[str, Any] = {
    "bytes as objects": array(1, (2,), Made(*FLAGLESS), False, BYTES),
    "no array": REFERENCES[0],
    "numbers": np.arange(3),
    "an array in an array": array(1, (1,), KIND, False, [np.arange(3)]),
    "a list": array(1, (1,), KIND, False, [[1]]),
    "too few": array(1, (2,), KIND, False, ["a"]),
    "very many": array(1, (10**12,), KIND, False, ["a"]),
    "a negative extent": array(1, (-1, -1), KIND, False, ["a"]),
    "a scalar of an object": array(1, (1,), KIND, False, [Made(SCALAR, (KIND, BYTES[:8]))]),
    "a scalar cut off": array(1, (1,), KIND, False, [Made(SCALAR, (np.dtype("i4"), b"a"))]),
    "a reference of numbers": array(1, (1,), KIND, False, [dict.__new__(ZarrReference)]),
    "rows cut off": array(1, (1,), np.dtype(ROWS), False, [(1, 2)]),
    "fields over each other": array(
        1, (1,), np.dtype({"names": ["a", "b"], "formats": ["O", "O"], "offsets": [0, 16]}), False, [("a", "b")]
    ),
    "a changed class": Made(RECONSTRUCT, (np.ndarray, (0,), b"b"), (None, {"__class__": 1})),
}
BAD["a reference of numbers"].how[2][4][0]["path"] = 3


@pytest.mark.parametrize("name", BAD)
def test_all_else_is_refused(name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="a store holds arrays and references"):
        decoded(pickle.dumps(BAD[name], protocol=5))


def test_a_pickle_changes_no_class() -> None:
    state = (None, {"path": "changed"})
    pickled = pickle.dumps(ZarrReference, protocol=5)[:-1] + pickle.dumps(state, protocol=5)[2:-1] + b"b."
    with pytest.raises(pickle.UnpicklingError):
        decoded(pickled)
    assert REFERENCES[0].path == "/a" and "path" in REFERENCES[0]


def test_bytes_are_never_taken_for_objects() -> None:
    """In a process of its own: what fails here ends it."""
    body = f"""
import sys
from numcodecs.pickles import Pickle
from parnwb.stores.references import known_pickles
with known_pickles():
    try:
        print(Pickle().decode(bytes.fromhex({pickle.dumps(BAD["bytes as objects"], protocol=5).hex()!r})))
    except Exception as error:
        sys.exit(f"refused: {{error}}")
"""
    done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.startswith("refused: a store holds arrays"), done


def test_contexts_may_overlap() -> None:
    """In any order, as those of two threads do."""
    original, pickled = Pickle.decode, Pickle().encode(FINE["references"])
    first, second = known_pickles(), known_pickles()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert Pickle().decode(pickled).tolist() == REFERENCES
    second.__exit__(None, None, None)
    assert Pickle.decode is original
    with known_pickles(), known_pickles():
        pass
    assert Pickle.decode is original
