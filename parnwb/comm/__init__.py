"""The ranks of a job. The only package that imports mpi4py, and only inside functions."""

from __future__ import annotations

from parnwb.comm.ahead import Ahead
from parnwb.comm.aside import Aside
from parnwb.comm.launch import (
    LAUNCHER_RANKS,
    LAUNCHER_SIZES,
    NETMOD,
    alone,
    check_launch,
    information,
    launched_rank,
    launched_size,
    library,
    tell_once,
    world,
)
from parnwb.comm.ranks import Ranks
from parnwb.comm.travel import describe, portable, unpacked
from parnwb.comm.watchdog import DEFAULT_WATCHDOG, Lane, check_watchdog, until_checked

__all__ = [
    "Ahead",
    "Aside",
    "DEFAULT_WATCHDOG",
    "LAUNCHER_RANKS",
    "LAUNCHER_SIZES",
    "Lane",
    "NETMOD",
    "Ranks",
    "alone",
    "check_launch",
    "check_watchdog",
    "describe",
    "information",
    "launched_rank",
    "launched_size",
    "library",
    "portable",
    "tell_once",
    "unpacked",
    "until_checked",
    "world",
]
