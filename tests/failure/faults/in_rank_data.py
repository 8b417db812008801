"""Faults in data of ranks and in streams: what is no array, no rows, no stream, on one rank; one message on all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import session
from hdmf.common import ElementIdentifiers, VectorData, VectorIndex
from pynwb.misc import Units

from parnwb import Distributed, DistributedRagged, Owned, Stream

ROWS = np.zeros(3)


class Broken:
    """What raises when numpy asks for its values."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no values today")


def _refused(name: str, error: str, *says: str, good: Any, bad: Any, make: Callable[[Place, Any], object]) -> None:
    @fault(error, *says, name=f"refused_{name}", ranks=SEVERAL)
    def run(place: Place) -> None:
        make(place, bad() if place.rank == place.last else good)


def _local(name: str, bad: Any, *says: str, error: str = "ParnwbError|SourceError") -> None:
    _refused(f"distributed_{name}", error, *says, good=ROWS, bad=bad, make=lambda p, it: Distributed(it, comm=p.comm))


_local("none", lambda: None, "at least one axis, got None", "empty array")
_local("text", lambda: "abc", "at least one axis, got 'abc'")
_local("mapping", lambda: {1: 2}, "got an object of type dict")
_local("generator", lambda: (n for n in range(3)), "got an object of type generator")
_local("uneven_rows", lambda: [[1, 2], [3]], "must be an array: ValueError", "one array of this rank's values")
_local("broken", Broken, "must be an array: RuntimeError: no values today")


def _index(name: str, bad: Any, *says: str, error: str = "ParnwbError|SourceError|AgreementError") -> None:
    def make(place: Place, index: Any) -> None:
        Distributed(ROWS, index=[3 * place.rank + n for n in range(3)] if index is None else index, comm=place.comm)

    _refused(f"index_{name}", error, *says, good=None, bad=bad, make=make)


_index("text", lambda: "abc", "index must have one whole number for each of 3")
_index("uneven", lambda: [[1], [2, 3], [4]], "index must be an array")
_index("too_large", lambda: np.full(3, 2**64 - 1, "u8"), "index must be a position, got 18446744073709551615")
_index("negative", lambda: [-1, -2, -3], "index must be 0 to", "has -")


def _rows(name: str, bad: Any, *says: str, depth: int = 1) -> None:
    good = [ROWS] if depth == 1 else [[ROWS]]
    _refused(
        f"ragged_{name}", "ParnwbError|SourceError", *says, good=good, bad=bad,
        make=lambda place, rows: DistributedRagged(rows, depth=depth, comm=place.comm),
    )  # fmt: skip


_rows("generator", lambda: (row for row in [ROWS]), "a list of rows, got an object of type generator", r"list\(rows")
_rows("none", lambda: None, "takes a list of rows, got None")
_rows("number", lambda: 3, "takes a list of rows, got 3")
_rows("text", lambda: "abc", "takes a list of rows, got 'abc'")
_rows("mapping", lambda: {0: ROWS}, "takes a list of rows, got an object of type dict")
_rows("array_without_axes", lambda: np.array(1.0), "takes a list of rows, got an object of type ndarray")
_rows("row_of_none", lambda: [None], "a row takes arrays of at least one axis, got None")
_rows("row_of_uneven_rows", lambda: [[[1], [2, 3]]], "a row must be an array")
_rows("broken", lambda: [Broken()], "a row must be an array: RuntimeError: no values today")
_rows("flat_rows", lambda: [ROWS], "with depth 2 rows must be lists of arrays", depth=2)
_rows("rows_of_generators", lambda: [(ROWS for _ in range(2))], "with depth 2 rows must be lists", depth=2)


def _owned(name: str, *says: str, **bad: Any) -> None:
    def make(place: Place, given: dict[str, Any]) -> None:
        keywords = {"block": ROWS, "start": 3 * place.rank, "shape": (3 * place.size,), **given}
        Owned(keywords.pop("block"), keywords.pop("start"), comm=place.comm, **keywords)

    _refused(f"owned_{name}", "ParnwbError|SourceError", *says, good={}, bad=lambda: bad, make=make)


_owned("one_start_for_a_list", "one start for each block, got 0 for 1", block=[ROWS], start=0)
_owned("tuple_of_blocks", "start must have one whole number", block=(ROWS, ROWS), start=[(0,), (3,)])
_owned("uneven_start", "start must have one whole number", start=[[0], [1, 2]])
_owned("text_for_a_shape", "shape must have one whole number from 0 on", shape="abc")
_owned("number_for_a_shape", "shape must have one whole number from 0 on", shape=9)
_owned("negative_shape", "shape must have one whole number from 0 on", shape=(-9,))
_owned("fraction_of_a_shape", "shape must have one whole number from 0 on", shape=(9.5,))


def _appended(name: str, error: str, *says: str, call: Callable[[Any, Any], None]) -> None:
    @fault(error, *says, name=f"refused_append_of_{name}", ranks=SEVERAL)
    def run(place: Place) -> None:
        stream = Stream("f8")
        with place.open() as io:
            io.write(session(stream))
            if place.rank == place.last:
                call(io, stream)
            else:
                io.append_together({stream: ROWS})


_appended("a_list_of_pairs", "ParnwbError", "takes a mapping of streams to rows, got list", "append_together",
          call=lambda io, stream: io.append_together([(stream, ROWS)]))  # fmt: skip
_appended("nothing", "ParnwbError", "takes a mapping of streams to rows, got NoneType",
          call=lambda io, stream: io.append_together(None))  # fmt: skip
_appended("no_streams", "AgreementError", "same stream: rank 0 appends to /acquisition/probe/data, rank 2 to none",
          call=lambda io, stream: io.append_together({}))  # fmt: skip
_appended("rows_to_an_array", "ParnwbError", "an object of type ndarray is no stream of this file",
          call=lambda io, stream: io.append(ROWS, ROWS))  # fmt: skip
_appended("none", "SourceError", r"must have the shape \(rows\), got an object of type NoneType", "without rows where",
          call=lambda io, stream: io.append(stream, None))  # fmt: skip
_appended("what_is_broken", "SourceError", "a block must be an array: RuntimeError: no values today",
          call=lambda io, stream: io.append(stream, Broken()))  # fmt: skip
_appended("numbers_that_a_float_has_not", "SourceError", r"9007199254740993 \(int64\) at \(1,\) is none of float64",
          call=lambda io, stream: io.append(stream, np.array([1, 2**53 + 1])))  # fmt: skip


@fault(
    "ParnwbError", "row for each id, got {'id': 1, 'spike_times': 2}", "/units", "out.nwb.partial", "missing",
    ranks=SEVERAL, clean=False,
)  # fmt: skip
def streams_of_a_table_end_at_different_rows(place: Place) -> None:
    values, ends, ids = Stream("f8"), Stream("u4"), Stream("i8")
    data = VectorData(name="spike_times", description="s", data=values)
    index = VectorIndex(name="spike_times_index", data=ends, target=data)
    file = session()
    file.units = Units(
        name="units", description="u", id=ElementIdentifiers(name="id", data=ids), columns=[index, data]
    )
    is_root = place.rank == 0
    with place.open() as io:
        io.write(file)
        io.append_together({values: ROWS, ends: [3, 3 * place.size] if is_root else [], ids: [0] if is_root else []})
