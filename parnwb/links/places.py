"""Whether links that are about to be written will lead somewhere, once the file has its name.

HDF5 looks for the target of an external link only when it is opened: at writing anything can be linked to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from hdmf.build import Builder, DatasetBuilder, GroupBuilder, LinkBuilder

from parnwb.builders import found_at, location, unwrapped
from parnwb.errors import LinkError
from parnwb.links.following import datasets_in, files_behind, gone_from

ROOT_NAME = "root"
# Names that files have while they are written.
UNFINISHED = (".partial", ".partial.next")


def check_places(
    links: Sequence[Builder], root: GroupBuilder, path: Path, *, export_source: str | None, is_appended_to: bool
) -> None:
    """Refuse links out of a file that would not be found, or not stay what they are. Independent; on the root.

    Parameters
    ----------
    links
        Builders of what will be links.
    root
        Of all that is written.
    path
        Final path of the file.
    export_source
        The file that is exported, whose own data are copied.
    is_appended_to
        Whether ``path`` exists and is added to.

    Raises
    ------
    LinkError
        The first that is wrong.
    """
    checked: set[tuple[str, str]] = set()
    good_files: set[str] = set()
    for builder in links:
        dataset = unwrapped(builder.data) if isinstance(builder, DatasetBuilder) else None
        if isinstance(dataset, h5py.Dataset):
            target, name = os.path.abspath(os.fsdecode(dataset.file.filename)), str(dataset.name)
        elif isinstance(builder, LinkBuilder) and builder.builder.source is not None:
            target, name = os.path.abspath(builder.builder.source), _written_path(builder)
        else:
            continue
        where = f"{location(builder)} -> {target}:{name}"
        if target == export_source and isinstance(builder, LinkBuilder):
            _check_exported(builder, root, where)
        own = target == export_source or (is_appended_to and _is_same(target, path)) or _is_inner(builder, path)
        if own or (target, name) in checked:
            continue
        checked.add((target, name))
        if target not in good_files:  # looking for circles takes a walk through all of the file
            _check_file(target, path, where)
            good_files.add(target)
        if isinstance(dataset, h5py.Dataset):
            _check_open(dataset, where)
            _check_dataset(dataset, target, where)
        else:
            _check_object(name, target, where)


def _check_exported(builder: LinkBuilder, root: GroupBuilder, where: str) -> None:
    """Refuse a link within the file to what the program has removed from what it exports."""
    path = _written_path(builder)
    if not path.startswith("/"):  # hdmf keeps what was relative as it was
        return
    found = found_at(root, path)
    ids = {_object_id(found), _object_id(builder.builder)} - {None}
    if found is None or len(ids) > 1:
        raise LinkError(
            "a link must lead to something: what it leads to has been removed from what is exported",
            where=where,
            remedy="Keep that, or give its data, which are copied then: data=other.data of a series",
        )


def _object_id(builder: Any) -> str | None:
    """Return what tells an object of NWB from all others; of a dataset without a type, that of the group it is in."""
    while builder is not None and "object_id" not in builder.attributes:
        builder = builder.parent
    return None if builder is None else str(builder.attributes["object_id"])


def _is_inner(builder: object, path: Path) -> bool:
    """Tell whether a link leads to another place of the file that is written."""
    return isinstance(builder, LinkBuilder) and builder.builder.source in (builder.source, str(path))


def _check_open(dataset: h5py.Dataset, where: str) -> None:
    if dataset.file.mode != "r":
        raise LinkError(
            "a link must not lead into a file that is still being written: this program has it open for that",
            where=where,
            remedy="Close it and open it in mode 'r', or copy (link_data=False)",
        )


def _check_file(target: str, path: Path, where: str) -> None:
    if target.endswith(UNFINISHED):
        raise LinkError(
            "a link must not lead to a file that is still being written: its name will be another",
            where=where,
            remedy="Finish that file first",
        )
    if target == str(path) or _is_same(target, path):
        raise LinkError(
            "a link must not lead into the file that is replaced by the one which is written",
            where=where,
            remedy="Write to another name, or copy (link_data=False)",
        )
    if os.path.exists(target + ".lock"):
        raise LinkError(
            f"a link must not lead into a file that another job writes, as {target}.lock says",
            where=where,
            remedy="Wait until it has ended, or copy (link_data=False)",
        )
    if not os.path.isfile(target):
        raise LinkError(
            "a link must lead to a file on disk, this one is not there (any more)",
            where=where,
            remedy="Save it first, or copy (link_data=False)",
        )
    # As hdmf writes it, and as HDF5 will look for it: from the folder of the finished file.
    relative = os.path.join(path.parent, os.path.relpath(target, path.parent))
    if not _is_same(relative, target):
        raise LinkError(
            f"a link is relative to the finished file, and {os.path.relpath(target, path.parent)} is not found from "
            f"{path.parent}: a symbolic link to a folder is in between",
            where=where,
            remedy=f"Name the output by its real path, {os.path.realpath(path.parent)}, or copy (link_data=False)",
        )
    circle = next((step for step in files_behind(target) if step == str(path) or _is_same(step, path)), None)
    if circle is not None:
        raise LinkError(
            "links must not go in a circle: that file links to the one that is written",
            where=where,
            remedy="Copy (link_data=False), or link in one direction only",
        )


def _check_dataset(dataset: h5py.Dataset, target: str, where: str) -> None:
    """Look at the file on disk, which need not be the one that is open."""
    with opened(target, where) as file:
        found = _found(file, dataset.name)
        same = isinstance(found, h5py.Dataset) and (found.shape, found.dtype) == (dataset.shape, dataset.dtype)
        said = f"{found.shape} of {found.dtype}" if isinstance(found, h5py.Dataset) else "no such dataset"
        wrong = gone_from(found) if same else []
    if wrong:
        _refuse_hollow(wrong[0], where)
    if not same:
        raise LinkError(
            f"a link must lead to what is open here: {dataset.shape} of {dataset.dtype}; on disk there is {said}",
            where=where,
            remedy="Another file has taken its name: open that one, or copy (link_data=False)",
        )


def _written_path(builder: LinkBuilder) -> str:
    """Return the path of a link's target as hdmf writes it, which knows what its manager has read."""
    target: Any = builder.builder
    if target.location is not None:
        return f"{target.location}/{target.name}"
    names = []
    while target is not None and target.name != ROOT_NAME:
        names.append(target.name)
        target = target.parent
    return "/" + "/".join(reversed(names))


