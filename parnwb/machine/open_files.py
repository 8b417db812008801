"""How many files this process may have open: HDF5 keeps all parts of a virtual dataset open.

Where it may not open one more it reads that part as fill values, and says nothing (measured: HDF5 1.10.8 and 2.0.0).
"""

from __future__ import annotations

import os
import resource

USUAL_LIMIT = 1024
"""That a user's programs have, if nobody has changed it (``ulimit -n``)."""
SPARE = 64
"""For what a program opens beside: libraries, sockets, other files."""


def room_for(count: int) -> bool:
    """Let this process open so many more files, and tell whether it may. Independent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + SPARE + len(os.listdir("/proc/self/fd"))
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return True
    if hard != resource.RLIM_INFINITY and needed > hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return True


def most_open() -> int:
    """Return how many files this process may ever have open. Independent."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
