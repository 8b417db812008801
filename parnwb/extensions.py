"""``extension_manager``: pynwb's types and those of extensions, for one writer."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
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
        Paths of ``NAME.namespace.yaml`` files, hdmf's ``TypeMap``s, or a list of both.

    Raises
    ------
    ParnwbError
        One of them is neither, or cannot be loaded.
    """
    from hdmf.build import BuildManager
    from pynwb import get_type_map

    types = get_type_map()
    for extension in extensions if isinstance(extensions, list | tuple) else [extensions]:
        _add(types, extension)
    return BuildManager(types)


def _add(types: TypeMap, extension: Extension) -> None:
    from hdmf.build import TypeMap

    if isinstance(extension, TypeMap):
        types.merge(extension, ns_catalog=True)
    elif isinstance(extension, str | PathLike):
        _load(types, Path(extension))
    else:
        raise ParnwbError(
            f"an extension is the path of a namespace file or a TypeMap, got {type(extension).__name__}",
            where="extensions",
        )


def _load(types: TypeMap, path: Path) -> None:
    try:
        types.load_namespaces(str(path))
    except Exception as error:
        raise ParnwbError(
            f"the extension cannot be loaded: {type(error).__name__}: {error}",
            where=str(path),
            remedy="Give the path of its NAME.namespace.yaml, with the files that it names beside it",
        ) from error
