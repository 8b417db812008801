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
