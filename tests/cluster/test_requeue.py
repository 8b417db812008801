"""Jobs that end before they are done: at the wall-clock limit, by scancel, with a node; what they leave is resumed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster.account import ROOT, Account, assert_done
from cluster.hosts import hosts_up
from cluster.slurm import Job, slurm_up
from cluster.slurm import why_not as why_no_slurm
from contract.compare import differences
from failure.resuming import comparable

pytestmark = pytest.mark.mpi_skip
SECONDS = 240
SLOW = {"PARNWB_TEST_DELAY": "0.5", "PARNWB_TEST_SLOWLY": str(ROOT / "tests" / "cluster" / "slow")}
# Small buffers and a commit a second.
OFTEN = ["--buffer-mb", "0.25", "--commit-interval", "1"]


def journal(path: Path) -> Path:
    return path.with_name(path.name + ".partial.journal")


def has_committed(path: Path) -> bool:
    """Tell whether data are safe, not only the description of the file."""
    return journal(path).exists() and path.with_name(path.name + ".partial").stat().st_size > 300_000


def assert_equals_uninterrupted(account: Account, path: Path, recording: Path) -> None:
    """Check that a file is what one process writes that is left alone."""
    whole = path.with_name("whole.nwb")
    if not whole.exists():
        argv = ["parnwb", "convert", recording, whole, *account.reading, "--quiet"]
        subprocess.run(argv, check=True, timeout=120, env=account.environment(), cwd=account.home)
    assert not differences(comparable(whole), comparable(path))
    assert sorted(item.name for item in path.parent.glob(f"{path.name}*")) == [path.name]
