"""Faults of appending. Whatever happens, the file is as it was, to the last byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import Asked, session, values
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries


def existing(place: Place) -> None:
    """Write the file that is appended to."""
    with NWBHDF5IO(place.path, "w") as io:
        io.write(session(name="old"))


def add(file: NWBFile, data: Any = None, **keywords: Any) -> None:
    data = H5DataIO(values(), chunks=(100, 8), compression="gzip") if data is None else data
    file.add_acquisition(TimeSeries(**{"name": "new", "data": data, "unit": "V", "rate": 30.0, **keywords}))


def append(place: Place, change: Callable[[NWBFile], None] = add, **keywords: Any) -> None:
    with place.open(mode="a", **keywords) as io:
        file = io.read()
        change(file)
        io.write(file)


def _not_to_be_opened(name: str, make: Callable[[Path], object], *says: str) -> None:
    @fault("TargetError", *says, r"out\.nwb", name=f"append_to_{name}", prepare=lambda place: make(place.path))
    def run(place: Place) -> None:
        append(place, backend="auto")


def _pages(path: Path, **keywords: Any) -> None:
    with h5py.File(path, "w", **keywords) as file:
        file.create_group("acquisition")


def _cut(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = values()
    os.truncate(path, path.stat().st_size // 2)


_not_to_be_opened("text", lambda path: path.write_text("Dear sirs"), "HDF5 cannot open", "signature")
_not_to_be_opened("nothing", lambda path: path.touch(), "pynwb cannot read", "version")
_not_to_be_opened("half_a_file", _cut, "HDF5 cannot open", "truncated")
_not_to_be_opened("folder", lambda path: path.mkdir(), "must be a file, not a folder", "Add a file name")
_not_to_be_opened("hdf5", lambda path: _pages(path), "pynwb cannot read", "version")
_not_to_be_opened(
    "free_space", lambda path: _pages(path, fs_strategy="fsm", fs_persist=True), "list of free space", "h5repack"
)


@fault("TargetError", "open elsewhere", r"out\.nwb", "Close it there", prepare=existing)
def append_while_it_is_read(place: Place) -> None:
    file = h5py.File(place.path, "r") if place.rank == 0 else None
    try:
        append(place, backend="auto")
    finally:
        if file is not None:
            file.close()


@fault("ParnwbError", "'mpio' cannot append", "backend='direct'", prepare=existing, backends=("mpio",))
def append_by_mpio(place: Place) -> None:
    append(place)


@fault("ParnwbError", "only an existing file", "NWBHDF5IO", backends=("direct",))
def read_a_new_file(place: Place) -> None:
    with place.open() as io:
        io.read()


@fault("ParnwbError", "write takes the NWBFile that read returned", prepare=existing, backends=("direct",))
def append_another_nwbfile(place: Place) -> None:
    with place.open(mode="r+") as io:
        io.read()
        io.write(session())


@fault("AgreementError", "same collective calls", "'read'", "'write'", prepare=existing, ranks=SEVERAL, backends=("direct",))  # fmt: skip  # noqa: E501
def read_on_all_ranks_but_one(place: Place) -> None:
    with place.open(mode="r+") as io:
        io.write(None if place.rank == place.last else io.read())


@fault("AgreementError", "same collective calls", "'extend'", "'close'", prepare=existing, ranks=SEVERAL, backends=("direct",))  # fmt: skip  # noqa: E501
def close_where_others_extend(place: Place) -> None:
    with place.open(mode="r+") as io:
        if place.rank != place.last:
            io.extend("/acquisition/old/data", values())


@fault("AgreementError", "new/data", "rank 0 has", prepare=existing, ranks=SEVERAL, backends=("direct",))
def append_other_data_on_one_rank(place: Place) -> None:
    append(place, lambda file: add(file, values((90 - (place.rank == place.last), 8))))


@fault("AgreementError", "rank 0 has nothing", prepare=existing, ranks=SEVERAL, backends=("direct",))
def append_more_on_one_rank(place: Place) -> None:
    def change(file: NWBFile) -> None:
        add(file)
        if place.rank == place.last:
            add(file, name="more")

    append(place, change)


def _assigns(name: str, *, everywhere: bool, calls_write: bool) -> None:
    """Values that a program assigns to a dataset of the file reach it, whether ``write`` is called or not."""
    way: dict[str, Any] = {"ranks": SEVERAL, "backends": ("direct",), "leaves": True, "changes": True}

    @fault(None, name=f"assign_{name}", prepare=existing, **way)
    def run(place: Place) -> None:
        with place.open(mode="r+") as io:
            file = io.read()
            if everywhere or place.rank == 0:
                file.acquisition["old"].data[7] = 77
            if calls_write:
                io.write(file)
        with h5py.File(place.path, "r") as file:
            assert (file["acquisition/old/data"][7] == 77).all()


_assigns("the_same_on_all_ranks", everywhere=True, calls_write=False)
_assigns("on_the_root", everywhere=False, calls_write=False)
_assigns("on_the_root_and_write", everywhere=False, calls_write=True)


@fault("AgreementError", "values of the existing file", "rank 0 none", prepare=existing, ranks=SEVERAL, backends=("direct",))  # fmt: skip  # noqa: E501
def assign_on_the_last_rank_only(place: Place) -> None:
    with place.open(mode="r+") as io:
        file = io.read()
        if place.rank == place.last:
            file.acquisition["old"].data[7] = 77


@fault("LayoutError", "chunks", "new/data", prepare=existing, backends=("direct",))
def append_what_hdf5_refuses(place: Place) -> None:
    append(place, lambda file: add(file, H5DataIO(values(), chunks=(100, 9), compression="gzip")))


@fault("SourceError|ValueError", "a later read", prepare=existing, backends=("direct",))
def append_from_a_source_that_fails(place: Place) -> None:
    def spoil(calls: int, data: Any) -> Any:
        if place.rank == place.last and calls > 1:
            raise ValueError("a later read")
        return data

    append(place, lambda file: add(file, Asked(spoil)))


@fault("RuntimeError", "the user's own words", prepare=existing, backends=("direct",))
def user_raises_after_append(place: Place) -> None:
    with place.open(mode="a") as io:
        file = io.read()
        add(file)
        io.write(file)
        if place.rank == place.last:
            raise RuntimeError("the user's own words")


@fault("ParnwbError", "is closed", backends=("direct",))
def commit_after_close(place: Place) -> None:
    with place.open() as io:
        io.commit()  # nothing has been written
    io.commit()


@fault("TargetError", "replaced or removed", backends=("direct",), leaves=True)
def commit_of_what_is_gone(place: Place) -> None:
    with place.open() as io:
        io.write(session())
        if place.rank == 0:
            os.unlink(f"{place.path}.partial")
            os.unlink(f"{place.path}.partial.journal")
        io.commit()
