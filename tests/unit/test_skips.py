"""A skip that hides a fault is one where continuous integration runs."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
PROGRAM = """
import pytest

def test_passes(): pass

def test_other_environment(): pytest.skip("this h5py was built without MPI: no mpio")

@pytest.mark.skipif(True, reason="there is no such program")
def test_hides(): pass

@pytest.fixture
def missing(): pytest.skip("no root")

def test_hides_in_a_fixture(missing): pass

@pytest.mark.xfail
def test_known(): assert False
"""


def ran(folder: Path, environment: dict[str, str]) -> Any:
    (folder / "conftest.py").write_text("from skips import pytest_make_collect_report, pytest_runtest_makereport\n")
    (folder / "test_some.py").write_text(PROGRAM)
    (folder / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module_at_all')\n")
    command = [sys.executable, "-m", "pytest", folder, "-p", "no:cacheprovider", "-c", "/dev/null", "-rA"]
    return run(command, env={"PYTHONPATH": str(TESTS), **environment}, capture_output=True, text=True, timeout=60)


def test_elsewhere_skips_are_skips(tmp_path: Path) -> None:
    done = ran(tmp_path, {})
    assert done.returncode == 0, done.stdout
    assert "1 passed, 4 skipped, 1 xfailed" in done.stdout


@pytest.mark.parametrize("options", ["", "-n 1"])
def test_where_nothing_may_be_missing_they_are_failures(tmp_path: Path, options: str) -> None:
    addopts = f"--continue-on-collection-errors {options}"
    done = ran(tmp_path, {"PARNWB_EXPECTED_SKIPS_ONLY": "1", "PYTEST_ADDOPTS": addopts})
    assert done.returncode == 1, done.stdout
    assert "1 passed, 1 skipped, 1 xfailed, 3 errors" in done.stdout
    assert "skipped where nothing should be missing: there is no such program (tests/skips.py)" in done.stdout
    assert "no_such_module_at_all" in done.stdout
