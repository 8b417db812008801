"""Programs that go wrong with plain pynwb on several ranks. Each is run twice, one line changed: ``Place.open``.

With parnwb they are faults as any other, or no faults at all; ``PLAIN`` says what plain pynwb makes of them, with
parallel HDF5 and a communicator, and ``test_plain_pynwb.py`` shows that it does. Those that come to their end look into
the file: where no rank was told of an error, what every rank wrote must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import Asked, session, values
from hdmf.data_utils import DataChunkIterator
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries

CONTROL = "pynwb_all_is_the_same"
HANGS = "hangs"
SERIES = 6


class WrongFile(Exception):
    """No rank was told of an error, and the file does not hold what they wrote."""



@dataclass(frozen=True)
class Plain:
    """What comes of a program in plain pynwb.

    `outcome` is ``HANGS``, or what every rank's exception says; `ranks` is how many it needs.
    """

    outcome: str
    ranks: int = 2

    @property
    def ends(self) -> bool:
        return self.outcome != HANGS


PLAIN: dict[str, Plain] = {}


def _existing(place: Place) -> None:
    """Write, by one process, the file that the ranks open; its dataset waits for values."""
    with NWBHDF5IO(place.path, "w") as io:
        io.write(session(H5DataIO(shape=(10,), dtype=np.dtype("i4"), maxshape=(10,)), name="old"))


def _program(plain: Plain, error: str | None, *says: str, **expected: Any) -> Callable[[Any], Any]:
    """Register a program, with what plain pynwb makes of it and what parnwb does."""

    def register(function: Callable[[Place], None]) -> Callable[[Place], None]:
        PLAIN[f"pynwb_{function.__name__}"] = plain
        return fault(error, *says, name=f"pynwb_{function.__name__}", **{"ranks": SEVERAL, **expected})(function)

    return register


def _adds(place: Place, *series: TimeSeries) -> None:
    with place.open(mode="r+") as io:
        file = io.read()
        for one in series:
            file.add_acquisition(one)
        io.write(file)


def _expect(place: Place, text: str, find: Callable[[h5py.Group], bool]) -> None:
    """Look into the finished file."""
    with h5py.File(place.path, "r") as file:
        found = find(file["acquisition"])
    place.comm.Barrier()
    if not found:
        raise WrongFile(text)


def _are_right(acquisition: h5py.Group) -> bool:
    try:
        return all((acquisition[str(value)]["data"][:] == value).all() for value in range(SERIES))
    except (OSError, KeyError, RuntimeError):  # they cannot even be read
        return False


def _series(name: str = "new", data: Any = None, **keywords: Any) -> TimeSeries:
    data = values() if data is None else data
    return TimeSeries(**{"name": name, "data": data, "unit": "V", "rate": 30.0, **keywords})


DIRECT: dict[str, Any] = {"prepare": _existing, "backends": ("direct",)}


@fault(None, name=CONTROL, leaves=True, changes=True, **DIRECT)
def all_is_the_same(place: Place) -> None:
    """What plain pynwb can do: all ranks add the same series."""
    _adds(place, *_alike())
    _expect(place, "values", _are_right)


def _alike() -> list[TimeSeries]:
    """Some series; were they of different sizes, creating them in different orders would hang."""
    return [_series(str(value), np.full(1000, value, "i4")) for value in range(SERIES)]


@_program(Plain("Parallel IO does not support writing VL"), None, leaves=True)
def all_ranks_write(place: Place) -> None:
    """The NWBFile has no data at all."""
    place.write(NWBFile("an empty one", "id", session().session_start_time))


CHANGED = "values of the existing file must be changed in the same way"


@_program(Plain(HANGS), "AgreementError", CHANGED, "rank 0", "io.extend", leaves=True, backends=("direct",))
def one_rank_writes_and_all_open(place: Place) -> None:
    """What pynwb's tutorial on parallel I/O prints: nobody waits for the rank that writes."""
    if place.rank == 0:
        _existing(place)
    with place.open(mode="a") as io:
        io.read().acquisition["old"].data[place.rank] = place.rank + 1


@_program(Plain("all but one are lost"), "AgreementError", "/new/", "rank 0 has", **DIRECT)
def each_rank_adds_its_own_series(place: Place) -> None:
    _adds(place, _series(data=np.full(100_000, place.rank, "i4"), rate=1.0 + place.rank))
    _expect(place, "all but one are lost", lambda acquisition: len(acquisition) == 1 + place.size)


@_program(Plain("another rank's word"), "AgreementError", "/new@description", "rank 0 has 'by rank 0'", **DIRECT)
def attributes_differ(place: Place) -> None:
    _adds(place, _series(description=f"by rank {place.rank}"))
    words = {f"by rank {rank}" for rank in range(place.size)}
    _expect(place, "another rank's word", lambda acquisition: words == {acquisition["new"].attrs["description"]})


@_program(Plain(HANGS), "AgreementError", "/new@description", "rank 0 has ", **DIRECT)
def attributes_differ_in_length(place: Place) -> None:
    _adds(place, _series(description="by rank" + place.rank * " and so on" * 1000))


@_program(Plain(HANGS), "AgreementError", "/new/data", r"rank 0 has .*\(100, 8\)", **DIRECT)
def shapes_differ(place: Place) -> None:
    _adds(place, _series(data=values((100 * (1 + 50 * place.rank), 8))))


@_program(Plain("of other series"), None, leaves=True, changes=True, ranks=(3,), **DIRECT)
def order_differs(place: Place) -> None:
    """A file may be right by luck, if all that survives comes from one rank; not several in turn."""
    for _ in range(6):
        series = _alike() if place.rank == 0 else _alike()[::-1]
        if place.rank == 0:
            _existing(place)
        place.comm.Barrier()
        _adds(place, *series)
        _expect(place, "of other series", _are_right)


@_program(Plain(HANGS), "SourceError|ValueError", "the disk is gone", **DIRECT)
def an_iterator_raises(place: Place) -> None:
    def spoil(calls: int, data: Any) -> Any:
        if place.rank == place.last and calls > 1:
            raise ValueError("the disk is gone")
        return data

    _adds(place, _series(data=Asked(spoil)))


@_program(Plain(HANGS, ranks=4), None, leaves=True, changes=True, **DIRECT)  # the root's rows are written
def streams_differ_in_length(place: Place) -> None:
    def rows() -> Iterator[Any]:
        yield from values((10 + 10 * place.rank, 8))

    _adds(place, _series(data=DataChunkIterator(rows(), maxshape=(None, 8), dtype=np.dtype("i2"), buffer_size=10)))


@_program(Plain("of one are lost"), "AgreementError", CHANGED, "rank 0", **DIRECT)
def selections_overlap(place: Place) -> None:
    begin, own = place.rank, place.rank + 1
    with place.open(mode="r+") as io:
        io.read().acquisition["old"].data[begin : begin + 6] = own

    def are_all_there(acquisition: h5py.Group) -> bool:
        written = acquisition["old/data"][:].tolist()
        return all(written.count(rank + 1) == 6 for rank in range(place.size))

    _expect(place, "of one are lost", are_all_there)
