"""Links of a finished file, followed to where they lead, as any reader would from any folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py

from parnwb.finding import Finding
from parnwb.links.tiles import beside, sources_of

MAX_FILES = 1000
"""Files behind a file, more of which are not looked at."""


@dataclass(frozen=True)
class Outward:
    """A link to another file.

    Parameters
    ----------
    path
        Of the link.
    file
        As it is stored.
    name
        Of the object there.
    """

    path: str
    file: str
    name: str

    def found_from(self, path: str) -> str:
        """Return the absolute path of the file, seen from the file that has the link."""
        return beside(path, self.file)


def outward_links(file: h5py.File) -> list[Outward]:
    """Return all external links of a file, without following any. Independent."""
    found: list[Outward] = []

    def look(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append(Outward(f"/{name}", os.fsdecode(link.filename), str(link.path)))

    file.visititems_links(look)
    return found


def datasets_in(group: h5py.Group) -> list[h5py.Dataset]:
    """Return all datasets of a file or group, but for those behind links. Independent."""
    found: list[h5py.Dataset] = []
    group.visititems(lambda name, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def parts_of(path: Path) -> tuple[Path, ...]:
    """Return the files that hold parts of a file's virtual datasets; none where there is no HDF5 file. Independent."""
    try:
        with h5py.File(path, "r") as file:
            virtual = [dataset for dataset in datasets_in(file) if dataset.is_virtual]
            names = dict.fromkeys(name for dataset in virtual for name in sources_of(dataset))
    except (OSError, RuntimeError, KeyError, ValueError):  # a partial file may be anything
        return ()
    return tuple(Path(beside(str(path), name)) for name in names)


def stored_bytes(dataset: h5py.Dataset) -> int:
    """Return what a dataset takes, or the parts of a virtual one, as far as they are there. Independent."""
    if not dataset.is_virtual:
        return int(dataset.id.get_storage_size())
    total, path = 0, os.fsdecode(dataset.file.filename)
    for name, inner in sources_of(dataset).items():
        with suppress(OSError, KeyError), h5py.File(beside(path, name), "r") as file:
            total += sum(int(file[each].id.get_storage_size()) for each in inner)
    return total


def files_behind(path: str) -> Iterator[str]:
    """Iterate over the files that links of a file lead to, and theirs, each once. Independent."""
    waiting, seen = [path], {path}
    while waiting and len(seen) < MAX_FILES:
        current = waiting.pop()
        try:
            with h5py.File(current, "r") as file:
                links = outward_links(file)
        except OSError:
            continue
        for target in dict.fromkeys(link.found_from(current) for link in links):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
                yield target


def broken_links(file: h5py.File, path: Path) -> tuple[list[Finding], list[Outward]]:
    """Return what is wrong with the links of a file, and those links to other files that lead to something.

    Independent.
    """
    findings, good = [], []
    for link in outward_links(file):
        target = link.found_from(str(path))
        what = _broken(file, path, link, target)
        if what is None:
            good.append(link)
        else:
            findings.append(Finding(link.path, None, f"links to {link.file}:{link.name}, {what}"))
    findings += [Finding(name, None, "is a link to a place in this file that is empty") for name in _dangling(file)]
    return findings, good


def _broken(file: h5py.File, path: Path, link: Outward, target: str) -> str | None:
    """Say what is wrong with a link to another file; None if nothing is."""
    if not os.path.isfile(target):
        if not os.path.isabs(link.file) and os.path.isfile(link.file):
            return "which is found from the working folder only, not from where this file is"
        return "and there is no such file"
    if os.path.realpath(target) == os.path.realpath(path):
        return "which is this file"
    try:
        with h5py.File(target, "r") as there:
            if link.name in there:
                file[link.path]  # through all that comes behind it
                return None
            return "which holds no such thing"
    except Exception as error:  # noqa: BLE001 - whatever HDF5 says is the finding
        return f"which cannot be opened: {' '.join(str(error).split())}"


