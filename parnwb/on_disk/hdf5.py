"""``HDF5OnDisk``: a finished HDF5 file, to be examined and read back through HDF5's own filters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import h5py

from parnwb.codec.native import find_filters
from parnwb.comm import Ranks
from parnwb.element import is_self_contained
from parnwb.errors import VerificationError
from parnwb.finding import Finding
from parnwb.index import missing_chunks
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.links.following import Followed, datasets_in, missing_movies, parts_of, stored_elsewhere
from parnwb.machine.open_files import most_open, room_for
from parnwb.on_disk.words import forget_cached, matched, missing_from, one_line, sorted_layout
from parnwb.sources import Source
from parnwb.sources.raw_chunks import read_spec


class HDF5OnDisk:
    """A finished file.

    Parameters
    ----------
    path
        Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def opened(self, layout: FileLayout) -> h5py.File:
        """Open it for reading, with the filters that the datasets of ``layout`` need. Independent.

        Raises
        ------
        CodecError
            A filter is not installed.
        VerificationError
            The file cannot be opened.
        """
        for spec in layout:
            find_filters(spec)
        return opened_hdf5(self.path)

    @staticmethod
    def converted(source: Source, spec: DatasetSpec) -> Source:
        """Return a source as it is: HDF5 converts its values."""
        return source

    def validate(self) -> Any:
        """Return what pynwb's validator returns. Independent; on the root."""
        from pynwb import validate

        return validate(path=str(self.path))

    def examine(
        self, sources: Mapping[str, Source], ranks: Ranks
    ) -> tuple[FileLayout, FileLayout, list[Finding]]:
        """Return the datasets whose elements are their bytes, the others, and what the index lacks.

        Independent; on the root.
        """
        path = self.path
        findings: list[Finding] = []
        specs: list[DatasetSpec] = []
        objects: list[DatasetSpec] = []
        with opened_hdf5(path) as file:
            if (parts := len(parts_of(path))) and not room_for(parts):
                limit = f"{most_open()} files can be open (ulimit -Hn)"
                findings.append(Finding("/", None, f"has {parts} parts, and {limit}: the rest is read as fill values"))
            try:
                followed = Followed(file, path)
                inner = ((dataset.name, dataset) for dataset in datasets_in(file))
                for name, dataset in chain(inner, followed.datasets()):
                    ranks.step(f"examining {name}")
                    ranks.look_up()
                    _examine_dataset(name, dataset, sources, findings, specs, objects, ranks)
                    findings += missing_movies(name, dataset)
                findings += followed.findings
            except Exception as error:
                raise VerificationError(
                    f"the file cannot be examined: {type(error).__name__}: {one_line(error)}",
                    where=str(path),
                    remedy="It is damaged: write it again",
                ) from error
        findings += missing_from(specs, sources)
        return sorted_layout(specs), sorted_layout(objects), findings


def _examine_dataset(
    name: str,
    dataset: h5py.Dataset,
    sources: Mapping[str, Source],
    findings: list[Finding],
    specs: list[DatasetSpec],
    objects: list[DatasetSpec],
    ranks: Ranks,
) -> None:
    if not dataset.shape:  # a scalar, or nothing at all
        findings += [replace(found, path=name) for found in _unreadable(dataset)]
        return
    elsewhere = [Finding(name, None, what) for what in stored_elsewhere(dataset)]
    findings += elsewhere
    if elsewhere:  # what is read there, or in its place, is told by no reading
        return
    findings += [replace(found, path=name) for found in missing_chunks(dataset, ranks.look_up)]
    if not is_self_contained(dataset.dtype):
        shape = tuple(dataset.shape)
        objects.append(DatasetSpec(name, shape, shape, dataset.dtype.str, dataset.chunks))
        return
    specs.append(matched(replace(read_spec(dataset), path=name), sources, findings))


def opened_hdf5(path: Path) -> h5py.File:
    """Open a file for reading, from the disk as far as that can be. Independent.

    Raises
    ------
    VerificationError
        It cannot be opened.
    """
    try:
        parts = parts_of(path)
        for one in (path, *(part for part in parts if part.is_file())):
            descriptor = os.open(one, os.O_RDONLY)
            try:
                forget_cached(descriptor)
            finally:
                os.close(descriptor)
        room_for(len(parts))
        return h5py.File(path, "r")
    except OSError as error:
        raise VerificationError(
            f"the file cannot be opened: {one_line(error)}",
            where=str(path),
            remedy="Check the name, and that it is a complete HDF5 file",
        ) from error


def _unreadable(dataset: h5py.Dataset) -> list[Finding]:
    """Read a scalar whole. Independent."""
    try:
        dataset[()]
    except Exception as error:  # noqa: BLE001 - whatever HDF5 says is the finding
        return [Finding(dataset.name, None, f"cannot be read: {one_line(error)}")]
    return []
