"""A session of which one rank falls silent. Arguments: way, victim, file, backend, seconds of the watchdog, marks.

Each rank leaves its process id in the folder of marks when it is about to write; the victim touches `silent` when it
falls silent, and every rank touches `reads-RANK-NUMBER` when it reads to fill the file.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.faults.material import CHUNK, SETTINGS, Asked, session
from pynwb import H5DataIO, NWBFile

import parnwb.building
from parnwb import NWBParallelIO
from parnwb.backends import DirectBackend, Job, MpioBackend
from parnwb.backends.balance import Balance
from parnwb.backends.mpio import _ChunkWriter
from parnwb.backends.stretch import Stretch
from parnwb.planning import plan

MIDWAY = 6  # of the thirteen buffers or so, of one chunk each, that a rank has to read
BUFFER_MB = SETTINGS["buffer_mb"] / 3
SECONDS_PER_READ = {"slow": 0.7, "stopped": 0.3, "in_peace": 0.0}


def nwbfile(spoil: Any = None) -> NWBFile:
    return session(H5DataIO(Asked(spoil), chunks=CHUNK, compression="gzip"))


def fall_silent(way: str, marks: Path) -> None:
    (marks / "silent").touch()
    if way == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)


def stop_when_all_write(marks: Path) -> None:
    """Stop when the others are about to write together with this rank, by parallel HDF5."""
    write, calls = _ChunkWriter.write, []

    def stopped(self: _ChunkWriter, elements: Any, values: Any) -> None:
        calls.append(elements)
        if len(calls) == MIDWAY:
            fall_silent("stopped", marks)
        write(self, elements, values)

    _ChunkWriter.write = stopped  # type: ignore[method-assign]


def let_nobody_help() -> None:
    """Let the victim read all of its own, however slow it is: others would take most of it."""
    Balance.help_for = lambda self, rank: Stretch.nothing()  # type: ignore[method-assign]


def send_twice() -> None:
    """Send this process a signal as if both a launcher and a batch system had passed it on."""
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)


def signal_while(way: str) -> None:
    """Send this process a signal at a step before or after the filling."""
    place: tuple[Any, str] = (parnwb.building, "agree_on_content") if way == "building" else (NWBParallelIO, "close")
    step = getattr(*place)

    def signalled(*arguments: Any, **keywords: Any) -> Any:
        send_twice()
        return step(*arguments, **keywords)

    setattr(*place, signalled)


def reads_of_the_filling() -> list[int]:
    """Return a list to which a rank appends, but for what it had read before it began to fill the file."""
    reads: list[int] = []
    for backend in (DirectBackend, MpioBackend):

        def open_(self: Any, job: Job, open_: Any = backend.open) -> Any:
            reads.clear()
            return open_(self, job)

        backend.open = open_  # type: ignore[method-assign]
    reads.extend([-1000] * MIDWAY)
    return reads


def main(way: str, victim: int, path: str, backend: str, watchdog: float, marks: Path) -> None:
    warnings.simplefilter("ignore")
    from mpi4py import MPI

    comm, reads = MPI.COMM_WORLD, reads_of_the_filling()

    def spoil(calls: int, data: Any) -> Any:
        reads.append(calls)
        if reads[0] < 0:
            return data
        (marks / f"reads-{comm.rank}-{len(reads)}").touch()
        if comm.rank == victim:
            if way == "signal" and len(reads) == MIDWAY:
                send_twice()
            if way in ("stopped", "blocks") and len(reads) == MIDWAY:
                fall_silent(way, marks)
            time.sleep(SECONDS_PER_READ.get(way, 0.0))
        time.sleep(0.05)
        return data

    (marks / f"pid-{comm.rank}").write_text(f"{os.getpid()}\n")
    if way == "absent" and comm.rank == victim:
        fall_silent(way, marks)
    if way == "stopped_inside" and comm.rank == victim:
        stop_when_all_write(marks)
    plan.READ_GRID_BYTES = int(BUFFER_MB * plan.MiB)  # data of iterators would be read in one piece
    settings = {**SETTINGS, "buffer_mb": BUFFER_MB, "commit_interval": 0.02}
    settings |= {"backend": backend, "watchdog": watchdog}
    if backend == "mpio":
        settings["transfer"] = "collective"
    mode = "w" if backend == "mpio" else "resume"
    if way in ("slow", "stopped", "blocks", "signal"):
        let_nobody_help()
    if way in ("building", "publishing") and comm.rank == victim:
        signal_while(way)
    with NWBParallelIO(path, mode, comm=comm, **settings) as io:
        if way == "dawdles" and comm.rank == victim:
            fall_silent(way, marks)
        io.write(nwbfile(spoil))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5]), Path(sys.argv[6]))
