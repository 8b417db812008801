"""Whether a file that was written once more is the one that it was."""

from __future__ import annotations

from pathlib import Path

from contract.compare import Allowed, Snapshot, differences, snapshot

STORAGE = ("chunks", "chunk bytes", "filters", "layout", "allocated", "stored bytes", "allocation time")


def described(path: Path) -> Snapshot:
    """Return the snapshot of a file; the version of its superblock may be that of an older HDF5, and so may headers."""
    found = snapshot(path)
    for entry in found.values():
        for field in ("versions", "header version"):
            entry.pop(field, None)
        # A type's bytes tell where it was committed.
        entry.pop("type", None)
    return found


def assert_same(expected: Path, found: Path, *, without: tuple[str, ...] = ()) -> None:
    allowed = Allowed(fill_and_allocation_time=True, early_allocation=True, filters=True, size_ratio=100)
    old, new = described(expected), described(found)
    for path, entry in new.items():
        entry.update({field: old[path][field] for field in without if field in entry and path in old})
    assert not differences(old, new, allowed)
