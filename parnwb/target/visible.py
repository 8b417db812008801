"""Opening a file that another host has just created: what this one remembers of the folder may be older."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

PATIENCE_SECONDS = 10.0
"""For which a file is looked for that should be there."""

NOT_YET = (errno.ENOENT, errno.ESTALE)


def open_soon(path: Path) -> int:
    """Return a descriptor for reading a file as soon as this host sees it. Independent.

    Clients of network file systems remember for some time that a name did not exist. Opening its folder makes them ask.

    Raises
    ------
    OSError
        It cannot be opened, or is not there in the end.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in NOT_YET or time.monotonic() > end:
                raise
        with contextlib.suppress(OSError):
            os.close(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY))
        time.sleep(0.1)
