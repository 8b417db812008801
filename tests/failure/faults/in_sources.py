"""Faults of sources: what they do on one rank only, midway."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import CHUNK, Asked, session, values
from pynwb import H5DataIO

from parnwb.backends.own_part import OwnPart

PATH = r"/acquisition/probe/data\[\d+:\d+, 0:8\]"
MIDWAY = 1  # the first buffer is good


def _raise(error: BaseException) -> Callable[[Any], Any]:
    def spoil(data: Any) -> Any:
        raise error

    return spoil


SPOILS: dict[str, tuple[Callable[[Any], Any], str, tuple[str, ...]]] = {
    "raises": (_raise(ValueError("the disk is gone")), "SourceError", ("ValueError: the disk is gone",)),
    "raises_stop": (_raise(StopIteration()), "SourceError", ("StopIteration",)),
    "raises_memory_error": (_raise(MemoryError("12 GB")), "SourceError", ("MemoryError: 12 GB",)),
    "wrong_shape": (lambda data: data[:, :3], "SourceError", (r"asked \(\d+, 8\), got \(\d+, 3\)",)),
    "wrong_rank": (lambda data: data.ravel(), "SourceError", (r"asked \(\d+, 8\), got \(\d+,\)",)),
    "too_few_rows": (lambda data: data[:-1], "SourceError", (r"asked \(\d+, 8\), got \(\d+, 8\)",)),
    "no_rows": (lambda data: data[:0], "SourceError", (r"got \(0, 8\)",)),
    "wrong_dtype": (lambda data: data.astype("f4"), "SourceError", ("announced int16", "got float32")),
    "objects": (lambda data: data.astype(object), "SourceError", ("announced int16", "got object")),
    "nothing": (lambda data: None, "SourceError", (r"asked \(\d+, 8\)",)),
}


def _spoiled(place: Place, who: int, spoil: Callable[[Any], Any], **settings: Any) -> None:
    def midway(calls: int, data: Any) -> Any:
        return spoil(data) if place.rank == who % place.size and calls > MIDWAY else data

    place.write(session(H5DataIO(Asked(midway), chunks=CHUNK, **settings)))


def _register(kind: str, where: str, who: int, filters: str, settings: dict[str, Any]) -> None:
    spoil, error, says = SPOILS[kind]

    @fault(error, *says, PATH, name=f"source_{kind}_on_{where}{filters}", ranks=(1, 2, 3, 4) if who else (2, 3, 4))
    def run(place: Place) -> None:
        _spoiled(place, who, spoil, **settings)


for _kind in SPOILS:
    for _where, _who in {"last": -1, "root": 0}.items():
        _register(_kind, _where, _who, "", {})
        if _kind in ("raises", "wrong_dtype"):
            _register(_kind, _where, _who, "_gzip", {"compression": "gzip", "shuffle": True})


@fault("SourceError", PATH, "on every rank|ValueError")
def source_raises_on_every_rank(place: Place) -> None:
    def spoil(calls: int, data: Any) -> Any:
        raise ValueError("on every rank")

    place.write(session(H5DataIO(Asked(spoil), chunks=CHUNK)))


def _first_buffer(where: str, who: int) -> None:
    @fault("SourceError", PATH, "at once", name=f"source_raises_at_once_on_{where}")
    def run(place: Place) -> None:
        def spoil(calls: int, data: Any) -> Any:
            if place.rank == who % place.size:
                raise ValueError("at once")
            return data

        place.write(session(H5DataIO(Asked(spoil), chunks=CHUNK)))


_first_buffer("root", 0)
_first_buffer("last", -1)


def _exits(where: str, who: int, filters: str, settings: dict[str, Any]) -> None:
    @fault("SourceError|RemoteError|SystemExit", name=f"source_exits_on_{where}{filters}", own_text=True)
    def run(place: Place) -> None:
        _spoiled(place, who, _raise(SystemExit(0)), **settings)


for _where, _who in {"last": -1, "root": 0}.items():
    _exits(_where, _who, "", {})
    _exits(_where, _who, "_gzip", {"compression": "gzip"})


class _While:
    """A progress display that lets something happen when the writing begins."""

    def __init__(self, happens: Callable[[], None], *, midway: bool = False) -> None:
        self.happens, self.midway = happens, midway

    def start(self, label: str, total: int) -> None:
        if not self.midway:
            self.happens()

    def advance(self, raw: int, stored: int) -> None:
        if self.midway:
            self.midway = False
            self.happens()

    def finish(self) -> None:
        pass


@fault("SourceError", "/acquisition/probe/data", r"raw\.bin", "whole array|must not shrink")
def mapped_file_is_truncated_midway(place: Place) -> None:
    import os

    raw = place.folder.parent / f"{place.folder.name}_raw.bin"
    if place.rank == 0:
        values().tofile(raw)
    place.comm.Barrier()
    mapped = np.memmap(raw, dtype="i2", mode="r", shape=(4000, 8))
    happens = _While(lambda: os.truncate(raw, 40_000))
    place.write(session(H5DataIO(mapped, chunks=CHUNK)), progress=happens)


@fault("TargetError|StorageError", r"out\.nwb", "exists|appeared", leaves=True, clean=False)
def final_name_appears_meanwhile(place: Place) -> None:
    place.write(session(), progress=_While(lambda: place.path.write_bytes(b"somebody else's only copy")))


@fault("ParnwbError|StorageError|TargetError", r"out\.nwb\.partial", clean=False, backends=("direct",))
def partial_file_is_replaced_meanwhile(place: Place) -> None:
    """As a second job with the same output does."""

    def replace() -> None:
        partial = place.path.with_name(place.path.name + ".partial")
        partial.unlink()
        partial.write_bytes(b"")

    place.write(session(), progress=_While(replace, midway=True))


@fault(None, leaves=True)
def same_file_again_after_a_failure(place: Place) -> None:
    fails = [True]

    def spoil(calls: int, data: Any) -> Any:
        if fails and place.rank == place.last:
            raise ValueError("this once")
        return data

    nwbfile = session(H5DataIO(Asked(spoil), chunks=CHUNK))
    try:
        place.write(nwbfile)
    except Exception:
        fails.clear()
    place.comm.Barrier()
    place.write(nwbfile)
    if place.rank == 0:
        import h5py

        with h5py.File(place.path) as file:
            assert (file["acquisition/probe/data"][:] == values()).all()


def _raises_in_verify(where: str, who: int) -> None:
    @fault("SourceError", PATH, "in verify", name=f"verify_source_raises_on_{where}", backends=("direct",), leaves=True)
    def run(place: Place) -> None:
        from parnwb.authoring.bulk_rule import BulkRule
        from parnwb.verification import verify

        def spoil(calls: int, data: Any) -> Any:
            if place.rank == who % place.size:
                raise ValueError("in verify")
            return data

        place.write(session())
        against = session(H5DataIO(Asked(spoil), chunks=CHUNK))
        verify(place.path, against=against, comm=place.comm, rule=BulkRule(threshold=1024), buffer_mb=0.01)


_raises_in_verify("root", 0)
_raises_in_verify("last", -1)


# -- a rank that fails where it reads nothing ------------------------------------------------------------------


def _without_room(what: str) -> None:
    @fault("MemoryError", "no room here", name=f"no_room_in_{what.strip('_')}", backends=("mpio",), ranks=SEVERAL)
    def run(place: Place) -> None:
        def fail(*_: Any) -> None:
            raise MemoryError("no room here")

        is_last = place.rank == place.last
        with patch.object(OwnPart, what, fail) if is_last else nullcontext():
            place.write(session())


_without_room("__init__")
_without_room("settle")
