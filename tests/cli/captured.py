"""Run one command line in this process, and keep what it prints. Imports no MPI by itself."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Any

from parnwb.cli import main as parnwb


class Captured:
    """Standard output and error of this process, by their descriptors, while in the block."""

    def __enter__(self) -> Captured:
        sys.stdout.flush()
        sys.stderr.flush()
        self.files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        self.kept = [os.dup(1), os.dup(2)]
        for number, file in enumerate(self.files):
            os.dup2(file.fileno(), number + 1)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.texts = []
        for number, (file, kept) in enumerate(zip(self.files, self.kept, strict=True)):
            os.dup2(kept, number + 1)
            os.close(kept)
            file.seek(0)
            self.texts.append(file.read().decode(errors="replace"))
            file.close()


def run(argv: list[str]) -> dict[str, Any]:
    """Run one command line and return what this process printed, its exit status and the time it took."""
    began = time.monotonic()
    status: Any = 0
    with Captured() as captured:
        sys.argv = ["parnwb", *argv]
        try:
            parnwb()
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            status = "raised"
    out, err = captured.texts
    return {"status": status, "out": out, "err": err, "seconds": time.monotonic() - began}
