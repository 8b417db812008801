"""Ranks of which one cannot begin its command, before MPI has begun: all end, at once, with one message."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip

TIMEOUT = 60
FIGURE = "export PARNWB_CONVERT_BUFFER_MB=big"


def run(ranks: int, here: Path, only: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command line on some ranks; ``only`` is what bash does first, by the number of the rank."""
    script = f'case "${{PMI_RANK:-$OMPI_COMM_WORLD_RANK}}" in {only};; esac; exec "$@"'
    command = ["bash", "-c", script, "sh", sys.executable, "-m", "parnwb", *argv]
    return run_mpi(ranks, command, timeout=TIMEOUT, cwd=here, env={"PARNWB_CONFIG": os.devnull})


def the_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only message of an error in command lines."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("Error: ") == 1 and "Traceback" not in done.stderr, done.stderr
    return " ".join(done.stderr[done.stderr.index("Error: ") :].split())


def test_a_value_of_one_host_that_is_no_number(tmp_path: Path) -> None:
    said = the_error(run(3, tmp_path, f"2) {FIGURE}", "convert", "rec", "out.nwb"))
    assert "Invalid value for '--buffer-mb': 'big'" in said and "(rank 2 on " in said, said
    assert "unlike others). Have one parnwb.toml and PARNWB_ environment on all hosts" in said, said


@pytest.mark.parametrize("argv", [("verify", "out.nwb"), ("doctor",)])
def test_a_configuration_of_one_host_that_is_no_toml(tmp_path: Path, argv: tuple[str, ...]) -> None:
    (tmp_path / "bad.toml").write_text("[verify\n")
    said = the_error(run(4, tmp_path, "1) export PARNWB_CONFIG=bad.toml", *argv))
    assert "the configuration bad.toml is no TOML" in said and "(rank 1 on " in said, said


@pytest.mark.parametrize("argv", [("convert", "rec", "out.nwb", "--dry-run"), ("demo",)])
def test_a_root_that_does_not_understand(tmp_path: Path, argv: tuple[str, ...]) -> None:
    """A dry run, and a demo on ranks that are there, are done by all ranks, too."""
    variable = "PARNWB_DEMO_MEGABYTES" if argv == ("demo",) else "PARNWB_CONVERT_BUFFER_MB"
    said = the_error(run(2, tmp_path, f"0) export {variable}=big", *argv))
    assert "'big'" in said and "(rank 0 on " in said, said
    assert not list(tmp_path.iterdir())


def test_the_same_mistake_on_all_ranks_is_told_once_and_soon(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(3, tmp_path, f"*) {FIGURE}", "convert", "rec", "out.nwb")
    said = the_error(done)
    assert said.startswith("Error: Invalid value for '--buffer-mb': 'big'") and "rank" not in said, said
    assert done.stderr.count("Usage: ") == 1
    assert time.monotonic() - began < TIMEOUT / 2


def test_libraries_that_only_the_root_imports_and_cannot(tmp_path: Path) -> None:
    (tmp_path / "broken" / "pynwb").mkdir(parents=True)
    (tmp_path / "broken" / "pynwb" / "__init__.py").write_text("raise ImportError('no such pynwb')\n")
    only = "0) export PYTHONPATH=$PWD/broken:$PYTHONPATH"
    done = run(3, tmp_path, only, "convert", "rec", "out.nwb")
    assert done.returncode not in (0, 2) and done.stderr.count("ImportError: no such pynwb") == 1, done.stderr
