"""What faults in links are made of: files that are linked to, and one program for both writers.

Plain pynwb writes a file that misleads or fails its readers, and says nothing (``test_plain_links.py``); parnwb refuses
before anything is written (``test_faults.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from failure.faults.fault import Place, fault
from failure.faults.material import session, values
from hdmf.build import BuildManager
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

ROWS, COLUMNS = 400, 4
RIGHT = {"unit": "V", "conversion": 2.0, "resolution": -1.0, "offset": 0.0}


Content = NWBFile | tuple[NWBFile, BuildManager]


def divided(content: Content) -> tuple[NWBFile, dict[str, Any]]:
    """Return an NWBFile and the keywords to write it with."""
    return (content[0], {"manager": content[1]}) if isinstance(content, tuple) else (content, {})


class Way(Protocol):
    """How a file comes to have the links: ``open`` is a writer, given its path, its mode and keywords."""

    def __call__(self, content: Content, path: Path, open: Callable[..., Any], **keywords: Any) -> None: ...


def anew(content: Content, path: Path, open: Callable[..., Any], **keywords: Any) -> None:
    """Write a new file."""
    nwbfile, more = divided(content)
    with open(path, "w", **keywords, **more) as io:
        io.write(nwbfile)


def appended(content: Content, path: Path, open: Callable[..., Any], **keywords: Any) -> None:
    """Add the series to the file that is there."""
    nwbfile, _ = divided(content)
    with open(path, "a", **keywords) as io:
        existing = io.read()
        existing.add_acquisition(without_parent(nwbfile.acquisition["linked"]))
        io.write(existing)


def exported(content: Content, path: Path, open: Callable[..., Any], **keywords: Any) -> None:
    """Export the file that is there, with the series added to it."""
    nwbfile, _ = divided(content)
    with NWBHDF5IO(path.with_name("base.nwb"), "r") as source:
        existing = source.read()
        existing.add_acquisition(without_parent(nwbfile.acquisition["linked"]))
        with open(path, "w", **keywords) as io:
            io.export(source, existing)


def without_parent(series: TimeSeries) -> TimeSeries:
    """Return a series that says the same."""
    said = {name: getattr(series, name) for name in ("unit", "conversion", "resolution", "offset", "rate")}
    return TimeSeries(name=series.name, data=series.data, **said)


@dataclass(frozen=True)
class Plain:
    """What plain pynwb makes of it.

    Parameters
    ----------
    content
        Makes the NWBFile, and perhaps the manager to write it with, in a folder that ``prepare`` has filled.
    damage
        Given the path of pynwb's file: what a reader finds, which must be ``shows``.
    way
        How the file comes to have it.
    """

    content: Callable[[Path], Content]
    damage: Callable[[Path], Any]
    shows: Any
    prepare: Callable[[Path], None]
    change: Callable[[Path], object] | None = None
    output: str = "out.nwb"
    way: Way = anew


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
    way: Way = anew,
    **expected: Any,
) -> None:
    """Register a fault for both writers; ``change`` is done before the writing, ``expected`` is as in ``Fault``."""
    PLAIN[name] = Plain(content, damage, shows, make, change, output, way)

    @fault(
        "LinkError",
        *says,
        name=f"link_{name}",
        prepare=lambda place: make(place.folder),
        changes=change is not None,
        **expected,
    )
    def run(place: Place) -> None:
        made = content(place.folder)
        place.comm.Barrier()
        if change is not None and place.rank == 0:
            change(place.folder)
        place.comm.Barrier()

        def opened(path: Path, mode: str, **more: Any) -> Any:
            return place.open(path=path, mode=mode, **more)

        way(made, place.folder / output, opened, **({"overwrite": True} if overwrite else {}))


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
