"""Links of a finished file, followed to where they lead, as any reader would from any folder."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py

from parnwb.finding import Finding
from parnwb.links.tiles import beside, sources_of

PREFIX = "HDF5_EXTFILE_PREFIX"
ORIGIN = "${ORIGIN}"
"""In the prefix: the folder of the file that names another."""

MOVIES = "external_file"
"""What datasets are called in which series of images name their files."""

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


class Followed:
    """All that links of a file lead to, and theirs, as far as it goes. All calls are independent.

    Parameters
    ----------
    file
        Open for reading.
    path
        By which it was opened.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._file, self._own = file, os.path.realpath(path)
        self._seen: set[tuple[str, int]] = set()
        self.findings: list[Finding] = []
        """What is wrong with links; complete when all datasets have been asked for."""

    def datasets(self) -> Iterator[tuple[str, h5py.Dataset]]:
        """Iterate over the datasets in other files, with their paths in this one.

        What two links of this file lead to has two paths; what is linked to from there is told once.
        """
        waiting: deque[str] = deque()  # not the groups themselves, which would keep their files open
        for path, thing in self._behind_all(self._file, ""):
            waiting += [path] if isinstance(thing, h5py.Group) else []
            yield from ((name, dataset) for name, dataset, _ in self._datasets_at(path, thing))
        while waiting:
            above = waiting.popleft()
            for path, thing in self._behind_all(self._file[above], above):
                if _key(thing, _place(thing)) not in self._seen:
                    waiting += [path] if isinstance(thing, h5py.Group) else []
                    yield from ((name, dataset) for name, dataset, is_new in self._datasets_at(path, thing) if is_new)

    def _datasets_at(self, path: str, thing: h5py.HLObject) -> list[tuple[str, h5py.Dataset, bool]]:
        """Return a dataset of another file, or those of a group, each with whether it is new; remember them."""
        found: list[tuple[str, h5py.Dataset, bool]] = []
        place = _place(thing)

        def look(name: str, item: h5py.HLObject) -> None:
            key = _key(item, place)
            if isinstance(item, h5py.Dataset):
                found.append((f"{path}/{name}" if name else path, item, key not in self._seen))
            self._seen.add(key)

        look("", thing)
        if isinstance(thing, h5py.Group):
            thing.visititems(look)
        return found

    def _behind_all(self, group: h5py.Group, above: str) -> Iterator[tuple[str, h5py.HLObject]]:
        """Iterate over what the links of a group at a path lead to, but for those within this file itself."""
        place = os.fsdecode(group.file.filename)
        links: list[tuple[str, h5py.SoftLink | h5py.ExternalLink]] = []

        def look(name: str, link: object) -> None:
            if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
                links.append((name, link))

        group.visititems_links(look)
        for name, link in links:
            path = f"{above}/{name}"
            thing = self._behind(group, name, link, path, place)
            if thing is not None and (group is not self._file or isinstance(link, h5py.ExternalLink)):
                yield path, thing

    def _behind(
        self, group: h5py.Group, name: str, link: h5py.SoftLink | h5py.ExternalLink, path: str, place: str
    ) -> h5py.HLObject | None:
        """Return what a link leads to; None, with a finding, if that is nothing to be read."""
        if isinstance(link, h5py.ExternalLink):
            outward = Outward(path, os.fsdecode(link.filename), str(link.path))
            if (what := self._broken(outward, place)) is not None:
                self.findings.append(Finding(path, None, f"links to {outward.file}:{outward.name}, {what}"))
                return None
        elif _is_empty(group, name):
            which = "this file" if group is self._file else os.path.basename(place)
            self.findings.append(Finding(path, None, f"is a link to a place in {which} that is empty"))
            return None
        try:
            return group[name]
        except Exception as error:  # noqa: BLE001 - whatever HDF5 says is the finding
            self.findings.append(Finding(path, None, f"cannot be opened: {_one_line(error)}"))
            return None

    def _broken(self, link: Outward, place: str) -> str | None:
        """Say what is wrong with a link to another file; None if nothing is."""
        target = link.found_from(place)
        if not os.path.isfile(target):
            if not os.path.isabs(link.file) and os.path.isfile(link.file):
                return "which is found from the working folder only, not from where this file is"
            return "and there is no such file"
        if os.path.realpath(target) == self._own:
            return "which is this file"
        try:
            with h5py.File(target, "r") as there:
                if link.name in there:
                    self._file[link.path]  # through all that comes behind it
                    return None
                return "which holds no such thing"
        except Exception as error:  # noqa: BLE001 - whatever HDF5 says is the finding
            return f"which cannot be opened: {_one_line(error)}"


