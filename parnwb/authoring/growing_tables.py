"""Tables with columns that grow while the file is written: in the end they must have a row for each id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parnwb.errors import ParnwbError
from parnwb.hyperslab import Hyperslab
from parnwb.resident.gathering import resident_of
from parnwb.sources import Access, Source, read_checked

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class GrowingTable:
    """A table of the file, as far as it is known before its columns have grown.

    Parameters
    ----------
    path
        Of the table.
    columns
        By name of a column, ``id`` among them, the path of what has a value for each row: its outermost index, or
        itself. Of a table of tables, the ids of each of these.
    targets
        By path of an index, the path of what it divides.
    rows
        By path, how many rows there are of what does not grow.
    ends
        By path of an index that does not grow, its last value.
    """

    path: str
    columns: Mapping[str, str]
    targets: Mapping[str, str]
    rows: Mapping[str, int]
    ends: Mapping[str, int]


def check_tables(
    tables: Sequence[GrowingTable], rows: Mapping[str, int], ends: Mapping[str, int], remedy: str
) -> None:
    """Refuse tables that pynwb would not read, or of which it would read other rows. Independent.

    Parameters
    ----------
    rows, ends
        By path, of what has grown: how many rows there are, and of indexes the last value.
    remedy
        What can be done.

    Raises
    ------
    ParnwbError
        Columns of a table differ in length, or an index does not end where its column does.
    """
    for table in tables:
        lengths = {**table.rows, **rows}
        known = {name: lengths[path] for name, path in table.columns.items() if path in lengths}
        if len(set(known.values())) > 1:
            raise ParnwbError(
                f"all columns of a table must have a row for each id, got {known}", where=table.path, remedy=remedy
            )
        last = {**table.ends, **ends}
        for index, target in table.targets.items():
            end = 0 if lengths.get(index) == 0 else last.get(index)
            if end is not None and target in lengths and end != lengths[target]:
                raise ParnwbError(
                    f"an index must end with the number of rows that it divides: {_name(index)} ends with {end}, "
                    f"{_name(target)} has {lengths[target]}",
                    where=table.path,
                    remedy=remedy,
                )


def growing_tables(
    file: h5py.File, sources: Mapping[str, Source], grown: Collection[str] = ()
) -> tuple[GrowingTable, ...]:
    """Return the tables of a file that have something which grows. Independent.

    Parameters
    ----------
    file
        Complete but for the values in ``sources``.
    sources
        Of the datasets that are still to be filled, by path.
    grown
        Datasets that have got more rows.
    """
    growing = [path for path, source in sources.items() if source.access is Access.GROWING]
    found: dict[str, h5py.Group] = {}
    for path in (*growing, *grown):
        group = file[path].parent
        for table in (group, group.parent):
            if "colnames" in table.attrs:
                found[table.name] = table

    def last(index: h5py.Dataset) -> int | None:
        return _last(index, sources.get(index.name))

    return tuple(_described(table, frozenset(growing), last) for table in found.values())


def _described(
    table: h5py.Group, growing: frozenset[str], last: Callable[[h5py.Dataset], int | None]
) -> GrowingTable:
    members = _members(table)
    targets = {index.name: target.name for index, target in _indexes(table, members)}
    indexes = {target: index for index, target in targets.items()}
    names = [name for name in ("id", *_names(table, "colnames")) if name in members]
    columns = {name: _outermost(members[name].name, indexes) for name in names}
    columns.update({name: members[name]["id"].name for name in _names(table, "categories") if name in members})
    paths = {*columns.values(), *targets, *targets.values()} - growing
    ends = {path: last(table.file[path]) for path in targets if path not in growing}
    return GrowingTable(
        table.name,
        columns,
        targets,
        {path: len(table.file[path]) for path in paths},
        {path: end for path, end in ends.items() if end is not None},
    )


def _names(table: h5py.Group, attribute: str) -> Iterator[str]:
    """Return the names in an attribute that are in a table."""
    for name in table.attrs.get(attribute, ()):
        text = name.decode() if isinstance(name, bytes) else str(name)
        if text in table:
            yield text


def _members(table: h5py.Group) -> dict[str, Any]:
    """Return what is in a table, and in its file: links may lead to other files, or to nothing."""
    return {name: item for name, item in table.items() if item is not None and item.file == table.file}


def _indexes(table: h5py.Group, members: Mapping[str, Any]) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """Iterate over the indexes of a table, which alone have a target, and what they divide."""
    for item in members.values():
        if target := item.attrs.get("target"):
            yield item, table.file[target]


def _outermost(path: str, indexes: Mapping[str, str]) -> str:
    while path in indexes:
        path = indexes[path]
    return path


def _last(index: h5py.Dataset, source: Source | None) -> int | None:
    """Return the last value of an index; None where this rank cannot tell it."""
    if len(index) == 0:
        return None
    if source is not None and (source.access is not Access.RANDOM or resident_of(source) is not None):
        return None
    values: Any = index[-1:] if source is None else read_checked(source, _end(source), index.name)
    return int(values[0])


def _end(source: Source) -> Hyperslab:
    return Hyperslab((source.shape[0] - 1,), (1,))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
