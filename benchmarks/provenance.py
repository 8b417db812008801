"""Where figures come from: machine, versions, file system, state of the code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("parnwb", "pynwb", "hdmf", "h5py", "numpy", "mpi4py", "isal", "deflate", "zlib-ng", "numcodecs")
PACKAGES += ("hdmf-zarr", "zarr", "neuroconv", "spikeinterface")
FSYNC = "before the clock stops: of the file, or of each file of a Zarr store"


def versions(*, with_mpi: bool) -> dict[str, str]:
    """Return versions of all that takes part in this process."""
    import h5py

    found = {"python": platform.python_version(), "HDF5": h5py.version.hdf5_version}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    if with_mpi:
        from mpi4py import MPI

        found["MPI"] = MPI.Get_library_version().splitlines()[0].split(",")[0].strip("\0 ")
    return found


def machine() -> dict[str, Any]:
    """Return what this machine is, and what it is doing besides."""
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "cores allowed": len(os.sched_getaffinity(0)),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "python": sys.version.split()[0],
    }


def load() -> float:
    """Return the machine's load of the last minute: more than a little spoils what is measured."""
    return round(os.getloadavg()[0], 2)


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds a folder."""
    found = ("/", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.absolute().is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]


def revision() -> str:
    """Return git's revision of this code, with ``+`` where files have changed since; empty without git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _first(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
