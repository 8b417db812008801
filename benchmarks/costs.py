"""What is spent whatever is written, for the table of goals: the start, a small file, the root's work for a chunk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import start_up
from launching import TIMEOUT_SECONDS

HERE = Path(__file__).parent
# In a process of its own: it starts MPI, and with Open MPI who has done so cannot start MPI programs any more.
ADDRESSES = """
from allocator import Crowd, rate
print(rate(Crowd(chunks=200_000, ranks=10_000, node=100, at_once=4), all_wait=False)[0])
"""


@dataclass(frozen=True)
class Cost:
    """One figure, measured once.

    Parameters
    ----------
    name
        As the lines of JSON have it.
    processes
        How many take part.
    measure
        Returns the figures of one run by name, given a folder for its files.
    """

    name: str
    processes: int
    measure: Callable[[Path], dict[str, float]]


def _help(_: Path) -> dict[str, float]:
    return {"seconds": start_up.help_seconds()}


def _small_file(folder: Path) -> dict[str, float]:
    seconds = start_up.run(folder, 2)
    return {**seconds, "more": seconds["parallel"] - seconds["alone"]}


def _addresses(_: Path) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PARNWB_NODE_RANKS"}
    settings = {"env": environment, "timeout": TIMEOUT_SECONDS}
    done = subprocess.run([sys.executable, "-c", ADDRESSES], capture_output=True, text=True, cwd=HERE, **settings)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-500:]}")
    return {"chunks_per_second": float(done.stdout)}


COSTS = (
    Cost("parnwb --help", 1, _help),
    Cost("a small file", 2, _small_file),
    Cost("addresses for chunks", 1, _addresses),
)


def measured(patterns: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Iterate over the results of those whose names match any pattern; ``error`` is in those that failed."""
    for cost in COSTS:
        if not any(fnmatch(cost.name, pattern) for pattern in patterns):
            continue
        try:
            result: dict[str, Any] = cost.measure(folder)
        except Exception as error:  # the other runs of an hour go on
            result = {"error": f"{type(error).__name__}: {error}"}
        yield {"case": cost.name, "processes": cost.processes, **result}
