"""How long a program takes on its ranks, and how much anonymous memory each of them has at its peak.

    mpiexec -n 4 python benchmarks/observed.py docs/examples/simulation.py OUT.nwb --cells 10000 --seconds 10

The memory is what the program adds to that of an interpreter with pynwb and MPI, its own data among it.
"""

from __future__ import annotations

import runpy
import sys
import warnings

from measure import Measurement, anonymous_bytes
from mpi4py import MPI

import parnwb  # noqa: F401 - as large as any program that writes is without data


def main(program: list[str]) -> None:
    """Run it as a user would, in this process."""
    import pynwb  # noqa: F401 - see above

    comm = MPI.COMM_WORLD
    before = anonymous_bytes()
    sys.argv = program
    warnings.simplefilter("ignore")
    with Measurement(comm) as measured:
        runpy.run_path(program[0], run_name="__main__")
    result, least = measured.result(), min(comm.allgather(before))
    if comm.rank == 0:
        largest = result["memory"][0] / 1e6
        seconds, added = result["seconds"], largest - least / 1e6
        print(f"{seconds:.1f} s on {comm.size} ranks; largest RssAnon {largest:.0f} MB, {added:.0f} MB of it added")


if __name__ == "__main__":
    main(sys.argv[1:])
