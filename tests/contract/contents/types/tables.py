"""Tables with columns of all kinds, scratch, and what is odd: nothing, one, long, nested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from contract.inputs import Slices, add, values
from hdmf.common import (
    AlignedDynamicTable,
    DynamicTable,
    DynamicTableRegion,
    EnumData,
    MeaningsTable,
    VectorData,
)
from pynwb import H5DataIO, NWBFile
from pynwb.epoch import TimeIntervals
from pynwb.event import DurationVectorData, EventsTable, TimestampVectorData
from pynwb.file import Subject


def tables(file: NWBFile, inputs: Path) -> None:
    """Columns of numbers, booleans, text, references and lists, as lists and as arrays."""
    file.subject = Subject(subject_id="m1", species="Mus musculus", age="P30D", sex="M", weight="0.03 kg")
    file.keywords = ["types", "naïve"]
    series = add(file, "series", values((40,)))
    table = DynamicTable(name="mixed", description="all kinds", id=list(range(60)))
    columns = {
        "floats": [0.5 * n for n in range(60)],
        "integers": list(range(60)),
        "booleans": [n % 3 == 0 for n in range(60)],
        "text": [f"é{n}" for n in range(60)],
        "bytes": np.array([b"fixed"] * 60),
        "array": values((60, 4), "f2"),
        "flags": H5DataIO(values((60, 5), "?"), compression="gzip", shuffle=True, chunks=(7, 5)),
        "listed_rows": [[n, n + 1] for n in range(60)],
        "array_rows": [values((3,), "f4")] * 60,
        "objects": [series] * 60,
        "packed_list": H5DataIO([n * 1.5 for n in range(60)], compression="gzip", chunks=(9,)),
    }
    for name, data in columns.items():
        table.add_column(name=name, description=name, data=data)
    _add_ragged(table)
    iterated = {
        "numbers": Slices(values((60, 3)), (11, 3)),
        "texts": Slices(np.array([f"w{n}" * n for n in range(60)], dtype=object), (7,)),
    }
    vectors = [VectorData(name=name, description="from an iterator", data=data) for name, data in iterated.items()]
    file.add_analysis(DynamicTable(name="iterated", description="iterators", columns=vectors, id=list(range(60))))
    file.add_analysis(table)
    region = DynamicTableRegion(name="rows", description="of the first", data=list(range(0, 60, 2)), table=table)
    file.add_analysis(DynamicTable(name="referring", description="rows of another", columns=[region]))
    _add_aligned(file)
    _add_times(file)
    _add_rare(file)


def _add_ragged(table: DynamicTable) -> None:
    """Lists of lists in a column, down to three levels, some of them empty."""
    counts = [n % 4 for n in range(60)]
    for name, item in (("ragged", 1.5), ("ragged_flags", True), ("ragged_text", "ü")):
        data = [[item] * count for count in counts]
        table.add_column(
            name=name, description="ragged", data=[i for row in data for i in row], index=np.cumsum(counts)
        )
    nested = [[[n * 1.0] * depth for depth in range(1, 3)] for n in range(60)]
    table.add_column(name="nested", description="doubly ragged", data=nested, index=2)
    table.add_column(
        name="long",
        description="more than 65,535 items",
        data=np.arange(70_000) % 7,
        index=np.linspace(0, 70_000, 61)[1:].astype(int),
    )


def _add_aligned(file: NWBFile) -> None:
    parts = [
        DynamicTable(
            name=name,
            description="a category",
            columns=[VectorData(name="v", description="v", data=values((8,), "f4"))],
        )
        for name in ("left", "right")
    ]
    whole = AlignedDynamicTable(name="aligned", description="categories", category_tables=parts, id=list(range(8)))
    file.add_analysis(whole)


def _add_times(file: NWBFile) -> None:
    file.add_trial_column(name="outcome", description="text")
    file.add_trial_column(name="correct", description="booleans")
    for number in range(30):
        span = {"start_time": 1.0 * number, "stop_time": number + 0.5}
        file.add_trial(**span, outcome="né" * number, correct=number % 2 == 0, timeseries=[file.acquisition["series"]])
        file.add_epoch(**span, tags=["a"] * (number % 3))
    file.add_invalid_time_interval(start_time=0.0, stop_time=1.0)
    blocks = TimeIntervals(name="blocks", description="without rows")
    file.add_time_intervals(blocks)
    licks = EventsTable(
        name="licks",
        description="events",
        source_description="a beam",
        columns=[
            TimestampVectorData(name="timestamp", description="when", data=np.arange(50.0), resolution=1e-4),
            DurationVectorData(name="duration", description="how long", data=[0.1] * 50),
            VectorData(name="kind", description="text", data=["l", "r"] * 25),
        ],
    )
    meanings = MeaningsTable(target=licks["kind"], description="what they are")
    for value, meaning in (("l", "left"), ("r", "right")):
        meanings.add_row(value=value, meaning=meaning)
    licks.add_meanings_table(meanings)
    file.add_events_table(licks)


def _add_rare(file: NWBFile) -> None:
    names = VectorData(name="elements", description="of an enumeration", data=["rest", "run"])
    states = EnumData(name="state", description="states", data=np.arange(40, dtype="u1") % 2, elements=names)
    file.add_analysis(
        DynamicTable(name="states", description="an enumeration", columns=[states, names], colnames=["state"])
    )


def odd(file: NWBFile, inputs: Path) -> None:
    """Nothing at all, one value, long text, names in other scripts, scratch of every kind."""
    nothing = {"floats": np.empty(0), "flags": np.empty(0, "?"), "rows": np.empty((0, 3), "i2")}
    columns = [VectorData(name=name, description="none", data=data) for name, data in nothing.items()]
    file.add_analysis(DynamicTable(name="no_rows", description="empty", columns=columns))
    file.add_analysis(DynamicTable(name="no_columns", description="emptier"))
    long = ["日本語" * 30_000, "", "\N{GREEK SMALL LETTER MU}V\n\t'\"\\"]
    file.add_analysis(
        DynamicTable(name="tàblé", description="µ", columns=[VectorData(name="ü", description="δ", data=long)])
    )
    for name, data in {
        "number": 3.5,
        "zero_d": np.array(3),
        "text": "x" * 100_000,
        "one": [1],
        "words": ["a", "é"],
    }.items():
        file.add_scratch(data, name=name, description="scratch")
    file.add_scratch(values((50, 3), "f8"), name="array", description="scratch")
    add(file, "nothing", np.empty((0, 4), "i2"))
    add(file, "one", np.array([1.5]))
    add(file, "long_text", values((30,)), description="d" * 70_000, comments="é" * 40_000)


def resources(file: NWBFile, inputs: Path) -> None:
    """Terms of the file's own HERD, which names objects by ids that every process makes anew."""
    file.subject = Subject(subject_id="m1", species="Mus musculus", age="P30D", sex="M")
    table = DynamicTable(name="cells", description="of some kinds", id=list(range(4)))
    table.add_column(name="kind", description="text", data=["basket", "chandelier"] * 2)
    file.add_analysis(table)
    herd = file.get_external_resources()
    herd.add_ref(
        container=file.subject,
        attribute="species",
        key="Mus musculus",
        entity_id="NCBI_TAXON:10090",
        entity_uri="https://identifiers.org/NCBITaxon:10090",
    )
    for number, key in enumerate(("basket", "chandelier")):
        herd.add_ref(
            container=table,
            attribute="kind",
            key=key,
            entity_id=f"CL:{number:07}",
            entity_uri=f"https://identifiers.org/CL:{number:07}",
        )
