"""Run under mpiexec: repacks, merges and splits prepared files. Arguments: the folder with them, one for the output."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from parnwb.repacking import merge, repack, split

SMALL = {"buffer_mb": 0.3, "progress": False, "commit_interval": 3600.0}
RECODED: dict[str, Any] = {
    "chunks": "auto",
    "compression": "auto",
    "datasets": {
        "*/gz": {"chunks": (111, 7), "compression": "gzip-1"},
        "*/scaled": {"chunks": (200, 40), "compression": "own"},
        "*/lzf": {"chunks": (300, 20), "compression": "own"},
        "*/contiguous": {"compression": "none"},
        "*/floats": {"compression": "none", "chunks": "own"},
    },
}
Case = Callable[[Path, Path, Any], Any]


def again(folder: Path, output: Path, comm: Any) -> None:
    """Repack a copy in its place."""
    if comm.rank == 0:
        shutil.copy(folder / "old.h5", output)
        os.chmod(output, 0o640)
        shutil.copy(folder / "other.h5", output.parent)
    comm.Barrier()
    repack(output, comm=comm, inplace=True, **SMALL)


def parted(folder: Path, output: Path, comm: Any) -> None:
    """Split a session and merge it again."""
    split(folder / "session.nwb", output.with_name("links.nwb"), comm, **SMALL)
    merge(output.with_name("links.nwb"), output, comm, **SMALL)


CASES: dict[str, Case] = {
    **{
        f"same_{name}": lambda folder, output, comm, name=name: repack(folder / f"{name}.h5", output, comm, **SMALL)
        for name in ("old", "userblock", "new")
    },
    **{
        f"recoded_{name}": lambda folder, output, comm, name=name: repack(
            folder / f"{name}.h5", output, comm, **RECODED, **SMALL
        )
        for name in ("old", "userblock", "new")
    },
    "same_session": lambda folder, output, comm: repack(folder / "session.nwb", output, comm, **SMALL),
    "recoded_session": lambda folder, output, comm: repack(
        folder / "session.nwb", output, comm, chunks="auto", compression="auto", manifest=True, **SMALL
    ),
    "inplace": again,
    "parted": parted,
    "merged": lambda folder, output, comm: merge(folder / "virtual.h5", output, comm, bulk_threshold=1, **SMALL),
}


def main(folder: Path, outputs: Path) -> None:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    for name, case in CASES.items():
        if comm.rank == 0:
            print(name, flush=True)
            shutil.copy(folder / "other.h5", outputs)  # to which a relative link leads
        comm.Barrier()
        try:
            case(folder, outputs / f"{name}.h5", comm)
        except Exception:
            if comm.rank == 0:
                (outputs / f"{name}.failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
