"""Run many command lines in turn, with MPI in all ranks; the root prints what each rank printed and its exit status.

Arguments: a JSON file with a list of {"name", "argv"}; `--without-mpi` if importing MPI is to fail.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from captured import run


def gathered(outcome: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the outcomes of all ranks on the root."""
    if WITHOUT_MPI:
        return [outcome]
    from mpi4py import MPI

    return MPI.COMM_WORLD.gather(outcome)


def main() -> None:
    for case in json.loads(Path(sys.argv[1]).read_text()):
        outcomes = gathered(run(case["argv"]))
        if outcomes is not None:
            print(f"case {case['name']}", file=sys.stderr, flush=True)
            print(json.dumps({"name": case["name"], "outcomes": outcomes}), flush=True)


WITHOUT_MPI = "--without-mpi" in sys.argv
if WITHOUT_MPI:
    sys.modules["mpi4py"] = None  # type: ignore[assignment]

if __name__ == "__main__":
    listed = sys.argv[1]
    sys.argv = [sys.argv[0], listed]
    main()
