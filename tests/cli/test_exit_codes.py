"""Each exit status that docs/reference/exit-codes.md lists is one that a command ends with; also recorded as text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parnwb.recordings.made_recording import make_spikeglx_recording

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]

ROOT = Path(__file__).parents[2]
PARNWB = [sys.executable, "-m", "parnwb"]
RECORDED = Path(__file__).parent / "recorded"
ENDED_BY_SIGNAL = {"75", "130"}


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PARNWB_CONFIG": os.devnull}


def start(argv: list[str], folder: Path) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*PARNWB, *argv], cwd=folder, env=environment(), **pipes)


def listed() -> set[str]:
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    return set(re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE))


def test_all_that_are_listed_are_recorded_or_tested_here() -> None:
    last_lines = (path.read_text().splitlines()[-1] for path in RECORDED.glob("*.txt") if "help" not in path.name)
    told = "--- exit status "  # which texts of made-up machines do not have
    recorded = {line.removeprefix(told) for line in last_lines if line.startswith(told)}
    assert recorded | ENDED_BY_SIGNAL == listed()


def test_help_lists_them_too() -> None:
    text = (RECORDED / "help.txt").read_text().split("Exit status:")[1]
    assert set(re.findall(r"^  (\d+) ", text, flags=re.MULTILINE)) == listed()


def test_interrupted_before_there_was_anything_to_keep(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metadata.yaml")
    process = start(["plan", "nowhere", "--ranks", "2", "--metadata", "metadata.yaml"], tmp_path)
    with (tmp_path / "metadata.yaml").open("w"):  # who opens a pipe waits until it is read
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "\nparnwb: interrupted\n")


def test_asked_to_stop_and_run_again(tmp_path: Path) -> None:
    make_spikeglx_recording(tmp_path / "rec", megabytes=12)
    argv = ["convert", "rec", "out.nwb", "--compression", "9", "--buffer-mb", "1"]
    process = start([*argv, "--log-json", "events.jsonl"], tmp_path)
    wait_for_event(tmp_path / "events.jsonl", "start")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (75, ""), err
    assert err.count("asked to stop") == 1 and "--resume" in err and "Traceback" not in err
    assert not (tmp_path / "out.nwb").exists()
    again = start([*argv, "--resume"], tmp_path)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0 and (tmp_path / "out.nwb").exists(), err


def wait_for_event(path: Path, name: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lines = path.read_text().splitlines() if path.exists() else []
        if name in [json.loads(line)["event"] for line in lines if line.endswith("}")]:
            return
        time.sleep(0.01)
    raise AssertionError(f"no event {name} in {path}")
