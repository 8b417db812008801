"""``Rewriting``: what is written from other HDF5 files, in the place of an NWBFile."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py

from parnwb.authoring.skeleton import AuthoringOptions, Skeleton, own_error
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.links.mosaic import MosaicSource
from parnwb.memory_file import open_on
from parnwb.overlay import Overlay
from parnwb.rewriting.coding import Coding, Recoding, create
from parnwb.rewriting.copying import copy_objects
from parnwb.rewriting.item import Item, Kind
from parnwb.rewriting.names import parted
from parnwb.rewriting.survey import Survey
from parnwb.sources import Source
from parnwb.sources.chunked import ChunkedSource
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.raw_chunks import is_outside

# Superblocks from this version on belong to files whose objects may be what older versions of HDF5 cannot read.
FIRST_OF_HDF5_1_8 = 2


@dataclass(frozen=True)
class Rewriting:
    """A file that is written from what a survey has found.

    Parameters
    ----------
    found
        What it will hold.
    recoding
        With which chunks and filters.
    """

    found: Survey
    recoding: Recoding = field(default_factory=Recoding)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """Where the values of bulk datasets are, by their paths in the new file."""
        return {item.path: source_of(item.dataset) for item in self.found.bulk}

    @property
    def signature(self) -> dict[str, str]:
        """What must be the same for a job that goes on with this one: the files, and what is asked for."""
        files = {name: os.stat(name) for name in self.found.files}
        told = {name: f"{found.st_size} bytes, changed at {found.st_mtime_ns}" for name, found in files.items()}
        return {**told, "what is asked for": repr(self.recoding)}

    def author(self, path: Path, options: AuthoringOptions) -> Skeleton:
        """Make the file in memory, bulk datasets empty. Independent; on the root only.

        Parameters
        ----------
        path
            Final path of the file.
        options
            Backend and phases; what is bulk the survey has found already.

        Raises
        ------
        ParnwbError
            Something cannot be written anew.
        """
        self.recoding.check_used(list(self.sources))
        self._warn_of_what_stays()
        overlay = Overlay()
        creation, oldest = file_creation(self.found.file)
        file = open_on(overlay, path, creation, oldest)
        _copy_userblock(self.found.file, overlay, creation.get_userblock())
        specs: dict[str, DatasetSpec] = {}

        def create_bulk(group: Any, item: Item, kind: Any, link: Any) -> None:
            _, name = parted(item.path)
            source, coding = self.sources[item.path], self.recoding.of(item.path)
            specs[item.path] = create(group, name, kind, item.dataset, source, coding, link, options.phases)

        try:
            copy_objects(file, self.found, create_bulk)
        except Exception as error:
            raise own_error(error) from error
        layout = FileLayout(tuple(specs[path] for path in sorted(specs)))
        return Skeleton(file, overlay, layout, self.sources, self.signature, options.backend)

    def _warn_of_what_stays(self) -> None:
        """Warn of data in other files, which stay there as they are, whatever is asked for."""
        copied = (item for item in self.found.items if item.kind is Kind.COPIED)
        asked_for = (item for item in copied if self.recoding.of(item.path) != Coding())
        staying = [item.path for item in asked_for if is_outside(item.dataset)]
        if staying:
            warnings.warn(
                f"{len(staying)} datasets have their values in other files, and these stay as they are, without other "
                f"chunks or another compression, the first is {staying[0]}. parnwb merge takes the same options and "
                "brings the values into one file",
                stacklevel=2,
            )


def source_of(dataset: h5py.Dataset) -> Source:
    """Return what reads a dataset that is written anew. Independent."""
    if dataset.is_virtual:
        return MosaicSource.of(dataset)
    return ChunkedSource.of(dataset) if dataset.chunks else HDF5DatasetSource(dataset)


def file_creation(file: h5py.File) -> tuple[h5py.h5p.PropFCID, int]:
    """Return the properties with which a file like this one is created, and the oldest HDF5 that is to read it."""
    there = file.id.get_create_plist()
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_userblock(there.get_userblock())
    root = h5py.h5g.open(file.id, b"/").get_create_plist()  # the file's own properties do not tell them
    creation.set_link_creation_order(root.get_link_creation_order())
    creation.set_attr_creation_order(root.get_attr_creation_order())
    creation.set_attr_phase_change(*root.get_attr_phase_change())
    creation.set_obj_track_times(root.get_obj_track_times())
    is_new = there.get_version()[0] >= FIRST_OF_HDF5_1_8
    return creation, h5py.h5f.LIBVER_V18 if is_new else h5py.h5f.LIBVER_EARLIEST


def _copy_userblock(file: h5py.File, overlay: Overlay, nbytes: int) -> None:
    """Copy what precedes HDF5's part of a file."""
    if nbytes:
        with open(file.filename, "rb") as there:
            overlay.seek(0)
            overlay.write(there.read(nbytes))
