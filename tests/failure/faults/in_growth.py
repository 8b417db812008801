"""Faults of ``extend`` and ``export``: ranks that do not agree, sources that fail. The old file is as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import CHUNK, Asked, session, values
from pynwb import NWBHDF5IO, H5DataIO, TimeSeries

GROWING = "/acquisition/old/data"


def growing(place: Place) -> None:
    """Write a file whose dataset can grow, the last chunk not full."""
    data = H5DataIO(values((450, 8)), chunks=CHUNK, maxshape=(None, 8), compression="gzip")
    with NWBHDF5IO(place.path, "w") as io:
        io.write(session(data, name="old"))


def extend(place: Place, rows: Any, dataset: str = GROWING) -> None:
    with place.open(mode="r+") as io:
        io.extend(dataset, rows)


@fault("AgreementError", GROWING, "rank 0 has rows of shape", prepare=growing, ranks=SEVERAL, backends=("direct",))
def extend_by_fewer_rows_on_one_rank(place: Place) -> None:
    extend(place, values((900 - (place.rank == place.last), 8)))


@fault("AgreementError", "whose sample has the CRC-32C", prepare=growing, ranks=SEVERAL, backends=("direct",))
def extend_by_other_values_on_one_rank(place: Place) -> None:
    extend(place, values((900, 8)) + (place.rank == place.last))


@fault("AgreementError", "dataset must be the same", GROWING, prepare=growing, ranks=SEVERAL, backends=("direct",))
def extend_another_dataset_on_one_rank(place: Place) -> None:
    with place.open(mode="r+") as io:
        data = io.read().acquisition["old"].data
        if place.rank == place.last:  # in this rank's own view
            data = data.parent.create_dataset("other", data=data, maxshape=(None, 8))
        io.extend(data, values((900, 8)))


@fault("AgreementError", "the root must have the rows", prepare=growing, backends=("direct",))
def extend_without_rows_on_the_root(place: Place) -> None:
    extend(place, None if place.rank == 0 else values((900, 8)))


@fault("LayoutError", "shape of those that are there", prepare=growing, backends=("direct",))
def extend_by_rows_of_another_width_on_one_rank(place: Place) -> None:
    extend(place, values((900, 8 - (place.rank == place.last))))


@fault("SourceError|ValueError", "a later read", prepare=growing, backends=("direct",))
def extend_from_a_source_that_fails(place: Place) -> None:
    def spoil(calls: int, data: Any) -> Any:
        if place.rank == place.last and calls > 1:
            raise ValueError("a later read")
        return data

    extend(place, Asked(spoil))


@fault("AgreementError|ParnwbError", "extend", prepare=growing, ranks=SEVERAL, backends=("direct",))
def extend_on_all_ranks_but_one(place: Place) -> None:
    with place.open(mode="r+") as io:
        file = io.read()
        if place.rank == place.last:
            io.write(file)
        else:
            io.extend(GROWING, values((900, 8)))


def source(place: Place) -> None:
    """Write a file to export."""
    with NWBHDF5IO(place.folder / "source.nwb", "w") as io:
        io.write(session(H5DataIO(values(), chunks=CHUNK, compression="gzip"), name="old"))


def export(place: Place, path: Path) -> None:
    with place.open() as io:
        io.export(path)


@fault("SourceError", "cannot be opened", r"missing\.nwb", prepare=source)
def export_what_one_rank_does_not_see(place: Place) -> None:
    export(place, place.folder / ("missing.nwb" if place.rank == place.last else "source.nwb"))


@fault("AgreementError", "rank 0 has", prepare=source, ranks=SEVERAL)
def export_more_on_one_rank(place: Place) -> None:
    with NWBHDF5IO(place.folder / "source.nwb", "r") as io, place.open() as output:
        file = io.read()
        if place.rank == place.last:
            file.add_acquisition(TimeSeries(name="more", data=values(), unit="V", rate=1.0))
        output.export(io, file)


@fault("AgreementError|ParnwbError", "export", prepare=source, ranks=SEVERAL)
def export_on_all_ranks_but_one(place: Place) -> None:
    with place.open() as io:
        if place.rank == place.last:
            io.write(session())
        else:
            io.export(place.folder / "source.nwb")


def _export_differs(name: str, *says: str, **write_args: Any) -> None:
    @fault("AgreementError", *says, name=f"export_with_another_{name}", prepare=source, ranks=SEVERAL)
    def run(place: Place) -> None:
        with place.open() as io:
            io.export(place.folder / "source.nwb", write_args=write_args if place.rank == place.last else None)


_export_differs("link_data", "link_data must be the same", "rank 0 has True", "has False", link_data=False)
_export_differs("expandable", "expandable must be the same", "rank 0 has none", "has False", expandable=False)


@fault("AgreementError", "cache_spec must be the same", prepare=source, ranks=SEVERAL)
def export_with_another_cache_spec(place: Place) -> None:
    with place.open() as io:
        io.export(place.folder / "source.nwb", cache_spec=place.rank != place.last)


@fault("AgreementError", "rank 0 has", prepare=source, ranks=SEVERAL)
def export_of_another_file_on_one_rank(place: Place) -> None:
    if place.rank == place.last:
        with NWBHDF5IO(place.folder.parent / f"other_{place.folder.name}.nwb", "w") as io:
            io.write(session(H5DataIO(values((3000, 8)), chunks=CHUNK, compression="gzip"), name="old"))
        export(place, place.folder.parent / f"other_{place.folder.name}.nwb")
    else:
        export(place, place.folder / "source.nwb")
