"""What becomes of the file where a program leaves the ``with`` block by ``sys.exit``: what pynwb does, or better."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pynwb import NWBHDF5IO, NWBFile

from parnwb import NWBParallelIO


@pytest.mark.parametrize(("status", "is_written"), [(0, True), (None, True), (3, False), ("an error", False)])
def test_exit_of_a_program_that_has_succeeded(tmp_path: Path, status: object, is_written: bool) -> None:
    with pytest.raises(SystemExit) as ended, NWBParallelIO(tmp_path / "out.nwb", "w", progress=False) as io:
        io.write(NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=timezone.utc)))
        sys.exit(status)  # type: ignore[arg-type]
    assert ended.value.code == status
    assert (tmp_path / "out.nwb").exists() == is_written
    if is_written:
        with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
            assert io.read().identifier == "id"
