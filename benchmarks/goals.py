"""The goals, as ratios of runs that were measured side by side: which are reached, which are missed and by how much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measure import MB, median, table

Line = Mapping[str, Any]
Turn = dict[tuple[str, int], Line]
"""The runs of one turn by case and number of processes."""

RUNS = (
    ("pynwb, gzip-4", 1),
    ("pynwb, gzip-4 + shuffle", 1),
    ("parnwb, auto", 1),
    ("parnwb, auto", 2),
    ("parnwb, auto, 2 threads", 1),
    ("codec only, auto", 1),
    ("codec only, auto", 2),
    ("parnwb, gzip-4 + shuffle", 2),
    ("HDF5 collective, gzip-4", 2),
    ("HDF5 collective, gzip-4 + shuffle", 2),
    ("hdmf-zarr, gzip-4", 2),
    ("hdmf-zarr, its default codec", 2),
    ("parnwb zarr, gzip-4", 2),
    ("parnwb zarr, its default codec", 2),
    ("parnwb convert", 2),
    ("neuroconv, run_conversion", 1),
    ("parnwb, none", 2),
    ("pwrite, from memory", 2),
    ("pwrite, read and written", 2),
)
MEMORY_BEYOND_BUFFER = 200 * MB
AUTO = ("parnwb, auto", 2)


@dataclass(frozen=True)
class Goal:
    """One thing to be reached.

    Parameters
    ----------
    text
        What, as tables have it.
    bound
        Reached from here on (``at_most``: up to here).
    figure
        Computes it from the runs of one turn.
    at_most
        Whether less is better.
    """

    text: str
    bound: float
    figure: Callable[[Turn], float]
    at_most: bool = False

    def row(self, kind: str, turns: Sequence[Turn]) -> list[str] | None:
        """Return kind, text, bound, median with spread, verdict; None where its runs do not belong to this kind."""
        figures = []
        for turn in turns:
            try:
                figures.append(self.figure(turn))
            except KeyError:
                continue
        if not figures:
            return None
        middle = median(figures)
        reached = middle <= self.bound if self.at_most else middle >= self.bound
        missed = f"MISSED: {abs(middle / self.bound - 1):.0%} {'above' if self.at_most else 'below'}"
        spread = f"{middle:.2f} ({min(figures):.2f} to {max(figures):.2f}, n={len(figures)})"
        bound = f"{'<=' if self.at_most else '>='} {self.bound:g}"
        return [kind, self.text, bound, spread, "reached" if reached else missed]


def speed(ours: tuple[str, int], theirs: tuple[str, int], clock: str = "seconds") -> Callable[[Turn], float]:
    """Return how many times as fast one case is as another."""
    return lambda turn: turn[theirs][clock] / turn[ours][clock]


def size(ours: tuple[str, int], theirs: tuple[str, int]) -> Callable[[Turn], float]:
    """Return the ratio of the sizes of what they leave."""
    return lambda turn: turn[ours]["stored_bytes"] / turn[theirs]["stored_bytes"]


def collective(turn: Turn) -> float:
    """Return how many times as fast ``auto`` is as HDF5's collective write with the better of its settings."""
    theirs = (turn["HDF5 collective, gzip-4", 2], turn["HDF5 collective, gzip-4 + shuffle", 2])
    return min(one["seconds"] for one in theirs) / turn[AUTO]["seconds"]


def efficiency(turn: Turn) -> float:
    """Return how much of its codec's own gain from a second rank is left to the whole."""
    gain = turn["parnwb, auto", 1]["seconds"] / turn[AUTO]["seconds"]
    limit = turn["codec only, auto", 1]["seconds"] / turn["codec only, auto", 2]["seconds"]
    return gain / limit


def memory(turn: Turn) -> float:
    """Return the largest rank's anonymous memory as a part of what it may have."""
    return max(turn[AUTO]["memory"]) / (turn[AUTO]["buffer_bytes"] + MEMORY_BEYOND_BUFFER)


def waiting(turn: Turn) -> float:
    """Return the largest share of a run for which a rank waited for another, in percent."""
    names = ("waiting for other ranks", "waiting for addresses", "waiting for the last rank")
    waits = [sum(rank.get(name, 0.0) for name in names) for rank in turn[AUTO]["phases"]]
    return 100 * max(waits) / turn[AUTO]["seconds"]


