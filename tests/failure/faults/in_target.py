"""Faults of the place that the file goes to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import CHUNK, Asked, noise, session
from pynwb import H5DataIO


def _existing(place: Place) -> None:
    place.path.write_bytes(b"the only copy")


@fault("TargetError", "exists", r"out\.nwb", "overwrite", prepare=_existing)
def existing_file(place: Place) -> None:
    place.write(session())


@fault("TargetError", "exists", r"out\.nwb", "overwrite", prepare=_existing)
def existing_file_mode_x(place: Place) -> None:
    place.write(session(), mode="x", overwrite=True)


def _dangling(place: Place) -> None:
    place.path.symlink_to(place.folder / "nowhere")


@fault("TargetError", "exists|link", r"out\.nwb", prepare=_dangling)
def existing_dangling_link(place: Place) -> None:
    place.write(session())


def _fails_midway(name: str, filters: dict[str, Any]) -> None:
    @fault("SourceError", "midway", name=name, prepare=_existing)
    def run(place: Place) -> None:
        def spoil(calls: int, data: Any) -> Any:
            if place.rank == place.last and calls > 1:
                raise ValueError("midway")
            return data

        place.write(session(H5DataIO(Asked(spoil), chunks=CHUNK, **filters)), overwrite=True)


_fails_midway("existing_file_to_be_overwritten", {})
_fails_midway("existing_file_to_be_overwritten_gzip", {"compression": "gzip"})


@fault("TargetError", "another job is writing this output: process", r"out\.nwb\.lock", "--break-lock", ranks=SEVERAL)
def output_is_open_already(place: Place) -> None:
    with place.open():
        place.write(session())


@fault("TargetError", "output folder must exist", "missing", "Create it")
def folder_is_missing(place: Place) -> None:
    place.write(session(), path=place.folder / "missing" / "out.nwb")


def _file_as_folder(place: Place) -> None:
    (place.folder / "file").write_bytes(b"")


@fault("TargetError", "output folder must exist", r"/file", prepare=_file_as_folder)
def folder_is_a_file(place: Place) -> None:
    place.write(session(), path=place.folder / "file" / "out.nwb")


@fault("TargetError", "must be a file, not a folder", prepare=lambda place: place.path.mkdir())
def output_is_a_folder(place: Place) -> None:
    place.write(session(), overwrite=True)


@fault("TargetError", "[Ff]ile name too long", "nnnnnn")
def name_is_too_long(place: Place) -> None:
    place.write(session(), path=place.folder / ("n" * 300 + ".nwb"))


@fault("TargetError", "[Ff]ile name too long", "nnnnnn")
def partial_name_is_too_long(place: Place) -> None:
    place.write(session(), path=place.folder / ("n" * 250 + ".nwb"))


@fault("TargetError|ValueError", "null")
def name_has_a_null_byte(place: Place) -> None:
    place.write(session(), path=f"{place.folder}/a\0b.nwb")


@fault("TargetError", "cannot be written to", "[Rr]ead-only", r"\.lock", "permissions")
def folder_is_read_only(place: Place) -> None:
    place.write(session(), path=_mounted("READ_ONLY") / f"{place.folder.name}.nwb")


@fault("StorageError", "[Nn]o space left|bytes, the file system has", "[Ff]ree some space", ranks=(1, 2, 3, 4))
def disk_is_full_before(place: Place) -> None:
    data = H5DataIO(noise(8 * 2**20), chunks=(10_000, 8))
    place.write(session(data), path=_mounted("SMALL") / f"{place.folder.name}.nwb", buffer_mb=1)


@fault("StorageError", "[Nn]o space left", "byte", r"\.partial", "full", backends=("direct",))
def disk_is_full_midway(place: Place) -> None:
    samples = noise(8 * 2**20)
    samples[: len(samples) // 8] = 0  # else its sample would tell beforehand
    data = H5DataIO(samples, chunks=(10_000, 8), compression="gzip", compression_opts=1)
    place.write(session(data), path=_mounted("SMALL") / f"{place.folder.name}.nwb", buffer_mb=1)


@fault("StorageError", "[Ff]ile too large", "byte", r"\.partial", "ulimit -f", backends=("direct",))
def file_size_is_limited(place: Place) -> None:
    import resource

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, old[1]))
    try:
        data = H5DataIO(noise(8 * 2**20), chunks=(10_000, 8), compression="gzip", compression_opts=1)
        place.write(session(data), buffer_mb=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@fault("StorageError", "[Ff]ile too large", r"\.partial", "ulimit -f", backends=("direct",), ranks=SEVERAL)
def file_size_is_limited_on_one_rank(place: Place) -> None:
    import resource

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    if place.rank == place.last:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        data = H5DataIO(noise(2 * 2**20), chunks=(10_000, 8))
        place.write(session(data), buffer_mb=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def _large(place: Place) -> Path:
    return place.folder.with_suffix(".bin")  # beside the folder, whose files are all digested


def _sparse(place: Place) -> None:
    with open(_large(place), "wb") as file:
        file.truncate(3 * 2**30)


@fault("PlanError", "must fit into memory", "1 of them", "RLIMIT_DATA", "ulimit -d", prepare=_sparse, ranks=SEVERAL)
def memory_is_limited_on_one_rank(place: Place) -> None:
    import resource

    import numpy as np

    old = resource.getrlimit(resource.RLIMIT_DATA)
    data = np.memmap(_large(place), "i1", "r")
    if place.rank == place.last:
        resource.setrlimit(resource.RLIMIT_DATA, (400 * 2**20, old[1]))
    try:
        place.write(session(data), buffer_mb=1500)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, old)


def _mounted(name: str) -> Any:
    return Path(os.environ[f"PARNWB_TEST_{name}"])
