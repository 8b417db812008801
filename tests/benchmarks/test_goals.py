"""Goals are computed from made lines: ratios of one turn, the median of turns, reached or missed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def line(case: str, turn: int, seconds: float, processes: int = 2, **more: Any) -> dict[str, Any]:
    recording = {"kind": "wideband", "raw_bytes": 1000}
    own = {"study": "goals", "case": case, "turn": turn, "processes": processes, "seconds": seconds, "folder": "tmpfs"}
    return {**own, "recording": recording, "stored_bytes": 100, **more}


def rows(lines: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the cells of the table by the goal's text."""
    program = "import goals, json, sys; print(goals.table_of(json.load(sys.stdin)))"
    command, text = [sys.executable, "-c", program], json.dumps(lines)
    done = subprocess.run(command, cwd=BENCHMARKS, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in done.stdout.splitlines()[2:]]
    return {row[1]: row[2:] for row in cells}


def test_ratios_are_of_one_turn_and_the_median_decides() -> None:
    ours = [line("parnwb, auto", turn, 1.0, memory=[1], buffer_bytes=0, phases=[{}]) for turn in range(3)]
    pynwb = [line("pynwb, gzip-4", turn, seconds, 1) for turn, seconds in enumerate([13.0, 15.0, 99.0])]
    found = rows(ours + pynwb)
    assert found["auto: times as fast as pynwb gzip-4"] == [">= 14", "15.00 (13.00 to 99.00, n=3)", "reached"]
    assert found["auto: size of the file / pynwb's gzip-4"][2] == "reached"
    assert found["auto: share of the codec-only limit"] == ["", "", "not measured"]


def test_a_goal_that_is_missed_says_by_how_much() -> None:
    waits = [{"waiting for addresses": 0.15, "waiting for the last rank": 0.1, "waiting for other ranks": 0.05}, {}]
    ours = line("parnwb, auto", 0, 2.0, memory=[1], buffer_bytes=0, phases=waits, stored_bytes=110)
    found = rows([ours, line("pynwb, gzip-4", 0, 14.0, 1)])
    assert found["auto: times as fast as pynwb gzip-4"][2] == "MISSED: 50% below"
    assert found["auto: size of the file / pynwb's gzip-4"][2] == "MISSED: 10% above"
    assert found["auto: % of the run a rank waits for another"][1].startswith("15.00")


def test_goals_are_about_cases_that_there_are() -> None:
    program = """
import costs, goals
from cases import all_cases
measured = {(one.name, one.processes) for one in costs.COSTS}
print({name for name, _ in goals.RUNS} - set(all_cases()) | {goals.HELP, goals.SMALL_FILE, goals.ADDRESSES} - measured)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=BENCHMARKS, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"


def test_costs_that_no_recording_matters_to_have_rows_of_their_own() -> None:
    started = [{"case": "parnwb --help", "processes": 1, "turn": turn, "seconds": 0.1 * turn} for turn in (1, 2, 9)]
    failed = {"case": "addresses for chunks", "processes": 1, "turn": 1, "error": "no memory"}
    costs = [{"study": "costs", "folder": "tmpfs", **one} for one in (*started, failed)]
    found = rows([line("pynwb, gzip-4", 0, 14.0, 1), *costs])
    assert found["parnwb --help: s"] == ["<= 0.3", "0.20 (0.10 to 0.90, n=3)", "reached"]
    assert found["addresses for 10,000 made-up ranks, chunks/s"] == ["", "", "not measured"]
    assert "parnwb --help: s" not in rows([line("pynwb, gzip-4", 0, 14.0, 1)])


def test_runs_that_failed_take_no_part() -> None:
    failed = line("pynwb, gzip-4", 0, 14.0, 1, error="no room")
    ours = line("parnwb, auto", 0, 2.0, memory=[1], buffer_bytes=0, phases=[{}])
    assert rows([ours, failed])["auto: times as fast as pynwb gzip-4"][2] == "not measured"
