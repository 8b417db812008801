"""What a file was made, or verified, with."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from parnwb.comm import Ranks, library
from parnwb.machine import storage
from parnwb.site import parallel_hdf5, versions

PACKAGES = ("pynwb", "hdmf", "numpy", "mpi4py", "neuroconv")
MOST_HOSTS = 8


def environment(ranks: Ranks, folder: Path, done: str) -> dict[str, str]:
    """Return what this program runs with and where, by its name. Independent.

    Parameters
    ----------
    folder
        Where the file is.
    done
        With it, such as ``Written``.
    """
    found = {f"{done} at": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
    if sys.argv and sys.argv[0]:
        found["Command"] = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    hosts = list(dict.fromkeys(ranks.hosts))
    more = f" and {len(hosts) - MOST_HOSTS} more" if len(hosts) > MOST_HOSTS else ""
    found["Ranks"] = f"{ranks.size} on {', '.join(hosts[:MOST_HOSTS])}{more}"
    if "SLURM_JOB_ID" in os.environ:
        found["SLURM job"] = os.environ["SLURM_JOB_ID"]
    found["Cores for rank 0"] = str(len(os.sched_getaffinity(0)))
    found["File system"] = storage.file_system(folder)
    found["MPI"] = library() if ranks.comm is not None else "none: one process"
    build = "with MPI" if parallel_hdf5() else "without MPI"
    found |= {name.removeprefix("the version of "): str(value) for name, value in versions().items()}
    found["h5py"] += f" ({build})"
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {"Python": platform.python_version(), "System": platform.platform(terse=True)}
