"""Tables whose columns are spread over ranks: as many rows as ids, which hdmf checks of arrays only."""

from __future__ import annotations

from typing import Any

from hdmf.common import DynamicTable
from hdmf.data_utils import AbstractDataChunkIterator, DataIO
from pynwb import NWBFile

from parnwb.errors import ParnwbError
from parnwb.resident.data import Resident


def check_table_lengths(nwbfile: NWBFile) -> None:
    """Refuse tables that pynwb would not read, because what is spread over ranks has not their number of rows.

    Independent.

    Raises
    ------
    ParnwbError
        Ids and columns of a table differ in length.
    """
    for item in nwbfile.objects.values():
        if isinstance(item, DynamicTable):
            _check(item)


def _check(table: DynamicTable) -> None:
    columns = {"id": _data(table.id), **{name: _data(table.get(name)) for name in table.colnames}}
    known = {name: len(data) for name, data in columns.items() if _has_length(data)}
    if any(isinstance(data, Resident) for data in columns.values()) and len(set(known.values())) > 1:
        raise ParnwbError(
            f"all columns of a table must have a row for each id, got {known}",
            where=table.name,
            remedy="Give id and columns the same number of rows over all ranks; leave id out for 0, 1, 2 ...",
        )


def _data(column: Any) -> Any:
    """Return what a column, or the outermost of its indexes, holds."""
    data = column.data
    return data.data if isinstance(data, DataIO) else data


def _has_length(data: Any) -> bool:
    """Tell whether it is known now: of what comes in order it is not."""
    is_iterator = isinstance(data, AbstractDataChunkIterator) and not isinstance(data, Resident)
    return hasattr(data, "__len__") and not is_iterator
