"""Faults in copies: datasets whose values are in other files, and data of an exported file that lose their place.

Plain pynwb lets HDF5 copy the names of the other files, and links to what is not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.linking import COLUMNS, PLAIN, RIGHT, ROWS, Content, Plain, Way, anew, linking, register
from failure.faults.material import session, values
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries, get_manager

VALUES = values((ROWS, COLUMNS))
HALF, ODD = ROWS // 2, 190
TEXTS = ["one", "two", "three"]
DATA = "/acquisition/linked/data"


def mended(
    name: str,
    content: Callable[[Path], Content],
    found: Callable[[Path], Any],
    shows: Any,
    right: Any,
    make: Callable[[Path], None],
    way: Way = anew,
) -> None:
    """Register what plain pynwb makes of a program, ``shows``, and what parnwb must make of it, ``right``."""
    PLAIN[name] = Plain(content, found, shows, make, way=way)

    @fault(None, name=f"copied_{name}", prepare=lambda place: make(place.folder), leaves=True)
    def run(place: Place) -> None:
        def opened(path: Path, mode: str, **more: Any) -> Any:
            return place.open(path=path, mode=mode, **more)

        way(content(place.folder), place.path, opened)
        if place.rank == 0:
            assert found(place.path) == right, found(place.path)


def read(path: Path) -> Any:
    """Return the values that readers find, None where there are none."""
    with h5py.File(path) as file:
        try:
            data = file[DATA]
            return data.asstr()[()].tolist() if h5py.check_string_dtype(data.dtype) else data[()].tolist()
        except (KeyError, OSError):
            return None


# -- values in other files -----------------------------------------------------------------------------------------


def prepare_parts(folder: Path) -> None:
    """Write datasets whose values are in other files, beside these in a folder of their own."""
    there = folder / "there"
    there.mkdir()
    VALUES.tofile(there / "raw.bin")
    for number in range(2):
        with h5py.File(there / f"part{number}.h5", "w") as file:
            rows = VALUES[number * HALF :][:HALF]
            file.create_dataset("x", data=rows, chunks=(50, COLUMNS), compression="gzip", shuffle=True)
            file["texts"] = TEXTS
    first, second = (h5py.VirtualSource(f"part{number}.h5", "x", (HALF, COLUMNS)) for number in range(2))
    shape, text = (ROWS, COLUMNS), h5py.string_dtype()
    whole = h5py.VirtualLayout(shape, VALUES.dtype)
    whole[:HALF], whole[HALF:] = first, second
    uneven = h5py.VirtualLayout((ODD + HALF, COLUMNS), VALUES.dtype, maxshape=(None, COLUMNS))
    uneven[:ODD], uneven[ODD:] = first[:ODD], second
    small = h5py.VirtualLayout((2, COLUMNS), VALUES.dtype)
    small[:] = first[:2]
    texts = h5py.VirtualLayout((len(TEXTS),), text)
    texts[:] = h5py.VirtualSource("part0.h5", "texts", (len(TEXTS),), text)
    with h5py.File(there / "whole.h5", "w") as file:
        for name, layout in {"virtual": whole, "uneven": uneven, "small": small, "texts": texts}.items():
            file.create_virtual_dataset(name, layout)
        for name, place in {"relative": "raw.bin", "absolute": str(there / "raw.bin")}.items():
            file.create_dataset(name, shape, VALUES.dtype, external=[(place, 0, VALUES.nbytes)])
        for dataset in file.values():
            dataset.attrs.update(RIGHT)


def whole(folder: Path, name: str = "virtual") -> h5py.Dataset:
    return h5py.File(folder / "there" / "whole.h5", "r")[name]


def copying(name: str) -> Callable[[Path], NWBFile]:
    return lambda folder: linking(H5DataIO(whole(folder, name), link_data=False))


def from_there(content: Content, path: Path, open: Callable[..., Any], **keywords: Any) -> None:
    """Write from the folder in which HDF5 finds raw files that are named without one."""
    before = os.getcwd()
    os.chdir(path.with_name("there"))
    try:
        anew(content, path, open, **keywords)
    finally:
        os.chdir(before)


ZEROS = np.zeros_like(VALUES)
UNEVEN = np.concatenate([VALUES[:ODD], VALUES[HALF:]])
mended("virtual", copying("virtual"), read, ZEROS.tolist(), VALUES.tolist(), prepare_parts)
mended("uneven_virtual", copying("uneven"), read, np.zeros_like(UNEVEN).tolist(), UNEVEN.tolist(), prepare_parts)
mended("small_virtual", copying("small"), read, ZEROS[:2].tolist(), VALUES[:2].tolist(), prepare_parts)
mended("virtual_text", copying("texts"), read, [""] * len(TEXTS), TEXTS, prepare_parts)
mended("external_storage", copying("relative"), read, None, VALUES.tolist(), prepare_parts, from_there)

register(
    "part_of_what_is_copied_is_gone",
    copying("virtual"),
    read,
    ZEROS.tolist(),
    "what is copied must be there: a part of it is in part1.h5, and there is no such file",
    "/acquisition/linked/data, from .*whole.h5:/virtual",
    make=prepare_parts,
    change=lambda folder: (folder / "there" / "part1.h5").unlink(),
)
register(
    "raw_file_of_what_is_copied_is_cut",
    copying("absolute"),
    read,
    np.concatenate([VALUES[:HALF], ZEROS[HALF:]]).tolist(),
    "what is copied must be there: its values are in .*raw.bin",
    f"which has {VALUES.nbytes // 2} bytes of {VALUES.nbytes}",
    make=prepare_parts,
    change=lambda folder: os.truncate(folder / "there" / "raw.bin", VALUES.nbytes // 2),
)
register(
    "part_of_target_is_gone",
    lambda folder: linking(whole(folder)),
    read,
    np.concatenate([VALUES[:HALF], ZEROS[HALF:]]).tolist(),
    "values of what is linked to must be where readers find them: a part of it is in part1.h5",
    make=prepare_parts,
    change=lambda folder: (folder / "there" / "part1.h5").unlink(),
)


def _series_of_parts(folder: Path) -> Content:
    manager = get_manager()
    nwbfile = session(name="own")
    there = NWBHDF5IO(folder / "there" / "base.nwb", "r", manager=manager).read()
    nwbfile.add_acquisition(there.acquisition["linked"])
    return nwbfile, manager


register(
    "part_of_target_series_is_gone",
    _series_of_parts,
    read,
    np.concatenate([VALUES[:HALF], ZEROS[HALF:]]).tolist(),
    "must be where readers find them: of /acquisition/linked/data, a part of it is in part1",
    make=lambda folder: prepare_virtual_base(folder),
    change=lambda folder: (folder / "there" / "part1.h5").unlink(),
)


@fault(None, name="copied_virtual_that_differs", prepare=lambda place: prepare_parts(place.folder), leaves=True)
def virtual_that_differs(place: Place) -> None:
    """What is copied because a link would mislead."""
    place.write(linking(whole(place.folder), unit="mA"), on_mismatch="copy")
    if place.rank == 0:
        assert read(place.path) == VALUES.tolist()


@fault(
    None,
    name="copied_virtual_as_it_is_stored",
    prepare=lambda place: prepare_parts(place.folder),
    leaves=True,
    backends=("direct",),
)
def virtual_as_it_is_stored(place: Place) -> None:
    """Chunk by chunk, from the parts, where these have the same chunks; the root alone has an NWBFile."""
    place.write(copying("virtual")(place.folder) if place.rank == 0 else None)
    if place.rank == 0:
        with h5py.File(place.path) as file, h5py.File(place.folder / "there" / "part1.h5") as part:
            data = file[DATA]
            assert (data.chunks, data.compression, data.shuffle) == ((50, COLUMNS), "gzip", True)
            stored = [data.id.read_direct_chunk((HALF + row, 0)) for row in range(0, HALF, 50)]
            assert stored == [part["x"].id.read_direct_chunk((row, 0)) for row in range(0, HALF, 50)]


@fault(
    "NotSendableError",
    "has its file open for writing",
    "mode 'r'|every rank",
    name="copied_from_a_file_that_is_open_for_writing",
    ranks=SEVERAL,
    clean=False,
)
def from_a_file_that_is_open_for_writing(place: Place) -> None:
    """Other ranks would read what has reached the disk."""
    if place.rank:
        place.write(None, link_data=False)
        return
    with h5py.File(place.folder / "open.h5", "w") as file:
        data = file.create_dataset("data", data=VALUES, chunks=(50, COLUMNS))
        place.write(linking(data), link_data=False)


# -- exports --------------------------------------------------------------------------------------------------------


def prepare_base(folder: Path) -> None:
    """Write a file to export."""
    nwbfile = session(VALUES, name="raw")
    nwbfile.add_acquisition(TimeSeries(name="sharing", data=nwbfile.acquisition["raw"], unit="V", rate=30.0))
    with NWBHDF5IO(folder / "base.nwb", "w") as io:
        io.write(nwbfile, cache_spec=False)


def prepare_virtual_base(folder: Path) -> None:
    """Write a file to export in another folder, with its values in files beside it."""
    prepare_parts(folder)
    with NWBHDF5IO(folder / "there" / "base.nwb", "w") as io:
        io.write(session(VALUES, name="linked"), cache_spec=False)
    with h5py.File(folder / "there" / "base.nwb", "r+") as file:
        del file[DATA]
        file.copy(whole(folder), DATA)


def exporting(change: Callable[[NWBFile], None], base: str = "base.nwb") -> Way:
    """Return a way that exports a file that has been changed."""

    def export(content: Content, path: Path, open: Callable[..., Any], **keywords: Any) -> None:
        with NWBHDF5IO(path.parent / base, "r") as source:
            existing = source.read()
            change(existing)
            with open(path, "w", **keywords) as io:
                io.export(source, existing)

    return export


def renamed(nwbfile: NWBFile) -> None:
    """Give the data of a series to another one, and remove those that had them."""
    nwbfile.acquisition.pop("sharing")
    data = nwbfile.acquisition.pop("raw").data
    nwbfile.add_acquisition(TimeSeries(name="linked", data=data, unit="V", rate=30.0))


def replaced(nwbfile: NWBFile) -> None:
    """Put a series of other data in the place of the one whose data another one has."""
    renamed(nwbfile)
    nwbfile.add_acquisition(TimeSeries(name="raw", data=np.full((3, COLUMNS), 7, "i2"), unit="V", rate=30.0))


def removed(nwbfile: NWBFile) -> None:
    """Remove a series that another one shares the data of."""
    nwbfile.acquisition.pop("raw")


def unused(folder: Path) -> NWBFile:
    return session()


mended(
    "export_of_a_virtual_dataset",
    unused,
    read,
    ZEROS.tolist(),
    VALUES.tolist(),
    prepare_virtual_base,
    exporting(lambda nwbfile: None, "there/base.nwb"),
)
mended("export_of_renamed", unused, read, None, VALUES.tolist(), prepare_base, exporting(renamed))
mended("export_of_replaced", unused, read, [[7] * COLUMNS] * 3, VALUES.tolist(), prepare_base, exporting(replaced))
register(
    "to_what_an_export_leaves_out",
    unused,
    lambda path: _reaches_shared(path),
    False,
    "what it leads to has been removed from what is exported",
    "/acquisition/sharing/data",
    make=prepare_base,
    way=exporting(removed),
)


def _reaches_shared(path: Path) -> bool:
    with h5py.File(path) as file:
        return file["/acquisition/sharing"].get("data") is not None
