"""The whole command ``parnwb convert``, from starting Python to the file's name."""

from __future__ import annotations

import sys
from typing import Any

from measure import Measurement, stored_bytes
from recordings import VENDOR

from cases import Case, Task

CASES = (Case("parnwb convert", kinds=VENDOR, launch="mpi"),)


def write(task: Task, comm: Any) -> dict[str, Any]:
    """Run the command within this process, as its entry point does. Collective."""
    from parnwb.cli import main

    recording = task.recording
    metadata = ["--metadata", recording.metadata] if recording.metadata else []
    sys.argv = ["parnwb", "convert", recording.path, str(task.output), "--quiet", *metadata]
    with Measurement(comm) as measured:
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
    return measured.result(stored_bytes=stored_bytes(task.output))
