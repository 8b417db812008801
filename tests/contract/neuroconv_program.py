"""Run under mpiexec: conversions of neuroconv's. Arguments: INPUTS OUTPUTS [ORACLES].

Each case leaves ``OUTPUTS/NAME.nwb``, or ``NAME.failed``; neuroconv's own run_conversion leaves it in ORACLES.
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

from contract.conversions import CASES, GRID_BYTES, Case

from parnwb.neuroconv import run_conversion, run_conversion_from_yaml
from parnwb.planning import plan

COMM = MPI.COMM_WORLD
SPECIFICATION = "sessions.yml"
# Every rank has several buffers, of some chunks each.
BUFFERS = {"bulk_threshold": 0, "buffer_mb": 0.25}


def by_parnwb(case: Case, inputs: Path, path: Path) -> None:
    """Convert with all ranks; those other than the root have a converter only where they need one."""
    needed = case.everywhere or COMM.rank == 0
    converter = case.converter(inputs) if needed else None
    given = case.arguments(converter, inputs)
    run_conversion(converter, path, comm=COMM, progress=False, **BUFFERS, **case.settings, **given)


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


def main(inputs: Path, outputs: Path, oracles: Path | None = None) -> None:
    outputs.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        path = outputs / f"{name}.nwb"
        prepare(case, inputs, path)
        attempt(path, lambda c=case, p=path: by_parnwb(c, inputs, p))
    settings: dict[str, Any] = {"output_folder_path": outputs, "comm": COMM, "progress": False, **BUFFERS}
    attempt(outputs / "yaml.nwb", lambda: run_conversion_from_yaml(inputs / SPECIFICATION, **settings) and None)
    if oracles is not None:
        write_oracles(inputs, oracles)


def write_oracles(inputs: Path, oracles: Path) -> None:
    without_dandi()
    from neuroconv.tools.yaml_conversion_specification import run_conversion_from_yaml

    oracles.mkdir()
    for name, case in CASES.items():
        prepare(case, inputs, oracles / f"{name}.nwb")
        by_neuroconv(case, inputs, oracles / f"{name}.nwb")
    run_conversion_from_yaml(inputs / SPECIFICATION, output_folder_path=oracles)


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
    main(*map(Path, sys.argv[1:]))
