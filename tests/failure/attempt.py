"""One attempt at a session, on the ranks that there are: slow enough to be hit, with marks for those who hit.

Arguments: the output, a folder for marks, and as JSON the scale of the session, seconds for each buffer, seconds
between commits, and perhaps `end_after`: a rank, and after how many of its calls to the file system it ends, and
`specs`: false for a file without pynwb's schema.

Each rank leaves in the folder: `ready-RANK` with its process id when it begins to write,
`left-RANK` when it takes signals no more, and `writes-RANK` with address and length of every write to the partial file.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.calls import EndAfter, watch
from failure.resuming import session, write

import parnwb.backends.encoder
import parnwb.io
from parnwb.backends import DirectBackend, Job, PartialFile
from parnwb.interrupts import Interrupts

WRITE = struct.Struct("<qq")


def slow_down(seconds: float) -> None:
    """Let every buffer take some time."""
    encode = parnwb.backends.encoder.encode

    def slowly(*arguments: Any) -> Any:
        time.sleep(seconds)
        return encode(*arguments)

    parnwb.backends.encoder.encode = slowly


def leave_marks(marks: Path, rank: int) -> None:
    """Tell when this rank begins to write, and when it ceases to take signals."""
    open_file = DirectBackend.open

    def marked(self: DirectBackend, job: Job) -> PartialFile:
        (marks / f"ready-{rank}").write_text(f"{os.getpid()}\n")
        return open_file(self, job)

    DirectBackend.open = marked  # type: ignore[method-assign]

    class Marked(Interrupts):
        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            (marks / f"left-{rank}").touch()
            super().__exit__(kind, error, trace)

    parnwb.io.Interrupts = Marked  # type: ignore[attr-defined]


def log_writes(marks: Path, rank: int) -> None:
    """Note address and length of each write to the partial file, before it is done."""
    pwritev = os.pwritev
    log = os.open(marks / f"writes-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def logged(descriptor: int, batch: list[memoryview], address: int) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".partial"):
            os.write(log, WRITE.pack(address, sum(map(len, batch))))
        return pwritev(descriptor, batch, address)

    os.pwritev = logged


def main(argv: list[str]) -> None:
    output, marks, options = Path(argv[0]), Path(argv[1]), json.loads(argv[2])
    warnings.simplefilter("ignore")
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    slow_down(options["seconds"] * comm.size)
    leave_marks(marks, comm.rank)
    log_writes(marks, comm.rank)
    if options.get("end_after", [None])[0] == comm.rank:
        watch(output.parent, EndAfter(options["end_after"][1]))
    settings = {"specs": options.get("specs", True), "commit_interval": options["commit_interval"]}
    write(output, session(options["scale"]), comm=comm, **settings)


if __name__ == "__main__":
    main(sys.argv[1:])