GZIP_SHUFFLE = ("parnwb, gzip-4 + shuffle", 2)
ZARR = ("parnwb zarr, its default codec", 2)
HELP, SMALL_FILE, ADDRESSES = ("parnwb --help", 1), ("a small file", 2), ("addresses for chunks", 1)
GOALS = (
    Goal("auto: times as fast as pynwb gzip-4", 14, speed(AUTO, ("pynwb, gzip-4", 1))),
    Goal("auto: size of the file / pynwb's gzip-4", 1.0, size(AUTO, ("pynwb, gzip-4", 1)), at_most=True),
    Goal("gzip-4 + shuffle asked for: times pynwb", 5, speed(GZIP_SHUFFLE, ("pynwb, gzip-4 + shuffle", 1))),
    Goal("gzip-4 + shuffle: size / pynwb's", 1.05, size(GZIP_SHUFFLE, ("pynwb, gzip-4 + shuffle", 1)), at_most=True),
    Goal("auto: times HDF5's collective filtered write", 10, collective),
    Goal("auto: times hdmf-zarr gzip-4, 2 jobs", 5, speed(AUTO, ("hdmf-zarr, gzip-4", 2))),
    Goal("auto: times hdmf-zarr, default codec, 2 jobs", 1.5, speed(AUTO, ("hdmf-zarr, its default codec", 2))),
    Goal("auto: size / hdmf-zarr's, default codec", 1.0, size(AUTO, ("hdmf-zarr, its default codec", 2)), at_most=True),
    Goal("zarr, gzip-4: times hdmf-zarr, 2 jobs", 2, speed(("parnwb zarr, gzip-4", 2), ("hdmf-zarr, gzip-4", 2))),
    Goal("zarr, default codec: times hdmf-zarr, 2 jobs", 2, speed(ZARR, ("hdmf-zarr, its default codec", 2))),
    Goal(
        "parnwb convert: times neuroconv, whole command",
        8,
        speed(("parnwb convert", 2), ("neuroconv, run_conversion", 1), "whole_seconds"),
    ),
    Goal("auto: share of the codec-only limit", 0.85, speed(AUTO, ("codec only, auto", 2))),
    Goal("none: share of pwrite from memory", 0.90, speed(("parnwb, none", 2), ("pwrite, from memory", 2))),
    Goal("none: share of pwrite that also reads", 0.90, speed(("parnwb, none", 2), ("pwrite, read and written", 2))),
    Goal("auto, 1 to 2 ranks: efficiency / codec's own", 0.97, efficiency),
    Goal("auto: memory of a rank / (buffer + 200 MB)", 1.0, memory, at_most=True),
    Goal("auto: % of the run a rank waits for another", 5.0, waiting, at_most=True),
)
GOALS_OF_COSTS = (
    Goal("parnwb --help: s", 0.3, lambda turn: turn[HELP]["seconds"], at_most=True),
    Goal("a small file: s more than pynwb's own write", 0.5, lambda turn: turn[SMALL_FILE]["more"], at_most=True),
    Goal("addresses for 10,000 made-up ranks, chunks/s", 50_000, lambda turn: turn[ADDRESSES]["chunks_per_second"]),
)
"""Of what is measured without a recording, in ``costs.py``."""


def table_of(lines: Sequence[Line]) -> str:
    """Return the table of goals of all lines of the study ``goals``, and of costs; runs that failed take no part."""
    rows = []
    own = [line for line in lines if line["study"] == "goals" and "error" not in line]
    for kind, folder in dict.fromkeys((line["recording"]["kind"], line["folder"]) for line in own):
        chosen = [line for line in own if (line["recording"]["kind"], line["folder"]) == (kind, folder)]
        rows += _rows(f"{kind}, {folder}", GOALS, chosen)
    if costs := [line for line in lines if line["study"] == "costs"]:
        rows += _rows("none", GOALS_OF_COSTS, [line for line in costs if "error" not in line])
    return table(["recording", "goal", "bound", "median (spread)", "verdict"], rows)


def _rows(recording: str, wanted: Sequence[Goal], lines: Sequence[Line]) -> list[list[str]]:
    numbers = dict.fromkeys(line["turn"] for line in lines)
    turns = [{(one["case"], one["processes"]): one for one in lines if one["turn"] == turn} for turn in numbers]
    return [goal.row(recording, turns) or [recording, goal.text, "", "", "not measured"] for goal in wanted]
