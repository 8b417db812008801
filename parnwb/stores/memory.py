"""``MemoryFolder``: a Zarr store in memory that takes itself for a folder, as hdmf-zarr wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zarr.storage import DirectoryStore, MemoryStore


class MemoryFolder(MemoryStore, DirectoryStore):
    """What would be in a folder: all calls are those of the first class, whose contents are in memory. Independent.

    Parameters
    ----------
    path
        Of the folder, to which links and references are relative. It is not touched.
    """

    def __init__(self, path: Path) -> None:
        MemoryStore.__init__(self)
        self.path = str(path)

    def files(self) -> dict[str, bytes]:
        """Return what each file would hold, by its path in the folder; consolidated metadata come last."""
        names: list[str] = sorted(self.keys(), key=lambda name: (name == ".zmetadata", name))
        return {name: _as_bytes(self[name]) for name in names}


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else bytes(memoryview(value).cast("B"))
