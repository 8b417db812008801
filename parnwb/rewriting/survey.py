"""``Survey``: what a file will hold that is written from other files, object by object, and where it is now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import h5py

from parnwb.authoring.bulk_rule import BulkRule
from parnwb.errors import LinkError, SourceError
from parnwb.links.at_hand import check_at_hand
from parnwb.links.tiles import beside, sources_of
from parnwb.rewriting.item import LINKS, Item, Kind
from parnwb.rewriting.names import inside, is_text, link_names, parted, raw, text
from parnwb.rewriting.references import Key, key_of, reference_attributes, references_in, target_of, values_of
from parnwb.rewriting.sameness import have_same_values, lineage
from parnwb.rewriting.types import holds, is_reference
from parnwb.sources.raw_chunks import is_outside, is_plain


@dataclass(frozen=True)
class Scope:
    """What belongs to the new file.

    Parameters
    ----------
    rule
        What is bulk.
    contains_all
        Whether what is in other files (external links, virtual datasets, external storage) comes into this one.
    elsewhere
        By path, the file (as a link is to name it) that has this object instead of the new one.
    left_out
        Whether nothing is in the place of these objects, instead of links to them.
    """

    rule: BulkRule = BulkRule()
    contains_all: bool = False
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    left_out: bool = False


@dataclass(frozen=True)
class Survey:
    """What a new file will hold.

    Parameters
    ----------
    file
        The file that is written anew.
    items
        Each after the group that it is in; the root group first.
    places
        Where each object goes.
    leaves_out
        Whether something of ``file`` is left out, so that references to it are to be null.
    """

    file: h5py.File
    items: tuple[Item, ...]
    places: Mapping[Key, str]
    leaves_out: bool = False

    @property
    def bulk(self) -> list[Item]:
        """What all ranks fill."""
        return [item for item in self.items if item.kind is Kind.BULK]

    @property
    def files(self) -> list[str]:
        """The files that are read."""
        parts = [
            beside(item.file.filename, name)
            for item in self.bulk
            if item.dataset.is_virtual
            for name in sources_of(item.dataset)
        ]
        own = [item.file.filename for item in self.items]
        return list(dict.fromkeys(map(os.path.realpath, [*own, *parts])))


def survey(file: h5py.File, scope: Scope, opened: ExitStack) -> Survey:
    """Return what a file will hold that is written from ``file``. Independent.

    Parameters
    ----------
    file
        Open for reading.
    scope
        What belongs to it.
    opened
        Closes the files that are opened here.

    Raises
    ------
    LinkError
        What is in another file cannot be had, or would be in the place of something else.
    SourceError
        There is something that cannot be written anew.
    """
    found = _Surveyor(file, scope, opened)
    found.group(file.id, "/", file, "/", h5py.h5t.CSET_ASCII)
    if scope.contains_all:
        found.bring_what_is_needed()
    return Survey(file, tuple(found.items), found.places, scope.left_out)


class _Surveyor:
    def __init__(self, file: h5py.File, scope: Scope, opened: ExitStack) -> None:
        self._file, self._scope, self._opened = file, scope, opened
        self._files = {os.path.realpath(file.filename): file}
        self._looked_at = 0
        self._paths: dict[str, int] = {}  # of the items, which has it
        self._as_stored: set[str] = set()  # soft links of other files, whose targets are places there
        self.items: list[Item] = []
        self.places: dict[Key, str] = {}

    def group(self, thing: Any, path: str, file: h5py.File, at: str, charset: int) -> None:
        """Take a group with all that is in it."""
        group = h5py.h5g.open(file.id, raw(at))
        self.places[key_of(group)] = path
        self._take(Item(path, Kind.GROUP, file, at, charset=charset))
        count, names = len(self.items), link_names(group)
        for name in names:
            self._link(group, name, inside(path, name), file, inside(at, name))
        is_emptied = self._scope.left_out and names and len(self.items) == count
        if is_emptied and h5py.h5a.exists(group, b"neurodata_type"):  # which wants something in it
            del self._paths[self.items.pop().path]
            del self.places[key_of(group)]

    def _take(self, item: Item) -> None:
        self._paths[item.path] = len(self.items)
        self.items.append(item)

    def _link(self, group: Any, name: bytes, path: str, file: h5py.File, at: str) -> None:
        info = group.links.get_info(name)
        if path in self._scope.elsewhere:
            if not self._scope.left_out:
                self._take(Item(path, Kind.LINK_TO_PART, file, at, path, self._scope.elsewhere[path], info.cset))
        elif info.type == h5py.h5l.TYPE_HARD:
            self._object(h5py.h5o.open(group, name), path, file, at, info.cset)
        elif info.type == h5py.h5l.TYPE_SOFT:
            self._soft(text(group.links.get_val(name)), path, file, at, info.cset)
        elif info.type == h5py.h5l.TYPE_EXTERNAL:
            filename, target = map(text, group.links.get_val(name))
            self._external(filename, target, path, file, at, info.cset)
        else:
            raise SourceError(
                f"only HDF5's own kinds of links can be written anew, this one has the type {info.type}",
                where=f"{file.filename}:{at}",
                remedy="Remove the link, or replace it by a soft or external one",
            )

    def _object(self, thing: Any, path: str, file: h5py.File, at: str, charset: int) -> None:
        key = key_of(thing)
        if key in self.places:
            # Readers of NWB take a second hard link for a second object, where it was none in its own file.
            kind = Kind.HARD_LINK if file is self._file else Kind.SOFT_LINK
            self._take(Item(path, kind, file, at, self.places[key], charset=charset))
        elif isinstance(thing, h5py.h5g.GroupID):
            self.group(thing, path, file, at, charset)
        else:
            self.places[key] = path
            is_dataset = isinstance(thing, h5py.h5d.DatasetID)
            kind = self._kind(h5py.Dataset(thing), path) if is_dataset else Kind.TYPE
            self._take(Item(path, kind, file, at, charset=charset))

    def _kind(self, dataset: h5py.Dataset, path: str) -> Kind:
        if holds(dataset.id.get_type(), is_reference):
            return Kind.VALUES
        outside = is_outside(dataset)
        try:
            is_large = self._scope.rule.is_large(dataset.shape or (), dataset.dtype)
        except TypeError:  # a type that numpy has not
            return Kind.COPIED
        if outside and self._scope.contains_all:
            check_at_hand(dataset)
            if is_large and not is_text(path):
                raise SourceError(
                    "what is brought in from other files must have a name in UTF-8: all ranks are told of it",
                    where=f"{dataset.file.filename}:{path}",
                    remedy="Rename the dataset",
                )
            return Kind.BULK if is_large else Kind.VALUES
        # What was never written takes no space, and is to take none.
        is_there = dataset.chunks is not None or _has_space(dataset)
        return Kind.BULK if is_large and is_text(path) and is_there and is_plain(dataset) else Kind.COPIED

    def _soft(self, target: str, path: str, file: h5py.File, at: str, charset: int) -> None:
        absolute = _absolute(at, target)
        holder = next((moved for moved in self._scope.elsewhere if f"{absolute}/".startswith(f"{moved}/")), None)
        if holder is not None and self._scope.left_out:
            filename = self._scope.elsewhere[holder]
            self._take(Item(path, Kind.LINK_TO_PART, file, at, absolute, filename, charset))
        else:
            if file is not self._file:
                self._as_stored.add(path)
            self._take(Item(path, Kind.SOFT_LINK, file, at, target, charset=charset))

    def _external(self, filename: str, target: str, path: str, file: h5py.File, at: str, charset: int) -> None:
        if not self._scope.contains_all:
            self._take(Item(path, Kind.EXTERNAL_LINK, file, at, target, filename, charset))
            return
        there = self._open(filename, file, at)
        try:
            thing = h5py.h5o.open(there.id, raw(target))
        except Exception as error:
            raise LinkError(
                f"what is behind an external link must be there: {filename} has no {target}",
                where=f"{file.filename}:{at}",
                remedy="Bring the file that has it, or remove the link",
            ) from error
        there, own = self._home(thing, there, target)
        self._object(thing, path, there, own, charset)

    def _home(self, thing: Any, file: h5py.File, at: str) -> tuple[h5py.File, str]:
        """Return the file of an object, and its path there; ``at`` may have led through links."""
        own = h5py.h5i.get_name(thing)
        return self._open(text(h5py.h5f.get_name(thing)), file, at), text(own) if own else at

    def _open(self, filename: str, above: h5py.File, at: str) -> h5py.File:
        place = os.path.realpath(beside(above.filename, filename))
        if place not in self._files:
            try:
                self._files[place] = self._opened.enter_context(h5py.File(place, "r"))
            except OSError as error:
                raise LinkError(
                    f"the file behind an external link must be there: {filename} cannot be opened: {error}",
                    where=f"{above.filename}:{at}",
                    remedy="Bring it beside the file that links to it",
                ) from error
        return self._files[place]

    # -- what is needed by that which comes from other files ----------------------------------------------------

    def bring_what_is_needed(self) -> None:
        """Take also the objects of other files that those which came from there refer or link to."""
        while self._looked_at < len(self.items):
            item = self.items[self._looked_at]
            if item.path in self._as_stored:
                self.items[self._looked_at] = self._resolved(item)
            elif item.file is not self._file and item.kind in (Kind.GROUP, Kind.BULK, Kind.COPIED, Kind.VALUES):
                self._bring_referenced(item)
            self._looked_at += 1

    def _resolved(self, item: Item) -> Item:
        """Return a soft link of another file as it leads to the same object here; one that leads nowhere as it is."""
        absolute = _absolute(item.at, item.target)
        thing = _opened_or_none(item.file, absolute)
        if thing is None:
            return item
        place = self._bring(thing, *self._home(thing, item.file, absolute))
        return item if _absolute(item.path, item.target) == place else replace(item, target=place)

    def _bring_referenced(self, item: Item) -> None:
        thing = item.opened
        references = [
            reference
            for name in reference_attributes(thing)
            for reference in references_in(values_of(h5py.h5a.open(thing, name)))
        ]
        if isinstance(thing, h5py.h5d.DatasetID) and holds(thing.get_type(), is_reference):
            references += references_in(values_of(thing))
        for reference in references:
            target = target_of(reference, item.file)
            if target is not None and key_of(target) not in self.places:
                self._bring(target, item.file, text(h5py.h5i.get_name(target)))

    def _bring(self, thing: Any, file: h5py.File, at: str) -> str:
        """Return the place of an object of another file; give it the one that it has there if it has none yet."""
        key = key_of(thing)
        if key not in self.places and isinstance(thing, h5py.h5d.DatasetID):
            self._bring_owner(file, at)
        if key in self.places:
            return self.places[key]
        if at in self._paths:
            self.places[key] = self._place_of_same(thing, file, at)
            return self.places[key]
        parent, _ = parted(at)
        if parent not in self._paths:
            above = h5py.h5g.open(file.id, raw(parent))
            self._bring_group_alone(above, file, parent)
        elif self.items[self._paths[parent]].kind is not Kind.GROUP:
            raise _taken(file, at, self.items[self._paths[parent]])
        self._object(thing, at, file, at, h5py.h5t.CSET_ASCII)
        return at

    def _bring_owner(self, file: h5py.File, at: str) -> None:
        """Bring the series or table that a dataset is in: without all of its datasets it would be none."""
        above, _ = parted(at)
        while above != "/":
            group = h5py.h5o.open(file.id, raw(above))
            if h5py.h5a.exists(group, b"neurodata_type"):
                self._bring(group, file, above)
                return
            above, _ = parted(above)

    def _bring_group_alone(self, group: Any, file: h5py.File, at: str) -> None:
        parent, _ = parted(at)
        if parent not in self._paths:
            self._bring_group_alone(h5py.h5g.open(file.id, raw(parent)), file, parent)
        self.places.setdefault(key_of(group), at)
        self._take(Item(at, Kind.GROUP, file, at))

    def _place_of_same(self, thing: Any, file: h5py.File, at: str) -> str:
        """Return the place of that which stands for something of another file; refuse anything else that is there."""
        if at == "/":
            return at
        there = self._behind_links(at)
        if there is None:
            raise _taken(file, at, self.items[self._paths[at]])
        known = lineage(file, at), lineage(there.file, there.at)
        has_ids = any(nearest is not None for nearest, _ in known)
        if not (known[0] == known[1] if has_ids else self._has_all_of(thing, there.path, set())):
            raise _taken(file, at, there)
        return there.path

    def _behind_links(self, path: str) -> Item | None:
        """Return what is in a place of the new file, behind links within it; None if that is nothing."""
        for _ in range(MOST_LINKS):
            if path not in self._paths:
                return None
            item = self.items[self._paths[path]]
            if item.kind not in LINKS:
                return item
            path = "" if item.filename else _absolute(path, item.target)
        return None

    def _has_all_of(self, thing: Any, place: str, seen: set[Key]) -> bool:
        """Tell whether a place of the new file has all that is in an object, where no ids tell what it is.

        Values of large datasets are not compared: they count as different.
        """
        key, there = key_of(thing), self._behind_links(place)
        if there is None or key in self.places:
            return there is not None and self.places[key] == there.path
        if key in seen:
            return True
        seen.add(key)
        if isinstance(thing, h5py.h5g.GroupID):
            links = {name: thing.links.get_info(name).type for name in link_names(thing)}
            return there.kind is Kind.GROUP and all(
                self._has_all_of(h5py.h5o.open(thing, name), inside(place, name), seen)
                if kind == h5py.h5l.TYPE_HARD
                else inside(place, name) in self._paths
                for name, kind in links.items()
            )
        if there.kind not in (Kind.COPIED, Kind.VALUES) or not isinstance(thing, h5py.h5d.DatasetID):
            return False
        return isinstance(there.opened, h5py.h5d.DatasetID) and have_same_values(thing, there.opened)


MOST_LINKS = 64
"""Of a chain within a file; HDF5 follows 16."""


def _absolute(at: str, target: str) -> str:
    """Return where a soft link leads that is at a place."""
    return os.path.normpath(os.path.join(os.path.dirname(at), target))


def _taken(file: h5py.File, at: str, there: Item) -> LinkError:
    return LinkError(
        f"{at} is needed by what comes from {file.filename}, and another object has that path",
        where=f"{there.file.filename}:{there.at}",
        remedy="Give one of them another name, or leave the files apart",
    )


def _has_space(dataset: h5py.Dataset) -> bool:
    return bool(dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED)


def _opened_or_none(file: h5py.File, path: str) -> Any:
    try:
        return h5py.h5o.open(file.id, raw(path))
    except Exception:  # noqa: BLE001 - a soft link may lead nowhere, and goes on doing so
        return None
