"""Whether values that are in other files are at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass

import h5py

from parnwb.errors import LinkError
from parnwb.links.following import ORIGIN, PREFIX, lacking_parts, raw_folder


@dataclass(frozen=True)
class Lack:
    """What this process would not find of a dataset's values, and what can be done."""

    said: str
    remedy: str


def lack_of(dataset: h5py.Dataset) -> Lack | None:
    """Return what is not at hand, None if all is. Independent.

    Raw files beside the file count only where HDF5 looks there: in the working folder it may find others of their name.
    """
    folder = os.path.dirname(os.path.abspath(os.fsdecode(dataset.file.filename)))
    for name, _, _ in dataset.external or ():
        there, found = os.path.join(folder, name), os.path.join(raw_folder(dataset), name)
        if os.path.isfile(there) and not (os.path.isfile(found) and os.path.samefile(there, found)):
            return Lack(
                f"{name} is beside the file, and HDF5 looks for it in {raw_folder(dataset) or 'the working folder'}",
                f"Set {PREFIX}='{ORIGIN}' for all ranks, or run the program in {folder}",
            )
    lacking = lacking_parts(dataset)
    return Lack(lacking[0], "Bring that file there") if lacking else None


def check_at_hand(dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose values in other files this process would not find, or not all of them. Independent.

    Raises
    ------
    LinkError
        Says what is missing, and what can be done.
    """
    if lack := lack_of(dataset):
        where = f"{dataset.file.filename}:{dataset.name}"
        raise LinkError(f"what is in other files must be there: {lack.said}", where=where, remedy=lack.remedy)
