"""``extension_manager``: pynwb's types and those of extensions, for one writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias

from parnwb.errors import ParnwbError

if TYPE_CHECKING:
    from hdmf.build import BuildManager, TypeMap

    Extension: TypeAlias = str | PathLike[str] | TypeMap
    Extensions: TypeAlias = Extension | Sequence[Extension]


def extension_manager(extensions: Extensions) -> BuildManager:
    """Return a manager that knows pynwb's types, those that were registered with it, and ``extensions``. Independent.

    Parameters
    ----------
    extensions
        Paths of ``NAME.namespace.yaml`` files, hdmf's ``TypeMap``s, or a list of both. One type map may know NWB's core
        itself, as those from ``pynwb.get_type_map`` do; it is used, and gets to know the others.

    Raises
    ------
    ParnwbError
        One of them is neither, or cannot be loaded.
    """
    from hdmf.build import BuildManager

    given = list(extensions) if isinstance(extensions, list | tuple) else [extensions]
    types = _base(given)
    for extension in given:
        if extension is not types:
            _add(types, extension)
    return BuildManager(types)


def _base(given: list[Extension]) -> TypeMap:
    """Return the type map that knows NWB's core."""
    from hdmf.build import TypeMap
    from pynwb import get_type_map

    maps = [item for item in given if isinstance(item, TypeMap) and "core" in item.namespace_catalog.namespaces]
    if len(maps) > 1:
        raise ParnwbError(
            f"one type map may hold NWB's core, {len(maps)} of those given do",
            where="extensions",
            remedy="Load the namespaces of all extensions into one of them",
        )
    return maps[0] if maps else get_type_map()


def _add(types: TypeMap, extension: Extension) -> None:
    from hdmf.build import TypeMap

    if isinstance(extension, str | PathLike):
        _load(lambda: types.load_namespaces(str(extension)), str(extension))
    elif isinstance(extension, TypeMap):
        _load(lambda: types.merge(extension, ns_catalog=True), "extensions")
    else:
        raise ParnwbError(
            f"an extension is the path of a namespace file or a TypeMap, got {type(extension).__name__}",
            where="extensions",
        )


def _load(load: Callable[[], object], where: str) -> None:
    try:
        load()
    except Exception as error:
        raise ParnwbError(
            f"the extension cannot be loaded: {type(error).__name__}: {error}",
            where=where,
            remedy="Give the path of its NAME.namespace.yaml, with the files that it names beside it",
        ) from error
