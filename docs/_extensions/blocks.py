"""Run by mpiexec on every rank: the blocks of one tutorial, one after another. Arguments: its file, a results folder.

A rank leaves what each block printed in ``NUMBER-rank-RANK.txt``, and rank 0 its figures.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
import types
import warnings
from pathlib import Path

from parnwb.comm.launch import launched_rank


def main(source: str, results: Path) -> int:
    rank = launched_rank()
    # Pickle finds the classes of a program in the module of this name.
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [source]
    for number, code in enumerate(json.loads((results / "codes.json").read_text())):
        if code is None:
            continue
        line, text = code
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * (line - 1) + text, source, "exec"), program.__dict__)
        except Exception:
            traceback.print_exc()
            return 1
        (results / f"{number}-rank-{rank:03d}.txt").write_text(printed.getvalue())
        if rank == 0:
            save_figures(results, number)
    return 0


def save_figures(results: Path, number: int) -> None:
    """Save and close what matplotlib has open."""
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        for figure in pyplot.get_fignums():
            pyplot.figure(figure).savefig(results / f"{number}-figure-{figure}.png", dpi=110, bbox_inches="tight")
        pyplot.close("all")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    status = main(sys.argv[1], Path(sys.argv[2]))
    if status and "mpi4py.MPI" in sys.modules:
        from mpi4py import MPI

        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(status)
    sys.exit(status)
