"""A job that stops right before a write, as on a node that is lost, and writes when it is woken up.

Arguments: the output, and before what it stops: ``chunk``, ``frame``, ``name``, or a chunk of a
``part`` of a virtual file.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.resuming import commits_every, session, write

FRAMES = 4  # committed before


def stop_before(what: str) -> None:
    """Stop this process before a write of a kind, once; what it writes of a chunk is another rank's order of things."""
    pwritev, replace = os.pwritev, os.replace
    frames, stopped = 0, False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        os.kill(os.getpid(), signal.SIGSTOP)

    def late(descriptor: int, batch: Any, address: int) -> int:
        nonlocal frames
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        frames += name.endswith(".journal")
        if not stopped and frames >= FRAMES and address:
            if what == "chunk" and name.endswith(".partial"):
                stop()
                batch = [b"\xee" * sum(map(len, batch))]
            elif what == "frame" and name.endswith(".journal"):
                stop()
        if what == "part" and not stopped and name.endswith(".h5") and address:
            stop()
        return pwritev(descriptor, batch, address)

    def named(source: Any, target: Any) -> None:
        if what == "name" and not stopped and str(source).endswith(".partial"):
            stop()
        replace(source, target)

    os.pwritev, os.replace = late, named


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    stop_before(sys.argv[2])
    with commits_every(3):
        backend = "virtual" if sys.argv[2] == "part" else "direct"
        write(Path(sys.argv[1]), session(), "w", commit_interval=1, backend=backend)
