"""The sessions of a specification one after another: opened once, named, and left where they are finished.

All calls are independent.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.compression import Compression
from parnwb.errors import SourceError, TargetError
from parnwb.neuroconv.conversion import AS_NEUROCONV, Conversion
from parnwb.neuroconv.specification import Session
from parnwb.recordings.conversion import Step
from parnwb.target import Target, tell_nobody

if TYPE_CHECKING:
    from pynwb import NWBFile


def opened_once(
    session: Session, compression: Compression, *, ingests_movies: bool, on_mismatch: str
) -> Callable[[], Conversion]:
    """Return what opens a session when it is first called, and returns the same afterwards."""

    @cache
    def conversion() -> Conversion:
        converter = session.open()
        metadata = session.merged_metadata(converter)
        options = session.conversion_options(converter)
        return Conversion(converter, metadata, options, None, compression, ingests_movies, on_mismatch).prepared()

    return conversion


def creator(conversion: Callable[[], Conversion], step: Step = tell_nobody) -> Callable[[], NWBFile]:
    """Return what makes the NWBFile of a session."""
    return lambda: conversion().created(step)


def namer(
    session: Session, conversion: Callable[[], Conversion], folder: Path, taken: Collection[Path]
) -> Callable[[], Path]:
    """Return what names the file of a session; it refuses a name that another session has taken."""

    def name() -> Path:
        path = folder / session.file_name({} if session.nwbfile_name is not None else conversion().metadata)
        if path in taken:
            raise SourceError(
                f"each session makes a file of its own, and another one has made {path.name}",
                where=session.place,
                remedy="Give the sessions different nwbfile_names or session_ids",
            )
        return path

    return name


def is_complete(path: Path) -> bool:
    """Tell whether an earlier job has finished a file; say so."""
    if not Target(path).is_complete:
        return False
    warnings.warn(f"{path} was finished by an earlier job, and stays as it is", stacklevel=2)
    return True


def make_folder(folder: Path) -> None:
    """Make the folder of the files, if it is not there."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"the output folder cannot be made: {error.strerror or error}", where=str(folder), remedy="Choose another"
        ) from error


def own_compression(compression: Compression) -> Compression:
    """Return what ``NWBParallelIO`` is to compress with: nothing where neuroconv chooses."""
    return None if compression == AS_NEUROCONV else compression
