"""hdmf's builders: where each is in the file, what it holds, and all of a tree. Imported without hdmf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdmf.build import Builder, DatasetBuilder, GroupBuilder


def location(builder: Builder) -> str:
    """Return the path that a builder's object gets in the file. Independent."""
    names = []
    current: Any = builder
    while current.parent is not None:
        names.append(current.name)
        current = current.parent
    return "/" + "/".join(reversed(names))


def root_of(builder: Builder) -> Any:
    """Return the root of the tree that a builder was put into. Independent."""
    current: Any = builder
    while current.parent is not None:
        current = current.parent
    return current


def found_at(root: Any, path: str) -> Any:
    """Return what is at a path of a tree, through links; None if there is nothing. Independent."""
    current = root
    for name in filter(None, path.split("/")):
        members = [getattr(current, kind, {}) for kind in ("groups", "datasets", "links")]
        current = next((one[name] for one in members if name in one), None)
        current = getattr(current, "builder", current)  # what a link leads to
    return current


def unwrapped(data: Any) -> Any:
    """Return the data inside a ``DataIO``, or the data themselves. Independent."""
    from hdmf.data_utils import DataIO

    return data.data if isinstance(data, DataIO) else data


def tree(root: GroupBuilder) -> Iterator[Builder]:
    """Iterate over a group and all below it. Independent."""
    yield root
    for group in root.groups.values():
        yield from tree(group)
    yield from root.datasets.values()
    yield from root.links.values()


def datasets_of(root: GroupBuilder) -> Iterator[DatasetBuilder]:
    """Iterate over all datasets below a group. Independent."""
    from hdmf.build import DatasetBuilder

    return (builder for builder in tree(root) if isinstance(builder, DatasetBuilder))
