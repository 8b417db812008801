"""Faults in links to other files: what is linked to is not what was said, is not there, or will not stay there.

Each is one program for both writers: plain pynwb writes a file that misleads or fails its readers, and says nothing
(``test_plain_links.py``); parnwb refuses before anything is written (``test_faults.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from failure.faults.fault import Place, fault
from failure.faults.material import session, values
from hdmf.build import BuildManager
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries, get_manager
from pynwb.ecephys import ElectricalSeries

ROWS, COLUMNS = 400, 4
RIGHT = {"unit": "V", "conversion": 2.0, "resolution": -1.0, "offset": 0.0}


Content = NWBFile | tuple[NWBFile, BuildManager]


def divided(content: Content) -> tuple[NWBFile, dict[str, Any]]:
    """Return an NWBFile and the keywords to write it with."""
    return (content[0], {"manager": content[1]}) if isinstance(content, tuple) else (content, {})


@dataclass(frozen=True)
class Plain:
    """What plain pynwb makes of it.

    Parameters
    ----------
    content
        Makes the NWBFile, and perhaps the manager to write it with, in a folder that ``prepare`` has filled.
    damage
        Given the path of pynwb's file: what a reader finds, which must be ``shows``.
    """

    content: Callable[[Path], Content]
    damage: Callable[[Path], Any]
    shows: Any
    prepare: Callable[[Path], None]
    change: Callable[[Path], object] | None = None
    output: str = "out.nwb"


PLAIN: dict[str, Plain] = {}


def prepare(folder: Path) -> None:
    """Write the files that are linked to."""
    with h5py.File(folder / "raw.h5", "w") as file:
        file["data"] = values((ROWS, COLUMNS))
        file["data"].attrs.update(RIGHT)
        file["labelled"] = values((ROWS, COLUMNS))
        file["labelled"].attrs.update(RIGHT)
        file["labelled"].dims[0].label, file["labelled"].dims[1].label = "channel", "time"
        file["bare"] = values((ROWS, COLUMNS))
        file["times"] = np.arange(ROWS) / 30.0
        file["short_times"] = np.arange(ROWS, dtype="f4") / 30.0
        for name in ("times", "short_times"):
            file[name].attrs.update({"unit": "seconds", "interval": 1})
    other = session(values((ROWS, COLUMNS)), name="source", conversion=2.0)
    times = np.arange(ROWS) / 30.0
    timed = TimeSeries(name="timed", data=values((ROWS, COLUMNS)), unit="V", conversion=2.0, timestamps=times)
    other.add_acquisition(timed)
    with NWBHDF5IO(folder / "other.nwb", "w") as io:
        io.write(other, cache_spec=False)


def raw(folder: Path, name: str = "data") -> h5py.Dataset:
    return h5py.File(folder / "raw.h5", "r")[name]


def other(folder: Path) -> NWBFile:
    return NWBHDF5IO(folder / "other.nwb", "r").read()


def linking(data: Any, **said: Any) -> NWBFile:
    """Return a file whose series links to ``data``, and says what is not there."""
    nwbfile = session(name="own")
    timing = {} if "timestamps" in said else {"rate": 30.0}
    nwbfile.add_acquisition(TimeSeries(name="linked", data=data, **{"unit": "V", "conversion": 2.0, **timing, **said}))
    return nwbfile


def register(
    name: str,
    content: Callable[[Path], Content],
    damage: Callable[[Path], Any],
    shows: Any,
    *says: str,
    make: Callable[[Path], None] = prepare,
    change: Callable[[Path], object] | None = None,
    overwrite: bool = False,
    output: str = "out.nwb",
    **expected: Any,
) -> None:
    """Register a fault for both writers; ``change`` is done before the writing, ``expected`` is as in ``Fault``."""
    PLAIN[name] = Plain(content, damage, shows, make, change, output)

    @fault(
        "LinkError",
        *says,
        name=f"link_{name}",
        prepare=lambda place: make(place.folder),
        changes=change is not None,
        **expected,
    )
    def run(place: Place) -> None:
        nwbfile, keywords = divided(content(place.folder))
        place.comm.Barrier()
        if change is not None and place.rank == 0:
            change(place.folder)
        place.comm.Barrier()
        place.write(nwbfile, path=place.folder / output, overwrite=overwrite, **keywords)


def read_back(name: str) -> Callable[[Path], Any]:
    """Return what reads an attribute of the linked series, as any reader does."""

    def read(path: Path) -> Any:
        with NWBHDF5IO(path, "r") as io:
            value = getattr(io.read().acquisition["linked"], name)
            return str(value.dtype) if isinstance(value, h5py.Dataset) else value

    return read


def reaches(path: Path) -> bool:
    """Tell whether a reader gets to the values."""
    with h5py.File(path) as file:
        try:
            return bool(file["/acquisition/linked/data"].shape)
        except (KeyError, OSError):
            return False


WHERE = "/acquisition/linked/data -> .*"
SAID = ("must be what the container says", "on_mismatch='copy'")

# -- attributes ----------------------------------------------------------------------------------------------

for _name, _asked, _found in (
    ("unit", "mA", "V"),
    ("conversion", 5.0, 2.0),
    ("resolution", 0.5, -1.0),
    ("offset", 1.0, 0.0),
):
    register(
        _name,
        lambda folder, said=(_name, _asked): linking(raw(folder), **dict([said])),
        read_back(_name),
        _found,
        f"{WHERE}raw.h5:/data: {_name} is '?{_asked}'? in the container, '?{_found}'? there",
        *SAID,
    )

register(
    "unit_is_missing",
    lambda folder: linking(raw(folder, "bare"), conversion=1.0),
    read_back("unit"),
    "unknown",
    f"{WHERE}: unit is 'V' in the container, missing there",
)
register(
    "conversion_is_missing",
    lambda folder: linking(raw(folder, "bare")),
    read_back("conversion"),
    1.0,
    "conversion is 2.0 in the container, missing there",
)
register(
    "unit_of_what_is_wrapped",
    lambda folder: linking(H5DataIO(raw(folder), link_data=True), unit="mA"),
    read_back("unit"),
    "V",
    "unit is 'mA' in the container, 'V' there",
)
register(
    "type_of_timestamps",
    lambda folder: linking(raw(folder), timestamps=raw(folder, "short_times")),
    read_back("timestamps"),
    "float32",
    "timestamps -> .*: dtype is float64 in the container, float32 there",
)
register(
    "dimensions",
    lambda folder: linking(raw(folder, "labelled")),
    lambda path: [axis.label for axis in h5py.File(path)["/acquisition/linked/data"].dims],
    ["channel", "time"],
    r"dimensions is \('num_times', .*\) in the container, \('channel', 'time'\) there",
)
register(
    "rate",
    lambda folder: linking(other(folder).acquisition["source"].data, rate=25.0),
    lambda path: _rates(path),
    (25.0, 30.0),
    "other.nwb:/acquisition/source/data: rate is 25.0 in the container, 30.0 there",
)
register(
    "starting_time",
    lambda folder: linking(other(folder).acquisition["source"].data, starting_time=7.0),
    lambda path: h5py.File(path)["/acquisition/linked/data"].parent["starting_time"][()],
    0.0,
    "starting_time is 7.0 in the container, 0.0 there",
)
register(
    "rate_for_timestamps",
    lambda folder: linking(other(folder).acquisition["timed"].data, rate=25.0),
    read_back("rate"),
    25.0,
    "rate is 25.0 in the container, timestamps, 30 a second on average there",
)
register(
    "unit_of_a_series",
    lambda folder: _managed(folder, unit="mA", conversion=5.0),
    lambda path: (read_back("unit")(path), h5py.File(path)["/acquisition/linked/data"].attrs["conversion"]),
    ("V", 2.0),
    "/source/data: unit is 'mA' in the container, 'V' there",
    "conversion is 5.0 in the container, 2.0 there",
)
register(
    "series_of_another_manager",
    lambda folder: linking(other(folder).acquisition["source"]),
    reaches,
    False,
    "must lead to something: that file has no /source/data",
    "same manager",
)
register(
    "unit_of_a_series_of_this_file",
    lambda folder: _sharing(session(name="source")),
    read_back("unit"),
    "V",
    "linked/data -> .*source/data: unit is 'mA' in the container, 'V' there",
)


def _managed(folder: Path, **said: Any) -> tuple[NWBFile, BuildManager]:
    """Return a file with a series of another file, which was read by the manager that is to write."""
    manager = get_manager()
    source = NWBHDF5IO(folder / "other.nwb", "r", manager=manager).read().acquisition["source"]
    return linking(source, **said), manager


def _sharing(nwbfile: NWBFile) -> NWBFile:
    nwbfile.add_acquisition(TimeSeries(name="linked", data=nwbfile.acquisition["source"], unit="mA", rate=30.0))
    return nwbfile


def _rates(path: Path) -> tuple[float, float]:
    with h5py.File(path) as file:
        series = file["/acquisition/linked"]
        return tuple(float(item["starting_time"].attrs["rate"]) for item in (series, series["data"].parent))


def _electrical(folder: Path) -> NWBFile:
    nwbfile = session(name="own")
    group = nwbfile.create_electrode_group(
        name="group", description="one", location="CA1", device=nwbfile.create_device(name="probe")
    )
    for _ in range(COLUMNS - 1):
        nwbfile.add_electrode(location="CA1", group=group)
    region = nwbfile.create_electrode_table_region(region=list(range(COLUMNS - 1)), description="all")
    data = raw(folder)
    nwbfile.add_acquisition(
        ElectricalSeries(name="linked", data=data, electrodes=region, conversion=2.0, rate=30.0)
    )
    return nwbfile


def _channels(path: Path) -> tuple[int, int]:
    with h5py.File(path) as file:
        series = file["/acquisition/linked"]
        return series["data"].shape[1], len(series["electrodes"])


register(
    "number_of_electrodes",
    _electrical,
    _channels,
    (COLUMNS, COLUMNS - 1),
    rf"shape is \(..., {COLUMNS - 1}\) \(electrodes\) in the container, \({ROWS}, {COLUMNS}\) there",
)

# -- places --------------------------------------------------------------------------------------------------


register(
    "target_is_in_memory",
    lambda folder: linking(_in_memory()),
    reaches,
    False,
    "must lead to a file on disk, this one is not there",
    "link_data=False",
)


def _in_memory() -> h5py.Dataset:
    file = h5py.File("nowhere.h5", "w", driver="core", backing_store=False)
    file["data"] = values((ROWS, COLUMNS))
    file["data"].attrs.update(RIGHT)
    file.flush()
    return file["data"]


def _replace(folder: Path) -> None:
    """Give the name of what is open to another file."""
    with h5py.File(folder / "another.h5", "w") as file:
        file["something"] = values((3,))
    (folder / "another.h5").replace(folder / "raw.h5")


register(
    "target_is_gone",
    lambda folder: linking(raw(folder)),
    reaches,
    False,
    "must lead to a file on disk, this one is not there",
    change=lambda folder: (folder / "raw.h5").unlink(),
)
register(
    "target_is_another_file",
    lambda folder: linking(raw(folder)),
    reaches,
    False,
    "on disk there is no such dataset",
    "Another file has taken its name",
    change=_replace,
)


def _open_for_writing(folder: Path) -> NWBFile:
    name = folder / f"growing-{os.getpid()}.h5"
    file = h5py.File(name, "w")
    file.create_dataset("data", data=values((ROWS, COLUMNS)), maxshape=(None, COLUMNS), chunks=(50, COLUMNS))
    file["data"].attrs.update(RIGHT)
    return linking(file["data"])


def _prepare_partial(folder: Path) -> None:
    prepare(folder)
    (folder / "raw.h5").rename(folder / "raw.nwb.partial")


register(
    "target_is_partial",
    lambda folder: linking(h5py.File(folder / "raw.nwb.partial", "r")["data"]),
    lambda path: (path.with_name("raw.nwb.partial").rename(path.with_name("raw.nwb")), reaches(path))[1],
    False,
    "must not lead to a file that is still being written",
    "raw.nwb.partial",
    make=_prepare_partial,
)


def _prepare_locked(folder: Path) -> None:
    prepare(folder)
    (folder / "raw.h5.lock").write_text("a job")


def _prepare_folders(folder: Path) -> None:
    """Make a folder that is reached by a symbolic link from another depth, beside what is linked to."""
    prepare(folder)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "short").symlink_to(folder / "deep" / "er")


def _prepare_circle(folder: Path) -> None:
    """Make a file with a link back to the name that is about to be written."""
    prepare(folder)
    with NWBHDF5IO(folder / "out.nwb", "w") as io:
        io.write(session(name="first"), cache_spec=False)
    with h5py.File(folder / "raw.h5", "r+") as file:
        file["back"] = h5py.ExternalLink("out.nwb", "/acquisition/first/data")


def _back(path: Path) -> bool:
    with h5py.File(path.with_name("raw.h5")) as file:
        try:
            return bool(file["back"].shape)
        except KeyError:
            return False


register(
    "goes_in_a_circle",
    lambda folder: linking(raw(folder)),
    _back,
    False,
    "must not go in a circle",
    "raw.h5:/data",
    make=_prepare_circle,
    overwrite=True,
)


@fault("LinkError", "still being written: this program has it", "mode 'r'", name="link_target_is_open", clean=False)
def target_is_open(place: Place) -> None:
    place.write(_open_for_writing(place.folder))


@fault(
    "LinkError",
    "another job writes",
    "raw.h5.lock",
    name="link_target_is_locked",
    prepare=lambda place: _prepare_locked(place.folder),
)
def target_is_locked(place: Place) -> None:
    place.write(linking(raw(place.folder)))


@fault(
    "LinkError",
    "into the file that is replaced",
    name="link_target_is_replaced",
    prepare=lambda place: prepare(place.folder),
)
def target_is_replaced(place: Place) -> None:
    place.write(linking(raw(place.folder)), path=place.folder / "raw.h5", overwrite=True)


register(
    "passes_a_symbolic_link",
    lambda folder: linking(raw(folder)),
    reaches,
    False,
    "a symbolic link to a folder is in between",
    "real path",
    make=_prepare_folders,
    output="short/out.nwb",
)


@fault("LinkError", "on_mismatch must be one of raise, warn, copy", name="keyword_on_mismatch")
def keyword_on_mismatch(place: Place) -> None:
    place.write(session(), on_mismatch="ignore")


@fault("AgreementError", "on_mismatch", ranks=(2, 3, 4, 5), name="ranks_differ_in_on_mismatch")
def ranks_differ_in_on_mismatch(place: Place) -> None:
    place.write(session(), on_mismatch="warn" if place.rank == place.last else "raise")
