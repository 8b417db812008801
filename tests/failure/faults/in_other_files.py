"""Faults in what is kept in several files: values that stay in flat files, and modular storage."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.linking import COLUMNS, ROWS
from failure.faults.material import CHUNK, START, Asked, session, values
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries, get_manager

from parnwb import verify, write_modular
from parnwb.interrupts import SIGNALS

LONG_ROWS = 20_000  # of shorter arrays hdmf makes converted copies
# -- values that stay in flat files; what HDF5 makes of such is in tests/unit/links/test_raw.py ----------------------


def _prepare_flat(place: Place) -> None:
    values((ROWS, COLUMNS + 1), "<i2").tofile(place.folder / "raw.bin")
    np.arange(LONG_ROWS, dtype="f4").tofile(place.folder / "times.bin")


def flat(folder: Path) -> np.memmap[Any, Any]:
    return np.memmap(folder / "raw.bin", "<i2", "r", shape=(ROWS, COLUMNS + 1))


def with_flat_times(folder: Path) -> NWBFile:
    nwbfile = session(name="own")
    times = np.memmap(folder / "times.bin", "f4", "r", shape=(LONG_ROWS,))
    nwbfile.add_acquisition(TimeSeries(name="timed", data=values((LONG_ROWS, 1)), unit="V", timestamps=times))
    return nwbfile


for _name, _content, _says in (
    ("columns", lambda folder: session(flat(folder)[:, :COLUMNS]), "it has 5 columns, the dataset 4.*synchronisation"),
    ("type", with_flat_times, "cannot be converted: the file has float32, the dataset float64"),
    ("filters", lambda folder: session(H5DataIO(flat(folder), compression="gzip")), "asked for are compression"),
    ("chunks", lambda folder: session(H5DataIO(flat(folder), chunks=(50, 5))), "asked for are chunks"),
    ("memory", lambda folder: session(values()), "none of these are in one"),
):

    def _run(place: Place, content: Callable[[Path], NWBFile] = _content) -> None:
        place.write(content(place.folder), no_copy=True)

    fault("LinkError", _says, "--no-copy", name=f"link_flat_{_name}", prepare=_prepare_flat)(_run)


# -- modular storage ------------------------------------------------------------------------------------------------

READ_SECONDS, LONGEST_SECONDS = 0.4, 20.0

def _modular(
    place: Place,
    second: Callable[[], NWBFile],
    first: Callable[[], NWBFile] = lambda: session(name="first"),
    **more: Any,
) -> None:
    """Write two data files, each by a team of its own, and a file of links."""

    def assemble(files: Mapping[str, NWBFile]) -> NWBFile:
        nwbfile = session(name="own")
        for file in files.values():
            for series in file.acquisition.values():
                nwbfile.add_acquisition(series)
        return nwbfile

    parts = {"first.nwb": first, "second.nwb": second}
    write_modular(place.path, parts, assemble, place.comm, **{**place.settings, **more})


@fault("KeyError", "no such device", name="link_modular_team_fails", backends=("direct",))
def modular_team_fails(place: Place) -> None:
    """One of the teams, on its first rank; the other has written its file by then, or is about to."""

    def second() -> NWBFile:
        raise KeyError("no such device")

    _modular(place, second)


@fault("SourceError", "the disk is gone", "second", name="link_modular_source_fails", backends=("direct",))
def modular_source_fails(place: Place) -> None:
    """In the middle of a file, on the ranks that read it."""

    def spoil(call: int, data: Any) -> Any:
        if call > 2:
            raise OSError("the disk is gone")
        return data

    _modular(place, lambda: session(H5DataIO(Asked(spoil), chunks=CHUNK), name="second"))


@fault("KeyError", "no such device", name="modular_failure_is_noticed", ranks=SEVERAL)
def modular_failure_is_noticed(place: Place) -> None:
    """By a team that would be at its file for long: it leaves with a few of its seven or fourteen reads done."""
    begun, calls = place.folder / "begun", []

    def slowly(call: int, data: Any) -> Any:
        if len(data) > CHUNK[0]:  # a buffer; before it, samples are compared
            begun.touch()
            time.sleep(READ_SECONDS)
            calls.append(call)
        return data

    def second() -> NWBFile:
        end = time.monotonic() + LONGEST_SECONDS
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.02)
        raise KeyError("no such device")

    try:
        _modular(place, second, lambda: session(H5DataIO(Asked(slowly), chunks=CHUNK), name="first"))
    finally:
        place.comm.Barrier()
        if place.rank == 0:
            begun.unlink()
        assert len(calls) <= 4, f"{len(calls)} reads after another team had failed"


@fault(
    "TargetError",
    "second.nwb",
    "has appeared while it was written",
    name="link_modular_another_appears",
    backends=("direct",),
    leaves=True,
    clean=False,  # the partial file, which holds all data
)
def modular_another_appears(place: Place) -> None:
    """Another job finishes a data file after this one has found none: it stays, and what this one has made goes."""
    another = place.path.with_name("second.nwb")

    def second() -> NWBFile:
        if place.rank == place.last:
            another.write_text("another job's")
        return session(name="second")

    try:
        _modular(place, second)
    finally:
        place.comm.Barrier()
        assert another.read_text() == "another job's"
        assert not place.path.with_name("first.nwb").exists()


@fault(None, name="link_modular_is_stopped", backends=("direct",), leaves=True)
def modular_is_stopped(place: Place) -> None:
    """A signal that one rank gets ends all of them with 75, even those of other teams; the next job goes on."""
    before = [signal.getsignal(number) for number in SIGNALS]

    def second() -> NWBFile:
        if place.rank == place.last:
            os.kill(os.getpid(), signal.SIGTERM)
        return session(name="second")

    try:
        _modular(place, second)
        raise AssertionError("it went on")
    except SystemExit as stop:
        assert stop.code == 75, stop.code
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
    place.comm.Barrier()
    first = place.path.with_name("first.nwb").stat().st_ino
    place.comm.Barrier()
    _modular(place, lambda: session(name="second"), mode="resume")
    assert place.path.with_name("first.nwb").stat().st_ino == first
    if place.rank == 0:
        with h5py.File(place.path) as file:
            assert np.array_equal(file["/acquisition/second/data"], values())


@fault(None, name="link_modular_mismatch_is_warned_of", backends=("direct",), leaves=True)
def modular_mismatch_is_warned_of(place: Place) -> None:
    """By the file of links, as by any other: corrected timestamps over the data of a data file."""

    def assemble(files: Mapping[str, NWBFile]) -> NWBFile:
        nwbfile, first = session(name="own"), files["first.nwb"].acquisition["first"]
        times = np.arange(len(first.data)) + 5.0
        nwbfile.add_acquisition(TimeSeries(name="corrected", data=first, unit="V", timestamps=times))
        return nwbfile

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        parts = {"first.nwb": lambda: session(name="first")}
        write_modular(place.path, parts, assemble, place.comm, **{**place.settings, "on_mismatch": "warn"})
    told = [str(item.message) for item in warned if "readers will find" in str(item.message)]
    assert bool(told) is (place.rank == 0), told
    if place.rank == 0:
        with h5py.File(place.path) as file:
            assert np.array_equal(file["/acquisition/corrected/data"], values())


@fault(None, name="link_verify_goes_to_the_end", prepare=lambda place: _prepare_chain(place.folder))
def verify_goes_to_the_end(place: Place) -> None:
    """From file to file: damage of a dataset that is linked to from a series which is linked to."""
    verdict = verify(place.folder / "master.nwb", comm=place.comm, validate=False)
    told = [(item.path, item.what) for item in verdict.findings]
    assert verdict.datasets == 1 and verdict.nbytes == ROWS * 8
    assert len(told) == 1 and told[0][0] == "/acquisition/first/data" and "cannot be read" in told[0][1], told


def _prepare_chain(folder: Path) -> None:
    """Write a file that links to a series of another, which links to a dataset with a damaged chunk."""
    with h5py.File(folder / "raw.h5", "w") as file:
        data = file.create_dataset("data", data=np.arange(ROWS), chunks=(100,), compression="gzip")
        data.attrs.update({"unit": "V", "conversion": 1.0, "resolution": -1.0, "offset": 0.0})
        info = data.id.get_chunk_info(2)
    with h5py.File(folder / "raw.h5", "r") as raw, NWBHDF5IO(folder / "part.nwb", "w") as io:
        io.write(session(raw["data"], name="first"), cache_spec=False)
    manager = get_manager()
    with NWBHDF5IO(folder / "part.nwb", "r", manager=manager) as part:
        nwbfile = NWBFile("one", "id", START)
        nwbfile.add_acquisition(part.read().acquisition["first"])
        with NWBHDF5IO(folder / "master.nwb", "w", manager=manager) as io:
            io.write(nwbfile, cache_spec=False)
    with open(folder / "raw.h5", "r+b") as file:
        file.seek(info.byte_offset)
        file.write(b"\xff" * info.size)


@fault(None, name="link_modular_is_written", backends=("direct",), leaves=True)
def modular_is_written(place: Place) -> None:
    """The same without a fault."""
    _modular(place, lambda: session(name="second"))
    if place.rank == 0:
        with h5py.File(place.path) as file:
            for name in ("first", "second"):
                assert np.array_equal(file[f"/acquisition/{name}/data"], values())
                assert file.get(f"/acquisition/{name}", getlink=True).filename == f"{name}.nwb"
