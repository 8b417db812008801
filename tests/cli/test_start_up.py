"""``parnwb --help`` loads nothing that takes long."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.mpi_skip
HELP = """
import sys
from parnwb.cli import main
sys.argv = ["parnwb", *sys.argv[1:]]
try:
    main()
finally:
    heavy = "neuroconv nwbinspector matplotlib pynwb hdmf h5py mpi4py numpy rich".split()
    print("loaded:", *(name for name in heavy if name in sys.modules))
"""
SECONDS = 0.3


def seconds_of(command: list[str]) -> float:
    """Return the processor's time: what passes on the clock depends on who else is at work."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", [["--help"], ["convert", "--help"], ["plan", "-h"], ["--version"]])
def test_help_imports_no_library_that_takes_long(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", HELP, *words], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_help_comes_at_once() -> None:
    assert min(seconds_of([sys.executable, "-m", "parnwb", "--help"]) for _ in range(5)) < SECONDS