def _place(thing: h5py.HLObject) -> str:
    """Return the file that has an object, as all links to it have it."""
    return os.path.realpath(os.fsdecode(thing.file.filename))


def _key(thing: h5py.HLObject, place: str) -> tuple[str, int]:
    """Return what tells an object from all others, as long as HDF5 has its file open and after that."""
    return place, int(h5py.h5o.get_info(thing.id).addr)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _is_empty(group: h5py.Group, name: str) -> bool:
    try:
        return group.get(name) is None
    except Exception:  # noqa: BLE001 - what lies behind it is told of by its own finding
        return False


def stored_elsewhere(dataset: h5py.Dataset) -> list[str]:
    """Say what is wrong with the other files that hold a dataset's values, if any do. Independent."""
    relative = (
        f"its values are in {name}, which HDF5 looks for in the reader's working folder: readers must set "
        f"{PREFIX}='{ORIGIN}'"
        for name, _, _ in dataset.external or ()
        if not os.path.isabs(name)
    )
    return [*relative, *gone_from(dataset)]


def gone_from(dataset: h5py.Dataset) -> list[str]:
    """Say what is lacking of the other files that hold a dataset's values, seen from its own file. Independent."""
    path = os.path.abspath(os.fsdecode(dataset.file.filename))
    return [*_raw_files(dataset, os.path.dirname(path)), *_virtual_sources(dataset, path)]


def raw_folder(dataset: h5py.Dataset) -> str:
    """Return where HDF5 looks for raw files with relative names; '' is the working folder. Independent."""
    asked = os.environ.get(PREFIX) or os.fsdecode(dataset.id.get_access_plist().get_efile_prefix())
    return asked.replace(ORIGIN, os.path.dirname(os.path.abspath(os.fsdecode(dataset.file.filename))))


def lacking_parts(dataset: h5py.Dataset) -> list[str]:
    """Say which of the other files that hold a dataset's values this process would not find. Independent."""
    path = os.path.abspath(os.fsdecode(dataset.file.filename))
    return [*_raw_files(dataset, raw_folder(dataset)), *_virtual_sources(dataset, path)]


def _raw_files(dataset: h5py.Dataset, folder: str) -> list[str]:
    """Look for raw files in a folder; where one has lost its end HDF5 reads zeros, and says nothing."""
    said = []
    for name, offset, size in dataset.external or ():
        path = os.path.join(folder, name)
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
        return f"which cannot be opened ({_one_line(error)}): HDF5 before 1.14 reads it as fill values"


def movies_named(name: str, dataset: h5py.Dataset) -> list[str]:
    """Return the files that a dataset of some name tells as movies; addresses in the net are none. Independent."""
    if name.rpartition("/")[2] != MOVIES or not dataset.shape or h5py.check_string_dtype(dataset.dtype) is None:
        return []
    return [str(movie) for movie in dataset.asstr(errors="surrogateescape")[()].reshape(-1) if "://" not in movie]


def missing_movies(name: str, dataset: h5py.Dataset) -> list[Finding]:
    """Return the external image files of a dataset that are not there, seen from the folder of its file. Independent.

    Parameters
    ----------
    name
        Path of the dataset in the file that is verified. Only those that are called ``external_file`` name any.
    """
    folder = Path(os.path.abspath(os.fsdecode(dataset.file.filename))).parent
    gone = (movie for movie in movies_named(name, dataset) if not (folder / movie).is_file())
    return [Finding(name, None, f"names {movie}, and there is no such file") for movie in gone]
