"""Names of links and attributes, in the order in which they are to be made again."""

from __future__ import annotations

from typing import Any

import h5py


def text(name: bytes) -> str:
    """Return a name as text; whatever bytes it has, ``raw`` gives them back. Independent."""
    return name.decode("utf-8", "surrogateescape")


def raw(name: str) -> bytes:
    """Return a name as bytes. Independent."""
    return name.encode("utf-8", "surrogateescape")


def is_text(path: str) -> bool:
    """Tell whether all names of a path are UTF-8, as h5py wants them. Independent."""
    return not any("\udc80" <= letter <= "\udcff" for letter in path)


def inside(path: str, name: bytes) -> str:
    """Return the path of something in a group. Independent."""
    return f"{path.rstrip('/')}/{text(name)}"


def parted(path: str) -> tuple[str, bytes]:
    """Return the path of the group that something is in, and its name there. Independent."""
    parent, _, name = path.rpartition("/")
    return parent or "/", raw(name)


def link_names(group: h5py.h5g.GroupID) -> list[bytes]:
    """Return the names in a group: in the order of their creation if it keeps that, by name else. Independent."""
    found: list[bytes] = []
    tracked = group.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED
    index = h5py.h5.INDEX_CRT_ORDER if tracked else h5py.h5.INDEX_NAME
    group.links.iterate(found.append, idx_type=index)
    return found


def attribute_names(thing: Any) -> list[bytes]:
    """Return the names of an object's attributes, in the order of their creation if it keeps that. Independent."""
    found: list[bytes] = []
    if not h5py.h5a.get_num_attrs(thing):
        return found
    # A committed type has no creation properties that h5py shows.
    plist = thing.get_create_plist() if hasattr(thing, "get_create_plist") else None
    tracked = plist is not None and plist.get_attr_creation_order() & h5py.h5p.CRT_ORDER_TRACKED
    index = h5py.h5.INDEX_CRT_ORDER if tracked else h5py.h5.INDEX_NAME
    h5py.h5a.iterate(thing, found.append, index_type=index)
    return found