def _dangling(file: h5py.File) -> list[str]:
    names: list[str] = []

    def look(name: str, link: object) -> None:
        if isinstance(link, h5py.SoftLink) and _is_empty(file, name):
            names.append(f"/{name}")

    file.visititems_links(look)
    return names


def _is_empty(file: h5py.File, name: str) -> bool:
    try:
        return file.get(name) is None
    except Exception:  # noqa: BLE001 - what lies behind it is told of by its own finding
        return False


def linked_datasets(file: h5py.File, links: list[Outward]) -> Iterator[tuple[str, h5py.Dataset]]:
    """Iterate over the datasets that links to other files lead to, with their paths in this one. Independent."""
    for link in links:
        target = file[link.path]
        if isinstance(target, h5py.Dataset):
            yield link.path, target
        else:
            inner: list[tuple[str, h5py.Dataset]] = []
            _collect(target, link.path, inner)
            yield from inner


def _collect(group: h5py.Group, path: str, found: list[tuple[str, h5py.Dataset]]) -> None:
    def look(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((f"{path}/{name}", item))

    group.visititems(look)


def is_elsewhere(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset is virtual or has external storage: its values may be in other files. Independent."""
    return bool(dataset.is_virtual or dataset.external)


def stored_elsewhere(dataset: h5py.Dataset) -> list[str]:
    """Say what is wrong with the other files that hold a dataset's values, if any do. Independent."""
    path = os.path.abspath(os.fsdecode(dataset.file.filename))
    return [*_external_storage(dataset, os.path.dirname(path)), *_virtual_sources(dataset, path)]


def _external_storage(dataset: h5py.Dataset, folder: str) -> list[str]:
    """Look for raw files; HDF5 looks for a relative name from the reader's working folder, not the file's."""
    said = []
    for name, offset, size in dataset.external or ():
        if not os.path.isabs(name):
            said.append(
                f"its values are in {name}, which HDF5 looks for in the reader's working folder: readers must set "
                "HDF5_EXTFILE_PREFIX='${ORIGIN}'"
            )
        path = name if os.path.isabs(name) else os.path.join(folder, name)
        if not os.path.isfile(path):
            said.append(f"its values are in {name}, and there is no such file")
        elif size != h5py.h5f.UNLIMITED and os.path.getsize(path) < offset + size:
            said.append(f"its values are in {name}, which has {os.path.getsize(path)} bytes of {offset + size}")
    return said


def _virtual_sources(dataset: h5py.Dataset, path: str) -> list[str]:
    """Look for the parts of a virtual dataset: where one is missing HDF5 reads fill values, and says nothing."""
    if not dataset.is_virtual:
        return []
    said = [(name, _unreadable(beside(path, name), inner)) for name, inner in sources_of(dataset).items()]
    return [f"a part of it is in {name}, {what}" for name, what in said if what]


def _unreadable(place: str, paths: set[str]) -> str | None:
    """Say why a file cannot give its parts of virtual datasets; None if it can."""
    if not os.path.isfile(place):
        return "and there is no such file: it is read as fill values"
    try:
        with h5py.File(place, "r") as file:
            lacking = [path for path in sorted(paths) if not isinstance(file.get(path), h5py.Dataset)]
            return f"which has no {lacking[0]}: it is read as fill values" if lacking else None
    except OSError as error:  # HDF5 finds out by itself that a file has lost its end
        why = " ".join(str(error).split())
        return f"which cannot be opened ({why}): HDF5 before 1.14 reads it as fill values"


def missing_movies(file: h5py.File, path: Path) -> list[Finding]:
    """Return the external image files that are not there, seen from the file's folder. Independent."""
    findings: list[Finding] = []

    def look(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name.rpartition("/")[2] == "external_file" and item.shape:
            for movie in item.asstr()[()]:
                if "://" not in movie and not (path.parent / movie).is_file():
                    findings.append(Finding(f"/{name}", None, f"names {movie}, and there is no such file"))

    file.visititems(look)
    return findings
