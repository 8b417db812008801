"""Run under mpiexec: conversions of neuroconv's, by parnwb. Arguments: INPUTS OUTPUTS; ``--oracle`` for neuroconv's own.

Each case leaves ``OUTPUTS/NAME.nwb``, or ``NAME.failed``.
"""

from __future__ import annotations

import shutil
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.cases import SMALL_BUFFERS
from contract.conversions import CASES, GRID_BYTES, Case

from parnwb import plan
from parnwb.neuroconv import run_conversion, run_conversion_from_yaml

COMM = MPI.COMM_WORLD
SPECIFICATION = "sessions.yml"


def by_parnwb(case: Case, inputs: Path, path: Path) -> None:
    """Convert with all ranks; those other than the root have a converter only where they need one."""
    needed = case.everywhere or COMM.rank == 0
    converter = case.converter(inputs) if needed else None
    run_conversion(converter, path, comm=COMM, progress=False, **SMALL_BUFFERS, **case.arguments(converter, inputs))


def by_neuroconv(case: Case, inputs: Path, path: Path) -> None:
    converter = case.converter(inputs)
    converter.run_conversion(nwbfile_path=path, **case.arguments(converter, inputs))


def attempt(path: Path, what: Callable[[], None]) -> None:
    """Do something for one file; leave the reason if it fails. Collective."""
    if COMM.rank == 0:
        print(path, flush=True)
    COMM.Barrier()
    try:
        what()
    except Exception:
        if COMM.rank == 0:
            path.with_suffix(".failed").write_text(traceback.format_exc())


def prepare(case: Case, inputs: Path, path: Path) -> None:
    """Put the file there that a case adds to."""
    if case.existing is not None and COMM.rank == 0:
        shutil.copy(inputs / case.existing, path)
    COMM.Barrier()


def main(inputs: Path, outputs: Path, oracle: bool) -> None:
    outputs.mkdir(parents=True, exist_ok=True)
    convert: Callable[[Case, Path, Path], None] = by_neuroconv if oracle else by_parnwb
    for name, case in CASES.items():
        path = outputs / f"{name}.nwb"
        prepare(case, inputs, path)
        attempt(path, lambda c=case, p=path: convert(c, inputs, p))
    if oracle:
        from neuroconv.tools.yaml_conversion_specification import run_conversion_from_yaml as oracles

        attempt(outputs / "yaml.nwb", lambda: oracles(inputs / SPECIFICATION, output_folder_path=outputs))
    else:
        settings: dict[str, Any] = {"output_folder_path": outputs, "comm": COMM, "progress": False, **SMALL_BUFFERS}
        attempt(outputs / "yaml.nwb", lambda: run_conversion_from_yaml(inputs / SPECIFICATION, **settings) and None)


def without_dandi() -> None:
    """Let neuroconv import what it then does not call: all sessions have names."""
    for name, function in (
        ("dandi.organize", "create_unique_filenames_from_metadata"),
        ("dandi.pynwb_utils", "_get_pynwb_metadata"),
    ):
        module = types.ModuleType(name)
        setattr(module, function, None)
        sys.modules[name] = module


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    plan.READ_GRID_BYTES = GRID_BYTES
    without_dandi()
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--oracle" in sys.argv)
