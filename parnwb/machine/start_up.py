"""How long a process has been there: what importing costs where thousands of ranks read the same files."""

from __future__ import annotations

import os
import time
from pathlib import Path

START_TIME = 21 - 2
"""Place of the start, in ticks since the machine's, among the fields of /proc/PID/stat that follow the name."""


def age() -> float | None:
    """Return the seconds since this process was started; None where the kernel does not tell. Independent."""
    try:
        text = Path("/proc/self/stat").read_text()
        ticks = int(text.rpartition(")")[2].split()[START_TIME])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
