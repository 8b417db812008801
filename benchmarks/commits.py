"""What commits cost: one recording written with no commit before the end, and with one every few seconds.

    python benchmarks/commits.py [--megabytes 1000] [--ranks 2] [--interval 10] [--repeats 5]
    python benchmarks/commits.py --smoke

Both runs call fsync before the file gets its name. They come in pairs, and the one that goes first changes with every
pair, so that what the machine does meanwhile weighs on both alike. The figure is the median of the pairs' overheads; it
has to be below 3 % where commits are 10 s apart.

A first run, which does not count, shows how long the writing lasts; gzip at level 9 makes it last. The recording is
then written so many times over, as further series of the same file, that a run lasts for six intervals, a minute with
the default. The defaults need about a quarter of an hour on a machine that does nothing else, and room for some 8 GB.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from launching import TIMEOUT_SECONDS, launcher
from measure import median, table
from recordings import Recording, make

from parnwb.planning.plan import DEFAULT_BUFFER_MB

CHANNELS = 384
LEAST_COMMITS = 6
SMOKE = {"megabytes": 40, "repeats": 1, "buffer_mb": 1.0, "interval": 0.05}


# -- what runs in processes of its own ------------------------------------------------------------------------


def session(recording: Recording, copies: int) -> Any:
    """Return the NWBFile of a recording that is in it so many times."""
    from pynwb import TimeSeries

    nwbfile = recording.nwbfile()
    for number in range(1, copies):
        (again,) = recording.nwbfile().acquisition.values()
        nwbfile.add_acquisition(TimeSeries(name=f"again_{number}", data=again.data, unit="V", rate=30000.0))
    return nwbfile


def write(
    recording: Recording, output: Path, interval: float, level: int, buffer_mb: float, copies: int
) -> dict[str, Any]:
    """Write with NWBParallelIO; every rank runs this. Return the root's seconds and the number of commits."""
    from mpi4py import MPI

    from parnwb import NWBParallelIO
    from parnwb.commits.journal import Frame, Journal

    commits, append = 0, Journal.append

    def counted(self: Journal, frame: Frame) -> None:
        nonlocal commits
        commits += frame.description == {} and not frame.complete
        append(self, frame)

    Journal.append = counted  # type: ignore[method-assign]
    comm = MPI.COMM_WORLD
    nwbfile = session(recording, copies) if comm.rank == 0 else None
    comm.Barrier()
    began = time.perf_counter()
    settings: dict[str, Any] = {"compression": level, "commit_interval": interval, "buffer_mb": buffer_mb}
    with NWBParallelIO(output, "w", comm=comm, backend="direct", progress=False, **settings) as io:
        io.write(nwbfile)
    return {"seconds": time.perf_counter() - began, "commits": commits}


def run_job(job: str) -> None:
    """Run what ``in_process`` started."""
    from mpi4py import MPI

    warnings.simplefilter("ignore")
    recording, output, interval, *settings = json.loads(job)
    result = write(Recording.from_json(recording), Path(output), math.inf if interval is None else interval, *settings)
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(result), flush=True)


# -- the runner ------------------------------------------------------------------------------------------------


def in_process(
    arguments: argparse.Namespace, recording: Recording, interval: float | None, copies: int = 1
) -> dict[str, Any]:
    """Write once, in processes of their own."""
    output = arguments.folder / "out.nwb"
    job = json.dumps([recording.to_json(), str(output), interval, arguments.level, arguments.buffer_mb, copies])
    command = [*launcher(sys.executable, arguments.ranks), sys.executable, "-W", "ignore", __file__, "--job", job]
    # What the run before has left to the disk is not this one's to wait for.
    os.sync()
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    output.unlink(missing_ok=True)
    if done.returncode:
        raise SystemExit(f"the writer failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return result


def compare(arguments: argparse.Namespace, recording: Recording) -> str:
    """Run both in turn, several times, and return the table."""
    warm = in_process(arguments, recording, None)
    interval = arguments.interval
    copies = math.ceil(LEAST_COMMITS * interval / warm["seconds"])
    plain, committed = [], []
    for turn in range(arguments.repeats):
        order = [(None, plain), (interval, committed)]
        for given, results in order if turn % 2 == 0 else reversed(order):
            results.append(in_process(arguments, recording, given, copies))
    if not all(one["commits"] for one in committed) or any(one["commits"] for one in plain):
        raise SystemExit(f"commits were made where there should be none, or none where there should be: {committed}")
    overheads = [100 * (b["seconds"] / a["seconds"] - 1) for a, b in zip(plain, committed, strict=True)]
    rows = [
        [name, f"{median([one['seconds'] for one in runs]):.2f}", f"{median([one['commits'] for one in runs]):.0f}"]
        for name, runs in (("one fsync at the end", plain), (f"a commit every {interval:.2f} s", committed))
    ]
    size = f"{copies} x {arguments.megabytes} MB in each file"
    spread = f"{min(overheads):.2f} to {max(overheads):.2f}"
    return f"{table(['run', 'seconds', 'commits'], rows)}\n\n{size}, overhead {median(overheads):.2f} % ({spread})"


def main() -> None:
    """Parse, make the recording, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between commits (10)")
    parser.add_argument("--level", type=int, default=9, help="gzip level (9, to make the run last)")
    parser.add_argument("--buffer-mb", type=float, default=DEFAULT_BUFFER_MB, help="as for NWBParallelIO")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(), help="on a disk: memory has no fsync (default: here)")
    parser.add_argument("--smoke", action="store_true", help="a small size, to see that this program works")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(arguments.job)
        return
    if arguments.smoke:
        vars(arguments).update(SMOKE)
    arguments.folder = Path(tempfile.mkdtemp(prefix="parnwb-benchmark-", dir=arguments.folder))
    try:
        recording = make("neuropixels", arguments.folder / "recording", arguments.megabytes, CHANNELS)
        print(
            f"{CHANNELS} channels, {arguments.megabytes} MB, {arguments.ranks} rank(s), gzip {arguments.level}, "
            f"{arguments.repeats} interleaved pair(s), files in {arguments.folder.parent.absolute()}, fsync included\n"
        )
        print(compare(arguments, recording))
    finally:
        shutil.rmtree(arguments.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
