"""Faults in where links lead: what is linked to is not there, or will not stay there."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
from failure.faults.fault import Place, fault
from failure.faults.linking import (
    COLUMNS,
    RIGHT,
    ROWS,
    WHERE,
    appended,
    exported,
    linking,
    prepare,
    raw,
    reaches,
    read_back,
    register,
)
from failure.faults.material import session, values
from pynwb import NWBHDF5IO, NWBFile

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


def _open_for_writing(folder: Path) -> NWBFile:
    name = folder / f"growing-{os.getpid()}.h5"
    file = h5py.File(name, "w")
    file.create_dataset("data", data=values((ROWS, COLUMNS)), maxshape=(None, COLUMNS), chunks=(50, COLUMNS))
    file["data"].attrs.update(RIGHT)
    return linking(file["data"])


def _rows_when_the_program_goes_on(path: Path) -> int:
    """Return how many rows readers find once the program has gone on with the file that it has open."""
    (growing,) = path.parent.glob("growing-*.h5")
    with h5py.File(growing, "r+") as there, h5py.File(path) as file:
        there["data"].resize(ROWS // 2, axis=0)
        return len(file["/acquisition/linked/data"])


def _reaches_when_the_other_job_ends(path: Path) -> bool:
    """Tell whether a reader gets to the values once the job that holds the lock has put its file there."""
    _replace(path.parent)
    return reaches(path)


register(
    "target_is_open",
    _open_for_writing,
    _rows_when_the_program_goes_on,
    ROWS // 2,
    "still being written: this program has it",
    "mode 'r'",
    clean=False,
)
register(
    "target_is_locked",
    lambda folder: linking(raw(folder)),
    _reaches_when_the_other_job_ends,
    False,
    "another job writes",
    "raw.h5.lock",
    make=_prepare_locked,
)


@fault(
    "LinkError",
    "into the file that is replaced",
    name="link_target_is_replaced",
    prepare=lambda place: prepare(place.folder),
)
def target_is_replaced(place: Place) -> None:
    """Plain pynwb is stopped by HDF5, which does not truncate what is open (``test_plain_links.py``)."""
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

# -- in files that are there already, and in exports ---------------------------------------------------------------


def _prepare_base(folder: Path) -> None:
    """Write the files that are linked to, and one that is added to or exported."""
    prepare(folder)
    for name in ("out.nwb", "base.nwb"):
        with NWBHDF5IO(folder / name, "w") as io:
            io.write(session(name="own"), cache_spec=False)


for _name, _way in (("append", appended), ("export", exported)):
    register(
        f"unit_in_{_name}",
        lambda folder: linking(raw(folder), unit="mA"),
        read_back("unit"),
        "V",
        f"{WHERE}raw.h5:/data: unit is 'mA' in the container, 'V' there",
        make=_prepare_base,
        way=_way,
        overwrite=_name == "export",
        backends=("direct",),
    )
    register(
        f"target_is_gone_in_{_name}",
        lambda folder: linking(raw(folder)),
        reaches,
        False,
        "must lead to a file on disk, this one is not there",
        make=_prepare_base,
        change=lambda folder: (folder / "raw.h5").unlink(),
        way=_way,
        overwrite=_name == "export",
        backends=("direct",),
    )
