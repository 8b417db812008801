"""``copy_objects``: everything that a survey has found, made in a new file; bulk datasets by the caller."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from parnwb.authoring.chunking import creation_anew
from parnwb.errors import ParnwbError, SourceError
from parnwb.rewriting.item import LINKS, Item, Kind
from parnwb.rewriting.names import attribute_names, parted, raw
from parnwb.rewriting.references import Key, key_of, put_values, reference_attributes, target_of, translated, values_of
from parnwb.rewriting.survey import Survey
from parnwb.rewriting.types import holds, is_in_heap, is_reference
from parnwb.sources.raw_chunks import is_outside

# HDF5's H5O_COPY_MERGE_COMMITTED_DTYPE_FLAG: use a committed type of the new file that is the same. h5py lacks it.
MERGE_COMMITTED_TYPES = 0x40
TYPES_UNTIL_LINKED = b"parnwb types until they have their links"
CreateBulk = Callable[[h5py.h5g.GroupID, Item, h5py.h5t.TypeID, h5py.h5p.PropLCID], None]


def copy_objects(file: h5py.File, found: Survey, create_bulk: CreateBulk) -> None:
    """Make all objects and links in a new file, in the order of the survey. Independent.

    Objects come first, then what refers to them: attributes and values. What is neither a group nor bulk HDF5 copies
    itself, which keeps stored bytes, filter masks and properties as they are.

    Parameters
    ----------
    file
        Open for writing, and empty.
    found
        What it is to hold.
    create_bulk
        Is given the group, the item, the type and the properties of the link, and creates an empty dataset.

    Raises
    ------
    SourceError
        An object cannot be copied.
    """
    copier = _Copier(file, found, create_bulk)
    copier.commit_types()
    for item in found.items:
        copier.guarded(copier.make, item)
    for item in found.items:
        copier.guarded(copier.finish, item)
    copier.tidy_up()


class _Copier:
    def __init__(self, file: h5py.File, found: Survey, create_bulk: CreateBulk) -> None:
        self._file, self._found, self._create_bulk = file, found, create_bulk
        self._types: dict[Key, h5py.h5t.TypeID] = {}
        self._made: dict[str, Any] = {"/": file.id}
        self._lost = 0
        self._copying = h5py.h5p.create(h5py.h5p.OBJECT_COPY)

    def guarded(self, do: Callable[[Item], None], item: Item) -> None:
        """Let every error say at which object it arose."""
        try:
            do(item)
        except ParnwbError:
            raise
        except Exception as error:
            raise SourceError(
                f"an object cannot be written anew: {type(error).__name__}: {error}",
                where=f"{item.file.filename}:{item.at}",
                remedy="Check the file with h5dump or h5check; h5repack may take what parnwb does not",
            ) from error

    def commit_types(self) -> None:
        """Commit all types before anything that has them; they get their own names in their turn."""
        items = [item for item in self._found.items if item.kind is Kind.TYPE]
        if not items:
            return
        self._copying.set_copy_object(MERGE_COMMITTED_TYPES)
        group = h5py.h5g.create(self._file.id, TYPES_UNTIL_LINKED)
        for number, item in enumerate(items):
            there = item.opened
            kind = there.copy()
            kind.commit(group, str(number).encode())
            self._types[key_of(there)] = kind

    def tidy_up(self) -> None:
        """Remove what was for the time of copying; tell of what is lost."""
        if self._types:
            h5py.h5g.open(self._file.id, b"/").unlink(TYPES_UNTIL_LINKED)
        if self._lost and not self._found.leaves_out:
            warnings.warn(
                f"{self._lost} references of {self._found.file.filename} lead nowhere, and are null in the new file",
                stacklevel=2,
            )

    def make(self, item: Item) -> None:
        """Make an object without what refers to others, or a link."""
        if item.path == "/":
            return
        parent, name = parted(item.path)
        group = self._group(parent)
        link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        link.set_char_encoding(item.charset)
        if item.kind is Kind.GROUP:
            self._made[item.path] = h5py.h5g.create(group, name, link, _group_creation(item.opened))
        elif item.kind is Kind.BULK:
            self._create_bulk(group, item, self._type(item.opened.get_type()), link)
        elif item.kind is Kind.COPIED:
            h5py.h5o.copy(item.file.id, raw(item.at), group, name, self._copying, link)
        elif item.kind is Kind.VALUES:
            self._create_like(item, group, name, link)
        elif item.kind is Kind.TYPE:
            h5py.h5o.link(self._types[key_of(item.opened)], group, name, link)
        elif item.kind is Kind.HARD_LINK:
            group.links.create_hard(name, self._group("/"), raw(item.target), link)
        elif item.kind is Kind.SOFT_LINK:
            group.links.create_soft(name, raw(item.target), link)
        else:
            group.links.create_external(name, raw(item.filename), raw(item.target), link)

    def finish(self, item: Item) -> None:
        """Give an object its attributes and references."""
        if item.kind in LINKS:
            return
        there, here = item.opened, h5py.h5o.open(self._file.id, raw(item.path))
        if item.kind is Kind.COPIED:
            for name in reference_attributes(there):
                self._put(h5py.h5a.open(there, name), h5py.h5a.open(here, name), item)
            return
        for name in attribute_names(there):
            self._copy_attribute(there, here, name, item)
        if item.kind is Kind.VALUES:
            self._put(there, here, item)

    def _group(self, path: str) -> Any:
        if path == "/":
            return h5py.h5g.open(self._file.id, b"/")
        return self._made[path]

    def _type(self, kind: h5py.h5t.TypeID) -> h5py.h5t.TypeID:
        """Return a type as the new file has it: committed there, or nowhere."""
        if not kind.committed():
            return kind
        return self._types.get(key_of(kind)) or kind.copy()

    def _create_like(self, item: Item, group: Any, name: bytes, link: Any) -> None:
        there = item.opened
        creation = there.get_create_plist()
        if is_outside(item.dataset):
            creation = creation_anew(item.dataset)
        h5py.h5d.create(group, name, self._type(there.get_type()), there.get_space(), creation, link)

    def _copy_attribute(self, there: Any, here: Any, name: bytes, item: Item) -> None:
        old = h5py.h5a.open(there, name)
        kind = old.get_type()
        new = h5py.h5a.create(here, name, self._type(kind), old.get_space())
        if holds(kind, is_reference) or holds(kind, is_in_heap):
            self._put(old, new, item)
            return
        space = old.get_space()
        if space.get_simple_extent_type() == h5py.h5s.NULL or not space.get_simple_extent_npoints():
            return
        # The bytes as they are, whatever the type, of which numpy may have none.
        values = np.empty(old.shape, dtype=np.dtype((np.void, kind.get_size())))
        old.read(values, kind)
        new.write(values, kind)

    def _put(self, there: Any, here: Any, item: Item) -> None:
        values = values_of(there)
        if values is not None:
            put_values(here, translated(values, lambda reference: self._reference(reference, item)))

    def _reference(self, reference: Any, item: Item) -> Any:
        if not reference:
            return reference
        target = target_of(reference, item.file)
        place = self._found.places.get(key_of(target)) if target is not None else None
        if place is None:
            self._lost += 1
            return type(reference)()
        if isinstance(reference, h5py.h5r.RegionReference):
            region = h5py.h5r.get_region(reference, item.file.id)
            return h5py.h5r.create(self._file.id, raw(place), h5py.h5r.DATASET_REGION, region)
        return h5py.h5r.create(self._file.id, raw(place), h5py.h5r.OBJECT)


def _group_creation(group: h5py.h5g.GroupID) -> h5py.h5p.PropGCID:
    """Return the properties with which a group like this one is created.

    Not those that HDF5 returns for it: of a group with many links they hold the addresses of its heap and index.
    """
    there, creation = group.get_create_plist(), h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_link_creation_order(there.get_link_creation_order())
    creation.set_attr_creation_order(there.get_attr_creation_order())
    creation.set_attr_phase_change(*there.get_attr_phase_change())
    creation.set_obj_track_times(there.get_obj_track_times())
    return creation
