"""What beginning and ending cost: help, imports, a parallel write of next to nothing beside pynwb's own of the same.

    python benchmarks/start_up.py [--ranks 1 2 4] [--repeats 5]
    python benchmarks/start_up.py --smoke

The file has metadata and one small series that all ranks fill. pynwb writes it in the root's process before parnwb
does, so that both find the same things loaded; what parnwb takes more is its fixed cost, which should be below 0.5 s. A
program has begun when it has imported what it needs: the root pynwb, the others only what reads and writes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from launching import TIMEOUT_SECONDS, launcher
from measure import median, table, with_spread

BEGAN = "PARNWB_BENCHMARK_BEGAN"
SMOKE = {"ranks": [1, 2], "repeats": 1}
GOAL_SECONDS = 0.5
HELP_GOAL_SECONDS = 0.3


def nwbfile() -> Any:
    """Return a small file, made anew because pynwb writes an object once."""
    from datetime import datetime, timezone

    from pynwb import NWBFile, TimeSeries

    file = NWBFile("small", "small", datetime(2026, 1, 2, tzinfo=timezone.utc))
    values = np.zeros((50_000, 8), dtype="<i2")
    file.add_acquisition(TimeSeries(name="raw", data=values, unit="V", rate=30000.0))
    return file


def run_job(folder: Path) -> None:
    """Write with pynwb on the root, then with all ranks; print the root's seconds."""
    from mpi4py import MPI

    from parnwb import NWBParallelIO

    comm = MPI.COMM_WORLD
    alone = 0.0
    if comm.rank == 0:
        from pynwb import NWBHDF5IO
    begun = time.time() - float(os.environ[BEGAN])
    content = None
    if comm.rank == 0:
        # Twice: the first write of a process loads the schema, for whoever comes first.
        for _ in range(2):
            small = nwbfile()
            before = time.perf_counter()
            with NWBHDF5IO(folder / "alone.nwb", "w") as io:
                io.write(small)
            alone = time.perf_counter() - before
        content = nwbfile()
    comm.Barrier()
    before = time.perf_counter()
    with NWBParallelIO(folder / "out.nwb", "w", comm=comm, overwrite=True, progress=False) as together:
        together.write(content)
    seconds = time.perf_counter() - before
    all_begun = comm.gather(begun)
    if comm.rank == 0 and all_begun is not None:
        told = {"root": all_begun[0], "others": max(all_begun[1:], default=0.0), "alone": alone, "parallel": seconds}
        print(json.dumps(told), flush=True)


def run(folder: Path, ranks: int) -> dict[str, float]:
    """Start the ranks once."""
    command = [*launcher(sys.executable, ranks), sys.executable, "-W", "ignore", __file__, "--job", str(folder)]
    environment = {**os.environ, BEGAN: str(time.time())}
    settings = {"env": environment, "timeout": TIMEOUT_SECONDS, "check": False}
    done = subprocess.run(command, capture_output=True, text=True, **settings)
    if done.returncode:
        raise RuntimeError(f"the writer failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return found


def help_seconds() -> float:
    """Return what the command's help takes, from starting Python to its end."""
    before = time.perf_counter()
    command = [sys.executable, "-m", "parnwb", "--help"]
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS, check=True)
    return time.perf_counter() - before


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--smoke", action="store_true", help="a small size, to see that this program works")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(arguments.job)
        return
    if arguments.smoke:
        vars(arguments).update(SMOKE)
    rows = []
    with tempfile.TemporaryDirectory(prefix="parnwb-benchmark-", dir=arguments.folder) as name:
        for ranks in arguments.ranks:
            runs = [run(Path(name), ranks) for _ in range(arguments.repeats)]
            figures = {key: median([one[key] for one in runs]) for key in runs[0]}
            more = median([one["parallel"] - one["alone"] for one in runs])
            rows.append([str(ranks), *(f"{figures[key]:.2f}" for key in ("root", "others", "alone", "parallel"))])
            rows[-1].append(f"{more:.2f}")
    shown = with_spread([help_seconds() for _ in range(arguments.repeats)], 2)
    print(f"parnwb --help: {shown} s, goal {HELP_GOAL_SECONDS} s\n")
    print(table(["ranks", "root begun s", "others begun s", "pynwb s", "parnwb s", f"more (< {GOAL_SECONDS})"], rows))


if __name__ == "__main__":
    main()
