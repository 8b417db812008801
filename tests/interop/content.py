"""What the file holds that other readers read."""

from __future__ import annotations

from datetime import datetime, timezone

from contract.inputs import Array, add, values
from pynwb import H5DataIO, NWBFile

SETTINGS = {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (300, 5)}
# By path. All are bulk data: small ones too, by the threshold that the program sets.
DATASETS: dict[str, Array] = {
    "/acquisition/bare/data": values((20_000, 16)),
    "/acquisition/bare/timestamps": values((20_000,), "f8"),
    "/acquisition/checked/data": values((5000, 12)),
    "/acquisition/floats/data": values((4000, 3), "f4"),
    "/acquisition/bytes/data": values((100, 20, 10), "u1"),
    "/acquisition/big_endian/data": values((700,), ">i4"),
    "/acquisition/long/data": values((500, 2), "i8"),
    "/acquisition/growing/data": values((900, 4), "u2"),
    "/acquisition/one/data": values((1,)),
}


def new_file() -> NWBFile:
    return NWBFile("for other readers: é", "interop", datetime(2026, 1, 2, tzinfo=timezone.utc))


def fill(file: NWBFile) -> None:
    """Add everything in ``DATASETS`` and a table with text."""
    data = {path.split("/")[2]: array for path, array in DATASETS.items() if path.endswith("data")}
    timestamps = DATASETS["/acquisition/bare/timestamps"]
    add(file, "bare", data["bare"], timestamps=timestamps)
    add(file, "checked", H5DataIO(data["checked"], **SETTINGS))
    add(file, "growing", H5DataIO(data["growing"], maxshape=(None, 4), chunks=(64, 4), compression="gzip"))
    for name in ("floats", "bytes", "big_endian", "long", "one"):
        add(file, name, data[name])
    for number in range(3):
        file.add_trial(start_time=1.0 * number, stop_time=number + 0.5)
