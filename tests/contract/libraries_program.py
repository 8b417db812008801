"""Run under mpiexec: writes what `contents.libraries` has. Arguments: INPUTS OUTPUTS [OTHERS].

Files are left as ``OUTPUTS/BACKEND-BUFFER/NAME.nwb``. Those of another launch, in OTHERS, are verified against their
sources, and the findings left as ``OUTPUTS/BACKEND-BUFFER/NAME.verdict``. What failed leaves ``NAME.failed``.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.cases import SMALL_BUFFERS, filled
from contract.contents.libraries import CONTENTS, GRID_BYTES

from parnwb import NWBParallelIO
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.planning import plan
from parnwb.site import parallel_hdf5
from parnwb.verification import verify

COMM = MPI.COMM_WORLD
BUFFERS_MB = (0.002, 0.05, 1)


def file_of(name: str, inputs: Path, everywhere: bool = True) -> Any:
    is_made = everywhere or COMM.rank == 0
    return filled(CONTENTS[name], name, inputs, rank=COMM.rank) if is_made else None


def write(name: str, path: Path, inputs: Path, *, everywhere: bool = True, **settings: Any) -> None:
    given = {**SMALL_BUFFERS, "progress": False, **settings}
    with NWBParallelIO(path, "w", comm=COMM, **given) as io:
        io.write(file_of(name, inputs, everywhere), cache_spec=False)


def check(name: str, path: Path, verdict: Path, inputs: Path, buffer_mb: float) -> None:
    """Verify a file with another buffer size than it was written with."""
    rule = BulkRule(threshold=0)
    found = verify(path, against=file_of(name, inputs), comm=COMM, buffer_mb=buffer_mb, rule=rule)
    if COMM.rank == 0:
        verdict.write_text("\n".join(["good" if found.ok else "bad", *found.compared, *map(str, found.findings)]))


def attempt(path: Path, what: Callable[[], None]) -> None:
    """Do something for one file; leave the reason if it fails. Collective."""
    if COMM.rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(path, flush=True)  # the last of these lines tells where a launch hung
    COMM.Barrier()
    try:
        what()
    except Exception:
        if COMM.rank == 0:
            path.with_suffix(".failed").write_text(traceback.format_exc())


def main(inputs: Path, outputs: Path, others: Path | None = None) -> None:
    for backend in ["direct", *(["mpio"] if parallel_hdf5() else [])]:
        for number, buffer_mb in enumerate(BUFFERS_MB):
            for name in CONTENTS if number == 0 else ["lazy"]:
                path = outputs / f"{backend}-{buffer_mb}" / f"{name}.nwb"
                settings = {"backend": backend, "buffer_mb": buffer_mb, "everywhere": number != 1}
                attempt(path, lambda n=name, p=path, s=settings: write(n, p, inputs, **s))
                if others is not None:
                    other, verdict = others / path.relative_to(outputs), path.with_suffix(".verdict")
                    mb = BUFFERS_MB[number - 1]
                    attempt(verdict, lambda n=name, o=other, v=verdict, mb=mb: check(n, o, v, inputs, mb))
    path = outputs / "root-only" / "tiff.nwb"
    attempt(path, lambda: write("tiff", path, inputs, everywhere=False))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    plan.READ_GRID_BYTES = GRID_BYTES
    main(*map(Path, sys.argv[1:]))
