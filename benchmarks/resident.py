"""What it costs that ranks have columns of what they write: side by side with slabs of the same bytes.

    mpiexec -n 2 python benchmarks/resident.py FOLDER --megabytes 512 --repeats 5

Each repeat writes the same array (float32, time by cells) in three ways, one after another: cut along time, with
columns round-robin over ranks, and with columns in random order; and plain, compressed or both. Prints medians of
MB/s, each way's time over that of slabs, and the largest anonymous memory of a rank above its own part, as JSON and as
a table.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from measure import PeakMemory, anonymous_bytes, median, table
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries

from parnwb import Distributed, NWBParallelIO

COMM = MPI.COMM_WORLD
CELLS = 10_000


def part(rows: range, cells: np.ndarray) -> np.ndarray:
    """Return some of the array: slow waves with a little noise, the same whoever makes them."""
    time_of_row = np.arange(rows.start, rows.stop, rows.step, dtype="f4")[:, None]
    values = np.sin(time_of_row / 50 + cells[None, :].astype("f4"))
    values += (time_of_row * 7 + cells[None, :] * 13) % 11 / 100
    return np.round(values, 3).astype("f4")


def ways(rows: int, cells: int) -> dict[str, Callable[[], Distributed]]:
    """Return how the array is spread over ranks, by name."""
    slab = range(rows * COMM.rank // COMM.size, rows * (COMM.rank + 1) // COMM.size)
    in_turn = np.arange(COMM.rank, cells, COMM.size)
    shuffled = np.random.default_rng(0).permutation(cells)[COMM.rank :: COMM.size]
    return {
        "slabs": lambda: Distributed(part(slab, np.arange(cells)), comm=COMM),
        "columns in turn": lambda: Distributed(part(range(rows), in_turn), 1, index=in_turn, comm=COMM),
        "columns shuffled": lambda: Distributed(part(range(rows), shuffled), 1, index=shuffled, comm=COMM),
    }


def measured(
    make: Callable[[], Distributed], path: Path, compression: str | None, settings: dict[str, float]
) -> tuple[float, int]:
    """Write once; return seconds, and bytes of memory on top of the data. Collective."""
    file = NWBFile("benchmark", "benchmark", datetime(2026, 1, 1, tzinfo=timezone.utc))
    file.add_acquisition(TimeSeries("v", data=make(), unit="mV", rate=1000.0))
    before = anonymous_bytes()
    COMM.Barrier()
    with PeakMemory() as memory:
        begun = time.perf_counter()
        every = {"comm": COMM, "compression": compression, "overwrite": True, "progress": False, **settings}
        with NWBParallelIO(path, "w", **every) as io:
            io.write(file, cache_spec=False)
        seconds = time.perf_counter() - begun
    return max(COMM.allgather(seconds)), max(COMM.allgather(memory.peaks[0] - before))


def main(folder: Path, megabytes: int, repeats: int, buffer_mb: float) -> None:
    """Measure all, by turns, and print. Collective."""
    cells = min(CELLS, megabytes * 1000)
    rows = max(COMM.size, megabytes * 10**6 // (4 * cells))
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for _ in range(repeats):
        for compression in (None, "auto"):
            for name, make in ways(rows, cells).items():
                result = measured(make, folder / "resident.nwb", compression, {"buffer_mb": buffer_mb})
                found.setdefault((compression or "none", name), []).append(result)
    if COMM.rank == 0:
        (folder / "resident.nwb").unlink()
        nbytes, lines = rows * cells * 4, []
        for (compression, name), results in found.items():
            seconds = median([taken for taken, _ in results])
            reference = median([taken for taken, _ in found[compression, "slabs"]])
            line = {
                "compression": compression,
                "way": name,
                "ranks": COMM.size,
                "MB": nbytes / 1e6,
                "MB/s": nbytes / 1e6 / seconds,
                "ratio to slabs": seconds / reference,
                "memory MB": max(peak for _, peak in results) / 1e6,
            }
            print(json.dumps(line))
            lines.append([text if isinstance(text, str) else f"{text:.2f}" for text in line.values()])
        print(table(list(line), lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--buffer-mb", type=float, default=64)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    main(given.folder, given.megabytes, given.repeats, given.buffer_mb)
