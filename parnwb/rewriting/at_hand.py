"""Whether values that are in other files are at hand."""

from __future__ import annotations

import os

import h5py

from parnwb.errors import LinkError
from parnwb.links.following import lacking_parts

PREFIX = "HDF5_EXTFILE_PREFIX"
ORIGIN = "${ORIGIN}"
"""In the prefix: the folder of the file that names another."""


def check_at_hand(dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose values in other files this process would not find, or not all of them. Independent.

    Raises
    ------
    LinkError
        Says what is missing. Raw files beside the file count only where HDF5 looks there.
    """
    where = f"{dataset.file.filename}:{dataset.name}"
    folder = os.path.dirname(os.path.abspath(os.fsdecode(dataset.file.filename)))
    for name, _, _ in dataset.external or ():
        there = os.path.join(folder, name)
        found = os.path.join(os.environ.get(PREFIX, "").replace(ORIGIN, folder), name)
        if os.path.isfile(there) and not (os.path.isfile(found) and os.path.samefile(there, found)):
            raise LinkError(
                f"what is in other files must be found by HDF5: {name} is beside the file, and HDF5 looks for it "
                "in the working folder",
                where=where,
                remedy=f"Set {PREFIX}='{ORIGIN}' for all ranks of this command, or run it in {folder}",
            )
    if said := lacking_parts(dataset):
        raise LinkError(f"what is in other files must be there: {said[0]}", where=where, remedy="Bring the file there")
