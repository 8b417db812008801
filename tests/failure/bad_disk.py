"""Write a file while something happens to its disk or its source, or resume it in peace.

Arguments: what happens, the output, the recording, a folder for marks. Every rank that leaves with an exception puts
its kind there. Nobody catches it: what users see is what the tests see.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from failure.injected.injection import Injection, arm
from failure.mounts import ABORT
from failure.resuming import commits_every
from pynwb import H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.backends import encoder
from parnwb.commits.journal import Frame, Journal

CHANNELS, CHUNK_ROWS = 16, 2000
MEGABYTES = 12
EVERY = 4  # batches between commits
MIDWAY = 12  # batches of one rank: of some thirty on three ranks


def make_recording(path: Path) -> Path:
    """Make a file of samples that no filter makes much smaller, after a silence that keeps estimates open."""
    rows = MEGABYTES * 10**6 // (2 * CHANNELS)
    samples = np.random.default_rng(3).integers(-(2**15), 2**15, (rows, CHANNELS), dtype="<i2")
    samples[: rows // 8] = 0
    samples.tofile(path)
    return path


def session(recording: Path) -> NWBFile:
    nwbfile = NWBFile("a bad disk", "bad disk", datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc))
    data = np.memmap(recording, "<i2", "r").reshape(-1, CHANNELS)
    wrapped = H5DataIO(data, chunks=(CHUNK_ROWS, CHANNELS), compression="gzip", compression_opts=1)
    nwbfile.add_acquisition(TimeSeries(name="probe", data=wrapped, unit="V", rate=30.0))
    return nwbfile


def after_batches(number: int, happens: Callable[[], object]) -> None:
    """Let something happen on this rank when it has encoded so many buffers."""
    encode, calls = encoder.encode, 0

    def counted(*arguments: object) -> encoder.Batch:
        nonlocal calls
        calls += 1
        if calls == number:
            happens()
        return encode(*arguments)  # type: ignore[arg-type]

    encoder.encode = counted


def fill_before_frame(number: int, folder: Path) -> None:
    """Let another program take all that is left of the disk just before a commit is recorded."""
    append = Journal.append

    def filled(self: Journal, frame: Frame) -> None:
        if self._sequence == number:
            fill(folder / "other-program", 0)
        append(self, frame)

    Journal.append = filled  # type: ignore[method-assign]


def fill(path: Path, leave: int) -> None:
    """Write a file until only so many bytes are free."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        for piece in (2**20, 4096, 1):
            while os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize - leave > piece:
                file.write(bytes(piece))
                os.fsync(file.fileno())
            if leave == 0:
                with suppress(OSError):
                    while file.write(bytes(piece)):
                        pass


def main() -> None:
    way, output, recording, marks = sys.argv[1], *map(Path, sys.argv[2:5])
    warnings.simplefilter("ignore")
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    root, last = comm.rank == 0, comm.rank == comm.size - 1
    if way == "journal" and root:
        fill_before_frame(3, output.parent)
    elif way == "breaks" and root:
        after_batches(MIDWAY, lambda: subprocess.run([*ABORT, str(output.parent)], check=True, timeout=30))
    elif way == "truncated" and root:
        after_batches(MIDWAY, lambda: os.truncate(recording, recording.stat().st_size // 10))
    elif way == "unreadable" and last:
        after_batches(MIDWAY, lambda: arm(Injection("read", ".bin", error="EIO")))
    try:
        with commits_every(EVERY), NWBParallelIO(
            output, "resume", comm=comm, backend="direct", buffer_mb=0.2, commit_interval=1, progress=False
        ) as io:
            io.write(session(recording))
    except BaseException as error:
        (marks / f"rank-{comm.rank}").write_text(type(error).__name__)
        raise


if __name__ == "__main__":
    main()
