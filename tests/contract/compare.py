"""Where two HDF5 files differ, in anything that a reader can find out about them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FILTER_DEFLATE = 1
# In smaller chunks a deflate program's fixed costs, and the padding at the edges, outweigh its level.
MEANINGFUL_CHUNK_BYTES = 4096


@dataclass(frozen=True)
class Allowed:
    """Where a file may differ from the one it is compared with.

    Parameters
    ----------
    fill_and_allocation_time
        When HDF5 would fill and allocate.
    filters
        Which filters a dataset has, as long as it has some.
    early_allocation
        Chunks may exist that nothing was written to.
    size_ratio
        How much larger the stored bytes of a compressed dataset may be.
    parts
        A dataset may be spread over files, in chunks where one file would have all of it in one piece.
    """

    fill_and_allocation_time: bool = False
    filters: bool = False
    early_allocation: bool = False
    size_ratio: float = 1.05
    parts: bool = False

    @classmethod
    def of(cls, backend: str, **more: Any) -> Allowed:
        """Return what is allowed to a backend."""
        is_mpio = backend == "mpio"
        return cls(
            fill_and_allocation_time=is_mpio, early_allocation=is_mpio, parts=backend == "virtual", **more
        )


Entry = dict[str, Any]
Snapshot = dict[str, Entry]


def snapshot(path: Path) -> Snapshot:
    """Return a description of every object and link of a file, by path, and of the file itself."""
    with h5py.File(path, "r") as file:
        creation = file.id.get_create_plist()
        found: Snapshot = {"": {"userblock": creation.get_userblock(), "versions": creation.get_version()}}
        found.update(_objects(file, {}))
        return found


def comparable(path: Path) -> Snapshot:
    """Return the snapshot of an NWB file, without what is made anew whenever an NWBFile is."""
    found = snapshot(path)
    for entry in found.values():
        entry.get("attributes", {}).pop("object_id", None)
    found["/file_create_date"]["values"] = None
    return found


def object_ids(path: Path) -> dict[str, str]:
    """Return every object id of a file, by path."""
    return {
        name: entry["attributes"]["object_id"][-1]
        for name, entry in snapshot(path).items()
        if "object_id" in entry.get("attributes", {})
    }


def _objects(group: h5py.Group, seen: dict[Any, str]) -> Iterator[tuple[str, Entry]]:
    """Walk hard links; a second one to the same object is told as such."""
    seen[h5py.h5o.get_info(group.id).addr] = group.name
    yield group.name, _group(group)
    for name in group:
        path = f"{group.name.rstrip('/')}/{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            yield path, {"kind": "soft link", "target": link.path}
        elif isinstance(link, h5py.ExternalLink):
            yield path, {"kind": "external link", "target": (link.filename, link.path)}
        else:
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                yield path, {"kind": "hard link", "target": seen[address]}
            elif isinstance(item, h5py.Group):
                yield from _objects(item, seen)
            else:
                seen[address] = path
                yield path, _dataset(item) if isinstance(item, h5py.Dataset) else _committed(item)


def _group(group: h5py.Group) -> Entry:
    creation = group.id.get_create_plist()
    return {
        "kind": "group",
        "attributes": _attributes(group),
        "members": sorted(group),
        "link order": creation.get_link_creation_order() if not isinstance(group, h5py.File) else 0,
        "header version": h5py.h5o.get_info(group.id).hdr.version,
    }


def _committed(kind: h5py.Datatype) -> Entry:
    return {"kind": "committed type", "attributes": _attributes(kind), "dtype": str(kind.dtype)}


def _dataset(dataset: h5py.Dataset) -> Entry:
    creation = dataset.id.get_create_plist()
    space = dataset.id.get_space()
    found = {
        "kind": "dataset",
        "attributes": _attributes(dataset),
        "dtype": str(dataset.dtype),
        "type": dataset.id.get_type().encode().hex(),
        "space": space.get_simple_extent_type(),
        "shape": dataset.shape,
        "maxshape": dataset.maxshape,
        "layout": creation.get_layout(),
        "chunks": dataset.chunks,
        "chunk bytes": math.prod(dataset.chunks or ()) * dataset.dtype.itemsize,
        "filters": [creation.get_filter(number) for number in range(creation.get_nfilters())],
        "fill value": _fill_value(dataset, creation),
        "fill time": creation.get_fill_time(),
        "allocation time": creation.get_alloc_time(),
        "attribute order": creation.get_attr_creation_order(),
        "header version": h5py.h5o.get_info(dataset.id).hdr.version,
        "allocated": _allocated(dataset),
        "stored bytes": dataset.id.get_storage_size(),
        "values": _comparable(dataset[()], dataset.file),
    }
    return {**found, **_of_parts(dataset)} if dataset.is_virtual else found


def _of_parts(dataset: h5py.Dataset) -> Entry:
    """Return what the parts of a virtual dataset have in common, and what they store together."""
    folder = Path(dataset.file.filename).parent
    pieces = dataset.virtual_sources()
    names = {(piece.file_name.replace("%%", "%"), piece.dset_name.replace("%%", "%")) for piece in pieces}
    found: list[Entry] = []
    chunks = stored = 0
    for name, path in sorted(names):
        assert not os.path.isabs(name)
        with h5py.File(folder / name, "r") as file:
            part, creation = file[path], file[path].id.get_create_plist()
            assert part.shape == dataset.shape and part.maxshape == dataset.maxshape
            assert part.id.get_type().equal(dataset.id.get_type())
            found.append({
                "layout": creation.get_layout(),
                "chunks": part.chunks,
                "chunk bytes": math.prod(part.chunks) * part.dtype.itemsize,
                "filters": [creation.get_filter(number) for number in range(creation.get_nfilters())],
                "fill time": creation.get_fill_time(),
                "allocation time": creation.get_alloc_time(),
            })  # fmt: skip
            chunks += part.id.get_num_chunks()
            stored += part.id.get_storage_size()
    assert all(other == found[0] for other in found)
    want = math.prod(-(-n // c) for n, c in zip(dataset.shape, found[0]["chunks"], strict=True))
    allocated = "complete" if chunks == want else f"{chunks} of {want}"
    return {**found[0], "allocated": allocated, "stored bytes": stored, "pieces": len(pieces)}


def _fill_value(dataset: h5py.Dataset, creation: Any) -> Any:
    state = creation.fill_value_defined()
    if state != h5py.h5d.FILL_VALUE_USER_DEFINED:
        return state
    value = np.zeros((), dtype=dataset.dtype)
    creation.get_fill_value(value)
    return state, value.tobytes()


def _allocated(dataset: h5py.Dataset) -> str:
    """Tell whether all chunks, or all bytes of a contiguous dataset, have a place in the file."""
    if dataset.chunks is not None:
        have = dataset.id.get_num_chunks()
        want = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    else:
        have, want = dataset.id.get_storage_size(), (dataset.size or 0) * dataset.dtype.itemsize
    return "complete" if have == want else f"{have} of {want}"


def _attributes(item: h5py.Group | h5py.Dataset | h5py.Datatype) -> dict[str, Any]:
    found = {}
    for name, value in item.attrs.items():
        identifier = h5py.h5a.open(item.id, name.encode())
        found[name] = (identifier.get_type().encode().hex(), identifier.shape, _comparable(value, item.file))
    return found


def _comparable(value: Any, file: h5py.File) -> Any:
    """Turn a value into one that compares bit for bit; references become the paths they lead to."""
    if isinstance(value, h5py.Reference):
        return ("reference", file[value].name if value else None)
    if isinstance(value, np.void) and value.dtype.names:
        return tuple(_comparable(value[name], file) for name in value.dtype.names)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return value.shape, [_comparable(item, file) for item in value.reshape(-1)]
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else value


# -- differences -------------------------------------------------------------------------------------------


def differences(expected: Snapshot, found: Snapshot, allowed: Allowed) -> list[str]:
    """Return one line for each thing that is not as expected."""
    lines = [f"{path}: missing" for path in expected if path not in found]
    lines += [f"{path}: not expected" for path in found if path not in expected]
    for path in expected:
        if path in found:
            lines += [f"{path or 'file'}: {line}" for line in _entry(expected[path], found[path], allowed)]
    return lines


def _entry(expected: Entry, found: Entry, allowed: Allowed) -> Iterator[str]:
    if expected.get("kind") != found.get("kind"):
        yield f"expected a {expected.get('kind')}, found a {found.get('kind')}"
        return
    skipped = {"stored bytes", "allocated", "values", "attributes"}  # compared in their own ways
    if allowed.fill_and_allocation_time:
        skipped |= {"fill time", "allocation time"}
    if allowed.filters:
        skipped |= {"filters"}
    if allowed.parts and "pieces" in found and expected["chunks"] is None:
        skipped |= {"layout", "chunks", "chunk bytes", "allocation time"}
    for field in expected:
        if field not in skipped and not _equal(expected[field], found[field]):
            yield f"{field}: expected {expected[field]!r}, found {found[field]!r}"
    yield from _attribute_differences(expected.get("attributes", {}), found.get("attributes", {}))
    if expected.get("kind") == "dataset":
        yield from _storage(expected, found, allowed)
        yield from _values(expected["values"], found["values"])


def _attribute_differences(expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for name in sorted({*expected, *found}):
        if name not in expected or name not in found:
            yield f"@{name}: {'missing' if name in expected else 'not expected'}"
        elif not _equal(expected[name], found[name]):
            yield f"@{name}: expected {expected[name]!r}, found {found[name]!r}"


def _storage(expected: Entry, found: Entry, allowed: Allowed) -> Iterator[str]:
    if allowed.filters and bool(expected["filters"]) != bool(found["filters"]):
        yield f"filters: expected some, found {found['filters']}"
    untouched = expected["allocated"] != "complete"
    if expected["allocated"] != found["allocated"] and not (untouched and allowed.early_allocation):
        yield f"allocated: expected {expected['allocated']}, found {found['allocated']}"
    deflated = FILTER_DEFLATE in [number for number, *_ in expected["filters"]]
    limit = expected["stored bytes"] * allowed.size_ratio
    if deflated and expected["chunk bytes"] >= MEANINGFUL_CHUNK_BYTES and found["stored bytes"] > limit:
        yield f"stored bytes: at most {limit:.0f} expected, found {found['stored bytes']}"


def _values(expected: Any, found: Any) -> Iterator[str]:
    if _equal(expected, found):
        return
    arrays = isinstance(expected, np.ndarray) and isinstance(found, np.ndarray)
    if not arrays or expected.shape != found.shape or expected.dtype != found.dtype:
        yield f"values: expected {expected!r}, found {found!r}"
        return
    bits = f"V{expected.dtype.itemsize}"
    unequal = np.argwhere(np.ascontiguousarray(expected).view(bits) != np.ascontiguousarray(found).view(bits))
    first = tuple(int(index) for index in unequal[0])
    yield (
        f"values: {len(unequal)} of {expected.size} differ, first at {first}: "
        f"expected {expected[first]!r}, found {found[first]!r}"
    )


def _bytes(values: np.ndarray[Any, Any]) -> bytes:
    """Return the bytes of values; a long double of x86 has six of its sixteen left to chance."""
    if values.dtype == np.dtype("g") and np.finfo("g").nmant == 63:
        return values.reshape(-1).view("u1").reshape(-1, values.itemsize)[:, :10].tobytes()
    return values.tobytes()


def _equal(expected: Any, found: Any) -> bool:
    """Compare bit for bit; NaN is equal to itself."""
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        alike = expected.dtype == found.dtype and expected.shape == found.shape
        return alike and _bytes(expected) == _bytes(found)
    if isinstance(expected, tuple | list) and isinstance(found, tuple | list):
        return len(expected) == len(found) and all(_equal(a, b) for a, b in zip(expected, found, strict=True))
    return type(expected) is type(found) and expected == found
