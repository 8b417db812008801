"""What the benchmarks share: seconds and memory of a block, medians with their spread, and tables."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MB = 1e6


def anonymous_bytes(pid: int | str = "self") -> int:
    """Return a process's RssAnon, 0 if it has ended. Pages of mapped files, which the kernel can drop, do not count."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def children() -> Iterator[int]:
    """Iterate over the processes that this one has started and that have not ended."""
    for task in Path("/proc/self/task").iterdir():
        try:
            yield from map(int, (task / "children").read_text().split())
        except OSError:
            pass


class PeakMemory:
    """Watches RssAnon of this process and of its children, every few milliseconds, while a block runs."""

    def __init__(self, interval: float = 0.005) -> None:
        self._peaks: dict[int, int] = {}
        self._interval = interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def peaks(self) -> list[int]:
        """Bytes of each process at its peak, this one's first."""
        return list(self._peaks.values())

    def _look(self) -> None:
        for pid in (os.getpid(), *children()):
            self._peaks[pid] = max(self._peaks.get(pid, 0), anonymous_bytes(pid))

    def _watch(self) -> None:
        while not self._done.wait(self._interval):
            self._look()

    def __enter__(self) -> PeakMemory:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()


def in_turn(
    ways: Mapping[str, Callable[[Path], object]], folder: Path, repeats: int, comm: Any
) -> dict[str, list[float]]:
    """Return the seconds of each way to write a file in ``folder``, from when all ranks begin to the last one's end.

    Collective. Ways alternate, and the file of the turn before has gone before the clock starts.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, write in ways.items():
            output = folder / f"{way}.nwb"
            if comm.rank == 0:
                output.unlink(missing_ok=True)
                os.sync()
            comm.Barrier()
            began = time.perf_counter()
            write(output)
            comm.Barrier()
            seconds[way].append(time.perf_counter() - began)
    return seconds


class Measurement:
    """Seconds and memory of a block that all ranks begin together and that lasts until the last has left it.

    Parameters
    ----------
    comm
        Of the ranks that take part; None for one process.
    """

    def __init__(self, comm: Any = None) -> None:
        self._comm = comm
        self._memory = PeakMemory()
        self.seconds = 0.0

    def __enter__(self) -> Measurement:
        if self._comm is not None:
            self._comm.Barrier()
        self._memory.__enter__()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self._memory.__exit__(*exception)

    def result(self, **more: Any) -> dict[str, Any]:
        """Return what was measured, of all ranks. Collective."""
        peaks = self._memory.peaks
        seconds = self.seconds
        if self._comm is not None:
            seconds = max(self._comm.allgather(seconds))
            peaks = [max(one) for one in self._comm.allgather(peaks)]
        return {"seconds": seconds, "memory": peaks, **more}


def make_safe(path: Path) -> None:
    """Call fsync on a file, or on all files of a folder."""
    for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def stored_bytes(path: Path) -> int:
    """Return the size of a file, or of all files of a folder."""
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) if path.is_dir() else path.stat().st_size


def median(values: Sequence[float]) -> float:
    """Return the median; NaN for none."""
    return statistics.median(values) if values else float("nan")


def with_spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median with the smallest and the largest value, so that noise is seen."""
    if not values:
        return "-"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
