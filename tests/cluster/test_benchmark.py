"""The benchmark of one host against two runs, small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.hosts import why_not

pytestmark = pytest.mark.mpi_skip
PROGRAM = Path(__file__).parents[2] / "benchmarks" / "two_hosts.py"


def test_all_places_are_measured(tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    argv = [sys.executable, PROGRAM, "--megabytes", "4", "--repetitions", "1", "--folder", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, env=os.environ)
    assert done.returncode == 0, done.stderr
    places = [json.loads(line)["place"] for line in done.stdout.splitlines()]
    assert places == ["1 host x 2 ranks", "2 hosts x 1 rank", "2 hosts x 1 rank, root writes"]
    assert list(tmp_path.iterdir()) == []