def _check_object(name: str, target: str, where: str) -> None:
    with opened(target, where) as file:
        found = _found(file, name)
        if found is None:
            raise LinkError(
                f"a link must lead to something: that file has no {name}",
                where=where,
                remedy="Read that file with the same manager that writes: manager = pynwb.get_manager(), then "
                "NWBHDF5IO(other, 'r', manager=manager) and NWBParallelIO(path, 'w', manager=manager)",
            )
        for dataset in [found] if isinstance(found, h5py.Dataset) else datasets_in(found):
            for said in gone_from(dataset):
                _refuse_hollow(f"of {dataset.name}, {said}", where)


def _found(file: h5py.File, name: str) -> Any:
    """Return what is at a path; None if nothing is, or a link on the way is broken."""
    try:
        return file.get(name)
    except Exception:  # noqa: BLE001 - HDF5 has several words for a link that leads nowhere
        return None


def _refuse_hollow(said: str, where: str) -> None:
    raise LinkError(
        f"the values of what is linked to must be where readers find them: {said}",
        where=where,
        remedy="Bring that file there, or copy from where it is found (link_data=False)",
    )


@contextmanager
def opened(target: str, where: str) -> Iterator[h5py.File]:
    """Open a file that is linked to."""
    try:
        file = h5py.File(target, "r")
    except OSError as error:
        raise LinkError(
            f"a link must lead to a file that can be opened: {error}", where=where, remedy="Close it where it is open"
        ) from error
    with file:
        yield file


def _is_same(one: str | Path, other: str | Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
