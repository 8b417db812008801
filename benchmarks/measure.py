"""What the benchmarks share: peak anonymous memory, medians, and a table of results."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

STATUS = Path("/proc/self/status")


def anonymous_bytes() -> int:
    """Return this process's RssAnon. Pages of mapped files, which the kernel can drop, do not count."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


class PeakMemory:
    """Watches RssAnon every few milliseconds while a block runs."""

    def __init__(self, interval: float = 0.005) -> None:
        self.peak = anonymous_bytes()
        self._interval = interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.wait(self._interval):
            self.peak = max(self.peak, anonymous_bytes())

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_bytes())


def median(values: Sequence[float]) -> float:
    """Return the median; NaN for none."""
    return statistics.median(values) if values else float("nan")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
