"""The benchmark of what commits cost works; its figures mean something on a quiet machine only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mpi_launch import run_mpi

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow, pytest.mark.once]

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "commits.py"
MEGABYTES = 40


@pytest.mark.parametrize(("interval", "commits"), [(None, False), (0.05, True)])
def test_one_run_of_the_benchmark(tmp_path: Path, interval: float | None, commits: bool) -> None:
    pytest.importorskip("neuroconv", reason="the benchmark reads its recording with neuroconv")
    from parnwb.recordings.made_recording import make_spikeglx_recording

    run = make_spikeglx_recording(tmp_path / "recording", megabytes=MEGABYTES, channels=384)
    metadata = tmp_path / "metadata.yaml"
    metadata.write_text('NWBFile:\n  session_start_time: "2024-03-05T10:15:30+00:00"\n')
    recording = {"kind": "neuropixels", "path": str(next(run.rglob("*.ap.bin"))), "metadata": str(metadata)}
    recording |= {"shape": [0, 384], "dtype": "<i2", "columns": 385, "chunk": [1, 64]}
    output = tmp_path / "out.nwb"
    job = json.dumps([recording, str(output), interval, 4, 1.0, 2])
    environment = {"PYTHONPATH": str(BENCHMARK.parents[1])}
    done = run_mpi(2, [sys.executable, BENCHMARK, "--job", job], timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    (result,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert result["seconds"] > 0 and (result["commits"] > 0) == commits
    assert output.exists()
